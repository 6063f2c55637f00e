/** The rows of the design mail about clients that are lost while a file moves. */
import { SystemCallError } from '../../simulator/simulated-process.js';
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
  'a client cut off from the source only: its close drops the locks at the target',
  async (s, t) => {
    s.cluster.network.partition('mount-1', s.source);
    t.equal((await s.move())?.phase, 'tidied');
    const closed = s.holder.close().catch((error: unknown) => {
      // The process may be told that its brick was out of reach; the lock goes all the same.
      if (!(error instanceof SystemCallError)) throw error;
    });
    await s.granted;
    await closed;
    s.cluster.network.heal();
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs: 3000 },
);
