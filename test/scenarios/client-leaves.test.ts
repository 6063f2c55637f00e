/** The rows of the design mail about clients that are lost while a file moves. */
import { scenario } from './scenario.js';

const graceMs = 1000;

scenario(
  'a client that disconnects before the copy leaves no lock to move',
  async (s, t) => {
    s.cluster.crashMount('mount-1');
    await s.granted;
    const report = await s.move();
    t.equal(report?.phase, 'tidied');
    t.equal(report!.holders, 1, 'only the one that was granted since');
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs },
);

for (const step of ['copy', 'freeze', 'handover', 'committed'] as const)
  scenario(
    `a client that dies at ${step} loses its locks where they are by then, and the waiter goes on`,
    async (s, t) => {
      s.at('source', step, () => s.cluster.crashMount('mount-1'));
      t.equal((await s.move())?.phase, 'tidied');
      await s.granted;
      await s.settle();
      t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
    },
    { graceMs },
  );

scenario(
  'a client that is fenced during the freeze is cleaned up where its locks are',
  async (s, t) => {
    s.cluster.crashMount('mount-1');
    await s.pass(graceMs - 12);
    const report = await s.move();
    t.ok(report?.phase === 'tidied' || report?.phase === 'aborted');
    await s.granted;
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.home[0]}`]);
  },
  { graceMs },
);

scenario(
  'a client that disconnects before meta-lock leaves no lock to move',
  async (s, t) => {
    // So that the copy takes long enough for a disconnect to be seen.
    Object.assign(s.cluster.brick(s.target).disk.speed, { writeMsMin: 4, writeMsMax: 5 });
    s.at('source', 'copy', () => s.cluster.crashMount('mount-1'));
    const report = await s.move();
    t.equal(report?.phase, 'tidied');
    t.same([report!.holders, report!.waiters], [1, 0], 'the waiter holds already, and nobody waits');
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs: 0 },
);

for (const outcome of ['tidied', 'aborted'] as const)
  scenario(
    `the cleanup of a client that disconnects just after meta-lock waits for meta-unlock: ${outcome}`,
    async (s, t) => {
      s.at('source', 'freeze', () => s.cluster.crashMount('mount-1'));
      if (outcome === 'aborted') s.at('source', 'handover', () => s.crash(s.target, 100));
      const report = await s.move();
      t.equal(report?.phase, outcome);
      t.ok(report!.parked >= 1, 'it waited');
      if (outcome === 'tidied') t.equal(report!.holders, 1, 'the lock of the client moved');
      await s.granted;
      await s.settle();
      t.same(await s.table(), [`held by mount-2 at ${s.home[0]}`], 'and was dropped where it was by then');
    },
    { graceMs: 0 },
  );

scenario(
  'a client cut off from the source only: its operations there fail with ENOTCONN',
  async (s, t) => {
    s.cluster.network.partition('mount-1', s.source);
    await t.rejects(s.holder.process.write(s.holder.fd, 0, Buffer.from('x')), { message: /ENOTCONN/ });
    t.notOk(s.isGranted, 'its grace is not over');
    t.equal((await s.move())?.phase, 'tidied');
    await s.holder.closeAnyway();
    await s.granted;
    s.cluster.network.heal();
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs: 60_000 },
);

scenario(
  'a client cut off from the source only: its close drops the locks at the target',
  async (s, t) => {
    s.cluster.network.partition('mount-1', s.source);
    t.equal((await s.move())?.phase, 'tidied');
    const closed = s.holder.closeAnyway();
    await s.granted;
    await closed;
    s.cluster.network.heal();
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs: 3000 },
);
