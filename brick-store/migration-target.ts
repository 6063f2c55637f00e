/**
 * The taking side of a move: keeps a stage of the file that nobody can see, and opens it when the source has
 * committed: at the source's word, or when a client comes for the file (the target then asks the source).
 *
 * Chunks are stored under the file's own keys from the start: without an inode record they are invisible, and opening
 * needs no copy. Locks arrive per client and are durable (records/, kind handover) until that client has spoken to
 * this brick about the file; so a restart in between loses none of them.
 *
 * It never decides the outcome: only the source's REPLAY record does.
 */
import type { Clock, Timer } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, ClientId, FileId, MigrationId } from '../wire/ids.js';
import type { WaitingLock } from '../wire/lock-types.js';
import type { Request } from '../wire/messages.js';
import { assertTargetStep, type TargetPhase } from '../wire/migration-steps.js';
import type { Arrivals } from './arrivals.js';
import type { FileQueue } from './file-queue.js';
import { applyPart, type HandoverPart, wholeHandovers } from './handover-parts.js';
import type { LockService } from './lock-service.js';
import { LockTable } from './locks/lock-table.js';
import type { Peer } from './migration-source.js';
import type { Store, StoreOp } from './store.js';

export type StageDescription = Omit<Request<'stageReady'>, 'migration' | 'file'>;

/** What of a stage is on disk. `ready` is set once all of it is there. */
export interface StageRecord {
  readonly migration: MigrationId;
  readonly file: FileId;
  readonly source: BrickName;
  readonly epoch: number;
  readonly ready: StageDescription | undefined;
}

/** Records and sessions of this brick, as a stage needs them. */
export interface StageStore {
  isHere(file: FileId): boolean;
  stageOps(record: StageRecord): readonly StoreOp[];
  chunkOps(
    file: FileId,
    clear: { first: number; last: number } | undefined,
    chunks: Request<'stageContent'>['chunks'],
  ): Promise<readonly StoreOp[]>;
  handoverOps(part: HandoverPart): readonly StoreOp[];
  dropHandoverOps(file: FileId, client: ClientId, parts: number): readonly StoreOp[];
  /** The writes that make the stage a file of this brick. */
  installOps(record: StageRecord & { readonly ready: StageDescription }): readonly StoreOp[];
  /** Removes chunks, hand-over records and the stage record, when nothing of the file is to stay. */
  dropStage(record: StageRecord): Promise<void>;
  /** Tokens of fd migration that came with the file. */
  lockinfosArrived(file: FileId, lockinfos: StageDescription['lockinfos']): void;
  /** Makes sure that the client has a session (false: it is fenced), and sets its opens of the file. Repeatable. */
  adoptClient(client: ClientId, file: FileId, opens: number): Promise<boolean>;
  /** Of a client that has a session, and that has not said yet what it has open. */
  restoreOpens(client: ClientId, file: FileId, opens: number): void;
}

interface Stage {
  record: StageRecord;
  phase: TargetPhase;
  /** Parts stored of each client. */
  readonly parts: Map<ClientId, number>;
  /** What is held, as far as it came. */
  readonly table: LockTable;
  readonly waiting: WaitingLock[];
  /** What clients said after a restart of how often they have the file open; newer than what the source said. */
  readonly opens: Map<ClientId, number>;
  /** Since the source said that it is all. */
  readying: Promise<void> | undefined;
  opening: Promise<void> | undefined;
  /** Resolves with true when the file is served here, however that came about. */
  readonly opened: Promise<true>;
  readonly tellOpened: () => void;
  timer: Timer | undefined;
}

/** A stage that hears nothing asks its source how things stand. */
const askEveryMs = 2000;
/** A client or a restarted source is waiting for the answer. */
const askAgainMs = 20;
/** Questions of one request that may fail before it fails. */
const askFailuresMax = 3;

export interface MigrationTargetOptions {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly store: Store;
  readonly queue: FileQueue;
  readonly locks: LockService;
  readonly stages: StageStore;
  readonly arrivals: Arrivals;
  readonly peer: (brick: BrickName) => Peer;
  /** Resolves when no data of an earlier stay of the file here is still being removed. */
  readonly tidied: (file: FileId) => Promise<void>;
  readonly deleteIfUnused: (file: FileId) => void;
}

export class MigrationTarget {
  readonly #o: MigrationTargetOptions;
  readonly #stages = new Map<FileId, Stage>();
  readonly #dropping = new Map<FileId, Promise<void>>();
  #closed = false;

