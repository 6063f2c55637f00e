/**
 * From rounds to the rows of the table. The middle of many rounds, and ratios within one round: what disturbed the
 * machine for a while disturbed the floor and the rest alike. Pure; called by benchmark.ts.
 */
import type { ContestantName } from './contestants.js';
import type { Round, Work } from './load.js';

export interface Row {
  readonly work: string;
  readonly filesystem: ContestantName;
  readonly medianUs: number;
  readonly p99Us: number;
  readonly operationsPerSecond: number | undefined;
  readonly megabytesPerSecond: number | undefined;
  /** Median over the rounds of this median divided by the floor's of the same round. */
  readonly timesFloor: number | undefined;
  readonly hash: string;
}

/** There are no numbers, and this is why. */
export interface Blank {
  readonly work: string;
  readonly filesystem: ContestantName;
  readonly reason: string;
}

/** @param sorted ascending */
export const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;

export const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

/** @param floor rounds of the floor, each beside the round of the same place in `rounds` */
export function rowOf(
  work: Work,
  filesystem: ContestantName,
  rounds: readonly Round[],
  floor: readonly Round[] | undefined,
): Row | Blank {
  const hashes = new Set(rounds.map((round) => round.hash));
  const [hash] = hashes;
  if (hash === undefined || hashes.size > 1)
    return { work: work.name, filesystem, reason: 'its rounds did not all do the same work' };
  const all = rounds.flatMap((round) => round.ns).sort((a, b) => a - b);
  const perSecond = median(rounds.map(({ ns, wallNs }) => ns.length / (wallNs / 1e9)));
  const ratios = rounds.flatMap(({ ns }, at) => {
    const beside = floor?.[at];
    return beside === undefined ? [] : [quantile(ns, 0.5) / quantile(beside.ns, 0.5)];
  });
  // The wall clock of the bulk works also holds what the load does between requests; the requests alone count.
  const requestSeconds = median(
    rounds.map(({ ns }) => ns.reduce((sum, one) => sum + one, 0) / 1e9 / ns.length),
  );
  return {
    work: work.name,
    filesystem,
    medianUs: quantile(all, 0.5) / 1000,
    p99Us: quantile(all, 0.99) / 1000,
    operationsPerSecond: work.isPaced ? undefined : perSecond,
    megabytesPerSecond: work.bytes === undefined ? undefined : work.bytes / 1e6 / requestSeconds,
    timesFloor: ratios.length === 0 ? undefined : median(ratios),
    hash,
  };
}

export const isBlank = (row: Row | Blank): row is Blank => 'reason' in row;

const micros = (us: number): string => (us < 100 ? us.toFixed(1) : us.toFixed(0));
const rate = ({ megabytesPerSecond, operationsPerSecond }: Row): string => {
  if (megabytesPerSecond !== undefined) return `${megabytesPerSecond.toFixed(0)} MB/s`;
  return operationsPerSecond === undefined ? '' : `${operationsPerSecond.toFixed(0)}/s`;
};

export const headings = ['filesystem', 'median µs', 'p99 µs', 'rate', 'times the floor'] as const;

export function cellsOf(row: Row | Blank, title: string): string[] {
  if (isBlank(row)) return [title, '-', '-', '-', row.reason];
  const { medianUs, p99Us, timesFloor } = row;
  return [
    title,
    micros(medianUs),
    micros(p99Us),
    rate(row),
    timesFloor === undefined ? '' : timesFloor.toFixed(2),
  ];
}

/** One line for each work: its hash, or that the filesystems did not do the same. */
export function hashLine(work: Work, rows: readonly (Row | Blank)[]): string {
  const hashes = new Map<string, ContestantName[]>();
  for (const row of rows) {
    if (isBlank(row)) continue;
    hashes.set(row.hash, [...(hashes.get(row.hash) ?? []), row.filesystem]);
  }
  if (hashes.size <= 1) return `${work.name} ${[...hashes.keys()][0] ?? 'not done'}`;
  const told = [...hashes].map(([hash, names]) => `${hash} (${names.join(', ')})`);
  return `${work.name} DIFFERENT WORK: ${told.join(', ')}`;
}
