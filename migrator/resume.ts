/**
 * Finishes what other migrators left: waits for every move that is under way anywhere in the volume, and points the
 * names of moved files to where they are. Any migrator may do it at any time, also twice.
 *
 * The bricks' own records decide how each move ends (brick-store/migration-source.ts); this asks, and never tells.
 */
import type { DistributedVolume } from '../dht/distributed-volume.js';
import type { Clock } from '../host/clock.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { MigrationReport } from '../wire/messages.js';

export interface ResumeOptions {
  readonly links: ReadonlyMap<BrickName, BrickLink>;
  readonly volume: DistributedVolume;
  readonly clock: Clock;
  /** Called with each move that is under way, every time it is looked at. */
  readonly onProgress?: (report: MigrationReport) => void;
  readonly onWarning?: (text: string) => void;
}

const pollMs = 50;

/** A source still has something to do, or has to be told by its target. */
export const isOpen = ({ phase }: MigrationReport): boolean => phase !== 'tidied' && phase !== 'aborted';

/**
 * Resolves when no brick knows an open move: with the reports of those that were open when it began.
 * @throws Refusal ENOTCONN where a brick is away: its moves cannot be known
 */
export async function resumeMigrations(options: ResumeOptions): Promise<MigrationReport[]> {
  const seen = new Map<string, MigrationReport>();
  for (let isFirst = true; ; isFirst = false) {
    const reports = await allReports(options.links);
    for (const report of reports)
      if (seen.has(report.migration) || isOpen(report)) seen.set(report.migration, report);
    const open = reports.filter(isOpen);
    for (const report of open) options.onProgress?.(report);
    if (isFirst) await pointNames(options, reports);
    if (open.length === 0) break;
    await options.clock.sleep(pollMs);
  }
  await pointNames(options, [...seen.values()]);
  return [...seen.values()];
}

async function allReports(links: ReadonlyMap<BrickName, BrickLink>): Promise<MigrationReport[]> {
  const reports: MigrationReport[] = [];
  for (const link of links.values()) reports.push(...(await link.call('status', {})).migrations);
  return reports;
}

/** Of files whose move is over; their migrator may have died before it did this. */
async function pointNames(
  { volume, onWarning }: ResumeOptions,
  reports: readonly MigrationReport[],
): Promise<void> {
  const files = new Set<FileId>(reports.filter(({ phase }) => phase === 'tidied').map(({ file }) => file));
  for (const file of files) {
    try {
      await volume.healNames(file);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // Deleted since: it has no names to point anywhere.
      if (asRefusal(error)?.code !== 'ESTALE')
        onWarning?.(`the names of file ${file} were not healed: ${error.message}`);
    }
  }
}
