/**
 * This client's part in the search for deadlocks: it starts a search for each of its waits that lasts, and carries a
 * chain of waits on where it comes to an owner of this client that waits itself. The bricks say who blocks whom and
 * end the wait that a deadlock costs (brick-store/deadlock-search.ts); docs/LOCKS.md, "Deadlocks", tells the whole.
 *
 * It must cost nothing before a request waits, and never name an owner a process without proof: EDEADLK for an OFD
 * lock would be a false one. Nothing here must arrive: what is lost with a connection, a move or a restart is searched
 * again, because a wait that gets a new place is searched anew, and every wait from time to time.
 * Called by session-events.ts (events of bricks) and lock-call.ts (a wait ended).
 */
import type { Clock, Timer } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { beganLater, isDeadlock } from '../wire/chained-wait.js';
import { asRefusal } from '../wire/errors.js';
import type { BrickName, ClientId, LkOwner, Ticket } from '../wire/ids.js';
import type { Answer, ChainedWait, EventBody, Request } from '../wire/messages.js';
import type { LockRequest } from './volume.js';

/** A lock request that waits, as far as a search concerns it. */
export interface PendingWait {
  readonly request: LockRequest;
  readonly ticket: Ticket | undefined;
  readonly waitsAt: BrickName | undefined;
  readonly isCancelled: boolean;
}

type ProbeOp = 'probe' | 'confirmCycle' | 'queueState';

export interface WaitProbesParts {
  readonly client: ClientId;
  readonly clock: Clock;
  readonly trace: Trace;
  /** Undefined where the brick is out of reach. */
  send<O extends ProbeOp>(brick: BrickName, op: O, body: Request<O>): Promise<Answer<O>> | undefined;
  /** The owner holds posix locks in some file. */
  holdsLocks(owner: LkOwner): boolean;
}

interface Probed {
  readonly wait: PendingWait;
  readonly sinceUs: number;
  readonly sinceMs: number;
  /** The place that the next search begins from; another one makes the wait due at once. */
  brick: BrickName | undefined;
  ticket: Ticket | undefined;
  dueMs: number;
  pauseMs: number;
  /** -Infinity: never. */
  searchedMs: number;
  /** A chain of an older wait came by: this owner is waited for, whatever it holds. */
  isSought: boolean;
  /** Set while nobody holds anything against the wait: it only queues. */
  queuesSinceMs: number | undefined;
  isProcess: boolean;
  /** Searches that this wait has carried on, by their first wait; `isPure`: of locks and processes alone. */
  readonly carried: Map<string, { readonly round: number; readonly isPure: boolean }>;
}

/** Most waits are over sooner than this, and no deadlock is. */
const firstSearchMs = 100;
const searchPauseMsMax = 4000;
/** A search that stops at a younger wait lets that one search, but not more often than this. */
const soughtPauseMs = 300;
const searchesPerRound = 100;
const carriedMax = 1000;
/** From this age on a wait asks whether it only queues. */
const queueCheckMs = 1000;
/**
 * Nobody queues longer than this behind waits alone. Fairness can make deadlocks that no owner's waits show, for
 * instance where a process holds by flock what its child would need to go on; Linux, without a queue, has none there.
 */
export const queuesOnlyMsMax = 5000;

export class WaitProbes {
  readonly #o: WaitProbesParts;
  readonly #waits = new Map<PendingWait, Probed>();
  readonly #ofOwner = new Map<LkOwner, Set<Probed>>();
  #round = 0;
  #timer: Timer | undefined;
  #timerMs = 0;
  #isClosed = false;

  constructor(parts: WaitProbesParts) {
    this.#o = parts;
  }

