/**
 * A brick dies by SIGKILL. Started again, it has what was acknowledged, and its clients tell it who holds and who
 * waits, so no process loses a lock or its place. While it is away, what needs it fails with a clear error in the
 * end, and what does not need it goes on.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import t from 'tap';
import { reconnectMsDefault } from '../../wire/limits.js';
import { Cluster, skipReason, until } from '../cluster.js';
import { errnoOf } from '../opened-file.js';
import { Scene } from '../scene.js';

t.setTimeout(300_000);

t.test('a brick that is killed and started again', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);

  await t.test('holders hold, waiters keep their order, writes are there', async (t) => {
    const scene = await Scene.start(cluster, 'busy', 300_000);
    const [home] = await cluster.homesOf('busy');
    for (const time of ['once', 'twice', 'three times']) {
      await scene.writesOn();
      await cluster.killBrick(home!);
      await cluster.startBricks();
      await scene.isIntact(t, `after the brick was killed ${time}`);
    }
    for (const brick of cluster.bricks) await cluster.killBrick(brick);
    await cluster.startBricks();
    await scene.isIntact(t, 'after all bricks were killed');
    await scene.finish(t);
  });

  await t.test('a name is made once, also when its brick dies before it answers', async (t) => {
    const made: string[] = [];
    let isOver = false;
    const making = (async () => {
      for (let at = 0; !isOver; at++) {
        const name = `made-${at}`;
        await writeFile(cluster.path(at % 2, name), name, { flag: 'wx' });
        made.push(name);
      }
    })();
    for (let kill = 0; kill < 3; kill++) {
      const before = made.length;
      await until('some names', () => made.length > before + 5);
      await cluster.killBrick(cluster.bricks[kill]!);
      await cluster.startBricks();
    }
    isOver = true;
    await making;
    const listed = (await readdir(cluster.mounts[1]!.point)).filter((name) => name.startsWith('made-'));
    t.same(listed.sort(), [...made].sort());
    for (const name of made) t.equal(await readFile(cluster.path(0, name), 'utf8'), name);
  });

  await t.test('while it is away: a clear error, and the other bricks go on', async (t) => {
    await writeFile(cluster.path(0, 'away'), 'x'.repeat(100));
    await cluster.migrate('away', 'brick-2' as Cluster['bricks'][number]).catch(() => undefined);
    await writeFile(cluster.path(0, 'elsewhere'), 'y');
    const target = cluster.bricks[0]!;
    if ((await cluster.homesOf('elsewhere'))[0] !== target) await cluster.migrate('elsewhere', target);
    const holder = await cluster.opened(0, 'away');
    const waiter = await cluster.opened(1, 'away');
    const other = await cluster.opened(1, 'elsewhere');
    t.equal(await holder.tryLock(), 'granted');
    const wait = waiter.lock();
    await cluster.untilWaiting(1);

    const [away] = await cluster.homesOf('away');
    await cluster.killBrick(away!);
    const began = performance.now();
    const failing = Promise.all([errnoOf(holder.write(0, 'late')), wait.over]);
    for (let at = 0; at < 20; at++) {
      t.equal(await other.tryLock('posix', 'write', { start: BigInt(at), length: 1n }), 'granted');
      await other.write(at, 'z');
    }
    const lastedMs = performance.now() - began;
    t.ok(lastedMs < reconnectMsDefault / 2, `20 locks and writes elsewhere took ${Math.round(lastedMs)} ms`);
    const [error] = await failing;
    t.equal(error, 'ENOTCONN');
    t.equal(wait.error, 'ENOTCONN', 'also for the one that waited');
    const tookMs = performance.now() - began;
    t.ok(tookMs < reconnectMsDefault + 3000, `it took ${Math.round(tookMs)} ms`);
    const soon = performance.now();
    t.equal(await errnoOf(waiter.read(0, 10)), 'ENOTCONN');
    t.ok(performance.now() - soon < 1000, 'and then at once');

    await cluster.startBricks();
    t.equal(await waiter.tryLock(), 'refused', 'the holder still holds');
    t.equal(await errnoOf(holder.write(0, 'again')), '5');
    t.same((await cluster.locks()).filter((lock) => lock.path === '/away').length, 1, 'and nobody waits');
    await holder.close();
    t.equal(await waiter.tryLock(), 'granted');
    t.match(await waiter.read(0, 6), /^againx/);
  });
});
