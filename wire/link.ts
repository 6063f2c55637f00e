/**
 * One lasting session with one brick, over connections that come and go. Decides when to connect, what may be sent
 * again, when to stop waiting, and what a restarted or forgetful brick means for what the caller believed it had.
 * It must never send a request again that it has given up, and never reorder requests.
 * Used by dht (a mount's or a tool's links) and by bricks among themselves.
 *
 * The rules are told in docs/WIRE.md, "Sessions".
 */
import type { Timer } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import type { NumberedCall } from './caller.js';
import { Caller } from './caller.js';
import type { IncomingEvent } from './codec.js';
import { decodeAnswer, decodeReply, encodeRequest, MessageError } from './codec.js';
import { Dialer, type DialerDoors } from './dialer.js';
import { Refusal } from './errors.js';
import { FrameError, FrameReader } from './frames.js';
import { Heartbeat, patienceMsOf } from './heartbeat.js';
import { graceMsDefault } from './limits.js';
import type { Answer, EventBody, EventName, Op, Request } from './messages.js';
import { protocolVersion } from './messages.js';
import type { Connection } from './network.js';

export type { NumberedCall } from './caller.js';

/**
 * `connecting` until the first hello was answered; `up`; `lost`: connecting again; `fenced`: the brick ended the
 * session, a new one is being made; `closed` for good.
 */
export type LinkState = 'connecting' | 'up' | 'lost' | 'fenced' | 'closed';

export type SendReclaim = <O extends 'reclaim'>(op: O, body: Request<O>) => Promise<Answer<O>>;

export interface BrickLinkOptions extends DialerDoors {
  readonly trace: Trace;
  /** Who asks, and which brick of which volume is meant. */
  readonly hello: Omit<Request<'hello'>, 'incarnation' | 'protocol'>;
  /** A brick that cannot be reached for this long: what waits for it is refused with ENOTCONN. */
  readonly giveUpMs: number;
  /** The brick restarted: tell it all that this client holds, waits for and has open there. */
  readonly onReclaim?: (send: SendReclaim) => Promise<void>;
  readonly onEvent?: <E extends EventName>(name: E, body: EventBody<E>) => void;
  readonly onState?: (state: LinkState) => void;
  /** Everything this client had at the brick is gone. Called before the calls in flight are refused. */
  readonly onFenced?: () => void;
}

/** A connection that did not last this long does not count as recovered: the next one is tried with a delay. */
const steadyMs = 1000;
const goodbyeMsMax = 1000;

export class BrickLink {
  readonly #options: BrickLinkOptions;
  readonly #caller = new Caller();
  #state: LinkState = 'connecting';
  #incarnation = 1;
  #graceMs = graceMsDefault;

