/**
 * As many fresh seeds as fit into the time, beginning with one that the commit gives: every commit looks elsewhere,
 * and the same commit looks at the same seeds.
 */
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { simulate } from './simulation.js';

const seedsMax = 300;
const wallMsMax = 40_000;

function seedOfCommit(): number {
  try {
    const hash = execFileSync('git', ['rev-parse', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number.parseInt(hash.slice(0, 7), 16);
  } catch (error) {
    // Not a checkout, or no git: some seeds are better than none.
    if ((error as NodeJS.ErrnoException).code === undefined && !('status' in (error as object))) throw error;
    return 1;
  }
}

const first = seedOfCommit();

t.test(`fresh seeds from ${first} on`, { timeout: 4 * wallMsMax }, async (t) => {
  const begunMs = performance.now();
  let runs = 0;
  for (let seed = first; runs < seedsMax && performance.now() - begunMs < wallMsMax; seed++, runs++) {
    const { violations } = await simulate({ seed });
    if (violations.length === 0) continue;
    t.fail(
      `lockferry simulate --seed ${seed}: ${violations.map(({ check, text }) => `${check}: ${text}`).join('; ')}`,
    );
    return;
  }
  t.pass(`${runs} runs`);
});
