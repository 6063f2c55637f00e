/** How much garbage processes of different sizes may leave. */
import t from 'tap';
import { growthPercent } from './garbage.js';

const mib = 1024 * 1024;

t.test('a small process may leave 128 MiB of garbage, a large one what V8 allows', async (t) => {
  t.equal(growthPercent(8 * mib), 1600);
  t.equal(growthPercent(30 * mib), 400);
  t.equal(growthPercent(50 * mib), undefined);
  t.equal(growthPercent(4096 * mib), undefined);
});