  /** The one that counts; whatever an older one still says is not heard. */
  #connection: Connection | undefined;
  /** `hello` was sent on it and not answered yet. */
  #isGreeting = false;
  #frames = new FrameReader();
  readonly #send = (frame: Uint8Array): void => {
    this.#heartbeat.hasSent = true;
    this.#connection!.send(frame);
  };
  readonly #dialer: Dialer;
  readonly #heartbeat: Heartbeat;
  #upAt = 0;
  #lastReason = 'not tried yet';

  /** When it was up last, or started; the wait for giveUpMs counts from here. */
  #lostAt = 0;
  #hasGivenUp = false;
  /** The brick did something for this session: losing it loses something. */
  #hasState = false;
  #isLeaving = false;

  #giveUpTimer: Timer | undefined;

  #started: Promise<void> | undefined;
  /** Set while `start` waits. */
  #starting: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(options: BrickLinkOptions) {
    this.#options = options;
    this.#dialer = new Dialer(options, {
      connected: (connection) => this.#attach(connection),
      failed: (reason) => this.#lose(reason),
    });
    this.#heartbeat = new Heartbeat(options.clock, {
      ping: () => this.#caller.note('ping', {}, this.#send).answer,
      silent: (reason) => this.#lose(reason),
    });
  }

  get state(): LinkState {
    return this.#state;
  }

  /** 1 more after each time the brick ended the session. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** The grace that the brick announced. */
  get graceMs(): number {
    return this.#graceMs;
  }

  /**
   * Resolves with the first session.
   * @throws Refusal ENOTCONN where the brick does not answer within giveUpMs, or what it refused `hello` with. The link
   *   goes on trying even so; who does not want that abandons it
   */
  start(): Promise<void> {
    this.#started ??= new Promise((resolve, reject) => {
      this.#starting = { resolve, reject };
      if (this.#state === 'closed') {
        this.#settleStart(this.#closedRefusal());
        return;
      }
      this.#lostAt = this.#options.clock.now();
      this.#waitToGiveUp();
      void this.#dialer.dial(patienceMsOf(this.#graceMs));
    });
    return this.#started;
  }

  /** @throws Refusal of the brick; ENOTCONN, EFENCED, EIO of the link itself (docs/WIRE.md) */
  call<O extends Op>(op: O, body: Request<O>): Promise<Answer<O>> {
    return this.callNumbered(op, body).answer;
  }

  /** `seq` names the request in `cancelLock` and in the event `queued`; 0 where it was refused at once. */
  callNumbered<O extends Op>(op: O, body: Request<O>): NumberedCall<O> {
    if (this.#state === 'up' && !this.#isLeaving) return this.#caller.call(op, body, this.#send);
    if (this.#state === 'closed' || this.#isLeaving) {
      return { seq: 0, answer: Promise.reject(this.#closedRefusal()) };
    }
    if (this.#hasGivenUp) return { seq: 0, answer: Promise.reject(this.#unreachable()) };
    return this.#caller.call(op, body);
  }

  /** Nobody waits for the call `seq` any more: it is not sent again, and its promise is refused now. */
  forget(seq: number): void {
    this.#caller.refused(seq, new Refusal('EINTR', 'nobody waits for this request any more'));
  }

  /** Says goodbye, so that the brick ends the session now; waits for that, but not long. Then as `abandon`. */
  async close(): Promise<void> {
    if (this.#isLeaving || this.#state !== 'up') {
      this.abandon();
      return;
    }
    this.#isLeaving = true;
    const { clock, giveUpMs } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = clock.after(Math.min(giveUpMs, goodbyeMsMax), resolve);
      const done = () => {
        timer.stop();
        resolve();
      };
      // Refused or cut off: the session then ends with the grace, which is all that is left to hope for.
      this.#caller.note('goodbye', {}, this.#send).answer.then(done, done);
    });
    this.abandon();
  }

  /** Drops the connection without a word; the brick keeps the session for its grace. */
  abandon(): void {
    if (this.#state === 'closed') return;
    const refusal = this.#closedRefusal();
    this.#detach(refusal.message);
    this.#giveUpTimer?.stop();
    this.#setState('closed');
    this.#caller.refuseCalls(refusal);
    this.#settleStart(refusal);
  }

  // ---- connecting ---------------------------------------------------------------------------------------------------

  #attach(connection: Connection): void {
    this.#connection = connection;
    this.#frames = new FrameReader();
    connection.onData = (bytes) => {
      if (this.#connection === connection) this.#take(connection, bytes);
    };
    connection.onClose = (reason) => {
      if (this.#connection === connection) this.#lose(reason);
    };
    const body = { ...this.#options.hello, protocol: protocolVersion, incarnation: this.#incarnation };
    // Number 0 is the lane of hello alone: it is not one of the numbered requests, and never sent twice.
    this.#isGreeting = true;
    this.#send(encodeRequest(0, this.#caller.acked, [], 'hello', body));
  }

  /** Ends what belongs to the present connection or attempt. */
  #detach(reason: string): void {
    this.#dialer.stop();
    this.#heartbeat.stop();
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close(reason);
    this.#caller.dropNotes(new Refusal('ENOTCONN', `the connection to ${this.#brick} ended: ${reason}`));
  }

  #lose(reason: string): void {
    const { clock, trace } = this.#options;
    this.#lastReason = reason;
    this.#detach(reason);
    if (this.#state === 'up') {
      this.#lostAt = clock.now();
      if (this.#lostAt - this.#upAt > steadyMs) this.#dialer.recovered();
      trace.warn('brick lost', { brick: this.#brick, reason });
      this.#setState('lost');
    }
    if (this.#isLeaving || this.#isClosed) return;
    this.#waitToGiveUp();
    this.#dialer.dialAgain(patienceMsOf(this.#graceMs), this.#hasGivenUp);
  }

  #waitToGiveUp(): void {
    if (this.#giveUpTimer || this.#hasGivenUp) return;
    const { clock, giveUpMs } = this.#options;
    const leftMs = Math.max(this.#lostAt + giveUpMs - clock.now(), 0);
    this.#giveUpTimer = clock.after(leftMs, () => this.#giveUp());
  }

  #stopGivingUp(): void {
    this.#giveUpTimer?.stop();
    this.#giveUpTimer = undefined;
  }

  #giveUp(): void {
    const refusal = this.#unreachable();
    this.#hasGivenUp = true;
    this.#giveUpTimer = undefined;
    this.#settleStart(refusal);
    this.#options.trace.warn('brick given up', { brick: this.#brick, reason: this.#lastReason });
    this.#caller.refuseCalls(refusal);
  }

  // ---- what the brick says ------------------------------------------------------------------------------------------

  #take(connection: Connection, bytes: Uint8Array): void {
    this.#heartbeat.hasHeard = true;
    this.#frames.push(bytes);
    try {
      while (this.#connection === connection) {
        const frame = this.#frames.next();
        if (!frame) return;
        this.#hear(frame);
      }
    } catch (error) {
      if (!(error instanceof FrameError || error instanceof MessageError)) throw error;
      this.#options.trace.warn('bad message: closing the connection', {
        brick: this.#brick,
        reason: error.message,
      });
      this.#lose(`bad message: ${error.message}`);
    }
  }

  #hear(frame: Uint8Array): void {
    const reply = decodeReply(frame);
    switch (reply.kind) {
      case 'answer':
        if (reply.seq === 0) this.#onHello(decodeAnswer('hello', reply.fields));
        else if (this.#caller.answered(reply.seq, reply.fields)) this.#hasState = true;
        return;
      case 'refusal':
        if (reply.refusal.code === 'EFENCED') this.#onFence(reply.refusal);
        else if (reply.seq === 0) this.#onHelloRefused(reply.refusal);
        else this.#caller.refused(reply.seq, reply.refusal);
        return;
      case 'event':
        this.#tell(reply);
    }
  }

  #tell(event: IncomingEvent): void {
    this.#options.onEvent?.(event.name, event.body);
  }

  // ---- sessions -----------------------------------------------------------------------------------------------------

  #onHello({ session, graceMs }: Answer<'hello'>): void {
    if (!this.#isGreeting) throw new MessageError('an answer to hello that nobody asked');
    this.#isGreeting = false;
    this.#dialer.greeted();
    this.#graceMs = graceMs;
    // It answers: however long it takes to open after a restart, it is not out of reach.
    this.#stopGivingUp();
    this.#heartbeat.start(graceMs);
    if (session === 'reclaim') {
      void this.#reclaim(this.#connection!);
      return;
    }
    if (session === 'new' && this.#hasState) {
      this.#loseState(new Refusal('EIO', `${this.#brick} does not know this client any more`));
    }
    this.#goUp();
  }

  async #reclaim(connection: Connection): Promise<void> {
    const send: SendReclaim = (op, body) => {
      if (this.#connection === connection) return this.#caller.note(op, body, this.#send).answer;
      return Promise.reject(new Refusal('ENOTCONN', `the connection to ${this.#brick} ended`));
    };
    try {
      await this.#options.onReclaim?.(send);
      if (this.#connection !== connection) return;
      await this.#caller.note('reclaimDone', {}, this.#send).answer;
    } catch (error) {
      if (this.#connection !== connection) return;
      const reason = `reclaiming failed: ${(error as Error).message}`;
      this.#options.trace.error('reclaiming failed', { brick: this.#brick, reason });
      this.#lose(reason);
      return;
    }
    if (this.#connection === connection) this.#goUp();
  }

  #goUp(): void {
    if (this.#isClosed) return;
    const { clock, trace } = this.#options;
    this.#hasGivenUp = false;
    this.#stopGivingUp();
    this.#upAt = clock.now();
    this.#caller.resend(this.#send);
    trace.info('brick up', { brick: this.#brick, incarnation: this.#incarnation });
    this.#setState('up');
    this.#settleStart();
  }

  #onHelloRefused(refusal: Refusal): void {
    const text = `${this.#brick} refuses this client: ${refusal.message}`;
    this.#settleStart(new Refusal(refusal.code, text));
    this.#options.trace.warn('hello refused', { brick: this.#brick, reason: refusal.message });
    this.#lose(text);
  }

  #onFence(refusal: Refusal): void {
    const { clock, trace } = this.#options;
    trace.warn('session ended by the brick', { brick: this.#brick, incarnation: this.#incarnation });
    this.#lastReason = refusal.message;
    this.#detach(refusal.message);
    if (this.#state === 'up') this.#lostAt = clock.now();
    this.#incarnation += 1;
    this.#loseState(new Refusal('EFENCED', `${this.#brick}: ${refusal.message}`));
    if (this.#isClosed) return;
    this.#setState('fenced');
    this.#lose(refusal.message);
  }

  /** The brick has nothing of this client any more. */
  #loseState(refusal: Refusal): void {
    this.#hasState = false;
    this.#options.onFenced?.();
    this.#caller.refuseCalls(refusal);
  }

  // ---- words --------------------------------------------------------------------------------------------------------

  get #brick(): string {
    const { address, hello } = this.#options;
    return typeof address === 'string' ? `${hello.brick} (${address})` : hello.brick;
  }

  /** Asked after a callback, which may have closed the link. */
  get #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #unreachable(): Refusal {
    const seconds = Math.round((this.#options.clock.now() - this.#lostAt) / 100) / 10;
    return new Refusal(
      'ENOTCONN',
      `${this.#brick} cannot be reached for ${seconds} s (${this.#lastReason}): is it running?`,
    );
  }

  #closedRefusal(): Refusal {
    return new Refusal('ENOTCONN', `the link to ${this.#brick} was closed`);
  }

  #setState(state: LinkState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState?.(state);
  }

  #settleStart(error?: Error): void {
    const starting = this.#starting;
    this.#starting = undefined;
    if (error) starting?.reject(error);
    else starting?.resolve();
  }
}
