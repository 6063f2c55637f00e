/**
 * The messages of a move: a part of the contract in messages.ts, which is the only user. What they mean together is
 * told in docs/MIGRATION.md.
 */
import {
  brickName,
  clientId,
  count,
  epoch,
  fileId,
  flag,
  list,
  migrationId,
  oneOf,
  optional,
  record,
  symlinkTarget,
  ticket,
} from './fields.js';
import {
  attributes,
  chunk,
  fileName,
  heldLock,
  lockHolder,
  lockinfo,
  migrationReport,
  opener,
  waitingLock,
  xattr,
} from './message-records.js';
import { bricks, clients, row, tools } from './message-row.js';

export const migrationMessages = {
  // ---- migration: migrator to source ------------------------------------------------------------------------------
  /** Starts moving a file. Answered when the target staged it; then ask `migrationStatus`. EBUSY: it is being moved. */
  migrate: row(80, tools, { file: fileId, migration: migrationId, target: brickName, freezeMs: count }, {}),
  migrationStatus: row(81, tools, { migration: migrationId, file: fileId }, { report: migrationReport }),
  /** Ends a migration that is not committed. */
  migrationCancel: row(82, tools, { migration: migrationId, file: fileId }, {}),

  /**
   * A client shows the migration of an EREMOTE to the target: proof that the source committed, so the target opens its
   * stage without asking a source that may have died. Answered at once; harmless where there is no such stage.
   */
  showMove: row(84, clients, { file: fileId, migration: migrationId }, {}),

  // ---- migration: source to target, and back ----------------------------------------------------------------------
  stagePrepare: row(90, bricks, { migration: migrationId, file: fileId, source: brickName, epoch }, {}),
  /** `clear`: chunks first..last are holes, before `chunks` are put. */
  stageContent: row(
    91,
    bricks,
    {
      migration: migrationId,
      file: fileId,
      clear: optional(record('chunk range', { first: count, last: count })),
      chunks: list(chunk),
    },
    {},
  ),
  /**
   * Locks and waiters of one client, in parts that are applied in order: first what was sent before and no longer holds
   * (`dropClient`, `dropped`), then what does.
   */
  stageLocks: row(
    92,
    bricks,
    {
      migration: migrationId,
      file: fileId,
      client: clientId,
      dropClient: flag,
      dropped: list(lockHolder),
      held: list(heldLock),
      waiting: list(waitingLock),
    },
    {},
  ),
  /** The last part: makes all of the stage durable. The target may open it only once the source committed. */
  stageReady: row(
    93,
    bricks,
    {
      migration: migrationId,
      file: fileId,
      attributes,
      symlink: optional(symlinkTarget),
      xattrs: list(xattr),
      names: list(fileName),
      openers: list(opener),
      lockinfos: list(lockinfo),
      nextTicket: ticket,
    },
    {},
  ),
  stageOpen: row(94, bricks, { migration: migrationId, file: fileId }, {}),
  stageAbort: row(95, bricks, { migration: migrationId, file: fileId }, {}),
  /** Target to source: how did it end? */
  migrationOutcome: row(
    96,
    bricks,
    { migration: migrationId, file: fileId },
    { outcome: oneOf('running', 'committed', 'aborted') },
  ),
} as const;
