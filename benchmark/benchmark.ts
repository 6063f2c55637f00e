/**
 * `npm run benchmark`: Lockferry beside the local filesystem, a null FUSE filesystem and fuse-native.
 *
 * Decides in which order rounds run (in turn, one after the other, all filesystems alive at the same time) and what
 * is said. It judges no time: a slow machine fails nothing. Fails where a filesystem did other work than the rest.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { untilSignal } from '../bin/signals.js';
import { formatTable } from '../bin/table.js';
import {
  type Contestant,
  type ContestantName,
  contestants,
  describeMachine,
  type Running,
  Unavailable,
} from './contestants.js';
import { CannotDo, type Round, runLoad, type Work, works } from './load.js';
import { lockTableName, measureLockTable } from './lock-table-cost.js';
import { type Blank, cellsOf, hashLine, headings, isBlank, type Row, rowOf } from './summary.js';

export interface Options {
  readonly only?: string | undefined;
  readonly smoke: boolean;
  /** Called with a line for people on what is being done. */
  readonly onStep: (line: string) => void;
  /** Ends the run after the round that is under way. */
  readonly stopped?: () => boolean;
}

export interface Report {
  readonly machine: string;
  readonly rows: readonly (Row | Blank)[];
  /** For each work, the hash of what was done. */
  readonly hashes: readonly string[];
  readonly sameWork: boolean;
}

const floorName: ContestantName = 'null-fuse';
const smokeRounds = 1;

interface Entered {
  readonly contestant: Contestant;
  readonly running: Running | undefined;
  readonly reason: string | undefined;
}

async function enter(contestant: Contestant, top: string): Promise<Entered> {
  const folder = join(top, contestant.name);
  mkdirSync(folder);
  try {
    return { contestant, running: await contestant.start(folder), reason: undefined };
  } catch (error) {
    // The product itself must come up; a rival need not.
    if (contestant.name === 'lockferry' && !(error instanceof Unavailable)) throw error;
    return { contestant, running: undefined, reason: (error as Error).message };
  }
}

/** All filesystems in turn, round by round: what disturbs the machine disturbs all of them alike. */
async function measure(work: Work, entered: readonly Entered[], options: Options): Promise<(Row | Blank)[]> {
  const rounds = new Map<ContestantName, Round[]>();
  const blanks = new Map<ContestantName, string>();
  const count = options.smoke ? work.smokeCount : work.count;
  for (let round = 0; round < (options.smoke ? smokeRounds : work.rounds); round++) {
    if (options.stopped?.()) break;
    for (const { contestant, running, reason } of entered) {
      const { name } = contestant;
      if (running === undefined) blanks.set(name, reason ?? '');
      if (running === undefined || blanks.has(name)) continue;
      try {
        const done = await runLoad(work, count, running.folder);
        rounds.set(name, [...(rounds.get(name) ?? []), done]);
      } catch (error) {
        if (!(error instanceof CannotDo)) throw error;
        blanks.set(name, error.message);
      }
    }
  }
  return entered.map(({ contestant: { name } }) => {
    const reason = blanks.get(name);
    if (reason !== undefined) return { work: work.name, filesystem: name, reason };
    return rowOf(
      work,
      name,
      rounds.get(name) ?? [],
      blanks.has(floorName) ? undefined : rounds.get(floorName),
    );
  });
}

/** Everything that was started is ended, whatever fails. */
export async function runBenchmark(options: Options): Promise<Report> {
  const top = mkdtempSync(join(tmpdir(), 'lf-benchmark-'));
  const entered: Entered[] = [];
  const rows: (Row | Blank)[] = [];
  const hashes: string[] = [];
  try {
    for (const contestant of contestants) {
      options.onStep(`starting: ${contestant.title}`);
      entered.push(await enter(contestant, top));
    }
    for (const work of works) {
      if (options.only !== undefined && options.only !== work.name) continue;
      options.onStep(work.title);
      const measured = await measure(work, entered, options);
      rows.push(...measured);
      hashes.push(hashLine(work, measured));
    }
  } finally {
    for (const { running } of entered.reverse()) await running?.end();
    rmSync(top, { recursive: true, force: true });
  }
  const sameWork = !hashes.some((line) => line.includes('DIFFERENT'));
  return { machine: describeMachine(availableParallelism()), rows, hashes, sameWork };
}

function print(report: Report): void {
  console.log(report.machine);
  for (const work of works) {
    const rows = report.rows.filter((row) => row.work === work.name);
    if (rows.length === 0) continue;
    const titles = new Map(contestants.map(({ name, title }) => [name, title]));
    console.log(`\n${work.title}`);
    console.log(
      formatTable(
        headings,
        rows.map((row) => cellsOf(row, titles.get(row.filesystem) ?? row.filesystem)),
      ),
    );
  }
  console.log(`\nwork done:\n${report.hashes.map((line) => `  ${line}`).join('\n')}`);
}

/** @returns the exit code */
export async function main(argv: readonly string[]): Promise<number> {
  const names = [...works.map((work) => work.name), lockTableName];
  const command = new Command('npm run benchmark --')
    .description('measure Lockferry beside the local filesystem, a null FUSE filesystem and fuse-native')
    .addOption(new Option('--only <name>', 'one work').choices(names))
    .option('--smoke', 'only show that it works: the numbers mean nothing', false)
    .option('--json', 'print JSON', false)
    .parse(argv, { from: 'user' });
  const { only, smoke, json } = command.opts<{ only?: string; smoke: boolean; json: boolean }>();
  if (only === lockTableName) {
    measureLockTable({ smoke, json });
    return 0;
  }
  let stopped = false;
  void untilSignal().then(() => {
    stopped = true;
  });
  const report = await runBenchmark({
    only,
    smoke,
    onStep: (line) => process.stderr.write(`benchmark: ${line}\n`),
    stopped: () => stopped,
  });
  if (json) console.log(JSON.stringify(report, undefined, 2));
  else print(report);
  const failed = report.rows.some((row) => row.filesystem === 'lockferry' && isBlank(row));
  return stopped || failed || !report.sameWork ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
