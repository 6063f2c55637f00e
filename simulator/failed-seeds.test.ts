/** Every seed that ever failed is replayed. */
import t from 'tap';
import { failedSeeds } from './failed-seeds.js';
import { simulate } from './simulation.js';

for (const [seed, found] of failedSeeds) {
  t.test(`seed ${seed}: ${found}`, async (t) => {
    const { violations } = await simulate({ seed });
    t.same(
      violations.map(({ check, text }) => `${check}: ${text}`),
      [],
    );
  });
}
