/**
 * The rows of the design mail about requests that arrive while a file is meta-locked: each waits for the meta-unlock,
 * then is redirected (committed) or carried out where it is (aborted). Each row is played in both ways.
 */
import { scenario } from './scenario.js';

scenario('a new lock request while meta-locked waits, and is decided at the target', async (s, t) => {
  const other = await s.actorOn('mount-2');
  const asked = s.from('source', 'freeze', () => other.tryLock(200n, 299n));
  const refused = s.from('source', 'freeze', () => other.tryLock());
  const report = await s.move();
  t.equal(report?.phase, 'tidied');
  t.ok(report!.parked >= 1, 'it was parked');
  t.ok(await asked, 'free bytes are granted');
  t.notOk(await refused, 'held bytes are refused: the holder moved too');
  await other.close();
  await s.endsWell(t, [s.target]);
});

scenario('a new lock request while meta-locked runs at the source after an abort', async (s, t) => {
  const other = await s.actorOn('mount-2');
  const asked = s.from('source', 'freeze', () => other.tryLock(200n, 299n));
  s.at('source', 'handover', () => s.crash(s.target, 100));
  t.equal((await s.move())?.phase, 'aborted');
  t.ok(await asked);
  await other.close();
  await s.endsWell(t, [s.source]);
});

scenario('an unlock while meta-locked frees the lock at the target, and the waiter gets it', async (s, t) => {
  const unlocked = s.from('source', 'freeze', () => s.holder.unlock());
  t.equal((await s.move())?.phase, 'tidied');
  await unlocked;
  await s.granted;
  t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
});

scenario('an unlock while meta-locked runs at the source after an abort', async (s, t) => {
  const unlocked = s.from('source', 'freeze', () => s.holder.unlock());
  s.at('source', 'handover', () => s.crash(s.target, 100));
  t.equal((await s.move())?.phase, 'aborted');
  await unlocked;
  await s.granted;
  t.same(await s.table(), [`held by mount-2 at ${s.source}`]);
});

scenario(
  'flush (close) during the freeze: no lock is resurrected at the target, no waiter is lost',
  async (s, t) => {
    const closed = s.from('source', 'freeze', () => s.holder.close());
    t.equal((await s.move())?.phase, 'tidied');
    await closed;
    await s.granted;
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
);

scenario('flush (close) during a freeze that is aborted drops the lock at the source', async (s, t) => {
  const closed = s.from('source', 'freeze', () => s.holder.close());
  s.at('source', 'handover', () => s.crash(s.target, 100));
  t.equal((await s.move())?.phase, 'aborted');
  await closed;
  await s.granted;
  t.same(await s.table(), [`held by mount-2 at ${s.source}`]);
});

scenario('F_GETLK while meta-locked is answered from the table that moved', async (s, t) => {
  const other = await s.actorOn('mount-2');
  const seen = s.from('source', 'freeze', () => other.seesItFree());
  t.equal((await s.move())?.phase, 'tidied');
  t.notOk(await seen, 'the holder is seen');
  await s.endsWell(t, [s.target]);
});

scenario('F_GETLK while meta-locked is answered at the source after an abort', async (s, t) => {
  const other = await s.actorOn('mount-2');
  const seen = s.from('source', 'freeze', () => other.seesItFree());
  s.at('source', 'handover', () => s.crash(s.target, 100));
  t.equal((await s.move())?.phase, 'aborted');
  t.notOk(await seen, 'the holder is seen');
  await s.endsWell(t, [s.source]);
});

for (const outcome of ['tidied', 'aborted'] as const)
  scenario(`requests while meta-locked are carried out in arrival order: ${outcome}`, async (s, t) => {
    const [first, second] = [await s.actorOn('mount-2'), await s.actorOn('mount-2')];
    // Both want the bytes that the holder gives back in between.
    const refused = s.from('source', 'freeze', () => first.tryLock());
    const unlocked = s.from('source', 'freeze', async () => {
      await s.pass(0.3);
      await s.holder.unlock();
    });
    if (outcome === 'aborted') s.at('source', 'handover', () => s.crash(s.target, 100));
    t.equal((await s.move())?.phase, outcome);
    t.notOk(await refused, 'asked before the unlock: refused');
    await unlocked;
    await s.granted;
    t.notOk(await second.tryLock(), 'the waiter was there before');
    t.same(await s.table(), [`held by mount-2 at ${s.home[0]}`]);
  });

scenario('an unlock that arrives at the source after the commit is redirected, never lost', async (s, t) => {
  const unlocked = s.from('source', 'committed', () => s.holder.unlock());
  await s.move();
  await unlocked;
  await s.granted;
  t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
});

scenario('a flush that arrives at the source after the commit is redirected, never lost', async (s, t) => {
  const closed = s.from('source', 'committed', () => s.holder.close());
  await s.move();
  await closed;
  await s.granted;
  t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
});

scenario('a freeze that takes longer than its budget is aborted, and what waited goes on', async (s, t) => {
  const asked = s.from('source', 'freeze', () => s.holder.unlock());
  s.at('source', 'handover', () => s.cluster.network.partition(s.source, s.target));
  const moving = s.move();
  await asked;
  await s.granted;
  t.same(s.home, [s.source]);
  s.cluster.network.heal();
  const report = await moving;
  t.equal(report?.phase, 'aborted');
  t.ok(report!.freezeUs <= 260_000, `the freeze took ${report!.freezeUs / 1000} ms`);
  await s.settle();
});
