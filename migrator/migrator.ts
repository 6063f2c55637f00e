/**
 * Moves one file: asks its source to, watches, and afterwards points the file's names to the new home.
 *
 * Decides nothing about the move itself: the source does, and finishes or aborts it whether or not anybody watches
 * (brick-store/migration-source.ts). So a migrator keeps nothing on disk and may die at any time; what it leaves
 * undone is at most the hints in directories, which lookups heal too.
 */
import type { DistributedVolume } from '../dht/distributed-volume.js';
import type { Clock } from '../host/clock.js';
import type { Random } from '../host/random.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import { type BrickName, type Epoch, type FileId, hexOf, type MigrationId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { MigrationReport } from '../wire/messages.js';

export interface MigrateOptions {
  readonly links: ReadonlyMap<BrickName, BrickLink>;
  readonly volume: DistributedVolume;
  readonly file: FileId;
  readonly target: BrickName;
  /** The longest freeze; over it the source aborts. */
  readonly freezeMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly onProgress?: (report: MigrationReport) => void;
  /** The file moved, but something less was left undone. */
  readonly onWarning?: (text: string) => void;
  /** True ends the move if it is not committed yet. */
  readonly isCancelled?: () => boolean;
}

const pollMs = 10;
/** How long a source may be away before its migrator stops asking. The move ends without it. */
const sourceAwayMsMax = 30_000;

/** A move of which the source's records know nothing did not happen. */
const unknownReport = {
  epoch: 0 as Epoch,
  phase: 'aborted',
  bytesTotal: 0,
  bytesCopied: 0,
  rounds: 0,
  dirtyBytes: 0,
  freezeUs: 0,
  holders: 0,
  waiters: 0,
  parked: 0,
} as const;

/**
 * Resolves when the move is decided: `tidied` (or `opened`) with the file at its target, or `aborted` with a reason.
 * @throws Refusal ESTALE where no brick has the file, EBUSY where it is being moved, ENOTCONN where a brick is away
 */
export async function migrateFile(options: MigrateOptions): Promise<MigrationReport> {
  const { file, target, freezeMs, links } = options;
  if (!links.has(target)) throw new Refusal('EINVAL', `there is no brick ${target} in this volume`);
  const migration = hexOf(options.random.bytes(16)) as MigrationId;
  const source = await sourceOf(links, file);
  try {
    await linkTo(links, source).call('migrate', { file, migration, target, freezeMs });
  } catch (error) {
    // The source may have begun before the link was lost: its own record of the migration tells.
    if (!isLinkLoss(error)) throw error;
  }
  const report = await watch(options, source, migration);
  if (report.phase !== 'aborted') await pointNames(options);
  return report;
}

/** The brick that answers for the file now. */
export async function sourceOf(links: ReadonlyMap<BrickName, BrickLink>, file: FileId): Promise<BrickName> {
  const away: BrickName[] = [];
  for (const [brick, link] of links) {
    try {
      if ((await link.call('locate', { file })).place === 'here') return brick;
    } catch (error) {
      if (asRefusal(error)?.code !== 'ENOTCONN') throw error;
      away.push(brick);
    }
  }
  if (away.length > 0)
    throw new Refusal('ENOTCONN', `file ${file} may be on ${away.join(', ')}, which cannot be reached`);
  throw new Refusal('ESTALE', `no brick has file ${file}`);
}

const isLinkLoss = (error: unknown): boolean => {
  const code = asRefusal(error)?.code;
  return code === 'EIO' || code === 'ENOTCONN' || code === 'EFENCED';
};

/** A source that restarts is asked again; it knows from its records how the move ended. */
async function statusOf(
  { file, links, clock, target }: MigrateOptions,
  source: BrickName,
  migration: MigrationId,
): Promise<MigrationReport> {
  const deadline = clock.now() + sourceAwayMsMax;
  for (;;) {
    try {
      return (await linkTo(links, source).call('migrationStatus', { migration, file })).report;
    } catch (error) {
      if (asRefusal(error)?.code === 'ENOENT') {
        return { ...unknownReport, migration, file, source, target, reason: (error as Refusal).message };
      }
      if (!isLinkLoss(error) || clock.now() > deadline) throw error;
    }
    await clock.sleep(pollMs);
  }
}

async function watch(
  options: MigrateOptions,
  source: BrickName,
  migration: MigrationId,
): Promise<MigrationReport> {
  const { file, links, clock } = options;
  let cancelled = false;
  for (;;) {
    const report = await statusOf(options, source, migration);
    options.onProgress?.(report);
    if (report.phase === 'tidied' || report.phase === 'aborted') return report;
    if (!cancelled && options.isCancelled?.()) {
      cancelled = true;
      await linkTo(links, source)
        .call('migrationCancel', { migration, file })
        .catch((error: unknown) => {
          // Too late to cancel: it is committed, and goes on to its end.
          if (asRefusal(error)?.code !== 'EBUSY') throw error;
        });
    }
    await clock.sleep(pollMs);
  }
}

/** The hashed bricks learn the new home. What fails here costs later lookups one redirect, and is healed by them. */
async function pointNames({ volume, file, onWarning }: MigrateOptions): Promise<void> {
  try {
    await volume.healNames(file);
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal === undefined) throw error;
    onWarning?.(`the names of file ${file} still point to its old brick: ${refusal.message}`);
  }
}

function linkTo(links: ReadonlyMap<BrickName, BrickLink>, brick: BrickName): BrickLink {
  const link = links.get(brick);
  if (link === undefined) throw new Refusal('EINVAL', `there is no brick ${brick} in this volume`);
  return link;
}
