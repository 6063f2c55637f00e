/**
 * What a brick knows of its clients: who is alive, lost (grace running) or expired, and which answers were given.
 *
 * Decides who may speak (hello, fencing) and that each numbered request takes effect once: a request that comes again
 * after a lost connection gets the answer that it already had, or waits for the one that is being worked out.
 * It never decides what a request means; brick.ts does, and is told through `SessionEvents` when a session ends.
 */
import type { Clock, Timer } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { Refusal } from '../wire/errors.js';
import type { ClientId, FileId } from '../wire/ids.js';
import type { Answer, EventBody, EventName, Op, Request, Role } from '../wire/messages.js';
import { SilentClients, type Speaker } from './silent-clients.js';

/** The way back to a client over the connection it has now. */
export interface ReplyPath {
  readonly peer: string;
  answer<O extends Op>(seq: number, op: O, body: Answer<O>): void;
  refuse(seq: number, error: Refusal): void;
  event<E extends EventName>(name: E, body: EventBody<E>): void;
  close(reason: string): void;
}

/** What stays of a session on disk, so that a restarted brick knows whom to wait for and whom not to obey. */
export interface SessionRecord {
  readonly client: ClientId;
  readonly incarnation: number;
  readonly fenced: boolean;
  readonly title: string;
  readonly host: string;
  readonly pid: number;
}

export interface SessionEvents {
  /** Resolves when durable. */
  store(record: SessionRecord): Promise<void>;
  /** The client left for good: nothing needs to be known of it. Resolves when durable. */
  forget(client: ClientId): Promise<void>;
  /** The session is over: its locks, waits and opens must go. Called once; `reason` is for the log. */
  ended(session: Session, reason: string): void;
  /** No session is left that this restarted brick waits for. */
  recovered(): void;
}

type Reply =
  | { readonly kind: 'answer'; readonly op: Op; readonly body: Answer<Op> }
  | { readonly kind: 'refusal'; readonly error: Refusal };

export class Session implements Speaker {
  path: ReplyPath | undefined;
  hasSpoken = false;
  silentLooks = 0;
  /** Set while the connection is lost. */
  graceTimer: Timer | undefined;
  /** Loaded from disk, or brought by a migration: the client has yet to say what it holds. */
  awaitsReclaim = false;
  /** Known from before a restart of the brick: answers of that time may be on disk. */
  survivedRestart = false;
  ended = false;
  /** Open handles by file. */
  readonly opens = new Map<FileId, number>();
  readonly #replies = new Map<number, Reply>();
  readonly #working = new Set<number>();
  #acked = 1;

  constructor(
    readonly client: ClientId,
    readonly incarnation: number,
    readonly role: Role,
    readonly title: string,
    readonly host: string,
    readonly pid: number,
  ) {}

  /** False once the client said that it has the answer. */
  keepsReply(seq: number): boolean {
    return this.#replies.has(seq) || this.#working.has(seq);
  }

  get isAlive(): boolean {
    return this.path !== undefined;
  }

  /** True where the request is new and must be carried out; otherwise it was answered here, or will be. */
  admit({ seq, acked, alsoAcked }: { seq: number; acked: number; alsoAcked: readonly number[] }): boolean {
    this.hasSpoken = true;
    for (const one of alsoAcked) this.#replies.delete(one);
    if (acked - this.#acked > this.#replies.size) {
      // A client goes on counting over a restart of this brick: its first request is far ahead.
      for (const one of this.#replies.keys()) if (one < acked) this.#replies.delete(one);
      this.#acked = acked;
    }
    while (this.#acked < acked) {
      this.#replies.delete(this.#acked);
      this.#acked += 1;
    }
    if (seq < this.#acked || this.#working.has(seq)) return false;
    const reply = this.#replies.get(seq);
    if (reply !== undefined) {
      this.#send(seq, reply);
      return false;
    }
    this.#working.add(seq);
    return true;
  }

  /** True while the request is being carried out (a wait for a lock may take hours). */
  isWorking(seq: number): boolean {
    return this.#working.has(seq);
  }

  answer<O extends Op>(seq: number, op: O, body: Answer<O>): void {
    this.#settle(seq, { kind: 'answer', op, body: body as Answer<Op> });
  }

  refuse(seq: number, error: Refusal): void {
    this.#settle(seq, { kind: 'refusal', error });
  }

  event<E extends EventName>(name: E, body: EventBody<E>): void {
    this.path?.event(name, body);
  }

  #settle(seq: number, reply: Reply): void {
    this.#working.delete(seq);
    if (this.ended) return;
    this.#replies.set(seq, reply);
    this.#send(seq, reply);
  }

  #send(seq: number, reply: Reply): void {
    if (reply.kind === 'answer') this.path?.answer(seq, reply.op, reply.body);
    else this.path?.refuse(seq, reply.error);
  }
}

