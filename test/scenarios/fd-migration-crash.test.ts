/**
 * A mount changes its graph while its file moves, and every party dies at every step of either. Whatever the outcome,
 * the locks are those of the mount's processes, under one client, and nobody lost a place.
 */
import type { BrickName } from '../../wire/ids.js';
import type { Op } from '../../wire/messages.js';
import { type Scenario, type Step, scenario } from './scenario.js';

const graceMs = 2000;

/** As `endsWell`, and nothing is left of the old graph. */
async function endsChanged(s: Scenario, t: Parameters<Scenario['endsWell']>[0], homes: readonly BrickName[]) {
  await s.settle();
  const { kernel, volume } = s.mount('mount-1');
  t.not(volume.client, kernel.client, 'the mount has another graph');
  t.equal((await s.clients())[0], volume.client, 'the lock is of the new graph');
  await s.endsWell(t, homes);
}

for (const [side, steps] of [
  ['source', ['prepare', 'copy', 'freeze', 'handover', 'committed', 'opened', 'tidied']],
  ['target', ['staged', 'ready', 'open']],
] as const)
  for (const step of steps as readonly Step[])
    for (const party of ['source', 'target', 'migrator'] as const)
      scenario(`a graph changes while the ${party} dies when the ${side} is at ${step}`, async (s, t) => {
        const setxattr = s.holdBack('writeLockinfo');
        const changed = s.changeGraph();
        await setxattr.sent;
        s.at(side, step, () => {
          setxattr.letPass();
          if (party === 'migrator') s.cluster.crashTool(s.tool);
          else s.crash(s[party], 300);
        });
        await s.move();
        await changed;
        await endsChanged(s, t, [s.source, s.target]);
      });

for (const [op, what] of [
  ['hello', 'the new graph greets it'],
  ['readLockinfo', 'lockinfo is read'],
  ['writeLockinfo', 'lockinfo is written'],
  ['goodbye', 'the old graph leaves'],
] as readonly (readonly [Op, string])[]) {
  scenario(`the brick dies when ${what}`, async (s, t) => {
    const request = s.holdBack(op);
    const changed = s.changeGraph();
    await request.sent;
    s.crash(s.source, 300);
    request.letPass();
    await changed;
    await endsChanged(s, t, [s.source]);
  });

  scenario(
    `the mount dies when ${what}`,
    async (s, t) => {
      const request = s.holdBack(op);
      void s.changeGraph();
      await request.sent;
      s.cluster.crashMount('mount-1');
      request.letPass();
      await s.granted;
      await s.settle();
      t.same(await s.table(), [`held by mount-2 at ${s.source}`], 'neither client left a lock');
    },
    { graceMs },
  );
}

scenario('the brick dies when it has carried out the setxattr and not answered it', async (s, t) => {
  let isDone = false;
  s.onAnswer('writeLockinfo', () => {
    if (!isDone) s.crash(s.source, 300);
    isDone = true;
  });
  await s.changeGraph();
  t.ok(isDone);
  await endsChanged(s, t, [s.source]);
});

scenario(
  'the target dies after a setxattr that missed the migration: what the old client brought stays away',
  async (s, t) => {
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await setxattr.sent;
    t.equal((await s.move())?.phase, 'tidied');
    let isDone = false;
    s.onAnswer('writeLockinfo', () => {
      if (!isDone) s.cluster.scheduler.after(1, () => s.crash(s.target, 300));
      isDone = true;
    });
    setxattr.letPass();
    await changed;
    await s.pass(1000);
    t.ok(isDone);
    await endsChanged(s, t, [s.target]);
  },
);

scenario(
  'a mount that was fenced while it only had the file open takes its handles to the new graph',
  async (s, t) => {
    const reader = await s.actorOn('mount-3');
    await reader.process.unlink(s.name);
    s.cluster.network.partition('mount-3', s.source);
    await s.pass(3 * graceMs);
    const changed = s.changeGraph('mount-3');
    s.cluster.network.heal();
    await changed;
    await s.holder.closeAnyway();
    await s.granted;
    await s.waiter.close();
    await s.pass(100);
    t.equal(Buffer.from(await reader.process.read(reader.fd, 0, 11)).toString(), 'the content');
  },
  { graceMs },
);

scenario(
  'fd migration whose getxattr was redirected, and both bricks die before the setxattr is carried out',
  async (s, t) => {
    const getxattr = s.holdBack('readLockinfo');
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await getxattr.sent;
    t.equal((await s.move())?.phase, 'tidied');
    getxattr.letPass();
    await setxattr.sent;
    s.crash(s.source, 15_000);
    s.crash(s.target, 300);
    setxattr.letPass();
    await changed;
    await s.pass(20_000);
    await endsChanged(s, t, [s.target]);
  },
);

scenario('the answer to the setxattr is lost with its connection', async (s, t) => {
  let isLost = false;
  s.onAnswer('writeLockinfo', () => {
    if (!isLost) s.cluster.network.cut('mount-1', s.source);
    isLost = true;
  });
  await s.changeGraph();
  t.ok(isLost);
  await endsChanged(s, t, [s.source]);
});

scenario(
  'a mount that dies after fd migration loses the locks of its new graph, where they are',
  async (s, t) => {
    await s.changeGraph();
    s.at('source', 'freeze', () => s.cluster.crashMount('mount-1'));
    t.equal((await s.move())?.phase, 'tidied');
    await s.granted;
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs },
);

scenario(
  'a brick that is down when the graph changes is changed to when it is back',
  async (s, t) => {
    s.crash(s.source, 5000);
    await s.changeGraph();
    await endsChanged(s, t, [s.source]);
  },
  { graceMs },
);

scenario(
  'a mount that is cut off in the middle of fd migration for longer than the grace has lost its lock, and is told',
  async (s, t) => {
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await setxattr.sent;
    s.cluster.network.partition('mount-1', s.source);
    await s.granted;
    s.cluster.network.heal();
    setxattr.letPass();
    await changed;
    await t.rejects(s.holder.process.write(s.holder.fd, 0, Buffer.from('x')), { message: /EIO/ });
    await s.holder.close();
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.source}`]);
  },
  { graceMs },
);
