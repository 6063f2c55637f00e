/**
 * Waiting: who is granted when, what a signal does to a wait, and what is left of a process that was killed. One set
 * of checks for each kind of lock; flock takes the whole file whatever the range says.
 */
import type { CheckMap } from '../check.js';
import type { Kind } from '../lock-process.js';

const waitersInOrder = 5;

export const waitingChecks = (kind: Kind): CheckMap => ({
  [`${kind}/wait-until-unlock`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 10);
      const wait = await b!.wait('write', 5, 1);
      await bench.expectWaiting('a writer behind a writer', wait);
      await a!.drop();
      await bench.expectOutcome('the waiter after the unlock', wait, 'granted');
      bench.expect('the old holder', await a!.take('write', 5, 1), 'refused');
    },
  },
  [`${kind}/every-waiter-once`]: {
    kind,
    async run(bench) {
      const holder = await bench.party(kind);
      const waiters = await bench.parties(kind, waitersInOrder);
      await holder.take('write', 0, 1);
      const waits = [];
      for (const waiter of waiters) waits.push(await waiter.wait('write', 0, 1));
      await holder.drop();
      const order: number[] = [];
      for (let granted = 0; granted < waitersInOrder; granted++) {
        const first = await Promise.race(
          waits.map((wait, at) =>
            order.includes(at) ? new Promise<never>(() => undefined) : wait.outcome.then(() => at),
          ),
        );
        bench.expect('the next waiter', await waits[first]!.outcome, 'granted');
        order.push(first);
        await bench.expectWaiting('all others', ...waits.filter((_, at) => !order.includes(at)));
        await waiters[first]!.drop();
      }
      bench.note = order.every((at, place) => at === place) ? 'first come, first served' : 'in another order';
    },
  },
  [`${kind}/readers-together`]: {
    kind,
    async run(bench) {
      const writer = await bench.party(kind);
      const readers = await bench.parties(kind, 3);
      await writer.take('write', 0, 10);
      const waits = await Promise.all(readers.map((reader) => reader.wait('read', 0, 10)));
      await bench.expectWaiting('three readers behind a writer', ...waits);
      await writer.drop();
      for (const wait of waits) await bench.expectOutcome('each reader', wait, 'granted');
    },
  },
  [`${kind}/wait-is-no-lock`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await a!.take('read', 0, 10);
      const wait = await b!.wait('write', 0, 10);
      bench.expect('F_SETLK beside a waiting writer', await c!.take('read', 0, 10), 'granted');
      await c!.drop();
      await a!.drop();
      await bench.expectOutcome('the writer', wait, 'granted');
    },
  },
  [`${kind}/signal-ends-the-wait`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await b!.process.handle('SIGUSR1', 'interrupt');
      await a!.take('write', 0, 10);
      const wait = await b!.wait('write', 0, 10);
      b!.process.signal('SIGUSR1');
      await bench.expectOutcome('the wait after a signal', wait, 'EINTR');
      bench.expect('signals handled', await b!.process.signals(), 1);
      await a!.drop();
      bench.expect('the lock that was not waited for to the end', await c!.take('write', 0, 10), 'granted');
    },
  },
  [`${kind}/signal-restarts-the-wait`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await b!.process.handle('SIGUSR1', 'restart');
      await a!.take('write', 0, 10);
      const early = await b!.wait('write', 0, 10);
      const late = await c!.wait('write', 0, 10);
      b!.process.signal('SIGUSR1');
      await bench.expectWaiting('a wait with SA_RESTART after a signal', early, late);
      await a!.drop();
      const first = await Promise.race([early.outcome.then(() => b!), late.outcome.then(() => c!)]);
      await first.drop();
      await bench.expectOutcome('the wait that was restarted', early, 'granted');
      if (first === b) await b!.drop();
      await bench.expectOutcome('the wait behind it', late, 'granted');
      bench.expect('signals handled', first === b ? await b!.process.signals() : 1, 1);
      bench.note = first === b ? 'it keeps its place' : 'it loses its place';
    },
  },
  [`${kind}/ignored-signal`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 10);
      const wait = await b!.wait('write', 0, 10);
      b!.process.signal('SIGWINCH');
      await bench.expectWaiting('a wait after a signal that is ignored by default', wait);
      await a!.drop();
      await bench.expectOutcome('the waiter', wait, 'granted');
    },
  },
  [`${kind}/killed-waiter`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await a!.take('write', 0, 10);
      await b!.wait('write', 0, 10);
      const behind = await c!.wait('write', 0, 10);
      await b!.process.kill();
      await bench.expectWaiting('who waits behind a waiter that was killed', behind);
      bench.expect('the holder', (await a!.take('write', 0, 10)) === 'granted', true);
      await a!.drop();
      await bench.expectOutcome('who waited behind', behind, 'granted');
    },
  },
  [`${kind}/killed-holder`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await a!.take('write', 0, 10);
      const wait = await b!.wait('write', 0, 10);
      await a!.process.kill();
      await bench.expectOutcome('the waiter when the holder was killed', wait, 'granted');
      await b!.drop();
      bench.expect('a third process', await c!.take('write', 0, 10), 'granted');
    },
  },
  [`${kind}/exit-unlocks`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 10);
      await a!.process.end();
      bench.expect('a lock of a process that ended', await b!.take('write', 0, 10), 'granted');
    },
  },
});

/** Waits that need ranges. */
export const rangeWaitingChecks = (kind: 'posix' | 'ofd'): CheckMap => ({
  [`${kind}/part-of-an-unlock`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await a!.take('write', 0, 20);
      const left = await b!.wait('write', 0, 5);
      const right = await c!.wait('write', 10, 5);
      await a!.drop(10, 10);
      await bench.expectOutcome('who waited for what was unlocked', right, 'granted');
      await bench.expectWaiting('who waits for the rest', left);
      await a!.drop();
      await bench.expectOutcome('who waited for the rest', left, 'granted');
    },
  },
  [`${kind}/waiting-upgrade`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await a!.take('read', 0, 10);
      await b!.take('read', 0, 10);
      const upgrade = await a!.wait('write', 0, 10);
      await bench.expectWaiting('an upgrade beside a reader', upgrade);
      const seen = await b!.test('write', 0, 10);
      bench.expect('the old lock of who waits', seen?.type, 'read');
      bench.expect('a writer meanwhile', await c!.take('write', 0, 10), 'refused');
      await b!.drop();
      await bench.expectOutcome('the upgrade', upgrade, 'granted');
      bench.expect('a reader then', await c!.take('read', 0, 10), 'refused');
    },
  },
  [`${kind}/interrupted-upgrade`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      await a!.process.handle('SIGUSR1', 'interrupt');
      await a!.take('read', 0, 10);
      await b!.take('read', 5, 10);
      const upgrade = await a!.wait('write', 0, 10);
      a!.process.signal('SIGUSR1');
      await bench.expectOutcome('the upgrade after a signal', upgrade, 'EINTR');
      await b!.drop();
      const held = await c!.test('write', 0, 0);
      bench.expect('what is left', [held?.type, held?.start, held?.length], ['read', 0n, 10n]);
    },
  },
});
