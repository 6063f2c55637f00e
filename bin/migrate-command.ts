/** `lockferry migrate`: moves one file with its locks to another brick while it is in use. */
import type { Command } from 'commander';
import { openVolume } from '../dht/distributed-volume.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { migrateFile, sourceOf } from '../migrator/migrator.js';
import { resumeMigrations } from '../migrator/resume.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { MigrationReport } from '../wire/messages.js';
import { Failure } from './failure.js';
import { type CopyProgress, openCopyProgress } from './progress-bar.js';
import { formatBytes, formatJson, formatMs } from './table.js';
import { reachAllBricks, toolOptions } from './tool-links.js';
import { findBrick, openVolumeFolder, type VolumeFolder } from './volume-folder.js';
import { attributesOfPath } from './volume-paths.js';

/** What a move of one file came to; `report` is undefined where the file was there already. */
export interface Moved {
  readonly file: FileId;
  readonly from: BrickName;
  readonly to: BrickName;
  readonly report: MigrationReport | undefined;
}

/**
 * Moves the file at `path` (inside the volume) and waits until that is decided.
 * @throws Failure where it does not exist, is no file, or the move was aborted
 */
export async function moveFile(
  place: VolumeFolder,
  path: string,
  target: BrickName,
  progress: CopyProgress,
  isCancelled: () => boolean = () => false,
): Promise<Moved> {
  const reached = await reachAllBricks(place, `lockferry migrate ${path}`);
  const volume = await openVolume(toolOptions(place, `lockferry migrate ${path}`, 5000));
  try {
    const { file, type } = await attributesOfPath(volume, path);
    if (type === 'dir')
      throw new Failure(
        'failed',
        `${path} is a directory: it is on every brick and does not move`,
        'Name a file',
      );
    const from = await sourceOf(reached.links, file);
    if (from === target) return { file, from, to: target, report: undefined };
    const report = await migrateFile({
      links: reached.links,
      volume,
      file,
      target,
      freezeMs: place.volume.freezeMs,
      clock: systemClock,
      random: systemRandom,
      onProgress: (now) => progress.update(now),
      isCancelled,
    });
    if (report.phase === 'aborted')
      throw new Failure(
        'failed',
        `The move of ${path} to ${target} was aborted: ${report.reason}`,
        `It is on ${from} as before; try again`,
      );
    return { file, from, to: target, report };
  } finally {
    progress.stop();
    await volume.close();
    await reached.close();
  }
}

const many = (count: number, one: string, more = `${one}s`): string => `${count} ${count === 1 ? one : more}`;

/** The outcome of a move, as people read it. */
export const describeMove = (report: MigrationReport): string =>
  [
    `${formatBytes(report.bytesCopied)} in ${many(report.rounds, 'round')}`,
    `frozen ${formatMs(report.freezeUs / 1000)}`,
    `${many(report.holders, 'lock')} and ${many(report.waiters, 'waiter')} moved`,
    `${many(report.parked, 'request')} waited meanwhile`,
  ].join(', ');

const silent: CopyProgress = { update: () => undefined, stop: () => undefined };

interface MigrateFlags {
  readonly to?: string;
  readonly json: boolean;
  readonly resume: boolean;
}

/** Waits for the moves that other migrators left open, and heals the names of what moved. */
async function resume(place: VolumeFolder, json: boolean): Promise<void> {
  const title = 'lockferry migrate --resume';
  const reached = await reachAllBricks(place, title);
  const volume = await openVolume(toolOptions(place, title, 5000));
  try {
    const reports = await resumeMigrations({
      links: reached.links,
      volume,
      clock: systemClock,
      onWarning: (text) => console.error(`lockferry: ${text}`),
    });
    if (json) {
      console.log(formatJson({ migrations: reports }));
      return;
    }
    for (const report of reports) {
      const end = report.phase === 'aborted' ? `aborted: ${report.reason}` : describeMove(report);
      console.log(`file ${report.file}, ${report.source} to ${report.target}: ${end}.`);
    }
    if (reports.length === 0) console.log('No move was left open.');
  } finally {
    await volume.close();
    await reached.close();
  }
}

async function migrate(folder: string, path: string | undefined, options: MigrateFlags): Promise<void> {
  const place = openVolumeFolder(folder);
  if (options.resume) {
    if (path !== undefined || options.to !== undefined)
      throw new Failure(
        'usage',
        '--resume looks at all moves of the volume',
        'Give no path and no --to with it',
      );
    await resume(place, options.json);
    return;
  }
  if (path === undefined || options.to === undefined)
    throw new Failure(
      'usage',
      'Which file is to move, and where, is missing',
      'For example: lockferry migrate /srv/vol db/accounts.sqlite --to brick-2',
    );
  const target = findBrick(place, options.to).name;
  const moved = await moveFile(place, path, target, options.json ? silent : openCopyProgress());
  if (options.json) console.log(formatJson({ path, ...moved }));
  else if (!moved.report) console.log(`${path} is on ${target} already.`);
  else console.log(`${path} moved from ${moved.from} to ${target}: ${describeMove(moved.report)}.`);
}

export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .description('move a file with its locks and waiters to another brick while it is in use')
    .argument('<dir>', 'the folder of the volume')
    .argument('[path]', 'the file: its path inside the volume')
    .option('--to <brick>', 'where it goes')
    .option('--resume', 'wait for every move that is under way, and finish what its migrator left', false)
    .option('--json', 'print the report as one object for programs', false)
    .addHelpText(
      'after',
      '\nExamples:\n  lockferry migrate /srv/vol db/accounts.sqlite --to brick-2\n  lockferry migrate /srv/vol --resume',
    )
    .action(migrate);
}
