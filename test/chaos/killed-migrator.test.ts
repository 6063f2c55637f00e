/**
 * The process that asked for a move dies by SIGKILL at any moment of it. Nothing hangs on it: the source finishes or
 * aborts alone, holders and waiters notice nothing, and the next move works.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { cliPath } from '../../bin/brick-processes.js';
import { Cluster, skipReason, until } from '../cluster.js';
import { Scene } from '../scene.js';

t.setTimeout(300_000);

const kills = 5;
const fileBytes = 24 * 1024 * 1024;

t.test('a migrator that is killed', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const scene = await Scene.start(cluster, 'moving', fileBytes);
  const phases = async (): Promise<string[]> =>
    (await cluster.status()).flatMap((brick) => brick.migrations).map((move) => move.phase);
  const isOver = (phase: string): boolean => phase === 'tidied' || phase === 'aborted';

  for (let kill = 0; kill < kills; kill++) {
    const [home] = await cluster.homesOf('moving');
    const target = cluster.bricks[(cluster.bricks.indexOf(home!) + 1) % 3]!;
    const before = (await phases()).length;
    const args = [cliPath, 'migrate', cluster.place.folder, 'moving', '--to', target];
    const migrator = spawn(process.execPath, args, { stdio: 'ignore' });
    const ended = once(migrator, 'close');
    // Killed when the move has begun, a little later each time: from the first chunk to after the end.
    await until(
      'the move begins',
      async () => migrator.exitCode !== null || (await phases()).length > before,
    );
    await sleep(kill * 45);
    migrator.kill('SIGKILL');
    await ended;
    await until('the move ends by itself', async () => (await phases()).every(isOver));
    const { length, [length - 1]: last } = await phases();
    t.comment(`kill ${kill + 1}: ${last}`);
    await scene.isIntact(t, `after kill ${kill + 1}`);
  }
  for (const target of cluster.bricks) {
    await cluster.migrate('moving', target);
    t.same(await cluster.homesOf('moving'), [target], `a move to ${target} works`);
  }
  await scene.finish(t);
});