export interface SessionsOptions {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly graceMs: number;
  readonly events: SessionEvents;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #live = new Map<ClientId, Session>();
  /** Highest incarnation of each client that is not obeyed any more. */
  readonly #fenced = new Map<ClientId, number>();
  readonly #reclaiming = new Set<Session>();
  readonly #silent: SilentClients;
  #closed = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#silent = new SilentClients(options.clock, options.graceMs, () => this.#live.values());
  }

  /** At start: the sessions of the time before the restart. Each has one grace to come back. */
  load(records: readonly SessionRecord[]): void {
    for (const record of records) {
      if (record.fenced) this.#fenced.set(record.client, record.incarnation);
      else this.#reclaiming.add(this.expect(record));
    }
    for (const session of this.#reclaiming) {
      session.awaitsReclaim = true;
      session.survivedRestart = true;
    }
    if (this.#reclaiming.size === 0) this.#options.events.recovered();
  }

  /** A client that is known to have state here but has no connection: it gets the grace to come. */
  expect(record: SessionRecord): Session {
    const session = new Session(
      record.client,
      record.incarnation,
      'mount',
      record.title,
      record.host,
      record.pid,
    );
    this.#live.set(session.client, session);
    this.#startGrace(session);
    return session;
  }

  get(client: ClientId): Session | undefined {
    return this.#live.get(client);
  }

  isFenced(client: ClientId): boolean {
    return this.#fenced.has(client) && !this.#live.has(client);
  }

  all(): IterableIterator<Session> {
    return this.#live.values();
  }

  get isRecovering(): boolean {
    return this.#reclaiming.size > 0;
  }

  /** @throws Refusal EFENCED; the caller has checked volume, brick, version and secret */
  async hello(
    body: Request<'hello'>,
    path: ReplyPath,
  ): Promise<{ session: Session; state: Answer<'hello'>['session'] }> {
    const fenced = this.#fenced.get(body.client) ?? 0;
    const known = this.#live.get(body.client);
    if (body.incarnation <= fenced || (known !== undefined && body.incarnation < known.incarnation)) {
      throw new Refusal(
        'EFENCED',
        `the session of ${body.title} (client ${body.client}) was ended after its grace`,
      );
    }
    if (known !== undefined && known.incarnation === body.incarnation) return this.#resume(known, path);
    if (known !== undefined) this.#end(known, 'the client came back as a new incarnation');
    const session = new Session(body.client, body.incarnation, body.role, body.title, body.host, body.pid);
    this.#live.set(session.client, session);
    this.#connect(session, path);
    if (session.role === 'mount') await this.#remember(session);
    this.#options.trace.info('session new', { client: session.client, title: session.title });
    return { session, state: 'new' };
  }

  /** @throws what the store failed with; the session is then as if it had never been */
  async #remember(session: Session): Promise<void> {
    const { client, incarnation, title, host, pid } = session;
    try {
      await this.#options.events.store({ client, incarnation, fenced: false, title, host, pid });
    } catch (error) {
      if (this.#live.get(client) === session) this.#live.delete(client);
      throw error;
    }
  }

  #connect(session: Session, path: ReplyPath): void {
    session.path = path;
    session.hasSpoken = true;
    session.silentLooks = 0;
    this.#silent.watch();
  }

  #resume(session: Session, path: ReplyPath): { session: Session; state: Answer<'hello'>['session'] } {
    const old = session.path;
    this.#connect(session, path);
    session.graceTimer?.stop();
    session.graceTimer = undefined;
    if (old !== undefined && old !== path) old.close('the client connected again');
    if (session.awaitsReclaim) return { session, state: 'reclaim' };
    this.#options.trace.info('session resumed', { client: session.client, title: session.title });
    return { session, state: 'resumed' };
  }

  /** The client told all it holds. */
  reclaimed(session: Session): void {
    session.awaitsReclaim = false;
    this.#options.trace.info('session reclaimed', { client: session.client, title: session.title });
    this.#settled(session);
  }

  /** The connection of `path` is gone; the session lives on for the grace (a tool's ends at once). */
  disconnected(session: Session, path: ReplyPath, reason: string): void {
    if (this.#closed || session.path !== path || session.ended) return;
    session.path = undefined;
    if (session.role !== 'mount') {
      this.#end(session, reason);
      return;
    }
    this.#options.trace.warn('session lost', {
      client: session.client,
      title: session.title,
      reason,
      graceMs: this.#options.graceMs,
    });
    this.#startGrace(session);
  }

  /** The client leaves for good. Durable before the promise resolves, so that a restart does not wait for it. */
  async goodbye(session: Session): Promise<void> {
    this.#end(session, 'the client said goodbye');
    if (session.role === 'mount') await this.#options.events.forget(session.client);
  }

  /** Stops every timer; nothing is ended, and connections that end from now on start no grace. */
  close(): void {
    this.#closed = true;
    this.#silent.stop();
    for (const session of this.#live.values()) session.graceTimer?.stop();
  }

  #startGrace(session: Session): void {
    session.graceTimer?.stop();
    session.graceTimer = this.#options.clock.after(this.#options.graceMs, () => {
      this.#options.trace.warn('session expired', { client: session.client, title: session.title });
      // The fence is written before the locks go: a brick that crashes in between must not take the client back.
      this.#live.delete(session.client);
      this.#fence(session).then(
        () => this.#end(session, 'its grace is over'),
        (error: unknown) => {
          this.#options.trace.error('session cannot be fenced', {
            client: session.client,
            error: String(error),
          });
          this.#end(session, 'its grace is over');
        },
      );
    });
  }

  async #fence(session: Session): Promise<void> {
    this.#fenced.set(session.client, Math.max(session.incarnation, this.#fenced.get(session.client) ?? 0));
    await this.#options.events.store({
      client: session.client,
      incarnation: session.incarnation,
      fenced: true,
      title: session.title,
      host: session.host,
      pid: session.pid,
    });
  }

  #end(session: Session, reason: string): void {
    if (session.ended) return;
    session.ended = true;
    session.graceTimer?.stop();
    session.graceTimer = undefined;
    if (this.#live.get(session.client) === session) this.#live.delete(session.client);
    this.#options.events.ended(session, reason);
    session.path = undefined;
    this.#settled(session);
  }

  #settled(session: Session): void {
    if (this.#reclaiming.delete(session) && this.#reclaiming.size === 0) this.#options.events.recovered();
  }
}
