/**
 * The giving side of a move, and its only judge: what happens to one file from `prepare` to `tidied`.
 *
 * Decides when to copy again, when to freeze, and whether the move is committed; the one commit point is the durable
 * REPLAY record (records/, kind redirect). It never asks the migrator for anything: a migrator that dies changes
 * nothing. The steps are those of wire/migration-steps.ts; docs/MIGRATION.md tells what each crash does.
 *
 * Called by brick.ts: `start` for the `migrate` message, `touched` after every change of content.
 */
import type { Clock } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, ClientId, Epoch, FileId, MigrationId } from '../wire/ids.js';
import type { Moved } from '../wire/lock-types.js';
import type { Answer, MigrationReport, Op, Request } from '../wire/messages.js';
import { assertSourceStep, type SourcePhase } from '../wire/migration-steps.js';
import type { Arrivals } from './arrivals.js';
import { ContentCopy } from './content-copy.js';
import type { FileQueue } from './file-queue.js';
import type { LockService } from './lock-service.js';
import { LockTransfer } from './lock-transfer.js';
import { isOver, type Migration, newMigration, reportOf } from './migration.js';
import type { Store, StoreOp } from './store.js';

/** The way to another brick. */
export interface Peer {
  call<O extends Op>(op: O, body: Request<O>): Promise<Answer<O>>;
}

/** What the source needs to know and change of a file; records and services stand behind it. */
export interface FileToMove {
  /** @throws Refusal where it is not here or cannot move */
  epoch(file: FileId): Epoch;
  size(file: FileId): number;
  /** Stored chunks from `first` on, in order, at most `limit`. */
  chunkIndexes(file: FileId, first: number, limit: number): Promise<readonly number[]>;
  readChunk(file: FileId, index: number): Uint8Array | undefined;
  /** The last part of the hand over, but for what belongs to the migration itself. */
  describe(
    file: FileId,
  ): Promise<Omit<Request<'stageReady'>, 'migration' | 'file' | 'openers' | 'lockinfos' | 'nextTicket'>>;
  openers(file: FileId): Request<'stageReady'>['openers'];
  /** Tokens of fd migration that were read and not written yet. */
  lockinfos(file: FileId): Request<'stageReady'>['lockinfos'];
  /** The writes that turn the file into a REPLAY record, in one batch. */
  commitOps(file: FileId, moved: Moved): readonly StoreOp[];
  /** Tells sessions that have the file open or locked, and forgets their opens. */
  movedAway(file: FileId, moved: Moved, lockers: readonly ClientId[]): void;
  /** Removes what is left of the data and marks the REPLAY record so. */
  tidy(file: FileId): Promise<void>;
}

/** A round that leaves this little is followed by the freeze. */
const dirtyChunksForFreeze = 32;
/** From this round on, writers wait while more than `dirtyChunksThrottle` chunks are dirty: a file written without pause still moves. */
const throttleFromRound = 3;
const dirtyChunksThrottle = 128;
const roundsMax = 12;
const reportsKept = 1000;

export interface MigrationSourceOptions {
  readonly brick: BrickName;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly store: Store;
  readonly queue: FileQueue;
  readonly locks: LockService;
  readonly files: FileToMove;
  /** @throws Refusal EINVAL for a brick that is not in the volume */
  readonly peer: (brick: BrickName) => Peer;
  /** What an earlier move brought here ends with the commit of this one. */
  readonly arrivals: Arrivals;
}

export class MigrationSource {
  readonly #o: MigrationSourceOptions;
  readonly #byFile = new Map<FileId, Migration>();
  readonly #reports = new Map<MigrationId, Migration>();
  readonly #tidying = new Map<FileId, Promise<void>>();
  readonly #committing = new Map<FileId, Promise<void>>();
  #closed = false;

  constructor(options: MigrationSourceOptions) {
    this.#o = options;
  }

