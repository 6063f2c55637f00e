/** Invariant 7: at no time do two bricks answer for one file. */
import type { Homes } from '../homes.js';
import type { Violations } from './violation.js';

export function watchOneHome(homes: Homes, violations: Violations): void {
  homes.onMove((file, bricks) => {
    if (bricks.length > 1) violations.add('one home', `file ${file} is at ${bricks.join(' and ')}`);
  });
}
