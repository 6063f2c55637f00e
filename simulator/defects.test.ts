/** The checks can fail: each planted defect is found, by the check of the invariant that it breaks, within a few seeds. */
import t from 'tap';
import { checkNames } from './checks/violation.js';
import { plantedDefects } from './defects.js';
import { simulate } from './simulation.js';

const seedsMax = 60;
/** A run with a defect may go on until its time is over. */
const wallMsMax = 180_000;

for (const { finds, what, plant } of plantedDefects) {
  t.test(`${finds}: ${what}`, { timeout: wallMsMax }, async (t) => {
    for (let seed = 1; seed <= seedsMax; seed++) {
      const { violations } = await simulate({ seed, defect: plant });
      if (!violations.some(({ check }) => check === finds)) continue;
      t.pass(`seed ${seed} finds it`);
      return;
    }
    t.fail(`${seedsMax} seeds did not find it`);
  });
}

t.test('there is one for each invariant', async (t) => {
  t.same(
    plantedDefects.map(({ finds }) => finds),
    checkNames.filter((name) => name !== 'no fault'),
  );
});
