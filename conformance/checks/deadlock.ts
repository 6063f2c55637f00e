/**
 * Deadlock: EDEADLK for POSIX locks and for nobody else. Who is told is the one that closes the circle; POSIX leaves
 * the choice open, so the checks only count (fcntl(2), EDEADLK; fs/locks.c posix_locks_deadlock).
 */
import type { Bench, PartyOptions } from '../bench.js';
import type { CheckMap } from '../check.js';
import type { Party, Wait } from '../lock-party.js';
import type { Kind } from '../lock-process.js';

const tellMs = 1000;

/** Each party holds a byte (or a file) of its own and wants the next one's. */
async function circle(holders: readonly Party[], wanting: readonly Party[]): Promise<Wait[]> {
  for (const [at, party] of holders.entries()) await party.take('write', at, 1);
  const waits: Wait[] = [];
  for (const [at, party] of wanting.entries())
    waits.push(await party.wait('write', (at + 1) % wanting.length, 1));
  return waits;
}

async function expectOneDeadlock(bench: Bench, waits: readonly Wait[]): Promise<void> {
  const told = Promise.race(waits.map((wait) => wait.outcome));
  const late = bench.pause(tellMs).then(() => 'nobody within a second');
  bench.expect('who closes the circle', await Promise.race([told, late]), 'EDEADLK');
  await bench.expectWaiting('the others', ...waits.filter((wait) => wait.answer === undefined));
  bench.expect('told of it', waits.filter((wait) => wait.answer === 'EDEADLK').length, 1);
}

/** Who was told gives up what it holds: all others come to their end one after the other. */
async function expectResolved(
  bench: Bench,
  parties: readonly Party[],
  waits: readonly Wait[],
): Promise<void> {
  let at = waits.findIndex((wait) => wait.answer === 'EDEADLK');
  for (let left = parties.length; left > 1; left--) {
    await parties[at]!.process.end();
    at = (at + parties.length - 1) % parties.length;
    await bench.expectOutcome('the next of the circle', waits[at]!, 'granted');
  }
}

async function onOneFile(bench: Bench, kind: Kind, vias: readonly PartyOptions[]) {
  const parties = await Promise.all(vias.map((via) => bench.party(kind, via)));
  return { parties, waits: await circle(parties, parties) };
}

/** A file for each party; each wants the file of the next. */
async function onManyFiles(bench: Bench, kind: Kind, vias: readonly PartyOptions[]) {
  const name = (at: number): string => `-${at % vias.length}`;
  const holders = await Promise.all(vias.map((via, at) => bench.party(kind, { ...via, name: name(at) })));
  const wanting = await Promise.all(
    vias.map((via, at) => bench.party(kind, { ...via, name: name(at + 1), process: holders[at]!.process })),
  );
  return { parties: holders, waits: await circle(holders, wanting) };
}

const here = { via: 'first' } as const;
const there = { via: 'second' } as const;

const noDeadlock = (kind: 'ofd' | 'flock'): CheckMap => ({
  [`${kind}/no-deadlock-detection`]: {
    kind,
    async run(bench) {
      const { parties, waits } = await onManyFiles(bench, kind, [here, here]);
      await bench.expectWaiting('both', ...waits);
      await parties[0]!.process.kill();
      await bench.expectOutcome('the other, when one was killed', waits[1]!, 'granted');
    },
  },
});

export const deadlockChecks: CheckMap = {
  'posix/deadlock-of-two': {
    kind: 'posix',
    async run(bench) {
      const { parties, waits } = await onOneFile(bench, 'posix', [here, here]);
      await expectOneDeadlock(bench, waits);
      await expectResolved(bench, parties, waits);
    },
  },
  'posix/deadlock-over-three-files': {
    kind: 'posix',
    async run(bench) {
      const { parties, waits } = await onManyFiles(bench, 'posix', [here, here, here]);
      await expectOneDeadlock(bench, waits);
      await expectResolved(bench, parties, waits);
    },
  },
  'posix/upgrade-deadlock': {
    kind: 'posix',
    async run(bench) {
      const [a, b] = await bench.parties('posix', 2);
      await a!.take('read', 0, 10);
      await b!.take('read', 0, 10);
      const waits = [await a!.wait('write', 0, 10), await b!.wait('write', 0, 10)];
      await expectOneDeadlock(bench, waits);
    },
  },
  'posix/no-false-deadlock': {
    kind: 'posix',
    async run(bench) {
      const [a, b, c] = await bench.parties('posix', 3);
      await a!.take('write', 0, 1);
      await b!.take('write', 1, 1);
      const chain = [await b!.wait('write', 0, 1), await c!.wait('write', 0, 2)];
      await bench.expectWaiting('a chain without a circle', ...chain);
      await a!.drop();
      await bench.expectOutcome('the first of the chain', chain[0]!, 'granted');
      await b!.drop();
      await bench.expectOutcome('the last of the chain', chain[1]!, 'granted');
    },
  },
  'posix/deadlock-over-second': {
    kind: 'posix',
    needs: 'second',
    async run(bench) {
      const { parties, waits } = await onManyFiles(bench, 'posix', [here, there, here]);
      await expectOneDeadlock(bench, waits);
      await expectResolved(bench, parties, waits);
    },
  },
  ...noDeadlock('ofd'),
  ...noDeadlock('flock'),
};
