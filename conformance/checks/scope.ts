/**
 * How far a lock reaches: processes of one family, all that use this mount, all that use the filesystem. A filesystem
 * that keeps locks in its kernel passes the first two and fails the third, which needs a second mount to be seen.
 */
import type { Bench } from '../bench.js';
import type { CheckMap } from '../check.js';
import type { Party } from '../lock-party.js';
import type { Kind } from '../lock-process.js';

/** The rungs of the ladder, from near to far; `lockferry check` sums them up for each kind. */
export const scopes = ['process-tree', 'mount', 'volume'] as const;
export type Scope = (typeof scopes)[number];
export const scopeCheckName = (kind: Kind, scope: Scope): string => `${kind}/scope-${scope}`;

async function excludes(bench: Bench, holder: Party, other: Party): Promise<void> {
  bench.expect('the lock', await holder.take('write', 0, 10), 'granted');
  bench.expect('the same lock for the other', await other.take('write', 0, 10), 'refused');
  const wait = await other.wait('write', 0, 10);
  await bench.expectWaiting('the other, when it waits', wait);
  await holder.drop();
  await bench.expectOutcome('the other, after the unlock', wait, 'granted');
  bench.expect('back again', await holder.take('read', 0, 10), 'refused');
}

export const scopeChecks = (kind: Kind): CheckMap => ({
  [scopeCheckName(kind, 'process-tree')]: {
    kind,
    async run(bench) {
      const parent = await bench.party(kind);
      const child = await bench.fork(parent);
      // An open of its own: a forked descriptor is the same owner for OFD locks and flock.
      const own = await bench.party(kind, { process: child.process });
      await excludes(bench, parent, own);
    },
  },
  [scopeCheckName(kind, 'mount')]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await excludes(bench, a!, b!);
    },
  },
  [scopeCheckName(kind, 'volume')]: {
    kind,
    needs: 'second',
    async run(bench) {
      const here = await bench.party(kind);
      const there = await bench.party(kind, { via: 'second' });
      await excludes(bench, here, there);
    },
  },
  [`${kind}/second-killed-holder`]: {
    kind,
    needs: 'second',
    async run(bench) {
      const here = await bench.party(kind);
      const there = await bench.party(kind, { via: 'second' });
      await there.take('write', 0, 10);
      const wait = await here.wait('write', 0, 10);
      await bench.expectWaiting('a waiter here for a holder there', wait);
      await there.process.kill();
      await bench.expectOutcome('when the holder there was killed', wait, 'granted');
    },
  },
  [`${kind}/second-killed-waiter`]: {
    kind,
    needs: 'second',
    async run(bench) {
      const here = await bench.party(kind);
      const there = await bench.party(kind, { via: 'second' });
      const third = await bench.party(kind, { via: 'second' });
      await here.take('write', 0, 10);
      await there.wait('write', 0, 10);
      const wait = await third.wait('write', 0, 10);
      await there.process.kill();
      await bench.expectWaiting('who waits behind', wait);
      await here.drop();
      await bench.expectOutcome('who waited behind, after the unlock', wait, 'granted');
    },
  },
});

/** Ranges over two mounts, where a test can see them. */
export const secondRangeChecks = (kind: 'posix' | 'ofd'): CheckMap => ({
  [`${kind}/second-getlk`]: {
    kind,
    needs: 'second',
    async run(bench) {
      const here = await bench.party(kind);
      const there = await bench.party(kind, { via: 'second' });
      await here.take('read', 7, 13);
      const seen = await there.test('write', 0, 0);
      bench.expect(
        'what is held here, tested there',
        [seen?.type, seen?.start, seen?.length],
        ['read', 7n, 13n],
      );
      bench.expect('a reader there', await there.take('read', 0, 100), 'granted');
      bench.expect('an upgrade here', await here.take('write', 7, 13), 'refused');
    },
  },
});
