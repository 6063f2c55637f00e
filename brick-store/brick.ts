/**
 * One brick: its services put together, and the course of one request: admitted once (sessions.ts), held back while
 * the brick recovers, carried out by its route (routes/), answered. Also what happens when a session ends.
 *
 * Decides nothing about files or locks. server.ts brings it requests of sessions that said hello.
 */
import type { Clock } from '../host/clock.js';
import type { Random } from '../host/random.js';
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, ClientId, FileId } from '../wire/ids.js';
import { messages, type Op, type Request } from '../wire/messages.js';
import type { IncomingRequest } from '../wire/responder.js';
import { Arrivals } from './arrivals.js';
import { BrickContext } from './brick-context.js';
import { BrickState } from './brick-state.js';
import { FileQueue } from './file-queue.js';
import type { Handler, Handlers } from './handlers.js';
import { LaterTries } from './later-tries.js';
import { LockHandles } from './lock-handles.js';
import { LockService } from './lock-service.js';
import { MigrationSource, type Peer } from './migration-source.js';
import { MigrationTarget } from './migration-target.js';
import { MovingFiles } from './moving-files.js';
import { RecordCache } from './record-cache.js';
import { contentRoutes } from './routes/content-routes.js';
import { inodeRoutes } from './routes/inode-routes.js';
import { lockHandleRoutes } from './routes/lock-handle-routes.js';
import { lockRoutes } from './routes/lock-routes.js';
import { migrationRoutes } from './routes/migration-routes.js';
import { nameRoutes } from './routes/name-routes.js';
import { operatorRoutes } from './routes/operator-routes.js';
import { sessionRoutes } from './routes/session-routes.js';
import { SessionRecords } from './session-records.js';
import { type Session, Sessions } from './sessions.js';
import type { Store } from './store.js';

export interface BrickOptions {
  readonly name: BrickName;
  readonly pid: number;
  readonly graceMs: number;
  /** Formatted for this brick (format.ts). */
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly peer: (name: BrickName) => Peer;
}

/** Carried out also while the brick waits for its clients to reclaim. */
const beforeRecovery: ReadonlySet<Op> = new Set<Op>([
  'ping',
  'goodbye',
  'reclaim',
  'reclaimDone',
  'status',
  'locate',
  'migrationOutcome',
  'migrationStatus',
]);

export class Brick {
  readonly sessions: Sessions;
  readonly #o: BrickOptions;
  readonly #context: BrickContext;
  readonly #moving: MovingFiles;
  readonly #handlers: Handlers;
  #recovering = true;
  #waitingForRecovery: (() => void)[] = [];

  /** Loads what the time before left. Who has to reclaim does so through `request`. */
  static async open(options: BrickOptions): Promise<Brick> {
    const brick = new Brick(options);
    await brick.#load();
    return brick;
  }

