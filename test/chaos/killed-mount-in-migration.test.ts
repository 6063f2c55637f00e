/**
 * A mount dies by SIGKILL while a file that its processes hold and wait for is on its way, and a process dies in the
 * very freeze. Whatever the moment: no lock of theirs comes back to life at the new home, and who waits on the other
 * mount is granted.
 */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { reachBricks } from '../../bin/tool-links.js';
import type { SourcePhase } from '../../wire/migration-steps.js';
import { Cluster, skipReason, until } from '../cluster.js';

t.setTimeout(300_000);
const graceMs = 1500;
const content = randomBytes(2 * 1024 * 1024);

/** Moves the file and does `what` as soon as the source came to `phase`, or past it. */
async function moveAnd(
  cluster: Cluster,
  name: string,
  phase: SourcePhase,
  what: () => void,
): Promise<string> {
  const order: readonly SourcePhase[] = [
    'prepare',
    'copy',
    'freeze',
    'handover',
    'committed',
    'opened',
    'tidied',
  ];
  const [source] = await cluster.homesOf(name);
  const target = cluster.bricks.find((brick) => brick !== source)!;
  const reached = await reachBricks(cluster.place, 'test');
  const { file } = (await cluster.locks()).find((lock) => lock.path === `/${name}`)!;
  let outcome: string | undefined;
  const move = cluster.moveFileId(file, target).then(
    () => 'moved',
    (error: Error) => error.message,
  );
  void move.then((text) => {
    outcome = text;
  });
  let seen: SourcePhase | undefined;
  while (outcome === undefined && (seen === undefined || order.indexOf(seen) < order.indexOf(phase))) {
    const { migrations } = await reached.links.get(source!)!.call('status', {});
    seen = migrations.findLast((one) => one.file === file)?.phase;
  }
  what();
  await reached.close();
  return `${await move}, at ${seen}`;
}

async function isLeftTo(t: Test, cluster: Cluster, name: string, pid: number): Promise<void> {
  await until(
    'one lock is left',
    async () => (await cluster.locks()).filter((l) => l.path === `/${name}`).length === 1,
  );
  t.match(await cluster.locks(), [{ path: `/${name}`, state: 'held', pid }]);
  t.ok((await readFile(cluster.path(1, name))).equals(content));
}

t.test('killed while a file moves', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { bricks: 2, mounts: 2, graceMs });
  for (const phase of ['copy', 'freeze', 'handover', 'committed', 'opened'] as const) {
    await t.test(`the process that holds, at ${phase}`, async (t) => {
      const name = `process-${phase}`;
      await writeFile(cluster.path(1, name), content);
      const holder = await cluster.opened(0, name);
      const next = await cluster.opened(1, name);
      t.equal(await holder.tryLock(), 'granted');
      const wait = next.lock();
      await until('it waits', async () => (await cluster.waiters()).length === 1);
      t.comment(await moveAnd(cluster, name, phase, () => void holder.kill()));
      await wait.over;
      t.ok(wait.isGranted);
      await isLeftTo(t, cluster, name, next.process.pid);
      await next.kill();
      await until('no lock', async () => (await cluster.locks()).length === 0);
    });
    await t.test(`the mount of holder and first waiter, at ${phase}`, async (t) => {
      const name = `mount-${phase}`;
      const at = cluster.mounts.length;
      const doomed = await cluster.mount();
      await writeFile(cluster.path(1, name), content);
      const holder = await cluster.opened(at, name);
      t.equal(await holder.tryLock(), 'granted');
      const stuck = (await cluster.opened(at, name)).lock();
      await until('the first waits', async () => (await cluster.waiters()).length === 1);
      const next = await cluster.opened(1, name);
      const wait = next.lock();
      await until('the second waits', async () => (await cluster.waiters()).length === 2);
      const killedAt = performance.now();
      t.comment(await moveAnd(cluster, name, phase, () => void doomed.kill()));
      await wait.over;
      t.ok(wait.isGranted);
      const afterMs = performance.now() - killedAt;
      t.ok(afterMs > graceMs - 100 && afterMs < 2 * graceMs + 4000, `after ${Math.round(afterMs)} ms`);
      await stuck.over;
      t.notOk(stuck.isGranted);
      await isLeftTo(t, cluster, name, next.process.pid);
      await next.kill();
      await until('no lock', async () => (await cluster.locks()).length === 0);
    });
  }
});
