/**
 * A brick in memory for tests of dht: it speaks the message table over a Network, keeps entries and inodes in maps
 * and locks in the real lock table. What a test wants to go wrong it scripts: refusals, answers held back, moves,
 * restarts, fences, cuts. It has no store and no freeze: those are the real brick's.
 */
import { LockTable } from '../brick-store/locks/lock-table.js';
import { silentTrace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { ClientId, Epoch, FileId, LkOwner, LockToken, MigrationId, Ticket } from '../wire/ids.js';
import type { Moved, WaitingLock } from '../wire/lock-types.js';
import type { Answer, HashRange, Op, Request } from '../wire/messages.js';
import type { Connection, Listener, Network } from '../wire/network.js';
import { type IncomingRequest, Responder } from '../wire/responder.js';
import { FakeFiles, type Handler, type Handlers } from './fake-files.js';

interface FakeSession {
  readonly incarnation: number;
  path: Responder | undefined;
  mustReclaim: boolean;
  readonly replies: Map<number, () => void>;
  readonly working: Set<number>;
}

interface Waiting {
  readonly client: ClientId;
  readonly seq: number;
}

export class FakeBrick extends FakeFiles {
  readonly tables = new Map<FileId, LockTable>();
  /** Every request that arrived, resent ones again. */
  readonly log: { op: Op; body: Request<Op> }[] = [];
  /** May refuse a request before it has any effect. */
  script: (op: Op, body: Request<Op>) => Refusal | undefined = () => undefined;
  /** May keep an answer from being sent; the effect has happened, and a resend gets the answer. */
  loseAnswer: (op: Op) => boolean = () => false;
  /** Runs just before a request is carried out. */
  before: (op: Op, body: Request<Op>) => void = () => undefined;
  readonly #sessions = new Map<ClientId, FakeSession>();
  readonly #fenced = new Map<ClientId, number>();
  readonly #waiting = new Map<FileId, Map<Ticket, Waiting>>();
  readonly #responders = new Set<Responder>();
  /** Requests that came before every client of the time before the restart had reclaimed. */
  #early: (() => void)[] = [];
  readonly #network: Network;
  #listener: Listener | undefined;

  constructor(name: string, network: Network, rootLayout: readonly HashRange[] = []) {
    super(name, rootLayout);
    this.#network = network;
  }

  get address(): string {
    return `unix:/${this.name}`;
  }

  async start(): Promise<void> {
    this.#listener = await this.#network.listen(this.address, (connection) => this.#accept(connection));
  }

  /** Nobody answers any more; what clients had is kept. */
  async stop(): Promise<void> {
    await this.#listener?.close();
    this.#listener = undefined;
    this.cut();
  }

  /** Every connection ends; sessions stay. */
  cut(): void {
    for (const responder of this.#responders) responder.close('cut by the test');
  }

  /** Loses what is in memory only: locks, waits, opens. Names and inodes stay. */
  async restart(): Promise<void> {
    await this.stop();
    this.tables.clear();
    this.#waiting.clear();
    this.opens.clear();
    for (const session of this.#sessions.values()) {
      session.mustReclaim = true;
      session.replies.clear();
      session.working.clear();
    }
    await this.start();
  }

  /** As if the grace of the client had run out. */
  fence(client: ClientId): void {
    const session = this.#sessions.get(client);
    if (session === undefined) throw new Error(`${this.name} does not know ${client}`);
    this.#fenced.set(client, session.incarnation);
    this.#sessions.delete(client);
    for (const [file, table] of this.tables) this.#deliver(file, table.dropClient(client));
    for (const key of this.opens.keys()) if (key.startsWith(client)) this.opens.delete(key);
    session.path?.close('fenced by the test');
  }

  /** A committed move of one file with its locks and waiters. */
  moveTo(target: FakeBrick, file: FileId): void {
    const inode = this.inodes.get(file)!;
    const epoch = (inode.attributes.epoch + 1) as Epoch;
    const moved: Moved = {
      target: target.name,
      epoch,
      migration: `${epoch}`.padStart(32, '0') as MigrationId,
    };
    this.inodes.delete(file);
    target.moved.delete(file);
    target.inodes.set(file, { ...inode, attributes: { ...inode.attributes, epoch } });
    this.moved.set(file, moved);
    for (const [key, opens] of this.opens) {
      if (!key.endsWith(file)) continue;
      this.opens.delete(key);
      target.opens.set(key, opens);
    }
    const table = this.tables.get(file);
    if (table !== undefined) target.tables.set(file, LockTable.restore(table.snapshot()));
    target.tables.get(file)?.settle();
    this.tables.delete(file);
    const waiting = this.#waiting.get(file) ?? new Map<Ticket, Waiting>();
    this.#waiting.delete(file);
    for (const { client, seq } of waiting.values()) {
      this.#refuse(client, seq, new Refusal('EREMOTE', undefined, moved));
    }
  }

  /** The owner drops its locks, as if its client had asked. */
  drop(file: FileId, client: ClientId, owner: LkOwner): void {
    this.#deliver(file, this.#table(file).dropOwner(client, owner));
  }

  requests<O extends Op>(op: O): Request<O>[] {
    return this.log.filter((one) => one.op === op).map((one) => one.body as Request<O>);
  }

  /** Held locks of a file as text, in order. */
  held(file: FileId): string[] {
    const held = this.tables.get(file)?.snapshot().held ?? [];
    return held.map((lock) => `${lock.kind} ${lock.type} ${lock.start}-${lock.end} ${lock.owner.slice(-1)}`);
  }

  waiters(file: FileId): readonly WaitingLock[] {
    return this.tables.get(file)?.snapshot().waiting ?? [];
  }

  // ---- sessions -----------------------------------------------------------------------------------------------------

  #accept(connection: Connection): void {
    let client: ClientId | undefined;
    const responder = new Responder(connection, silentTrace, {
      onRequest: (_, request) => {
        if (request.op === 'hello') client = this.#hello(responder, request.seq, request.body);
        else if (client !== undefined) this.#request(client, responder, request);
      },
      onClose: () => {
        this.#responders.delete(responder);
        const session = client === undefined ? undefined : this.#sessions.get(client);
        if (session?.path === responder) session.path = undefined;
      },
    });
    this.#responders.add(responder);
  }

  #hello(responder: Responder, seq: number, body: Request<'hello'>): ClientId | undefined {
    if (body.incarnation <= (this.#fenced.get(body.client) ?? 0)) {
      responder.refuse(seq, new Refusal('EFENCED'));
      return undefined;
    }
    let session = this.#sessions.get(body.client);
    let state: 'new' | 'resumed' | 'reclaim' = 'new';
    if (session === undefined || session.incarnation !== body.incarnation) {
      session = {
        incarnation: body.incarnation,
        path: responder,
        mustReclaim: false,
        replies: new Map(),
        working: new Set(),
      };
      this.#sessions.set(body.client, session);
    } else {
      session.path = responder;
      state = session.mustReclaim ? 'reclaim' : 'resumed';
    }
    responder.answer(seq, 'hello', { session: state, graceMs: 10_000 });
    return body.client;
  }

  #request(client: ClientId, responder: Responder, { seq, op, body }: IncomingRequest): void {
    const session = this.#sessions.get(client);
    if (session === undefined) return;
    if (op === 'ping') {
      responder.answer(seq, 'ping', {});
      return;
    }
    this.log.push({ op, body });
    const reply = session.replies.get(seq);
    if (reply !== undefined) reply();
    if (reply !== undefined || session.working.has(seq)) return;
    session.working.add(seq);
    const run = (): void => this.#carryOut(client, { seq, op, body } as IncomingRequest);
    if (this.#isRecovering && op !== 'reclaim' && op !== 'reclaimDone') this.#early.push(run);
    else run();
  }

  get #isRecovering(): boolean {
    return [...this.#sessions.values()].some((session) => session.mustReclaim);
  }

  #reclaimed(client: ClientId): void {
    this.#sessions.get(client)!.mustReclaim = false;
    if (this.#isRecovering) return;
    for (const [file, table] of this.tables) this.#deliver(file, table.settle());
    const early = this.#early;
    this.#early = [];
    for (const run of early) run();
  }

  #carryOut(client: ClientId, { seq, op, body }: IncomingRequest): void {
    try {
      this.before(op, body);
      const scripted = this.script(op, body);
      if (scripted !== undefined) throw scripted;
      const handler = this.#handlers[op] as Handler<Op> | undefined;
      if (handler === undefined) throw new Error(`the fake brick does not know ${op}`);
      const answer = handler(body, client, seq);
      if (answer !== undefined) this.#answer(client, seq, op, answer);
    } catch (error) {
      this.#refuse(client, seq, asRefusal(error) ?? new Refusal('EIO', String(error)));
    }
  }

  #answer<O extends Op>(client: ClientId, seq: number, op: O, body: Answer<O>): void {
    const session = this.#sessions.get(client);
    session?.working.delete(seq);
    const send = (): void => session?.path?.answer(seq, op, body);
    session?.replies.set(seq, send);
    if (!this.loseAnswer(op)) send();
  }

  #refuse(client: ClientId, seq: number, error: Refusal): void {
    const session = this.#sessions.get(client);
    session?.working.delete(seq);
    const send = (): void => session?.path?.refuse(seq, error);
    session?.replies.set(seq, send);
    send();
  }

  // ---- what the rows do ---------------------------------------------------------------------------------------------

  protected dropOwner(client: ClientId, file: FileId, owner: LkOwner): void {
    this.#deliver(file, this.#table(file).dropOwner(client, owner));
  }

  #table(file: FileId): LockTable {
    this.inode(file);
    let table = this.tables.get(file);
    if (table === undefined) {
      table = new LockTable();
      this.tables.set(file, table);
    }
    return table;
  }

  #deliver(file: FileId, granted: readonly WaitingLock[]): void {
    const waiting = this.#waiting.get(file);
    for (const { ticket } of granted) {
      const wait = waiting?.get(ticket);
      if (wait === undefined) continue;
      waiting?.delete(ticket);
      this.#answer(wait.client, wait.seq, 'lock', { outcome: 'granted', change: 1 });
    }
  }

  #lock(body: Request<'lock'>, client: ClientId, seq: number): Answer<'lock'> | undefined {
    const { file, ticket, ...wanted } = body;
    const table = this.#table(file);
    const waiting = this.#waiting.get(file) ?? new Map<Ticket, Waiting>();
    this.#waiting.set(file, waiting);
    const known = [...table.snapshot().waiting].find(
      (one) =>
        one.client === client &&
        one.owner === body.owner &&
        (one.ticket === ticket || !waiting.has(one.ticket)),
    );
    const result =
      known === undefined
        ? table.lock({ ...wanted, client, ...(ticket === undefined ? {} : { ticket }) })
        : { outcome: 'waiting' as const, ticket: known.ticket, granted: [] };
    this.#deliver(file, result.granted);
    if (result.outcome !== 'waiting') return { outcome: result.outcome, change: 1 };
    waiting.set(result.ticket!, { client, seq });
    this.#sessions.get(client)?.path?.event('queued', { seq, file, ticket: result.ticket! });
    return undefined;
  }

  #rebind(file: FileId, from: ClientId, to: ClientId): Answer<'writeLockinfo'> {
    const opens = this.opens.get(from + file) ?? 0;
    this.opens.delete(from + file);
    this.opens.set(to + file, (this.opens.get(to + file) ?? 0) + opens);
    for (const [ticket, wait] of this.#waiting.get(file) ?? []) {
      if (wait.client !== from) continue;
      this.#waiting.get(file)?.delete(ticket);
      this.#answer(from, wait.seq, 'lock', { outcome: 'rebound', change: 0 });
    }
    const { held, waiting } = this.#table(file).rebind(from, to);
    return { count: held + waiting, opens };
  }

  #cancel(file: FileId, client: ClientId, seq: number): void {
    const table = this.#table(file);
    for (const [ticket, wait] of this.#waiting.get(file) ?? []) {
      if (wait.client !== client || wait.seq !== seq) continue;
      this.#waiting.get(file)?.delete(ticket);
      this.#answer(client, seq, 'lock', { outcome: 'cancelled', change: 0 });
      this.#deliver(file, table.cancel(ticket).granted);
    }
  }

  readonly #handlers: Handlers = {
    ...this.nameHandlers,
    ...this.inodeHandlers,
    goodbye: (_, client, seq) => {
      this.#answer(client, seq, 'goodbye', {});
      this.#sessions.delete(client);
      return undefined;
    },
    reclaim: ({ file, opens, held, waiting }, client) => {
      const table = this.#table(file);
      this.opens.set(client + file, opens);
      for (const lock of held) table.addHeld(lock);
      for (const lock of waiting) table.addWaiting(lock);
      return {};
    },
    reclaimDone: (_, client) => {
      this.#reclaimed(client);
      return {};
    },
    lock: (body, client, seq) => this.#lock(body, client, seq),
    unlock: ({ file, owner, kind, start, end }, client) => {
      this.#deliver(file, this.#table(file).unlock(kind, client, owner, start, end));
      return {};
    },
    testLock: ({ file, owner, kind, type, start, end }, client) => ({
      conflict: this.#table(file).test({ kind, type, start, end, client, owner }),
    }),
    cancelLock: ({ file, seq }, client) => {
      this.#cancel(file, client, seq);
      return {};
    },
    flushOwner: ({ file, owner }, client) => {
      this.#deliver(file, this.#table(file).dropOwner(client, owner, 'posix'));
      return {};
    },
    // The token is the client: this brick trusts everybody.
    readLockinfo: ({ file }, client) => {
      const { held, waiting } = this.#table(file).countsOf(client);
      return {
        token: client as string as LockToken,
        count: held + waiting,
        opens: this.opens.get(client + file) ?? 0,
      };
    },
    writeLockinfo: ({ file, token }, client) => this.#rebind(file, token as string as ClientId, client),
    locate: ({ file }) => {
      const moved = this.moved.get(file);
      if (this.inodes.has(file)) return { place: 'here', moved: undefined };
      return { place: moved === undefined ? 'absent' : 'moved', moved };
    },
  };
}