  /** Resolves when the target has staged the file; the rest goes on by itself. */
  async start(body: Request<'migrate'>): Promise<void> {
    const { file, target } = body;
    if (this.#reports.has(body.migration)) return;
    const epoch = (this.#o.files.epoch(file) + 1) as Epoch;
    if (target === this.#o.brick) throw new Refusal('EINVAL', `file ${file} is on ${target} already`);
    const running = this.#byFile.get(file);
    if (running !== undefined) {
      throw new Refusal(
        'EBUSY',
        `file ${file} is being moved to ${running.target} (migration ${running.id})`,
      );
    }
    const peer = this.#o.peer(target);
    const migration = newMigration(body, epoch, this.#o.files.size(file));
    this.#byFile.set(file, migration);
    this.#keepReport(migration);
    this.#traceStep(migration);
    try {
      await peer.call('stagePrepare', { migration: migration.id, file, source: this.#o.brick, epoch });
    } catch (error) {
      this.#abort(migration, `${target} could not stage the file: ${textOf(error)}`);
      throw error;
    }
    this.#carryOn(migration, peer).catch((error: unknown) => {
      if (migration.phase !== 'aborted' && isOver(migration.phase)) {
        this.#o.trace.error('fault after a commit', { migration: migration.id, file, error: textOf(error) });
      }
      this.#abort(migration, textOf(error));
    });
  }

  /** @param moved the REPLAY record of the file: all that is known of a move after a restart of the brick */
  report(file: FileId, id: MigrationId, moved: (Moved & { dataLeft: boolean }) | undefined): MigrationReport {
    const migration = this.#reports.get(id);
    if (migration === undefined && moved?.migration === id) {
      const known = newMigration({ file, migration: id, target: moved.target, freezeMs: 0 }, moved.epoch, 0);
      known.phase = moved.dataLeft ? 'committed' : 'tidied';
      return reportOf(this.#o.brick, known);
    }
    if (migration === undefined) {
      throw new Refusal(
        'ENOENT',
        `${this.#o.brick} knows no migration ${id}: it was aborted by a restart of the brick, or is old`,
      );
    }
    return reportOf(this.#o.brick, migration);
  }

  reports(): MigrationReport[] {
    return [...this.#reports.values()].map((migration) => reportOf(this.#o.brick, migration));
  }

  cancel(id: MigrationId): void {
    const migration = this.#reports.get(id);
    if (migration === undefined || isOver(migration.phase)) return;
    if (migration.committing) throw new Refusal('EBUSY', `migration ${id} is committed and will be finished`);
    this.#abort(migration, 'cancelled');
  }

  /** How it ended, for a target that asks. A migration that this brick does not know was aborted by its restart. */
  outcome(id: MigrationId, moved: Moved | undefined): Answer<'migrationOutcome'>['outcome'] {
    const migration = this.#reports.get(id);
    if (migration === undefined) return moved?.migration === id ? 'committed' : 'aborted';
    if (migration.phase === 'aborted') return 'aborted';
    return migration.phase === 'committed' || migration.phase === 'opened' || migration.phase === 'tidied'
      ? 'committed'
      : 'running';
  }

  /** Set while the REPLAY record of the file is being written: until it is durable, nobody may be told of it. */
  committing(file: FileId): Promise<void> | undefined {
    return this.#committing.size === 0 ? undefined : this.#committing.get(file);
  }

  /** Resolves when no data of an earlier stay of the file is left that a tidy still has to remove. */
  async tidied(file: FileId): Promise<void> {
    await this.#tidying.get(file);
  }

  /** After every change of content of any file. */
  touched(file: FileId, first: number, last: number): void {
    const migration = this.#byFile.get(file);
    if (migration?.copy === undefined || migration.phase !== 'copy') return;
    const { copy } = migration;
    copy.touched(first, last);
    if (
      copy.rounds >= throttleFromRound &&
      copy.dirtyChunks > dirtyChunksThrottle &&
      migration.release === undefined
    ) {
      // The writer that came too far ahead of the copy has its answer; the next one waits in the file's queue.
      if (!this.#o.queue.isHeld(file)) this.#throttle(migration);
    }
  }

  /** Holds back the writers of a file for as long as a freeze may last, so that the copy catches up with them. */
  #throttle(migration: Migration): void {
    migration.release = this.#o.queue.hold(migration.file);
    migration.timer = this.#o.clock.after(migration.freezeMs, () => {
      if (migration.phase === 'copy') this.#letGo(migration);
    });
  }

  #letGo(migration: Migration): void {
    const { release } = migration;
    migration.release = undefined;
    release?.();
  }

  /** A REPLAY record found at start whose data is still here: the target is told again, then the data goes. */
  resumeCommitted(file: FileId, moved: Moved): void {
    const work = this.#openAtTarget(file, moved.target, moved.migration).then(() => this.#tidy(file));
    this.#trackTidy(file, work);
  }

  close(): void {
    this.#closed = true;
    for (const migration of this.#byFile.values()) migration.timer?.stop();
  }

  async #carryOn(migration: Migration, peer: Peer): Promise<void> {
    this.#step(migration, 'copy');
    const copy = new ContentCopy({
      migration: migration.id,
      file: migration.file,
      peer,
      files: this.#o.files,
      assertRunning: () => this.#assertRunning(migration),
    });
    migration.copy = copy;
    const transfer = new LockTransfer({
      migration: migration.id,
      file: migration.file,
      peer,
      locks: this.#o.locks,
      assertRunning: () => this.#assertRunning(migration),
    });
    await copy.sendAll();
    await transfer.sendAhead();
    while (copy.dirtyChunks > dirtyChunksForFreeze && copy.rounds < roundsMax) {
      await copy.sendDirty();
      this.#endThrottle(migration, copy);
    }
    await this.#freeze(migration);
    while (!copy.isClean) await copy.sendDirty();
    await this.#handOver(migration, peer, transfer);
  }

  /** Meta-lock: from here on everything that changes the file, its locks or its writes waits in the file's queue. */
  async #freeze(migration: Migration): Promise<void> {
    const { file } = migration;
    this.#assertRunning(migration);
    if (migration.release === undefined) {
      await this.#o.queue.run(file, () => {
        if (migration.phase === 'copy') migration.release = this.#o.queue.hold(file);
      });
    }
    this.#assertRunning(migration);
    this.#step(migration, 'freeze');
    migration.frozenAt = this.#o.clock.now();
    migration.timer?.stop();
    migration.timer = this.#o.clock.after(migration.freezeMs, () => {
      if (migration.committing || isOver(migration.phase)) return;
      this.#abort(migration, `the freeze was not over within ${migration.freezeMs} ms`);
    });
    // What the target is about to get must not be taken back here by a failing disk.
    await this.#o.store.flush();
    this.#assertRunning(migration);
  }

  async #handOver(migration: Migration, peer: Peer, transfer: LockTransfer): Promise<void> {
    const { id, file, target, epoch } = migration;
    this.#step(migration, 'handover');
    const { holders, waiters, nextTicket } = await transfer.sendRest();
    migration.holders = holders;
    migration.waiters = waiters;
    const description = await this.#o.files.describe(file);
    this.#assertRunning(migration);
    await peer.call('stageReady', {
      ...description,
      attributes: { ...description.attributes, epoch },
      migration: id,
      file,
      openers: this.#o.files.openers(file),
      lockinfos: this.#o.files.lockinfos(file),
      nextTicket,
    });
    this.#assertRunning(migration);
    await this.#commit(migration, { target, epoch, migration: id });
  }

  /** The REPLAY record decides. Then meta-unlock: whoever waited here is told where the file went. */
  async #commit(migration: Migration, moved: Moved): Promise<void> {
    const { file } = migration;
    migration.committing = true;
    const ops = [...this.#o.files.commitOps(file, moved), ...this.#o.arrivals.departureOps(file)];
    const written = this.#o.store.write(ops, { sync: true });
    this.#committing.set(
      file,
      written.catch(() => undefined),
    );
    try {
      await written;
    } catch (error) {
      migration.committing = false;
      throw error;
    } finally {
      this.#committing.delete(file);
    }
    this.#step(migration, 'committed');
    this.#o.arrivals.departed(file);
    migration.timer?.stop();
    migration.parked = this.#o.queue.waitingCount(file);
    const lockers = this.#o.locks.moveAway(file, moved);
    this.#o.files.movedAway(file, moved, lockers);
    this.#byFile.delete(file);
    this.#unfreeze(migration);
    this.#o.trace.info('migration committed', { ...reportOf(this.#o.brick, migration) });
    const opened = this.#openAtTarget(file, moved.target, moved.migration).then(() => {
      this.#step(migration, 'opened');
      return this.#tidy(file);
    });
    this.#trackTidy(
      file,
      opened.then(() => this.#step(migration, 'tidied')),
    );
  }

  /** Tells the target to open until it says that it did; it also opens by itself when a client comes first. */
  async #openAtTarget(file: FileId, target: BrickName, migration: MigrationId): Promise<void> {
    for (let waitMs = 20; !this.#closed; waitMs = Math.min(waitMs * 2, 1000)) {
      try {
        await this.#o.peer(target).call('stageOpen', { migration, file });
        return;
      } catch (error) {
        this.#o.trace.warn('target did not open yet', { file, target, migration, error: textOf(error) });
      }
      await this.#o.clock.sleep(waitMs);
    }
    throw new Refusal('EIO', 'the brick is stopping');
  }

  /** Until the disk takes it: the file cannot come back before. */
  async #tidy(file: FileId): Promise<void> {
    for (let waitMs = 20; !this.#closed; waitMs = Math.min(waitMs * 2, 1000)) {
      try {
        await this.#o.files.tidy(file);
        return;
      } catch (error) {
        this.#o.trace.warn('moved file not tidied yet', { file, error: textOf(error) });
      }
      await this.#o.clock.sleep(waitMs);
    }
    throw new Refusal('EIO', 'the brick is stopping');
  }

  #trackTidy(file: FileId, work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        if (!this.#closed) this.#o.trace.error('moved file not tidied', { file, error: textOf(error) });
      })
      .finally(() => {
        if (this.#tidying.get(file) === tracked) this.#tidying.delete(file);
      });
    this.#tidying.set(file, tracked);
  }

  #abort(migration: Migration, reason: string): void {
    if (isOver(migration.phase)) return;
    this.#step(migration, 'aborted');
    migration.reason = reason;
    this.#o.locks.unwatch(migration.file);
    migration.timer?.stop();
    migration.parked = this.#o.queue.waitingCount(migration.file);
    if (this.#byFile.get(migration.file) === migration) this.#byFile.delete(migration.file);
    this.#unfreeze(migration);
    this.#o.trace.warn('migration aborted', { ...reportOf(this.#o.brick, migration) });
    const { id, file, target } = migration;
    Promise.resolve()
      .then(() => this.#o.peer(target).call('stageAbort', { migration: id, file }))
      .catch((error: unknown) => {
        // The target asks by itself sooner or later.
        this.#o.trace.debug('target not told of an abort', { target, migration: id, error: textOf(error) });
      });
  }

  #unfreeze(migration: Migration): void {
    if (migration.frozenAt > 0)
      migration.freezeUs = Math.round((this.#o.clock.now() - migration.frozenAt) * 1000);
    this.#letGo(migration);
  }

  #endThrottle(migration: Migration, copy: ContentCopy): void {
    if (migration.phase !== 'copy' || migration.release === undefined) return;
    // With little left the hold is kept: it becomes the freeze.
    if (copy.dirtyChunks <= dirtyChunksForFreeze) return;
    migration.timer?.stop();
    this.#letGo(migration);
  }

  #assertRunning(migration: Migration): void {
    if (this.#closed) throw new Refusal('EIO', 'the brick is stopping');
    if (isOver(migration.phase)) throw new Refusal('EINTR', migration.reason);
  }

  #step(migration: Migration, to: SourcePhase): void {
    assertSourceStep(migration.phase, to);
    migration.phase = to;
    this.#traceStep(migration);
  }

  #traceStep({ id, file, target, phase }: Migration): void {
    if (!this.#o.trace.isDebug) return;
    this.#o.trace.debug('migration step', { side: 'source', migration: id, file, target, to: phase });
  }

  #keepReport(migration: Migration): void {
    this.#reports.set(migration.id, migration);
    if (this.#reports.size <= reportsKept) return;
    for (const [id, old] of this.#reports) {
      if (!isOver(old.phase)) continue;
      this.#reports.delete(id);
      return;
    }
  }
}

const textOf = (error: unknown): string => asRefusal(error)?.message ?? String(error);
