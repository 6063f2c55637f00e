/**
 * The source, the target, or both die by SIGKILL in every phase of a move while the file is written, held and waited
 * for. When they are back there is one home, the same holders and waiters in the same order, and every write that
 * was acknowledged.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { reachBricks } from '../../bin/tool-links.js';
import type { BrickName } from '../../wire/ids.js';
import type { SourcePhase } from '../../wire/migration-steps.js';
import { Cluster, skipReason } from '../cluster.js';
import { Scene } from '../scene.js';

t.setTimeout(300_000);

const fileBytes = 3 * 1024 * 1024;
/** How often each party is killed in each phase; more, to hunt, with LOCKFERRY_KILLS. */
const rounds = Number(process.env.LOCKFERRY_KILLS ?? 1);
const phases: readonly SourcePhase[] = ['copy', 'freeze', 'handover', 'committed', 'opened'];
const victims: Record<string, (source: BrickName, target: BrickName) => BrickName[]> = {
  'the source': (source) => [source],
  'the target': (_source, target) => [target],
  'source and target': (source, target) => [source, target],
};

/** Starts a move and kills when its source says that it came to `phase`, or past it. Answers what it said last. */
async function killAt(
  cluster: Cluster,
  name: string,
  phase: SourcePhase,
  whom: (source: BrickName, target: BrickName) => BrickName[],
): Promise<string> {
  const [source] = await cluster.homesOf(name);
  const target = cluster.bricks[(cluster.bricks.indexOf(source!) + 1) % cluster.bricks.length]!;
  const reached = await reachBricks(cluster.place, 'test');
  const link = reached.links.get(source!)!;
  const known = new Set((await link.call('status', {})).migrations.map((move) => move.migration));
  let outcome: string | undefined;
  const move = cluster.migrate(name, target).then(
    () => 'moved',
    (error: Error) => error.message,
  );
  void move.then((text) => {
    outcome = text;
  });
  let seen: SourcePhase | undefined;
  const passed: readonly SourcePhase[] = [...phases.slice(phases.indexOf(phase)), 'tidied', 'aborted'];
  while (outcome === undefined && (seen === undefined || !passed.includes(seen))) {
    const { migrations } = await link.call('status', {});
    seen = migrations.find(({ migration }) => !known.has(migration))?.phase;
  }
  // Somewhere in the phase, not always at its first moment.
  if (Math.random() < 0.5) await sleep(Math.random() * 4);
  await Promise.all(whom(source!, target).map((brick) => cluster.killBrick(brick)));
  await cluster.startBricks();
  await reached.close();
  return `${source} > ${target} at ${seen}: ${await move}`;
}

t.test('bricks that are killed during a move', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const scene = await Scene.start(cluster, 'moving', fileBytes);
  for (let round = 0; round < rounds; round++)
    for (const [who, whom] of Object.entries(victims))
      for (const phase of phases) {
        const what = await killAt(cluster, 'moving', phase, whom);
        t.comment(`${who}, ${what}`);
        await scene.isIntact(t, `after ${who} was killed, ${what}`);
      }
  for (const target of cluster.bricks) {
    await cluster.migrate('moving', target);
    t.same(await cluster.homesOf('moving'), [target]);
  }
  await scene.finish(t);
});
