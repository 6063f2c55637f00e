/**
 * Files that lost their last name: they live as long as somebody has them open, and not longer.
 */
import { scenario } from './scenario.js';

scenario('a file whose removal the disk refused goes when the disk takes it', async (s, t) => {
  await s.waiter.process.kill();
  const other = s.mount('mount-2').kernel.startProcess();
  await other.unlink(s.name);
  const { disk } = s.cluster.brick(s.source);
  disk.isFull = true;
  await s.holder.close();
  await s.pass(2000);
  t.same(s.home, [s.source], 'it cannot go');
  disk.isFull = false;
  await s.pass(2000);
  t.same([s.home, await s.table()], [[], []], 'nothing of it is left');
});
