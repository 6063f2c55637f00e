/** What many runs come to: sums of what they did, and the seeds that failed. Decides nothing. */
import type { Violation } from './checks/violation.js';
import { stepColumns } from './faults.js';
import type { SimulationResult } from './simulation.js';

/** Of one run, small enough to be sent between threads. */
export interface RunSummary {
  readonly seed: number;
  readonly hash: string;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
  readonly events: number;
  readonly committed: number;
  readonly aborted: number;
  readonly refused: number;
  readonly holders: number;
  readonly waiters: number;
  readonly graphs: number;
  readonly freezeMsMax: number;
  readonly faults: readonly (readonly [what: string, times: number])[];
  readonly calls: readonly (readonly [what: string, times: number])[];
}

export const summaryOf = (result: SimulationResult): RunSummary => ({
  seed: result.seed,
  hash: result.hash,
  violations: result.violations,
  virtualMs: result.virtualMs,
  events: result.events,
  ...result.migrations,
  graphs: result.graphs,
  faults: [...result.faults],
  calls: [...result.calls],
});

export interface Totals {
  runs: number;
  failed: number[];
  virtualMs: number;
  events: number;
  committed: number;
  aborted: number;
  refused: number;
  holders: number;
  waiters: number;
  graphs: number;
  freezeMsMax: number;
  readonly faults: Map<string, number>;
  readonly calls: Map<string, number>;
}

export const noTotals = (): Totals => ({
  runs: 0,
  failed: [],
  virtualMs: 0,
  events: 0,
  committed: 0,
  aborted: 0,
  refused: 0,
  holders: 0,
  waiters: 0,
  graphs: 0,
  freezeMsMax: 0,
  faults: new Map(),
  calls: new Map(),
});

export function addRun(totals: Totals, run: RunSummary): void {
  totals.runs += 1;
  if (run.violations.length > 0) totals.failed.push(run.seed);
  for (const member of [
    'virtualMs',
    'events',
    'committed',
    'aborted',
    'refused',
    'holders',
    'waiters',
    'graphs',
  ] as const)
    totals[member] += run[member];
  totals.freezeMsMax = Math.max(totals.freezeMsMax, run.freezeMsMax);
  addCounts(totals.faults, run.faults);
  addCounts(totals.calls, run.calls);
}

function addCounts(counts: Map<string, number>, more: RunSummary['faults']): void {
  for (const [what, times] of more) counts.set(what, (counts.get(what) ?? 0) + times);
}

/** `source copy: target crashed` and the like, as rows: step, then how often each party was hit at it. */
export function faultsByStep(totals: Totals): { step: string; times: number[] }[] {
  const columns: readonly string[] = stepColumns;
  const rows = new Map<string, number[]>();
  for (const [what, times] of totals.faults) {
    const [step, how] = what.split(': ');
    const column = columns.indexOf(how ?? '');
    if (step === undefined || column < 0) continue;
    const row = rows.get(step) ?? columns.map(() => 0);
    row[column] = times;
    rows.set(step, row);
  }
  const order = [
    'prepare',
    'staged',
    'copy',
    'freeze',
    'handover',
    'ready',
    'committed',
    'open',
    'opened',
    'tidied',
  ];
  const placeOf = (step: string): number => {
    const at = order.indexOf(step.split(' ')[1] ?? '');
    return at < 0 ? order.length : at;
  };
  return [...rows]
    .map(([step, times]) => ({ step, times }))
    .sort((a, b) => placeOf(a.step) - placeOf(b.step) || (a.step < b.step ? -1 : 1));
}

/** Faults that were not tied to a step. */
export const otherFaults = (totals: Totals): [string, number][] =>
  [...totals.faults].filter(([what]) => !what.includes(': ')).sort(([a], [b]) => (a < b ? -1 : 1));
