/**
 * Ranges: what conflicts with what, split and merge, change of type, and how ranges are named. One set of checks for
 * POSIX and OFD locks, whose rules are the same here (fcntl(2), fs/locks.c posix_lock_inode).
 */
import type { CheckMap } from '../check.js';

const farthest = 2n ** 63n - 1n;

export const rangeChecks = (kind: 'posix' | 'ofd'): CheckMap => ({
  [`${kind}/exclusive-excludes`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      bench.expect('a write lock on a free file', await a!.take('write'), 'granted');
      bench.expect('a write lock beside it', await b!.take('write'), 'refused');
      bench.expect('a read lock beside it', await b!.take('read'), 'refused');
      await a!.drop();
      bench.expect('a write lock after the unlock', await b!.take('write'), 'granted');
    },
  },
  [`${kind}/shared-coexist`]: {
    kind,
    async run(bench) {
      const [a, b, c] = await bench.parties(kind, 3);
      bench.expect('the first read lock', await a!.take('read'), 'granted');
      bench.expect('the second read lock', await b!.take('read'), 'granted');
      bench.expect('a write lock beside two readers', await c!.take('write'), 'refused');
      await a!.drop();
      bench.expect('a write lock beside one reader', await c!.take('write'), 'refused');
      await b!.drop();
      bench.expect('a write lock beside none', await c!.take('write'), 'granted');
    },
  },
  [`${kind}/ranges-apart`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 10, 10);
      bench.expect('the byte before', await b!.take('write', 9, 1), 'granted');
      bench.expect('the byte behind', await b!.take('write', 20, 1), 'granted');
      bench.expect('the first byte', await b!.take('read', 10, 1), 'refused');
      bench.expect('the last byte', await b!.take('read', 19, 1), 'refused');
    },
  },
  [`${kind}/split`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 100);
      bench.expect('unlocking the middle', await a!.drop(40, 20), 'done');
      bench.expect('the middle', await b!.take('write', 40, 20), 'granted');
      bench.expect('the byte before the middle', await b!.take('write', 39, 1), 'refused');
      bench.expect('the byte behind the middle', await b!.take('write', 60, 1), 'refused');
      const left = await b!.test('write', 0, 0);
      bench.expect('the left part', [left?.start, left?.length], [0n, 40n]);
    },
  },
  [`${kind}/merge`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 10);
      await a!.take('write', 20, 10);
      await a!.take('write', 10, 10);
      const whole = await b!.test('read', 0, 0);
      bench.expect('neighbours are one lock', [whole?.start, whole?.length], [0n, 30n]);
    },
  },
  [`${kind}/type-of-a-part`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 30);
      bench.expect('the middle becomes a read lock', await a!.take('read', 10, 10), 'granted');
      bench.expect('a reader in the middle', await b!.take('read', 10, 10), 'granted');
      bench.expect('a reader at the left', await b!.take('read', 9, 1), 'refused');
      bench.expect('a reader at the right', await b!.take('read', 20, 1), 'refused');
    },
  },
  [`${kind}/upgrade`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('read', 0, 10);
      await b!.take('read', 0, 10);
      bench.expect('an upgrade beside a reader', await a!.take('write', 0, 10), 'refused');
      const kept = await b!.test('write', 0, 10);
      bench.expect('the lock of who was refused', kept?.type, 'read');
      await b!.drop();
      bench.expect('an upgrade of the only reader', await a!.take('write', 0, 10), 'granted');
      bench.expect('a reader beside it', await b!.take('read', 0, 10), 'refused');
    },
  },
  [`${kind}/downgrade`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 10);
      const wait = await b!.wait('read', 0, 10);
      await bench.expectWaiting('a reader behind a writer', wait);
      bench.expect('the downgrade', await a!.take('read', 0, 10), 'granted');
      await bench.expectOutcome('the reader after the downgrade', wait, 'granted');
    },
  },
  [`${kind}/negative-length`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      bench.expect('20 bytes back from byte 100', await a!.take('write', 100, -20), 'granted');
      const held = await b!.test('read', 0, 0);
      bench.expect('what is held', [held?.start, held?.length], [80n, 20n]);
      bench.expect('byte 100', await b!.take('write', 100, 1), 'granted');
      bench.expect('back from byte 10 over the begin', await b!.take('write', 10, -11), 'EINVAL');
    },
  },
  [`${kind}/from-current-offset`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.process.seek(a!.fd, 1000);
      bench.expect('SEEK_CUR plus 5', await a!.take('write', 'cur5', 10), 'granted');
      const held = await b!.test('write', 0, 0);
      bench.expect('what is held', [held?.start, held?.length], [1005n, 10n]);
      bench.expect('SEEK_CUR minus 2000', await a!.take('write', 'cur-2000', 1), 'EINVAL');
    },
  },
  [`${kind}/from-end-of-file`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.process.truncate(a!.fd, 500);
      bench.expect('the last 10 bytes', await a!.take('write', 'end-10', 10), 'granted');
      const held = await b!.test('write', 0, 0);
      bench.expect('what is held', [held?.start, held?.length], [490n, 10n]);
      bench.expect('behind the end', await a!.take('write', 'end100', 0), 'granted');
      bench.expect('a byte far behind', await b!.take('read', 10_000, 1), 'refused');
      bench.expect('a byte just behind', await b!.take('read', 599, 1), 'granted');
    },
  },
  [`${kind}/to-end-however-it-grows`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      bench.expect('from byte 100 to the end', await a!.take('write', 100, 0), 'granted');
      await a!.process.truncate(a!.fd, 5000);
      bench.expect('a byte that came later', await b!.take('write', 4000, 1), 'refused');
      const held = await b!.test('write', 0, 0);
      bench.expect('what is held', [held?.start, held?.length], [100n, 0n]);
      bench.expect('a byte before', await b!.take('write', 99, 1), 'granted');
    },
  },
  [`${kind}/far-offsets`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      bench.expect('byte 2^63-1', await a!.take('write', farthest, 1), 'granted');
      bench.expect('the same byte', await b!.take('write', farthest, 0), 'refused');
      bench.expect('byte 2^63-2', await b!.take('write', farthest - 1n, 1), 'granted');
      const held = await b!.test('write', farthest, 1);
      bench.expect('a lock up to 2^63-1 is one to the end', [held?.start, held?.length], [farthest, 0n]);
      bench.expect('a 32-bit boundary', await b!.take('write', 2n ** 32n - 1n, 2), 'granted');
      bench.expect('a byte on it', await a!.take('read', 2n ** 32n, 1), 'refused');
      bench.expect('a range over the end', await a!.take('write', farthest, 2), 'EOVERFLOW');
    },
  },
  [`${kind}/impossible-ranges`]: {
    kind,
    async run(bench) {
      const a = await bench.party(kind);
      bench.expect('a negative start', await a.take('write', -1, 1), 'EINVAL');
      bench.expect('a start before the file', await a.take('write', 5, -10), 'EINVAL');
      bench.expect('unlocking what is not locked', await a.drop(5, 5), 'done');
    },
  },
  [`${kind}/open-mode`]: {
    kind,
    async run(bench) {
      await bench.party(kind);
      const reader = await bench.party(kind, { mode: 'r' });
      const writer = await bench.party(kind, { mode: 'w' });
      bench.expect('a write lock through a read-only descriptor', await reader.take('write'), 'EBADF');
      bench.expect('a read lock through it', await reader.take('read'), 'granted');
      await reader.drop();
      bench.expect('a read lock through a write-only descriptor', await writer.take('read'), 'EBADF');
      bench.expect('a write lock through it', await writer.take('write'), 'granted');
    },
  },
  [`${kind}/getlk-fields`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      bench.expect('a free range', await b!.test('write'), undefined);
      await a!.take('read', 7, 13);
      bench.expect('a reader asked by a reader', await b!.test('read'), undefined);
      const pid = kind === 'posix' ? a!.process.pid : -1;
      const held = { type: 'read', start: 7n, length: 13n, pid };
      bench.expect('a reader asked by a writer', await b!.test('write'), held);
      bench.expect("one's own lock", await a!.test('write'), undefined);
      bench.expect('a range beside it', await b!.test('write', 20, 5), undefined);
    },
  },
  [`${kind}/getlk-first`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 50, 10);
      await a!.take('write', 10, 10);
      await a!.take('write', 30, 10);
      bench.expect('the first of three', (await b!.test('read', 0, 0))?.start, 10n);
      bench.expect('the first from byte 25', (await b!.test('read', 25, 0))?.start, 30n);
    },
  },
  [`${kind}/read-modify-of-many`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      for (let at = 0; at < 40; at += 2) await a!.take('write', at, 1);
      for (let at = 1; at < 40; at += 4)
        bench.expect(`the gap at ${at}`, await b!.take('write', at, 1), 'granted');
      bench.expect('a range over all of it', await b!.take('write', 0, 40), 'refused');
      await a!.drop(0, 40);
      bench.expect('the same when only own locks are left', await b!.take('write', 0, 40), 'granted');
      const held = await a!.test('write', 0, 0);
      bench.expect('they are one lock now', [held?.start, held?.length], [0n, 40n]);
    },
  },
});
