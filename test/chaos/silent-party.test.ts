/**
 * Parties that fall silent without dying (SIGSTOP, as a machine that swaps or a network that is cut): a mount for
 * longer than its grace is fenced, and its processes learn it; a brick that hangs fails what needs it in time, and
 * goes on with the same holders and waiters when it comes back.
 */
import { readFile, unlink, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Cluster, skipReason, until } from '../cluster.js';
import { errnoOf } from '../opened-file.js';
import { Scene } from '../scene.js';

t.setTimeout(300_000);
const graceMs = 1600;

t.test('a mount that is silent for longer than its grace', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { graceMs });
  const [stopped] = cluster.mounts;
  await writeFile(cluster.path(1, 'locked'), 'a');
  await writeFile(cluster.path(1, 'unlocked'), 'b');
  const holder = await cluster.opened(0, 'locked');
  const reader = await cluster.opened(0, 'unlocked');
  t.equal(await holder.tryLock(), 'granted');
  const wait = (await cluster.opened(1, 'locked')).lock();
  await cluster.untilWaiting(1);
  process.kill(stopped!.pid, 'SIGSTOP');
  const stoppedAt = performance.now();
  await wait.over;
  t.ok(wait.isGranted);
  const afterMs = performance.now() - stoppedAt;
  t.ok(afterMs > graceMs - 100 && afterMs < 2 * graceMs + 3000, `granted after ${Math.round(afterMs)} ms`);
  process.kill(stopped!.pid, 'SIGCONT');
  t.equal(
    await errnoOf(holder.write(0, 'stale')),
    'EIO',
    'the process that lost its lock is told, and cannot write',
  );
  t.equal(await errnoOf(holder.read(0, 1)), 'EIO');
  t.equal(await errnoOf(holder.tryLock()), 'EIO');
  t.equal(await errnoOf(reader.write(0, 'B')), '1', 'a file without locks goes on');
  await holder.close();
  const again = await cluster.opened(0, 'locked');
  t.equal(await again.tryLock(), 'refused', 'opened again it is usable');
  t.equal(await readFile(cluster.path(1, 'locked'), 'utf8'), 'a');
});

t.test('a brick that hangs', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const scene = await Scene.start(cluster, 'busy', 100_000);
  const [home] = await cluster.homesOf('busy');
  const pid = cluster.pidOf(home!);
  t.teardown(() => process.kill(pid, 'SIGCONT'));
  const before = scene.records;
  process.kill(pid, 'SIGSTOP');
  await sleep(2000);
  const meanwhile = scene.records;
  t.ok(meanwhile <= before + 1, 'nothing is acknowledged meanwhile');
  process.kill(pid, 'SIGCONT');
  await scene.isIntact(t, 'after the brick came back');
  await scene.finish(t);
});

t.test('a volume that is stopped and started under open files', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const scene = await Scene.start(cluster, 'busy', 100_000);
  await cluster.stopBricks();
  await cluster.startBricks();
  await scene.isIntact(t, 'after stop and start');
  await scene.finish(t);
});

t.test('a file that lost its name while it is open', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  await writeFile(cluster.path(0, 'nameless'), 'still here');
  const files = async (): Promise<number> =>
    (await cluster.status()).reduce((sum, brick) => sum + brick.files, 0);
  const withIt = await files();
  const [home] = await cluster.homesOf('nameless');
  const holder = await cluster.opened(0, 'nameless');
  const other = await cluster.opened(1, 'nameless');
  t.equal(await holder.tryLock(), 'granted');
  const wait = other.lock();
  await cluster.untilWaiting(1);
  const { file } = (await cluster.locks())[0]!;
  await unlink(cluster.path(0, 'nameless'));

  await cluster.killBrick(home!);
  await cluster.startBricks();
  t.equal(await holder.read(0, 10), 'still here', 'after its brick was killed');
  await cluster.untilWaiting(1);

  const target = cluster.bricks.find((brick) => brick !== home)!;
  await cluster.moveFileId(file, target);
  t.equal(await holder.read(0, 10), 'still here', 'after it moved');
  t.equal(await holder.write(0, 'x'), 1);
  await cluster.killBrick(target);
  await cluster.startBricks();
  t.equal(await holder.read(0, 10), 'xtill here', 'after it moved and its new brick was killed');
  t.notOk(wait.isGranted);
  await holder.kill();
  await wait.over;
  t.ok(wait.isGranted, 'its waiter is granted');
  t.equal(await files(), withIt);
  await other.close();
  await until('it is deleted at its last close', async () => (await files()) === withIt - 1);
});
