/**
 * What is seen under a lock: who is granted it must see all that earlier holders wrote, through whatever mount: bytes,
 * sizes, appends, truncation, mapped memory. POSIX promises it for one machine; shared filesystems that cache must
 * take care of it at each lock and unlock.
 */
import type { Bench, PartyOptions } from '../bench.js';
import type { CheckMap } from '../check.js';
import type { Party } from '../lock-party.js';
import type { Kind } from '../lock-process.js';

const rounds = 12;

const text = (bytes: Buffer): string => bytes.toString('latin1');

/** Two parties take turns; each sees under its lock what the other did, then does `step` itself. */
async function takeTurns(
  parties: readonly Party[],
  step: (party: Party, turn: number) => Promise<void>,
): Promise<void> {
  for (let turn = 0; turn < rounds; turn++) {
    const party = parties[turn % parties.length]!;
    const wait = await party.wait('write', 0, 1);
    await wait.outcome;
    await step(party, turn);
    await party.drop();
  }
}

const two = (bench: Bench, kind: Kind, via: PartyOptions['via'], mode: PartyOptions['mode'] = 'rw') =>
  Promise.all([bench.party(kind, { mode }), bench.party(kind, { mode, via: via ?? 'first' })]);

const word = (turn: number): string => `turn ${String(turn).padStart(3, '0')}`;
const wordBytes = word(0).length;

async function bytesUnderLock(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const parties = await two(bench, kind, via);
  await takeTurns(parties, async ({ process, fd }, turn) => {
    const expected = turn === 0 ? '' : word(turn - 1);
    bench.expect(`the bytes of turn ${turn - 1}`, text(await process.read(fd, 0, 100)), expected);
    await process.write(fd, 0, word(turn));
  });
}

async function sizesUnderLock(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const parties = await two(bench, kind, via);
  await takeTurns(parties, async ({ process, fd }, turn) => {
    bench.expect(`the size in turn ${turn}`, await process.size(fd), turn * 1000);
    if (turn === rounds / 2) await process.truncate(fd, 10);
    bench.expect('the size after a truncate', await process.size(fd), turn === rounds / 2 ? 10 : turn * 1000);
    await process.truncate(fd, (turn + 1) * 1000);
  });
}

async function appendsUnderLock(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const parties = await two(bench, kind, via, 'a');
  let expected = '';
  await takeTurns(parties, async ({ process, fd }, turn) => {
    await process.append(fd, word(turn));
    expected += word(turn);
    bench.expect(`all appends up to turn ${turn}`, text(await process.read(fd, 0, 10_000)), expected);
  });
}

/** The one that appends has an old size in its kernel, and must not write behind it. */
async function appendAfterCut(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const parties = await two(bench, kind, via, 'a');
  await takeTurns(parties, async ({ process, fd }, turn) => {
    if (turn % 2 === 1) {
      await process.truncate(fd, 10);
      return;
    }
    const before = turn === 0 ? 0 : 10;
    await process.append(fd, 'a'.repeat(1000));
    await process.append(fd, 'b'.repeat(20));
    bench.expect(`the size after appends in turn ${turn}`, await process.size(fd), before + 1020);
    const seen = text(await process.read(fd, before, 2000));
    bench.expect(`the appends of turn ${turn}`, seen, 'a'.repeat(1000) + 'b'.repeat(20));
  });
}

async function mapReadUnderLock(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const [writer, reader] = await two(bench, kind, via);
  await writer!.process.truncate(writer!.fd, 4096);
  const map = await reader!.process.map(reader!.fd, 4096);
  // Without a lock a reader may know the size of a moment ago, and a page behind that is SIGBUS.
  await reader!.take('read', 0, 1);
  await reader!.process.peek(map, 0, 1);
  await reader!.drop();
  for (let turn = 0; turn < rounds; turn++) {
    await (await writer!.wait('write', 0, 1)).outcome;
    await writer!.process.write(writer!.fd, 0, word(turn));
    await writer!.drop();
    await (await reader!.wait('read', 0, 1)).outcome;
    const seen = text(await reader!.process.peek(map, 0, wordBytes));
    bench.expect(`mapped memory after write ${turn}`, seen, word(turn));
    await reader!.drop();
  }
}

