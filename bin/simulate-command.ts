/**
 * `lockferry simulate`: whole clusters in virtual time, one from each seed, in as many threads as there are
 * processors. Prints the first seed first, a table of what was done at the end, and for a seed that failed its trace
 * and the command that runs it again.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Command } from 'commander';
import { stepColumns } from '../simulator/faults.js';
import {
  addRun,
  faultsByStep,
  noTotals,
  otherFaults,
  type RunSummary,
  type Totals,
} from '../simulator/report.js';
import { simulate } from '../simulator/simulation.js';
import { Failure } from './failure.js';
import { formatJson, formatMs, formatTable } from './table.js';

interface Options {
  readonly seeds?: string;
  readonly seed?: string;
  readonly minutes?: string;
  readonly json: boolean;
  readonly trace: boolean;
}

const seedsDefault = 200;
const traceLinesMax = 400;

function wholeNumber(text: string | undefined, name: string, from: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < from)
    throw new Failure('usage', `--${name} ${text} is not a whole number from ${from} on`, 'See --help');
  return value;
}

interface Plan {
  readonly first: number;
  /** Infinity: until the time is over. */
  readonly count: number;
  readonly untilMs: number;
}

/** Hands out seeds until there are no more, the time is over, or one failed. */
function runAll(plan: Plan, onRun: (run: RunSummary) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0;
    let hasFailed = false;
    let running = 0;
    const isOver = (): boolean => hasFailed || next >= plan.count || performance.now() > plan.untilMs;
    const give = (worker: Worker): void => {
      if (isOver()) {
        void worker.terminate();
        running -= 1;
        if (running === 0) resolve();
        return;
      }
      worker.postMessage(plan.first + next++);
    };
    const threads = Math.min(availableParallelism(), plan.count);
    for (let at = 0; at < threads; at++) {
      const worker = new Worker(new URL('./simulate-worker.js', import.meta.url));
      running += 1;
      worker.on('message', (run: RunSummary) => {
        if (run.violations.length > 0) hasFailed = true;
        onRun(run);
        give(worker);
      });
      worker.on('error', reject);
      give(worker);
    }
  });
}

function printTotals(totals: Totals, wallMs: number): void {
  const perSecond = Math.round((totals.runs / wallMs) * 1000);
  const rows: [string, string][] = [
    ['runs', `${totals.runs} (${totals.failed.length} failed)`],
    [
      'migrations',
      `${totals.committed} committed, ${totals.aborted} aborted, ${totals.refused} refused or cut short`,
    ],
    ['moved with them', `${totals.holders} locks, ${totals.waiters} waiters`],
    ['graphs changed', `${totals.graphs} times by some mount`],
    ['longest freeze', `${formatMs(totals.freezeMsMax)} (virtual)`],
    ['virtual time', `${(totals.virtualMs / 3_600_000).toFixed(1)} hours, ${totals.events} events`],
    ['wall time', `${(wallMs / 1000).toFixed(1)} s, ${perSecond} runs a second`],
  ];
  console.log(`\n${formatTable(['', ''], rows).trimStart()}`);
  console.log('\nFaults at the steps of migrations:\n');
  const steps = faultsByStep(totals).map(({ step, times }) => [step, ...times.map(String)]);
  console.log(formatTable(['step', ...stepColumns], steps));
  console.log('\nFaults in all:\n');
  console.log(
    formatTable(
      ['fault', 'times'],
      otherFaults(totals).map(([what, times]) => [what, String(times)]),
    ),
  );
}

async function printFailure(run: RunSummary): Promise<void> {
  console.log(`\nSeed ${run.seed} failed:`);
  for (const { check, atMs, text } of run.violations)
    console.log(`  ${atMs.toFixed(0)} ms  ${check}: ${text}`);
  const { lines } = await simulate({ seed: run.seed, keepsLines: true });
  console.log(`\nIts trace (the last ${Math.min(traceLinesMax, lines.length)} of ${lines.length} lines):\n`);
  console.log(lines.slice(-traceLinesMax).join('\n'));
  console.log(`\nOnce more, with all of it:  lockferry simulate --seed ${run.seed} --trace`);
}

async function simulateCommand(options: Options): Promise<void> {
  const seed = wholeNumber(options.seed, 'seed', 0);
  const seeds = wholeNumber(options.seeds, 'seeds', 1);
  const minutes = wholeNumber(options.minutes, 'minutes', 1);
  const first = seed ?? Math.floor(Math.random() * 2 ** 31);
  if (options.trace) {
    const result = await simulate({ seed: first, keepsLines: true });
    console.log(result.lines.join('\n'));
    for (const { check, text } of result.violations) console.log(`${check}: ${text}`);
    console.log(`seed ${first}, hash ${result.hash}`);
    if (result.violations.length > 0) process.exitCode = 1;
    return;
  }
  const usual = minutes !== undefined ? Number.POSITIVE_INFINITY : seed !== undefined ? 1 : seedsDefault;
  const count = seeds ?? usual;
  if (!options.json) console.log(`First seed: ${first}`);
  const begunMs = performance.now();
  const untilMs = minutes === undefined ? Number.POSITIVE_INFINITY : begunMs + minutes * 60_000;
  const totals = noTotals();
  const failures: RunSummary[] = [];
  await runAll({ first, count, untilMs }, (run) => {
    addRun(totals, run);
    if (run.violations.length > 0) failures.push(run);
  });
  const wallMs = performance.now() - begunMs;
  if (options.json) {
    const { faults, calls, ...sums } = totals;
    const counts = { faults: Object.fromEntries(faults), calls: Object.fromEntries(calls) };
    console.log(formatJson({ first, wallMs: Math.round(wallMs), ...sums, ...counts, failures }));
  } else {
    printTotals(totals, wallMs);
    for (const run of failures) await printFailure(run);
  }
  if (failures.length > 0) process.exitCode = 1;
}

export function addSimulateCommand(program: Command): void {
  program
    .command('simulate')
    .description('run whole clusters in virtual time with faults drawn from seeds, and check every invariant')
    .option('--seeds <n>', `how many seeds, one after the other (default: ${seedsDefault}, or 1 with --seed)`)
    .option('--seed <s>', 'the first seed (default: drawn)')
    .option('--minutes <m>', 'go on for so long')
    .option('--trace', 'run one seed and print all of its trace', false)
    .option('--json', 'print the sums and the failures as one object for programs', false)
    .addHelpText(
      'after',
      '\nExamples:\n  lockferry simulate --seeds 10000\n  lockferry simulate --seed 64 --trace\n  lockferry simulate --minutes 20 --json',
    )
    .action(simulateCommand);
}
