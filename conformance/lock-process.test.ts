/** The lock process on a native filesystem: what it reports is what the kernel says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { LockProcess, LockProcessError } from './lock-process.js';

const folder = mkdtempSync(join(tmpdir(), 'lock-process-'));
const running = new Set<LockProcess>();

const start = (): LockProcess => {
  const started = LockProcess.start();
  running.add(started);
  return started;
};

t.afterEach(async () => {
  await Promise.all([...running].map((process) => process.kill()));
  running.clear();
});
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

t.test('a lock of one process is refused to another, and tested as held', async (t) => {
  const [a, b] = [start(), start()];
  const file = join(folder, 'a b');
  const fa = await a.open(file, 'rw');
  const fb = await b.open(file, 'rw');
  t.equal(await a.lock(fa, 'posix', 'write', 10n, 5n), 'granted');
  t.equal(await b.lock(fb, 'posix', 'read', 14n, 1n), 'refused');
  t.equal(await b.lock(fb, 'posix', 'read', 15n, 0n), 'granted');
  t.same(await b.test(fb, 'posix', 'write', 0n, 11n), { type: 'write', start: 10n, length: 5n, pid: a.pid });
  t.equal(await b.test(fb, 'posix', 'write', 0n, 10n), undefined);
  await a.unlock(fa, 'posix', 0n, 0n);
  t.equal(await b.lock(fb, 'posix', 'write', 0n, 0n), 'granted');
});

t.test('a waiter is granted when the holder is killed', async (t) => {
  const [a, b] = [start(), start()];
  const file = join(folder, 'waiting');
  const fa = await a.open(file, 'rw');
  const fb = await b.open(file, 'rw');
  await a.lock(fa, 'flock', 'write', 0n, 0n);
  let granted = false;
  const waiting = b.lock(fb, 'flock', 'read', 0n, 0n, true).then((outcome) => {
    granted = true;
    return outcome;
  });
  t.equal(await start().open(file, 'r'), 3, 'another process goes on meanwhile');
  t.equal(granted, false);
  await a.kill();
  t.equal(await waiting, 'granted');
});

t.test('bytes, sizes and errors come through', async (t) => {
  const process = start();
  const fd = await process.open(join(folder, 'bytes'), 'rw');
  t.equal(await process.write(fd, 4, 'two words'), 9);
  t.equal(await process.size(fd), 13);
  t.same(await process.read(fd, 4, 100), Buffer.from('two words'));
  await process.close(fd);
  await t.rejects(process.size(fd), new LockProcessError(`size ${fd}`, 'EBADF', 'Bad file descriptor'));
  await t.rejects(process.command('nonsense'), { code: 'EINVAL' });
  await process.kill();
  await t.rejects(process.size(fd), { code: 'ESRCH' });
});
