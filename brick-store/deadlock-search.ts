/**
 * A brick's part in the search for deadlocks: it says for whom a wait waits, sees when a chain of waits closes to a
 * ring, and ends the one wait that a confirmed ring costs. It starts no search (the clients do: dht/wait-probes.ts),
 * keeps nothing between two messages, and believes a client only about that client's own waits.
 *
 * A ring of locks alone, held by processes, is a deadlock: EDEADLK for the wait that began last. A ring that leads
 * through a place in a queue is none in Linux, where there is no queue: that wait is let past the others instead.
 * Called by routes/lock-routes.ts, where the file of the wait is. The rules are in docs/LOCKS.md, "Deadlocks".
 */
import type { Trace } from '../host/trace.js';
import { beganLater, isDeadlock } from '../wire/chained-wait.js';
import type { ClientId, LkOwner } from '../wire/ids.js';
import { chainedWaitsMax } from '../wire/limits.js';
import type { LockOwner } from '../wire/lock-types.js';
import type { Answer, ChainedWait, EventBody, EventName, Request } from '../wire/messages.js';
import type { LockService } from './lock-service.js';

export interface DeadlockSearchParts {
  readonly locks: Pick<LockService, 'blockersOf' | 'endAsDeadlock' | 'letPass'>;
  readonly trace: Trace;
  /** To a client that is connected; dropped for others, whose waits are searched again. */
  tell<E extends EventName>(client: ClientId, name: E, body: EventBody<E>): void;
}

/** Owners of one event: about 200 KiB. */
const ownersPerEvent = 10_000;

export class DeadlockSearch {
  readonly #o: DeadlockSearchParts;

  constructor(parts: DeadlockSearchParts) {
    this.#o = parts;
  }

  probe(client: ClientId, { round, chain }: Request<'probe'>): void {
    const last = chain.at(-1);
    if (last?.client !== client || chain.length > chainedWaitsMax) return;
    const blockers = this.#o.locks.blockersOf(last);
    if (blockers === undefined) return;
    const before = chain.slice(0, -1);
    this.#follow(round, [...before, { ...last, blockedBy: 'holder' }], blockers.holders);
    this.#follow(round, [...before, { ...last, blockedBy: 'queue' }], blockers.inQueue);
  }

  /** The edge is looked at again, now that the whole ring was seen once: so all of it existed at one time. */
  confirm(client: ClientId, { ring, at }: Request<'confirmCycle'>): void {
    const wait = ring[at];
    const next = ring[(at + 1) % ring.length];
    if (wait?.client !== client || next === undefined || ring.length > chainedWaitsMax) return;
    const blockers = this.#o.locks.blockersOf(wait);
    const owners = wait.blockedBy === 'holder' ? blockers?.holders : blockers?.inQueue;
    if (!owners?.some((owner) => isSameOwner(owner, next))) return;
    if (at + 1 < ring.length) this.#o.tell(next.client, 'confirmCycle', { ring, at: at + 1 });
    else this.#end(ring, wait);
  }

  queueState(client: ClientId, { pass, ...wait }: Request<'queueState'>): Answer<'queueState'> {
    const blockers = this.#o.locks.blockersOf({ client, ...wait });
    const queuesOnly = blockers !== undefined && blockers.holders.length === 0;
    if (queuesOnly && pass) this.#o.locks.letPass(wait.file, wait.ticket);
    return { queuesOnly };
  }

  /** All of the ring is confirmed. */
  #end(ring: readonly ChainedWait[], { client, owner, file, ticket, blockedBy }: ChainedWait): void {
    const { locks, trace } = this.#o;
    const fields = { file, client, owner, ticket, waits: ring.length };
    if (blockedBy === 'queue') {
      trace.info('wait let past others', fields);
      locks.letPass(file, ticket);
    } else if (isDeadlock(ring) && locks.endAsDeadlock(file, ticket)) trace.info('deadlock ended', fields);
  }

  #follow(round: number, chain: readonly ChainedWait[], owners: readonly LockOwner[]): void {
    const ownersOf = new Map<ClientId, LkOwner[]>();
    for (const owner of owners) {
      if (isSameOwner(owner, chain[0]!)) {
        this.#closed(chain);
        continue;
      }
      const some = ownersOf.get(owner.client);
      if (some === undefined) ownersOf.set(owner.client, [owner.owner]);
      else some.push(owner.owner);
    }
    if (chain.length === chainedWaitsMax) return;
    for (const [client, all] of ownersOf) {
      for (let from = 0; from < all.length; from += ownersPerEvent)
        this.#o.tell(client, 'probe', { round, chain, owners: all.slice(from, from + ownersPerEvent) });
    }
  }

  #closed(chain: readonly ChainedWait[]): void {
    const ring = ringToConfirm(chain);
    if (ring !== undefined) this.#o.tell(ring[0]!.client, 'confirmCycle', { ring, at: 0 });
  }
}

/**
 * The ring turned so that the wait to be ended is the last; undefined where nothing is to be ended. Whoever finds the
 * same ring, from whichever of its waits, ends the same one: so a ring costs one wait.
 */
export function ringToConfirm(chain: readonly ChainedWait[]): readonly ChainedWait[] | undefined {
  const queued = chain.filter((wait) => wait.blockedBy === 'queue');
  if (queued.length === 0 && !isDeadlock(chain)) return undefined;
  const loser = (queued.length > 0 ? queued : chain).reduce((a, b) => (beganLater(b, a) ? b : a));
  const turn = chain.indexOf(loser) + 1;
  return [...chain.slice(turn), ...chain.slice(0, turn)];
}

const isSameOwner = (a: LockOwner, b: LockOwner): boolean => a.owner === b.owner && a.client === b.client;