async function mapWriteUnderLock(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const [mapper, other] = await two(bench, kind, via);
  await mapper!.process.truncate(mapper!.fd, 4096);
  const map = await mapper!.process.map(mapper!.fd, 4096);
  for (let turn = 0; turn < rounds; turn++) {
    await (await mapper!.wait('write', 0, 1)).outcome;
    await mapper!.process.poke(map, 0, word(turn));
    await mapper!.drop();
    await (await other!.wait('read', 0, 1)).outcome;
    const seen = text(await other!.process.read(other!.fd, 0, wordBytes));
    bench.expect(`bytes after store ${turn} into mapped memory`, seen, word(turn));
    await other!.drop();
  }
}

async function mapBothUnderLock(bench: Bench, kind: Kind, via: PartyOptions['via']): Promise<void> {
  const parties = await two(bench, kind, via);
  await parties[0]!.process.truncate(parties[0]!.fd, 8192);
  const maps = await Promise.all(parties.map(({ process, fd }) => process.map(fd, 8192)));
  await takeTurns(parties, async (party, turn) => {
    const map = maps[parties.indexOf(party)]!;
    if (turn > 0) {
      const seen = text(await party.process.peek(map, 4096, wordBytes));
      bench.expect(`the store of turn ${turn - 1}`, seen, word(turn - 1));
    }
    await party.process.poke(map, 4096, word(turn));
  });
}

/** A store under a lock that ends with a close, or with the process, is no less a store. */
async function mapThenClose(bench: Bench, kind: Kind, via: PartyOptions['via'], how: 'close' | 'kill') {
  const [mapper, other] = await two(bench, kind, via);
  await mapper!.process.truncate(mapper!.fd, 4096);
  await other!.process.read(other!.fd, 0, 100);
  const map = await mapper!.process.map(mapper!.fd, 4096);
  await mapper!.take('write', 0, 1);
  const wait = await other!.wait('write', 0, 1);
  await mapper!.process.poke(map, 0, word(1));
  if (how === 'kill') await mapper!.process.kill();
  // A mapping keeps the open file: only the close of a POSIX lock's descriptor gives it up.
  else if (kind === 'posix') await mapper!.process.close(mapper!.fd);
  else await mapper!.drop();
  await bench.expectOutcome('the waiter', wait, 'granted');
  bench.expect('the store before it', text(await other!.process.read(other!.fd, 0, wordBytes)), word(1));
}

type Run = (bench: Bench, kind: Kind, via: PartyOptions['via']) => Promise<void>;
const subjects: Readonly<Record<string, Run>> = {
  bytes: bytesUnderLock,
  sizes: sizesUnderLock,
  appends: appendsUnderLock,
  'append-after-cut': appendAfterCut,
  'mapped-reads': mapReadUnderLock,
  'mapped-stores': mapWriteUnderLock,
  'mapped-both': mapBothUnderLock,
  'mapped-then-close': (bench, kind, via) => mapThenClose(bench, kind, via, 'close'),
  'mapped-then-killed': (bench, kind, via) => mapThenClose(bench, kind, via, 'kill'),
};

export const dataChecks: CheckMap = Object.fromEntries(
  Object.entries(subjects).flatMap(([subject, run]) => [
    [`data/${subject}`, { kind: 'data' as const, run: (bench: Bench) => run(bench, 'posix', 'first') }],
    ...(['posix', 'ofd', 'flock'] as const).map((kind) => [
      `data/second-${subject}-${kind}`,
      { kind: 'data' as const, needs: 'second' as const, run: (bench: Bench) => run(bench, kind, 'second') },
    ]),
  ]),
);