  /** The brick queued the request, or queued it anew: after a move, a restart, a lost connection. */
  queued(wait: PendingWait): void {
    if (this.#isClosed || wait.isCancelled) return;
    const nowMs = this.#o.clock.now();
    let probed = this.#waits.get(wait);
    if (probed === undefined) {
      probed = this.#remember(wait, nowMs);
    } else if (probed.brick !== wait.waitsAt || probed.ticket !== wait.ticket) {
      probed.pauseMs = firstSearchMs;
      probed.dueMs = Math.min(probed.dueMs, nowMs + firstSearchMs);
    }
    probed.brick = wait.waitsAt;
    probed.ticket = wait.ticket;
    this.#wakeAt(probed.dueMs);
  }

  ended(wait: PendingWait): void {
    const probed = this.#waits.get(wait);
    if (probed === undefined) return;
    this.#waits.delete(wait);
    const { owner } = wait.request;
    const waits = this.#ofOwner.get(owner);
    if (waits?.delete(probed) && waits.size === 0) this.#ofOwner.delete(owner);
    if (this.#waits.size === 0) this.#stopTimer();
  }

  /** A chain came to these owners: it goes on with each of their waits. */
  carryOn({ round, chain, owners }: EventBody<'probe'>): void {
    for (const owner of owners) {
      for (const probed of this.#ofOwner.get(owner) ?? []) {
        this.#carry(probed, round, chain).catch((error: unknown) => this.#failed(error));
      }
    }
  }

  /** One wait of this client is a part of a ring: is it still the same wait, and a process's? */
  async confirm({ ring, at }: EventBody<'confirmCycle'>): Promise<void> {
    const named = ring[at];
    if (named === undefined || named.client !== this.#o.client) return;
    const probed = [...(this.#ofOwner.get(named.owner) ?? [])].find((one) => isThis(one, named));
    if (probed === undefined) return;
    if (isDeadlock(ring) && !(await this.#hasProof(probed))) return;
    if (this.#waits.has(probed.wait) && isThis(probed, named))
      this.#send(probed, 'confirmCycle', { ring, at });
  }

  close(): void {
    this.#isClosed = true;
    this.#stopTimer();
  }

  #remember(wait: PendingWait, nowMs: number): Probed {
    const probed: Probed = {
      wait,
      sinceUs: Number(this.#o.clock.wallNs() / 1000n),
      sinceMs: nowMs,
      brick: undefined,
      ticket: undefined,
      dueMs: nowMs + firstSearchMs,
      pauseMs: firstSearchMs,
      searchedMs: Number.NEGATIVE_INFINITY,
      isSought: false,
      queuesSinceMs: undefined,
      isProcess: false,
      carried: new Map(),
    };
    this.#waits.set(wait, probed);
    const { owner } = wait.request;
    const waits = this.#ofOwner.get(owner);
    if (waits === undefined) this.#ofOwner.set(owner, new Set([probed]));
    else waits.add(probed);
    return probed;
  }

  // ---- searches of this client's own waits --------------------------------------------------------------------------

  #searchDue(): void {
    const nowMs = this.#o.clock.now();
    let left = searchesPerRound;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const probed of this.#waits.values()) {
      if (probed.dueMs <= nowMs && left > 0) {
        left -= 1;
        probed.pauseMs = Math.min(probed.pauseMs * 2, searchPauseMsMax);
        probed.dueMs = nowMs + probed.pauseMs;
        this.#search(probed, nowMs);
      }
      nextMs = Math.min(nextMs, probed.dueMs);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(Math.max(nextMs, nowMs + firstSearchMs));
  }

  #search(probed: Probed, nowMs: number): void {
    const { kind, owner } = probed.wait.request;
    if (nowMs - probed.sinceMs >= queueCheckMs) this.#checkQueue(probed);
    // Nobody waits for an owner that holds nothing; nor for a flock owner, which is one open file with one lock.
    if (kind === 'flock' || !(probed.isSought || this.#o.holdsLocks(owner))) return;
    const first = this.#named(probed, true);
    if (first === undefined) return;
    probed.searchedMs = nowMs;
    this.#round += 1;
    this.#send(probed, 'probe', { round: this.#round, chain: [first] });
  }

  #checkQueue(probed: Probed): void {
    const { file, owner } = probed.wait.request;
    const { ticket } = probed.wait;
    if (ticket === undefined || probed.wait.isCancelled) return;
    const nowMs = this.#o.clock.now();
    const pass = probed.queuesSinceMs !== undefined && nowMs - probed.queuesSinceMs >= queuesOnlyMsMax;
    this.#send(probed, 'queueState', { file, owner, ticket, pass })
      ?.then(({ queuesOnly }) => {
        probed.queuesSinceMs = queuesOnly ? (probed.queuesSinceMs ?? nowMs) : undefined;
      })
      .catch((error: unknown) => this.#failed(error));
  }

  // ---- searches that pass through ------------------------------------------------------------------------------------

  /**
   * A ring is found by the search of its youngest wait alone. A search that comes to a younger wait than its first
   * ends there, and has that one search: it may have searched in vain before the ring was closed.
   */
  async #carry(probed: Probed, round: number, chain: readonly ChainedWait[]): Promise<void> {
    const first = chain[0];
    const known = this.#named(probed, false);
    if (first === undefined || known === undefined || probed.wait.request.kind !== 'posix') return;
    if (beganLater(known, first)) {
      this.#seek(probed);
      return;
    }
    const isProcess = await this.#hasProof(probed);
    const last = this.#named(probed, isProcess);
    if (last === undefined) return;
    const isPure = isProcess && isDeadlock(chain);
    const search = `${first.client} ${first.owner} ${first.file} ${first.ticket} ${first.sinceUs}`;
    const before = probed.carried.get(search);
    // Once for each search, so that its cost is that of the graph and not of the paths through it. A path of locks
    // alone goes on even after another one has: it alone can end as a deadlock.
    if (before !== undefined && before.round >= round && (before.round > round || before.isPure || !isPure)) {
      return;
    }
    if (probed.carried.size >= carriedMax) probed.carried.clear();
    probed.carried.set(search, { round, isPure });
    this.#send(probed, 'probe', { round, chain: [...chain, last] });
  }

  #seek(probed: Probed): void {
    const nowMs = this.#o.clock.now();
    probed.isSought = true;
    probed.dueMs = Math.min(probed.dueMs, Math.max(nowMs, probed.searchedMs + soughtPauseMs));
    this.#wakeAt(probed.dueMs);
  }

  /** The wait as a part of a chain; undefined where it is over, or has no place just now. */
  #named(probed: Probed, isProcess: boolean): ChainedWait | undefined {
    const { request, ticket, isCancelled } = probed.wait;
    if (ticket === undefined || isCancelled || !this.#waits.has(probed.wait)) return undefined;
    const { owner, file } = request;
    const { sinceUs } = probed;
    return { client: this.#o.client, owner, file, ticket, sinceUs, isProcess, blockedBy: 'holder' };
  }

  /** True for good once it is: an owner does not change its nature. */
  async #hasProof(probed: Probed): Promise<boolean> {
    if (probed.isProcess) return true;
    const { isProcessOwner } = probed.wait.request;
    if (isProcessOwner === undefined || !(await isProcessOwner())) return false;
    // What a thread waits in says nothing of this request once its process was answered.
    if (!this.#waits.has(probed.wait) || probed.wait.isCancelled) return false;
    probed.isProcess = true;
    return true;
  }

  #send<O extends ProbeOp>(probed: Probed, op: O, body: Request<O>): Promise<Answer<O>> | undefined {
    const { waitsAt } = probed.wait;
    const sent = waitsAt === undefined ? undefined : this.#o.send(waitsAt, op, body);
    sent?.catch((error: unknown) => this.#failed(error));
    return sent;
  }

  /** The file moves, the brick restarts or went away: the wait is searched again where it will be. */
  #failed(error: unknown): void {
    const { trace } = this.#o;
    if (asRefusal(error) === undefined) trace.error('search for a deadlock failed', { error: String(error) });
    else trace.debug('search for a deadlock refused', { error: String(error) });
  }

  // ---- time -----------------------------------------------------------------------------------------------------------

  #wakeAt(atMs: number): void {
    if (this.#isClosed || (this.#timer !== undefined && this.#timerMs <= atMs)) return;
    this.#timer?.stop();
    this.#timerMs = atMs;
    this.#timer = this.#o.clock.after(Math.max(0, atMs - this.#o.clock.now()), () => {
      this.#timer = undefined;
      this.#searchDue();
    });
  }

  #stopTimer(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }
}

/** `sinceUs` too: a wait that a signal ended comes back with its ticket, and the process did what it liked between. */
const isThis = (probed: Probed, named: ChainedWait): boolean =>
  probed.sinceUs === named.sinceUs &&
  probed.wait.ticket === named.ticket &&
  probed.wait.request.file === named.file &&
  !probed.wait.isCancelled;
