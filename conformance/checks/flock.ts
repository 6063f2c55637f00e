/** What only flock(2) has: whole files, any open mode, a change of mode that is not atomic; and how the kinds meet. */
import type { CheckMap } from '../check.js';

export const flockChecks: CheckMap = {
  'flock/exclusive-excludes': {
    kind: 'flock',
    async run(bench) {
      const [a, b] = await bench.parties('flock', 2);
      bench.expect('an exclusive lock', await a!.take('write'), 'granted');
      bench.expect('an exclusive lock beside it', await b!.take('write'), 'refused');
      bench.expect('a shared lock beside it', await b!.take('read'), 'refused');
      await a!.drop();
      bench.expect('after the unlock', await b!.take('write'), 'granted');
    },
  },
  'flock/shared-coexist': {
    kind: 'flock',
    async run(bench) {
      const [a, b, c] = await bench.parties('flock', 3);
      bench.expect('the first shared lock', await a!.take('read'), 'granted');
      bench.expect('the second shared lock', await b!.take('read'), 'granted');
      bench.expect('an exclusive lock', await c!.take('write'), 'refused');
    },
  },
  'flock/open-mode': {
    kind: 'flock',
    async run(bench) {
      await bench.party('flock');
      const reader = await bench.party('flock', { mode: 'r' });
      const writer = await bench.party('flock', { mode: 'w' });
      bench.expect('an exclusive lock through a read-only descriptor', await reader.take('write'), 'granted');
      await reader.drop();
      bench.expect('a shared lock through a write-only descriptor', await writer.take('read'), 'granted');
    },
  },
  'flock/upgrade': {
    kind: 'flock',
    async run(bench) {
      const [a, b] = await bench.parties('flock', 2);
      await a!.take('read');
      bench.expect('an upgrade of the only lock', await a!.take('write'), 'granted');
      bench.expect('another process', await b!.take('read'), 'refused');
      bench.expect('a downgrade', await a!.take('read'), 'granted');
      bench.expect('another process then', await b!.take('read'), 'granted');
    },
  },
  'flock/refused-upgrade-loses': {
    kind: 'flock',
    async run(bench) {
      const [a, b, c] = await bench.parties('flock', 3);
      await a!.take('read');
      await b!.take('read');
      bench.expect('an upgrade beside another lock', await a!.take('write'), 'refused');
      await b!.drop();
      // fs/locks.c flock_lock_inode: the old lock goes before the new one is looked for.
      bench.expect('the old lock of who was refused is gone', await c!.take('write'), 'granted');
    },
  },
  'flock/apart-from-posix': {
    kind: 'flock',
    async run(bench) {
      const flock = await bench.party('flock');
      const posix = await bench.party('posix');
      bench.expect('flock', await flock.take('write'), 'granted');
      bench.expect('a POSIX lock on the same file', await posix.take('write'), 'granted');
      await posix.drop();
      const third = await bench.party('flock');
      bench.expect('flock after a POSIX unlock', await third.take('write'), 'refused');
    },
  },
  'ofd/meets-posix': {
    kind: 'ofd',
    async run(bench) {
      const posix = await bench.party('posix');
      const own = posix.as({ kind: 'ofd' });
      const other = await bench.party('ofd');
      await posix.take('write', 0, 10);
      bench.expect('an OFD lock of another process', await other.take('write', 0, 10), 'refused');
      bench.expect('an OFD lock of the same process', await own.take('write', 0, 10), 'refused');
      await posix.drop();
      await other.take('write', 0, 10);
      const seen = await posix.test('write', 0, 10);
      bench.expect('the OFD lock, tested as POSIX', [seen?.start, seen?.length], [0n, 10n]);
      // FUSE has no way to say that a lock is an open file's: the kernel turns numbers below 1 into 0.
      if (seen?.pid !== -1) bench.note = `l_pid is ${seen?.pid} instead of -1`;
    },
  },
};
