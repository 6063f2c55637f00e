/** One seed is one course: the same hash and the same trace, whatever else this process did before. */
import t from 'tap';
import { simulate } from './simulation.js';

t.test('one seed gives one trace, byte for byte', async (t) => {
  // The last of them has mounts that change their graphs.
  for (const seed of [7, 8, 9, 67]) {
    const first = await simulate({ seed });
    const second = await simulate({ seed });
    t.equal(second.hash, first.hash, `seed ${seed}: the hash`);
    t.equal(second.events, first.events, `seed ${seed}: the number of events`);
    const traced = await simulate({ seed, keepsLines: true });
    const again = await simulate({ seed, keepsLines: true });
    t.equal(traced.hash, first.hash, `seed ${seed}: writing the trace changes nothing`);
    t.equal(again.lines.join('\n'), traced.lines.join('\n'), `seed ${seed}: the trace`);
  }
});

t.test('different seeds take different courses', async (t) => {
  const [first, second] = [await simulate({ seed: 1 }), await simulate({ seed: 2 })];
  t.not(first.hash, second.hash);
});
