/**
 * Each cell of the failure column: every party dies at every step, and comes back. Whatever the outcome, one brick
 * answers for the file, the holder holds, the waiter keeps its place, nothing is left open, and nothing was lost.
 */
import type { BrickName } from '../../wire/ids.js';
import { type Scenario, type Step, scenario } from './scenario.js';

/** `before`: nothing is staged yet. */
type Home = 'before' | 'source' | 'target' | 'either';

/** Before the commit the file stays; after it, it goes. A crash in the very turn of a step comes before its effect. */
const sourceSteps: readonly (readonly [step: Step, home: Home])[] = [
  ['prepare', 'before'],
  ['copy', 'source'],
  ['freeze', 'source'],
  ['handover', 'source'],
  ['committed', 'target'],
  ['opened', 'target'],
  ['tidied', 'target'],
];
const targetSteps: readonly (readonly [step: Step, home: Home])[] = [
  ['staged', 'before'],
  ['ready', 'either'],
  ['open', 'target'],
];

for (const [side, steps] of [
  ['source', sourceSteps],
  ['target', targetSteps],
] as const)
  for (const [step, home] of steps)
    for (const party of ['source', 'target', 'migrator'] as const)
      scenario(`the ${party} dies when the ${side} is at ${step}`, async (s, t) => {
        s.at(side, step, () => {
          if (party === 'migrator') s.cluster.crashTool(s.tool);
          else s.crash(s[party], 300);
        });
        await s.move();
        await s.pass(1000);
        await s.endsWell(t, homesAfter(s, party, home));
      });

/** A migrator changes nothing. Whether the target's stage survives is told by the table; the source's record decides. */
function homesAfter(s: Scenario, party: 'source' | 'target' | 'migrator', home: Home): BrickName[] {
  if (party === 'migrator') return [s.target];
  if (home === 'either') return [s.source, s.target];
  // A target that is back before the source gave up is asked to prepare once more, and the move goes on.
  if (home === 'before' && party === 'target') return [s.source, s.target];
  return [home === 'target' ? s.target : s.source];
}

scenario('A to B to A: an old answer is never taken for a new one', async (s, t) => {
  const there = await s.move();
  const back = await s.move(s.source);
  t.equal(back?.phase, 'tidied');
  t.equal(back!.epoch, there!.epoch + 1, 'the second move has an epoch of its own');
  await s.endsWell(t, [s.source]);
});

scenario('a file moves on before its source was told that the target opened', async (s, t) => {
  s.at('target', 'open', () => s.crash(s.source, 500));
  const first = s.move();
  await s.pass(100);
  s.tool = await s.cluster.startTool('second');
  await s.move('brick-3' as BrickName);
  await first;
  await s.endsWell(t, ['brick-3' as BrickName]);
});

scenario('a target that restarts while its source is down serves its other files', async (s, t) => {
  const process = s.cluster.mounts.get('mount-1')!.kernel.startProcess();
  const { fd } = await s.makeFileAt(s.target, process, 'other');
  await process.lock(fd, { flavour: 'posix', type: 'write', wait: false });
  s.at('source', 'committed', () => {
    s.crash(s.target, 300);
    // The clients are told of the commit first.
    s.cluster.scheduler.after(20, () => s.crash(s.source, 8000));
  });
  const moving = s.move();
  await s.pass(1000);
  let isUnlocked = false;
  const unlocking = process.unlock(fd, { flavour: 'posix' }).then(() => {
    isUnlocked = true;
  });
  await s.pass(1000);
  t.ok(s.cluster.isBrickUp(s.target) && !s.cluster.isBrickUp(s.source));
  t.ok(isUnlocked, 'nobody waited for the source');
  await Promise.all([unlocking, moving]);
  await s.endsWell(t, [s.target]);
});

scenario('an open file without a name survives a restart of the brick that it moved to', async (s, t) => {
  await s.waiter.process.kill();
  const other = s.cluster.mounts.get('mount-2')!.kernel.startProcess();
  await other.unlink('file');
  t.equal((await s.move())?.phase, 'tidied');
  s.crash(s.target, 50);
  await s.pass(1000);
  t.equal(Buffer.from(await s.holder.process.read(s.holder.fd, 0, 11)).toString(), 'the content');
  t.same(await s.table(), [`held by mount-1 at ${s.target}`]);
  await s.holder.close();
  await s.pass(100);
  t.same([s.home, await s.table()], [[], []], 'the last close removes it');
});

scenario(
  'a client that was not told of the move keeps its file without a name over a restart of the target',
  async (s, t) => {
    await s.waiter.process.kill();
    const other = s.mount('mount-2').kernel.startProcess();
    await other.unlink(s.name);
    s.dropEvents('mount-1');
    t.equal((await s.move())?.phase, 'tidied');
    s.crash(s.target, 50);
    await s.pass(1000);
    // The first that the target hears of it is no reclaim, and says nothing of open handles.
    t.ok(await s.holder.seesItFree(), 'its own lock is not against it');
    await s.pass(100);
    t.equal(Buffer.from(await s.holder.process.read(s.holder.fd, 0, 11)).toString(), 'the content');
    t.same(await s.table(), [`held by mount-1 at ${s.target}`]);
    await s.holder.close();
    await s.pass(100);
    t.same([s.home, await s.table()], [[], []], 'the last close removes it');
  },
);