  constructor(options: MigrationTargetOptions) {
    this.#o = options;
  }

  /**
   * After a restart, when the sessions are known again. Unready stages go (their source has aborted them, or will); ready ones ask.
   * @param isKnown whether the client has a session here that was not ended: locks of others are not revived
   */
  load(
    stages: readonly StageRecord[],
    handovers: readonly HandoverPart[],
    isKnown: (client: ClientId) => boolean,
  ): void {
    for (const record of stages) {
      const stage = newStage(record);
      this.#stages.set(record.file, stage);
      if (record.ready === undefined) {
        this.#drop(stage, 'the brick restarted before all of it had arrived').catch((error: unknown) => {
          this.#o.trace.error('stage not removed', { file: record.file, error: textOf(error) });
        });
      } else {
        stage.phase = 'ready';
        this.#askInBackground(stage);
      }
    }
    for (const { file, client, parts, held, waiting, opens } of wholeHandovers(handovers)) {
      const stage = this.#stages.get(file);
      if (stage?.phase === 'ready') {
        stage.parts.set(client, parts);
        for (const lock of held) stage.table.addHeld(lock);
        stage.waiting.push(...waiting);
      } else {
        this.#o.arrivals.note(file, client, parts);
        if (!isKnown(client) || !this.#o.stages.isHere(file)) continue;
        this.#o.locks.add(file, held, waiting);
        this.#o.stages.restoreOpens(client, file, opens);
      }
    }
    this.#o.arrivals.keepOnly((client, file) => isKnown(client) && this.#o.stages.isHere(file));
  }

  async prepare(body: Request<'stagePrepare'>): Promise<void> {
    const { file } = body;
    await this.#o.tidied(file);
    await this.#dropping.get(file);
    const old = this.#stages.get(file);
    if (old !== undefined) {
      if (old.record.migration === body.migration) return;
      await this.#replace(old);
    }
    if (this.#o.stages.isHere(file)) throw new Refusal('EEXIST', `file ${file} is here already`);
    const stage = newStage({ ...body, ready: undefined });
    this.#stages.set(file, stage);
    this.#traceStep(stage);
    this.#watch(stage);
    await this.#o.store.write(this.#o.stages.stageOps(stage.record));
  }

  async content(body: Request<'stageContent'>): Promise<void> {
    const stage = this.#staged(body);
    const ops = await this.#o.stages.chunkOps(body.file, body.clear, body.chunks);
    if (stage.phase !== 'staged') throw this.#unknown(body.migration);
    await this.#o.store.write(ops);
  }

  async locks(body: Request<'stageLocks'>): Promise<void> {
    const stage = this.#staged(body);
    const { migration: _migration, ...message } = body;
    const part = stage.parts.get(body.client) ?? 0;
    stage.parts.set(body.client, part + 1);
    const refused = applyPart(stage.table, stage.waiting, message);
    if (refused > 0) {
      // The source's table has no conflicts; so this one would not be the source's.
      throw new Refusal(
        'EINVAL',
        `${refused} locks of client ${body.client} conflict with others of file ${body.file}`,
      );
    }
    await this.#o.store.write(this.#o.stages.handoverOps({ ...message, part, opens: 0 }));
  }

  /** Once: a source whose link began anew while this was under way asks again, and gets the same answer. */
  async ready(body: Request<'stageReady'>): Promise<void> {
    const known = this.#stages.get(body.file);
    const stage = known?.record.migration === body.migration && known.readying ? known : this.#staged(body);
    stage.readying ??= this.#ready(stage, body);
    await stage.readying;
  }

  async #ready(stage: Stage, body: Request<'stageReady'>): Promise<void> {
    const { migration: _migration, file: _file, ...ready } = body;
    stage.record = { ...stage.record, ready };
    const ops = [...this.#o.stages.stageOps(stage.record)];
    for (const { client, opens } of body.openers) {
      // Who has the file open is expected here, with or without a lock, and a restart must not forget the handles.
      const part = stage.parts.get(client) ?? 0;
      stage.parts.set(client, part + 1);
      const nothingHeld = { dropClient: false, dropped: [], held: [], waiting: [] };
      ops.push(...this.#o.stages.handoverOps({ file: body.file, client, part, opens, ...nothingHeld }));
    }
    await this.#o.store.write(ops, { sync: true });
    if (this.#stages.get(body.file) !== stage) throw this.#unknown(body.migration);
    this.#step(stage, 'ready');
  }

  /**
   * The source committed. Answered when the file is durable and served here. It commits only after this brick had a
   * durable stage, and a stage ends only by opening: where there is none any more, the file was opened before, and may
   * have moved on or been deleted since.
   */
  async open(migration: MigrationId, file: FileId): Promise<void> {
    const stage = this.#stages.get(file);
    if (stage === undefined || stage.record.migration !== migration) return;
    if (stage.phase !== 'ready') throw this.#unknown(migration);
    await this.#open(stage);
  }

  /** A client was redirected here by this very migration: the source has committed it. Opens in the background. */
  shown(migration: MigrationId, file: FileId): void {
    const stage = this.#stages.get(file);
    if (stage?.phase !== 'ready' || stage.record.migration !== migration) return;
    this.#open(stage).catch((error: unknown) => {
      this.#o.trace.warn('stage not opened', { migration, file, error: textOf(error) });
    });
  }

  async abort(migration: MigrationId, file: FileId): Promise<void> {
    const stage = this.#stages.get(file);
    if (stage === undefined || stage.record.migration !== migration || stage.opening !== undefined) return;
    await this.#drop(stage, 'the source aborted');
  }

  /**
   * A request came for a file that is not here. True where there was a stage of it whose outcome is now settled, so
   * that the request should look again.
   */
  async resolve(file: FileId): Promise<boolean> {
    const stage = this.#stages.get(file);
    if (stage === undefined || stage.phase !== 'ready') return false;
    for (let failures = 0; ; ) {
      if (this.#stages.get(file) !== stage || this.#closed) return true;
      const asked = this.#ask(stage);
      // Where the race was won by the opening, a failure to ask matters to nobody.
      asked.catch(() => undefined);
      try {
        if (await Promise.race([asked, stage.opened])) return true;
      } catch (error) {
        // The link to the source came back with a new session: no fault that a client should hear of.
        if (asRefusal(error)?.code !== 'EIO' || ++failures === askFailuresMax) throw error;
      }
      await this.#o.clock.sleep(askAgainMs);
    }
  }

  /**
   * A client that tells a restarted brick what it has, of a file whose stage is durable and not open yet. What it holds
   * and waits for lies in the stage, and nobody can have changed it here since; so the client need not wait for the
   * source, which may be down for long.
   * @returns false where there is no such stage
   */
  reclaimed(client: ClientId, file: FileId, opens: number): boolean {
    const stage = this.#stages.get(file);
    if (stage?.phase !== 'ready' || stage.opening !== undefined) return false;
    stage.opens.set(client, opens);
    return true;
  }

  isStaged(file: FileId): boolean {
    return this.#stages.has(file);
  }

  close(): void {
    this.#closed = true;
    for (const stage of this.#stages.values()) stage.timer?.stop();
  }

  #open(stage: Stage): Promise<void> {
    stage.opening ??= this.#install(stage).finally(() => {
      stage.opening = undefined;
    });
    return stage.opening;
  }

  /** Until the locks are in the table, whatever would change them waits in the file's queue. */
  async #install(stage: Stage): Promise<void> {
    const { file } = stage.record;
    const ready = stage.record.ready!;
    const opensOf = new Map(ready.openers.map((opener) => [opener.client, opener.opens]));
    for (const client of stage.parts.keys()) if (!opensOf.has(client)) opensOf.set(client, 0);
    for (const [client, opens] of stage.opens) opensOf.set(client, opens);
    const fenced = new Set<ClientId>();
    for (const [client, opens] of opensOf) {
      if (!(await this.#o.stages.adoptClient(client, file, opens))) fenced.add(client);
    }
    const release = this.#o.queue.hold(file);
    try {
      await this.#o.store.write(this.#o.stages.installOps({ ...stage.record, ready }), { sync: true });
      this.#step(stage, 'open');
      stage.timer?.stop();
      this.#stages.delete(file);
      for (const [client, parts] of stage.parts) this.#o.arrivals.note(file, client, parts);
      for (const client of fenced) stage.table.dropClient(client);
      const waiting = stage.waiting.filter((lock) => !fenced.has(lock.client));
      this.#o.locks.adopt(file, stage.table, stage.parts.keys(), waiting, ready.nextTicket);
      const isKnown = ({ client }: { client: ClientId }): boolean => !fenced.has(client);
      this.#o.stages.lockinfosArrived(file, ready.lockinfos.filter(isKnown));
      for (const client of fenced) this.#o.arrivals.forgetClient(client);
    } finally {
      release();
    }
    stage.tellOpened();
    // Its last name may have gone, and its last handle, just before the freeze.
    this.#o.deleteIfUnused(file);
    this.#o.trace.info('migration opened', {
      migration: stage.record.migration,
      file,
      holders: stage.table.heldCount,
      waiters: stage.waiting.length,
    });
  }

  /** An earlier stage of the same file that its source never finished here. */
  async #replace(old: Stage): Promise<void> {
    if (old.phase === 'ready') {
      while (this.#stages.get(old.record.file) === old && !(await this.#ask(old))) {
        await this.#o.clock.sleep(askAgainMs);
      }
      return;
    }
    await this.#drop(old, 'another migration of the file began');
  }

  /** True when the stage is open or gone. */
  async #ask(stage: Stage): Promise<boolean> {
    if (stage.opening !== undefined) {
      await stage.opening;
      return true;
    }
    const { migration, file, source } = stage.record;
    const { outcome } = await this.#o.peer(source).call('migrationOutcome', { migration, file });
    if (this.#stages.get(file) !== stage) return true;
    if (outcome === 'committed' && stage.phase === 'ready') await this.#open(stage);
    else if (outcome === 'aborted') await this.#drop(stage, 'the source says that it was aborted');
    return outcome !== 'running';
  }

  #watch(stage: Stage): void {
    stage.timer?.stop();
    stage.timer = this.#o.clock.after(askEveryMs, () => this.#askInBackground(stage));
  }

  #askInBackground(stage: Stage): void {
    if (this.#closed || this.#stages.get(stage.record.file) !== stage) return;
    this.#ask(stage)
      .catch((error: unknown) => {
        const { migration, source } = stage.record;
        this.#o.trace.warn('source not asked', { migration, source, error: textOf(error) });
      })
      .finally(() => {
        if (!this.#closed && this.#stages.get(stage.record.file) === stage) this.#watch(stage);
      });
  }

  async #drop(stage: Stage, reason: string): Promise<void> {
    const { file, migration } = stage.record;
    this.#step(stage, 'dropped');
    stage.timer?.stop();
    this.#stages.delete(file);
    this.#o.trace.info('stage dropped', { migration, file, reason });
    const work = this.#remove(stage.record).finally(() => this.#dropping.delete(file));
    this.#dropping.set(file, work);
    await work;
  }

  /**
   * Until it is done: a record that stayed behind a failing disk would, at some later restart, take the content of
   * the file with it, which may be here by then. So nothing else of the file is staged before.
   */
  async #remove(record: StageRecord): Promise<void> {
    for (let waitMs = askAgainMs; !this.#closed; waitMs = Math.min(waitMs * 2, askEveryMs)) {
      try {
        await this.#o.stages.dropStage(record);
        return;
      } catch (error) {
        const { file, migration } = record;
        this.#o.trace.warn('stage not removed yet', { file, migration, error: textOf(error) });
      }
      await this.#o.clock.sleep(waitMs);
    }
  }

  #staged(body: { migration: MigrationId; file: FileId }): Stage {
    const stage = this.#stages.get(body.file);
    if (stage === undefined || stage.record.migration !== body.migration || stage.phase !== 'staged') {
      throw this.#unknown(body.migration);
    }
    return stage;
  }

  #unknown(migration: MigrationId): Refusal {
    return new Refusal(
      'ESTALE',
      `there is no stage of migration ${migration} here: it was aborted, or the brick restarted`,
    );
  }

  #step(stage: Stage, to: TargetPhase): void {
    assertTargetStep(stage.phase, to);
    stage.phase = to;
    this.#traceStep(stage);
  }

  #traceStep({ phase, record }: Stage): void {
    if (!this.#o.trace.isDebug) return;
    const { migration, file, source } = record;
    this.#o.trace.debug('migration step', { side: 'target', migration, file, source, to: phase });
  }
}

function newStage(record: StageRecord): Stage {
  let tellOpened = (): void => undefined;
  const opened = new Promise<true>((resolve) => {
    tellOpened = () => resolve(true);
  });
  return {
    record,
    phase: 'staged',
    parts: new Map(),
    table: new LockTable(),
    waiting: [],
    opens: new Map(),
    readying: undefined,
    opening: undefined,
    opened,
    tellOpened,
    timer: undefined,
  };
}

const textOf = (error: unknown): string => asRefusal(error)?.message ?? String(error);
