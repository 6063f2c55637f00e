/**
 * One migration as its source sees it: what it is, how far it came, and how it is reported. State only; the steps are
 * taken in migration-source.ts.
 */
import type { Timer } from '../host/clock.js';
import type { BrickName, Epoch, FileId, MigrationId } from '../wire/ids.js';
import type { MigrationReport, Request } from '../wire/messages.js';
import type { SourcePhase } from '../wire/migration-steps.js';
import type { ContentCopy } from './content-copy.js';

export interface Migration {
  readonly id: MigrationId;
  readonly file: FileId;
  readonly target: BrickName;
  readonly epoch: Epoch;
  readonly freezeMs: number;
  phase: SourcePhase;
  reason: string;
  bytesTotal: number;
  freezeUs: number;
  holders: number;
  waiters: number;
  parked: number;
  frozenAt: number;
  /** Absent before the copy begins. */
  copy: ContentCopy | undefined;
  release: (() => void) | undefined;
  timer: Timer | undefined;
  /** True from the moment the REPLAY record is being written: it can no longer be cancelled. */
  committing: boolean;
}

/** Nothing that is asked of it can change its outcome any more. */
export const isOver = (phase: SourcePhase): boolean =>
  phase === 'aborted' || phase === 'tidied' || phase === 'opened' || phase === 'committed';

export function newMigration(body: Request<'migrate'>, epoch: Epoch, bytesTotal: number): Migration {
  return {
    id: body.migration,
    file: body.file,
    target: body.target,
    epoch,
    freezeMs: body.freezeMs,
    phase: 'prepare',
    reason: '',
    bytesTotal,
    freezeUs: 0,
    holders: 0,
    waiters: 0,
    parked: 0,
    frozenAt: 0,
    copy: undefined,
    release: undefined,
    timer: undefined,
    committing: false,
  };
}

/** What `status` and a migrator are told. */
export function reportOf(source: BrickName, m: Migration): MigrationReport {
  return {
    migration: m.id,
    file: m.file,
    source,
    target: m.target,
    epoch: m.epoch,
    phase: m.phase,
    reason: m.reason,
    bytesTotal: m.bytesTotal,
    bytesCopied: m.copy?.bytesCopied ?? 0,
    rounds: m.copy?.rounds ?? 0,
    dirtyBytes: m.copy?.dirtyBytes ?? 0,
    freezeUs: m.freezeUs,
    holders: m.holders,
    waiters: m.waiters,
    parked: m.parked,
  };
}
