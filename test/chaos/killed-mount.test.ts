/**
 * A mount dies by SIGKILL: its processes get ENOTCONN, its locks go when its grace is over and not before, and the
 * mountpoint can be taken out of the tree and used again.
 */
import { readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import t from 'tap';
import { Cluster, skipReason, until } from '../cluster.js';
import { lockferry } from '../command.js';
import { MountProcess } from '../mount-process.js';
import { errnoOf } from '../opened-file.js';

t.setTimeout(300_000);
const graceMs = 2000;

t.test('a mount that is killed', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { graceMs });
  const names = ['one', 'two', 'three', 'four'];
  for (const name of names) await writeFile(cluster.path(0, name), `content of ${name}`);
  const holders = await Promise.all(names.map((name) => cluster.opened(0, name)));
  for (const holder of holders) t.equal(await holder.tryLock(), 'granted');
  const flockHolder = await cluster.opened(0, 'one');
  t.equal(await flockHolder.tryLock('flock'), 'granted');
  const deleted = await cluster.opened(0, 'open-without-name');
  await deleted.write(0, 'nobody will ever read this');
  await unlink(cluster.path(0, 'open-without-name'));
  const files = async (): Promise<number> =>
    (await cluster.status()).reduce((sum, brick) => sum + brick.files, 0);
  const filesBefore = await files();
  const waits = await Promise.all(
    names.map(async (name) => (await cluster.opened(1, name)).lock('posix', 'write')),
  );
  const flockWait = (await cluster.opened(1, 'one')).lock('flock');
  await cluster.untilWaiting(names.length + 1);
  // On its way when the mount dies: a process that waits must not wait for ever.
  const stuck = (await cluster.opened(0, 'two')).lock('posix', 'write');
  await cluster.untilWaiting(names.length + 2);
  await cluster.migrate('two', cluster.bricks.find((brick) => brick !== 'brick-1')!).catch(() => undefined);

  const [dead] = cluster.mounts;
  const killedAt = performance.now();
  await dead!.kill();
  await stuck.over;
  // What the kernel answers when the other end closes /dev/fuse: ECONNABORTED to what was under way, then ENOTCONN.
  t.equal(stuck.error, 'ECONNABORTED', 'a process that waited there');
  t.equal(await errnoOf(holders[0]!.write(0, 'x')), 'ENOTCONN', 'a process that held there');
  t.equal(await errnoOf(readdir(dead!.point)), 'ENOTCONN', 'a process that comes later');

  for (const [at, wait] of [...waits, flockWait].entries()) {
    await wait.over;
    t.ok(wait.isGranted, `waiter ${at + 1} of the other mount is granted`);
  }
  const afterMs = performance.now() - killedAt;
  t.ok(afterMs > graceMs - 100 && afterMs < graceMs + 4000, `after ${Math.round(afterMs)} ms`);
  await until('the file without names goes', async () => (await files()) === filesBefore - 1);

  const umount = await lockferry('umount', dead!.point);
  t.equal(umount.code, 0, umount.stderr);
  t.equal((await lockferry('umount', dead!.point)).code, 5, 'nothing is mounted there any more');
  const again = new MountProcess(cluster.place.folder, dead!.point);
  cluster.mounts.push(again);
  await again.mounted;
  t.equal(await readFile(`${again.point}/three`, 'utf8'), 'content of three');
  const fresh = await cluster.opened(0, 'three');
  t.equal(await fresh.tryLock(), 'refused', 'the waiter of the other mount has it');
  t.equal(again.said.length, 0, again.said.join());
});