  private constructor(options: BrickOptions) {
    this.#o = options;
    const { clock, trace, name, graceMs, peer } = options;
    const store = new RecordCache(options.store);
    const state = new BrickState(store, clock, name);
    const records = new SessionRecords(store, trace);
    const queue = new FileQueue();
    const locks = new LockService((file) => state.change(file));
    const handles = new LockHandles(options.random);
    this.sessions = new Sessions({
      clock,
      trace,
      graceMs,
      events: {
        store: (record) => records.store(record),
        forget: (client) => records.forget(client),
        ended: (session) => this.#ended(session),
        recovered: () => this.#recovered(),
      },
    });
    const { sessions } = this;
    this.#moving = new MovingFiles({ store, state, sessions, records, handles });
    const deleteIfUnused = (file: FileId): void => this.#context.deleteIfUnused(file);
    const tries = new LaterTries(clock);
    const arrivals = new Arrivals({
      store,
      trace,
      tries,
      dropOps: (file, client, parts) => this.#moving.dropHandoverOps(file, client, parts),
      deleteIfUnused,
    });
    const source = new MigrationSource({
      brick: name,
      clock,
      trace,
      store,
      queue,
      locks,
      files: this.#moving,
      peer,
      arrivals,
    });
    const target = new MigrationTarget({
      clock,
      trace,
      store,
      queue,
      locks,
      stages: this.#moving,
      peer,
      tidied: (file) => source.tidied(file),
      arrivals,
      deleteIfUnused,
    });
    this.#context = new BrickContext({
      name,
      store,
      trace,
      state,
      records,
      queue,
      locks,
      handles,
      sessions,
      source,
      target,
      arrivals,
      tries,
    });
    this.#handlers = this.#makeHandlers();
  }

  async #load(): Promise<void> {
    const { state, records, source, target } = this.#context.parts;
    const sessions = await records.load();
    const { stages, handovers } = await this.#moving.load();
    const untidied = await state.untidied();
    const isKnown = (client: ClientId): boolean => this.sessions.get(client) !== undefined;
    // In one turn: a stage that opens, or a grace that ends, must find all of the others.
    this.sessions.load(sessions);
    target.load(stages, handovers, isKnown);
    for (const [file, moved] of untidied) source.resumeCommitted(file, moved);
    await records
      .forgetAnswersOfOthers(isKnown)
      .catch((error: unknown) => this.#o.trace.warn('answers not forgotten', { error: String(error) }));
  }

  async close(): Promise<void> {
    this.sessions.close();
    this.#context.parts.source.close();
    this.#context.parts.target.close();
    this.#context.parts.tries.close();
    await this.#o.store.close();
  }

  /** A checked request of a session that said hello. Never throws. */
  request(session: Session, request: IncomingRequest): void {
    const { seq, op } = request;
    if (!session.admit(request)) {
      if (op === 'lock') this.#context.parts.locks.announce(session, seq);
      return;
    }
    if (this.#recovering && !beforeRecovery.has(op)) {
      this.#waitingForRecovery.push(() => this.#carryOut(session, request));
      return;
    }
    this.#carryOut(session, request);
  }

  #carryOut(session: Session, request: IncomingRequest): void {
    // It waited for the recovery, and its session ended meanwhile.
    if (session.ended) return;
    const { repairing } = this.#context.parts.store;
    if (repairing !== undefined) {
      // Milliseconds, after a failing disk; nothing can be decided on a store that cannot be read.
      repairing.then(() => this.#carryOut(session, request));
      return;
    }
    const { seq, op, body } = request;
    try {
      if (messages[op].durable) {
        const before = this.#context.parts.records.answerOf(session, seq, op);
        if (before !== undefined) {
          session.answer(seq, op, before);
          return;
        }
      }
      const handler = this.#handlers[op] as Handler<Op>;
      const result = handler(session, body as Request<Op>, seq);
      if (!(result instanceof Promise)) {
        session.answer(seq, op, result);
        return;
      }
      result.then(
        (answer) => session.answer(seq, op, answer),
        (error: unknown) => this.#failed(session, seq, op, error),
      );
    } catch (error) {
      this.#failed(session, seq, op, error);
    }
  }

  #failed(session: Session, seq: number, op: Op, error: unknown): void {
    const refusal = asRefusal(error);
    if (refusal === undefined) {
      this.#o.trace.error('request failed', {
        op,
        client: session.client,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }
    session.refuse(
      seq,
      refusal ?? new Refusal('EIO', `${this.#o.name} could not carry out ${op}: ${String(error)}`),
    );
  }

  #recovered(): void {
    if (!this.#recovering) return;
    this.#recovering = false;
    const { locks, state } = this.#context.parts;
    for (const file of locks.files()) locks.settle(file);
    state.inodes
      .orphans()
      .then((files) => {
        for (const file of files) this.#context.deleteIfUnused(file);
      })
      .catch((error: unknown) => this.#o.trace.error('orphans not listed', { error: String(error) }));
    this.#o.trace.info('brick open', { brick: this.#o.name });
    const waiting = this.#waitingForRecovery;
    this.#waitingForRecovery = [];
    for (const run of waiting) run();
  }

  /** Locks, waits and opens of a session go; on a frozen file after the freeze, where the locks then are. */
  #ended(session: Session): void {
    const { arrivals, handles, locks, queue, state } = this.#context.parts;
    const files = new Set([...locks.filesOf(session.client), ...session.opens.keys()]);
    for (const file of files) {
      const cleanUp = (): void | Promise<void> => {
        const { repairing } = this.#o.store;
        if (repairing !== undefined) return repairing.then(() => queue.run(file, cleanUp));
        locks.dropClient(session.client, file);
        state.setOpens(session, file, 0);
        this.#context.deleteIfUnused(file);
      };
      Promise.resolve(queue.run(file, cleanUp)).catch((error: unknown) => {
        this.#o.trace.error('session not cleaned up', { client: session.client, file, error: String(error) });
      });
    }
    handles.forgetClient(session.client);
    arrivals.forgetClient(session.client);
    this.#forgetAnswers(session.client);
  }

  #forgetAnswers(client: ClientId): void {
    const { records, tries } = this.#context.parts;
    records
      .forgetAnswers(client, () => this.sessions.get(client))
      .catch((error: unknown) => {
        this.#o.trace.warn('answers not forgotten', { client, error: String(error) });
        tries.later(`answers ${client}`, () => this.#forgetAnswers(client));
      });
  }

  #makeHandlers(): Handlers {
    const context = this.#context;
    const { clock, pid } = this.#o;
    const startedAt = clock.now();
    return {
      ...sessionRoutes(context),
      ...nameRoutes(context),
      ...inodeRoutes(context),
      ...contentRoutes(context),
      ...lockRoutes(context),
      ...lockHandleRoutes(context),
      ...operatorRoutes(context, {
        pid,
        upMs: () => clock.now() - startedAt,
        isRecovering: () => this.#recovering,
      }),
      ...migrationRoutes(context),
    };
  }
}
