/**
 * What lies between a request and the service that decides it: waiting for a freeze, redirecting from where a file
 * was, and answering only what is durable. Used by the routes (routes/); it knows no message by name.
 */
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, FileId } from '../wire/ids.js';
import { type Answer, messages, type Op } from '../wire/messages.js';
import type { Arrivals } from './arrivals.js';
import type { BrickState } from './brick-state.js';
import type { FileQueue } from './file-queue.js';
import type { LaterTries } from './later-tries.js';
import type { LockHandles } from './lock-handles.js';
import type { LockService } from './lock-service.js';
import type { MigrationSource } from './migration-source.js';
import type { MigrationTarget } from './migration-target.js';
import type { LatePlan, Plan } from './plan.js';
import type { SessionRecords } from './session-records.js';
import type { Session, Sessions } from './sessions.js';
import type { Store } from './store.js';

export interface BrickParts {
  readonly name: BrickName;
  readonly store: Store;
  readonly trace: Trace;
  readonly state: BrickState;
  readonly records: SessionRecords;
  readonly queue: FileQueue;
  readonly locks: LockService;
  readonly handles: LockHandles;
  readonly sessions: Sessions;
  readonly source: MigrationSource;
  readonly target: MigrationTarget;
  readonly arrivals: Arrivals;
  readonly tries: LaterTries;
}

export class BrickContext {
  readonly parts: BrickParts;

  constructor(parts: BrickParts) {
    this.parts = parts;
  }

  /** An inode without names lives while somebody has it open. */
  deleteIfUnused(file: FileId): void {
    const work = this.parts.queue.run(file, (): undefined | Promise<void> => {
      const { repairing } = this.parts.store;
      if (repairing !== undefined) return repairing.then(() => this.deleteIfUnused(file));
      // A restarted brick does not know yet who has it open; when it does, it looks at all such files.
      if (this.parts.sessions.isRecovering) return undefined;
      if (!this.parts.state.isUnused(file) || this.parts.arrivals.isAwaited(file)) return undefined;
      return this.exclusive(file, this.parts.state.inodes.planDelete(file)).then(() => {
        // Left by closes that are still on their way, and will not find the file.
        this.parts.locks.moveAway(file, undefined);
      });
    });
    Promise.resolve(work).catch((error: unknown) => {
      const details = { file, error: String(error) };
      // A bug stays one however often it is tried.
      if (asRefusal(error) === undefined) this.parts.trace.error('deleted file not removed', details);
      else {
        this.parts.trace.warn('deleted file not removed yet', details);
        this.parts.tries.later(`delete ${file}`, () => this.deleteIfUnused(file));
      }
    });
  }

  /**
   * Runs `task` where the inode is here: after a freeze, and after a stage of it has settled. Redirects where it moved.
   * @throws Refusal EREMOTE, ESTALE, EFENCED
   */
  atHome<T>(session: Session, file: FileId, task: () => T | Promise<T>): T | Promise<T> {
    return this.parts.queue.run(file, () => {
      const { repairing } = this.parts.store;
      // Also where a freeze ended because the disk failed: nothing can be decided on a store that cannot be read.
      if (repairing !== undefined) return repairing.then(() => this.atHome(session, file, task));
      // Looked at here, not on arrival: the file may have come while this waited.
      if (this.parts.arrivals.needsConfirm(session.client, file)) {
        return this.parts.arrivals.confirm(session.client, file).then(() => this.atHome(session, file, task));
      }
      if (session.ended) throw new Refusal('EFENCED', `the session of ${session.title} has ended`);
      if (this.parts.state.isHere(file)) return task();
      return this.#elsewhere(file, () => this.atHome(session, file, task));
    });
  }

  /** As `atHome`, for what changes nothing: it does not wait for a freeze. */
  reading<T>(file: FileId, task: () => T | Promise<T>): T | Promise<T> {
    const { repairing } = this.parts.store;
    if (repairing !== undefined) return repairing.then(() => this.reading(file, task));
    if (this.parts.state.isHere(file)) return task();
    return this.#elsewhere(file, () => this.reading(file, task));
  }

  #elsewhere<T>(file: FileId, again: () => T | Promise<T>): Promise<T> {
    const committing = this.parts.source.committing(file);
    if (committing !== undefined) return committing.then(again);
    const moved = this.parts.state.redirect(file);
    if (moved !== undefined && !this.parts.target.isStaged(file))
      throw new Refusal('EREMOTE', undefined, moved);
    const gone = new Refusal('ESTALE', `file ${file} is not on ${this.parts.name}`);
    return this.parts.target.resolve(file).then((settled) => {
      if (settled) return again();
      if (moved !== undefined) throw new Refusal('EREMOTE', undefined, moved);
      throw gone;
    });
  }

  /** Writes a plan in this turn and answers when it is durable. */
  commit<O extends Op>(
    session: Session,
    seq: number,
    op: O,
    plan: Plan<Answer<O>>,
    file?: FileId,
  ): Promise<Answer<O>> {
    if (plan.touched !== undefined && file !== undefined) {
      this.parts.source.touched(file, plan.touched.firstChunk, plan.touched.lastChunk);
    }
    const ops = messages[op].durable
      ? [...plan.ops, ...this.parts.records.answerOps(session, seq, op, plan.answer)]
      : plan.ops;
    return this.parts.store.write(ops).then(() => plan.answer);
  }

  /** A plan that has to list the disk first: until it is written, whatever else changes the file waits. */
  async exclusive<T>(
    file: FileId,
    plan: Promise<LatePlan<T>>,
    write?: (plan: Plan<T>) => Promise<T>,
  ): Promise<T> {
    const release = this.parts.queue.hold(file);
    let written: Promise<T>;
    try {
      const decided = (await plan)();
      written = write ? write(decided) : this.parts.store.write(decided.ops).then(() => decided.answer);
    } finally {
      release();
    }
    return written;
  }

  /** A change of one inode that is here. */
  change<O extends Op>(
    session: Session,
    seq: number,
    op: O,
    file: FileId,
    plan: () => Plan<Answer<O>> | Promise<LatePlan<Answer<O>>>,
  ): Answer<O> | Promise<Answer<O>> {
    return this.atHome(session, file, () => {
      const decided = plan();
      if (!(decided instanceof Promise)) return this.commit(session, seq, op, decided, file);
      return this.exclusive(file, decided, (ready) => this.commit(session, seq, op, ready, file));
    });
  }
}
