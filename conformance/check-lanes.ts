/** All checks in a few lanes at once, for tests: most of a check's time is watching that nothing happens. */
import type { CheckResult } from './check.js';
import { checksNamed, type RunOptions, runChecks } from './run-checks.js';

const lanes = 4;

/** @returns the results in the order of their names' list */
export async function checkAll(options: Omit<RunOptions, 'names'>): Promise<CheckResult[]> {
  const names = checksNamed([]);
  const results: CheckResult[] = [];
  const run = async (lane: number): Promise<void> => {
    const own = names.filter((_, at) => at % lanes === lane);
    for await (const result of runChecks({ ...options, names: own })) results.push(result);
  };
  await Promise.all(Array.from({ length: lanes }, (_, lane) => run(lane)));
  return results.sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name));
}
