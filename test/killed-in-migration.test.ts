/**
 * The source, the target, or both die by SIGKILL at any moment of a move while the file is written, held and waited
 * for. When they are back there is one home, the same holders and waiters in the same order, and every write that
 * was acknowledged.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { BrickName } from '../wire/ids.js';
import { Cluster, skipReason, until } from './cluster.js';
import { Scene } from './scene.js';

t.setTimeout(240_000);

const fileBytes = 12 * 1024 * 1024;
/** Rounds of each kind; more with LOCKFERRY_KILLS, to hunt. */
const rounds = Number(process.env.LOCKFERRY_KILLS ?? 4);

t.test('bricks that are killed during a move', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const scene = await Scene.start(cluster, 'moving', fileBytes);
  const victims: Record<string, (source: BrickName, target: BrickName) => BrickName[]> = {
    source: (source) => [source],
    target: (_source, target) => [target],
    'source and target': (source, target) => [source, target],
  };
  for (const [who, of] of Object.entries(victims)) {
    for (let round = 0; round < rounds; round++) {
      const [source] = await cluster.homesOf('moving');
      const target = cluster.bricks[(cluster.bricks.indexOf(source!) + 1) % 3]!;
      const reports = async () => (await cluster.status()).flatMap((brick) => brick.migrations);
      const before = (await reports()).length;
      let isDecided = false;
      const move = cluster.migrate('moving', target).then(
        () => 'moved',
        (error: Error) => error.message,
      );
      void move.then(() => {
        isDecided = true;
      });
      await until('the move begins', async () => isDecided || (await reports()).length > before);
      const waitMs = Math.floor(Math.random() * 250);
      await sleep(waitMs);
      const phase = (await Promise.race([reports(), sleep(50).then(() => [])])).at(-1)?.phase ?? 'unknown';
      await Promise.all(of(source!, target).map((brick) => cluster.killBrick(brick)));
      await cluster.startBricks();
      const when = `after ${who} was killed at ${phase}, ${waitMs} ms`;
      await scene.isIntact(t, when);
      t.comment(`${when}: ${await move}; now at ${await cluster.homesOf('moving')}`);
    }
  }
  for (const target of cluster.bricks) {
    if ((await cluster.homesOf('moving'))[0] !== target) await cluster.migrate('moving', target);
    t.same(await cluster.homesOf('moving'), [target]);
  }
  await scene.finish(t);
});
