/**
 * The lock table of one file: what Linux does in fs/locks.c, with fair waiters that have tickets.
 *
 * Pure: no promise, no clock, no I/O; a call decides, changes the table and answers at once. Called by
 * brick-store/lock-service.ts (which answers the requests that wait) and by migration. The rules are in docs/LOCKS.md.
 *
 * posix: posix_lock_inode. One owner's locks split and merge and never conflict with each other. F_GETLK finds the
 * first conflicting lock of flc_posix: owners in the order in which each took its first lock since it last had none,
 * within an owner by start.
 * flock: flock_lock_inode. One lock an owner, always the whole file; changing its type drops it first, so a change
 * that must wait, or is refused, has lost it (flock(2): "not guaranteed to be atomic").
 */
import type { ClientId, LkOwner, Ticket } from '../../wire/ids.js';
import type {
  ByteRange,
  HeldLock,
  LockKind,
  LockOwner,
  LockType,
  WaitingLock,
} from '../../wire/lock-types.js';
import { rangeEnd } from '../../wire/lock-types.js';
import type { Claim } from './conflict-space.js';
import { ConflictSpace } from './conflict-space.js';
import type { LockSnapshot } from './lock-snapshot.js';
import type { Hold, OwnerLocks, Waiter } from './owner-locks.js';
import { pidOf, typeOf } from './owner-locks.js';

export interface TestRequest extends ByteRange, LockOwner {
  readonly kind: LockKind;
  readonly type: LockType;
}

export interface LockRequest extends TestRequest {
  readonly pid: number;
  /** F_SETLKW, or flock without LOCK_NB. */
  readonly wait: boolean;
  /** A place in the queue that this very wait had before. Not honoured where another waiter has it. */
  readonly ticket?: Ticket;
}

export interface LockResult {
  readonly outcome: 'granted' | 'conflict' | 'waiting';
  /** The place of the waiter; set exactly where the outcome is `waiting`. */
  readonly ticket?: Ticket;
  /** A lock that is held against the request; absent where it only queues behind other waiters. */
  readonly conflict?: HeldLock;
  /** Waiters that this call granted, in ticket order; already applied. */
  readonly granted: WaitingLock[];
}

export interface ClientCounts {
  readonly held: number;
  readonly waiting: number;
}

const kinds: readonly LockKind[] = ['posix', 'flock'];
const wholeFile: ByteRange = { start: 0n, end: rangeEnd };

export class LockTable {
  readonly #spaces: Record<LockKind, ConflictSpace> = {
    posix: new ConflictSpace(),
    flock: new ConflictSpace(),
  };
  #nextTicket = 1;
  /** Set while locks arrive in parts: what is not here yet may conflict, so nobody is granted. */
  #arriving = false;

  /** A table in arrival: call `settle` when all of it is in. */
  static restore(snapshot: LockSnapshot): LockTable {
    const table = new LockTable();
    table.raiseTicket(snapshot.nextTicket);
    for (const lock of snapshot.held) table.addHeld(lock);
    for (const waiting of snapshot.waiting) table.addWaiting(waiting);
    table.#arriving = true;
    return table;
  }

  get heldCount(): number {
    return this.#spaces.posix.heldCount + this.#spaces.flock.heldCount;
  }

  get waitingCount(): number {
    return this.#spaces.posix.waiters.size + this.#spaces.flock.waiters.size;
  }

  get isEmpty(): boolean {
    return this.heldCount === 0 && this.waitingCount === 0;
  }

  /** The ticket that the next new waiter gets: above every ticket that this table has seen. */
  get nextTicket(): Ticket {
    return this.#nextTicket as Ticket;
  }

  /** No new waiter gets a ticket below `floor`. */
  raiseTicket(floor: Ticket): void {
    if (floor > this.#nextTicket) this.#nextTicket = floor;
  }

  lock(request: LockRequest): LockResult {
    const space = this.#spaces[request.kind];
    const claim = claimOf(request);
    const owner = space.owners.find(request.client, request.owner);
    const ticket = this.#ticketFor(request);
    let passes = !request.wait || (owner !== undefined && owner.ranges.size > 0);
    if (request.kind === 'flock' && owner !== undefined && owner.ranges.size > 0) {
      const [lock] = owner.ranges;
      if (typeOf(lock!.value) === request.type) return { outcome: 'granted', granted: [] };
      space.release(owner, claim.start, claim.end);
      passes = true;
    }
    const against = space.holderAgainst(claim, owner);
    passes ||= against === undefined && space.waiterAhead(claim, owner, ticket) === undefined;
    if (against === undefined && passes) {
      space.hold(space.owners.findOrMake(request.client, request.owner), claim, request.pid);
      return { outcome: 'granted', granted: this.#settled(request.kind) };
    }
    const conflict =
      against === undefined ? {} : { conflict: heldRecord(request.kind, against.party, against) };
    if (!request.wait) return { outcome: 'conflict', ...conflict, granted: this.#settled(request.kind) };
    if (ticket >= this.#nextTicket) this.#nextTicket = ticket + 1;
    space.enqueue(space.owners.findOrMake(request.client, request.owner), claim, request.pid, ticket);
    return { outcome: 'waiting', ticket, ...conflict, granted: this.#settled(request.kind) };
  }

  /** Unlocking what is not locked is fine. A flock is unlocked as a whole. Answers the waiters that this granted. */
  unlock(kind: LockKind, client: ClientId, owner: LkOwner, start: bigint, end: bigint): WaitingLock[] {
    const space = this.#spaces[kind];
    const locks = space.owners.find(client, owner);
    if (locks === undefined) return [];
    if (kind === 'flock') space.release(locks, wholeFile.start, wholeFile.end);
    else space.release(locks, start, end);
    return this.#settled(kind);
  }

  /** F_GETLK: the first lock, in the kernel's order, that would refuse this request. */
  test(request: TestRequest): HeldLock | undefined {
    const space = this.#spaces[request.kind];
    const owner = space.owners.find(request.client, request.owner);
    const against = space.holderAgainst(claimOf(request), owner);
    return against === undefined ? undefined : heldRecord(request.kind, against.party, against);
  }

  /** Ends one wait. Held locks stay as they are. */
  cancel(ticket: Ticket): { found: WaitingLock | undefined; granted: WaitingLock[] } {
    const place = this.#placeOf(ticket);
    if (place === undefined) return { found: undefined, granted: [] };
    this.#spaces[place.kind].dequeue(place.waiter);
    return { found: waitingRecord(place.kind, place.waiter), granted: this.#settled(place.kind) };
  }

  /** Ends all waits of one owner. */
  cancelOwner(
    client: ClientId,
    owner: LkOwner,
    kind?: LockKind,
  ): { found: WaitingLock[]; granted: WaitingLock[] } {
    const found: WaitingLock[] = [];
    for (const one of kind === undefined ? kinds : [kind]) {
      const space = this.#spaces[one];
      for (const waiter of [...(space.owners.find(client, owner)?.waiters ?? [])]) {
        space.dequeue(waiter);
        found.push(waitingRecord(one, waiter));
      }
    }
    return { found, granted: this.#settled() };
  }

  /**
   * Drops what an owner holds, as a close does. Its waits stay: in Linux too, a thread that waits is not disturbed
   * by a close in another thread (locks_remove_posix only unlocks). `cancelOwner` ends the waits.
   */
  dropOwner(client: ClientId, owner: LkOwner, kind?: LockKind): WaitingLock[] {
    for (const one of kind === undefined ? kinds : [kind]) {
      const space = this.#spaces[one];
      const locks = space.owners.find(client, owner);
      if (locks !== undefined) space.release(locks, wholeFile.start, wholeFile.end);
    }
    return this.#settled();
  }

  /** Drops all locks and all waits of one client. */
  dropClient(client: ClientId): WaitingLock[] {
    for (const kind of kinds) {
      const space = this.#spaces[kind];
      for (const owner of [...(space.owners.clients.get(client)?.owners.values() ?? [])]) {
        for (const waiter of [...owner.waiters]) space.dequeue(waiter);
        space.release(owner, wholeFile.start, wholeFile.end);
      }
    }
    return this.#settled();
  }

  /**
   * Gives all that a client has here (or all that `owners` have) to another client: fd migration to a new graph.
   * Locks of the same lk-owner on both become one owner's. Counts are of the records that were moved.
   */
  rebind(
    from: ClientId,
    to: ClientId,
    owners?: readonly LkOwner[],
  ): { held: number; waiting: number; granted: WaitingLock[] } {
    let held = 0;
    let waiting = 0;
    for (const kind of from === to ? [] : kinds) {
      const space = this.#spaces[kind];
      for (const name of owners ?? [...(space.owners.clients.get(from)?.owners.keys() ?? [])]) {
        const owner = space.owners.find(from, name);
        if (owner === undefined) continue;
        const moved = space.rebind(owner, to);
        held += moved.held;
        waiting += moved.waiting;
      }
    }
    return { held, waiting, granted: this.#settled() };
  }

  /**
   * Adds a lock that was held elsewhere or before a restart, and lets nobody be granted until `settle`.
   * Answers the lock in its way, and adds nothing, where another owner holds against it: only a client that was
   * fenced, or that breaks the protocol, brings such a lock.
   */
  addHeld(lock: HeldLock): HeldLock | undefined {
    this.#arriving = true;
    const space = this.#spaces[lock.kind];
    const claim = claimOf(lock);
    const known = space.owners.find(lock.client, lock.owner);
    const against = space.holderAgainst(claim, known);
    if (against !== undefined) return heldRecord(lock.kind, against.party, against);
    space.hold(known ?? space.owners.findOrMake(lock.client, lock.owner), claim, lock.pid);
    return undefined;
  }

  /**
   * Adds a wait under its ticket, granted at the earliest by `settle`. The same wait again replaces the first.
   * Answers its ticket: a new one where a wait of another owner has that place.
   */
  addWaiting(waiting: WaitingLock): Ticket {
    this.#arriving = true;
    const place = this.#placeOf(waiting.ticket);
    if (place !== undefined && place.kind === waiting.kind && isOwnerOf(place.waiter, waiting)) {
      this.#spaces[place.kind].dequeue(place.waiter);
    }
    const ticket = this.#ticketFor(waiting);
    if (ticket >= this.#nextTicket) this.#nextTicket = ticket + 1;
    const space = this.#spaces[waiting.kind];
    const owner = space.owners.findOrMake(waiting.client, waiting.owner);
    space.enqueue(owner, claimOf(waiting), waiting.pid, ticket);
    return ticket;
  }

  /** All locks have arrived: grants what can be granted. */
  settle(): WaitingLock[] {
    this.#arriving = false;
    return this.#settled();
  }

  /** The wait in this place. */
  waiterOf(ticket: Ticket): WaitingLock | undefined {
    const place = this.#placeOf(ticket);
    return place === undefined ? undefined : waitingRecord(place.kind, place.waiter);
  }

  /**
   * Whom a waiter waits for. `holders`: who holds something against it; these alone stop it in Linux. `inQueue`: the
   * owners whose waits it stands behind, and who holds something against those; at most `waitersMax` places ahead are
   * looked at.
   */
  blockersOf(ticket: Ticket, waitersMax: number): { holders: LockOwner[]; inQueue: LockOwner[] } | undefined {
    const place = this.#placeOf(ticket);
    if (place === undefined) return undefined;
    const { waiter } = place;
    const space = this.#spaces[place.kind];
    const holders = space.holdersAgainst(waiter);
    const inQueue = new Set<OwnerLocks>();
    for (const ahead of space.queueBefore(waiter, waitersMax)) {
      inQueue.add(ahead.owner);
      for (const owner of space.holdersAgainst(ahead)) inQueue.add(owner);
    }
    inQueue.delete(waiter.owner);
    for (const owner of holders) inQueue.delete(owner);
    return { holders: [...holders].map(ownerRecord), inQueue: [...inQueue].map(ownerRecord) };
  }

  /**
   * Lets this waiter pass the older ones: for a cycle that exists only because it queues behind them. Linux has no
   * queue, so such a cycle is no deadlock there, and EDEADLK would be a false one.
   */
  letPass(ticket: Ticket): WaitingLock[] {
    const place = this.#placeOf(ticket);
    if (place === undefined) return [];
    this.#spaces[place.kind].letPass(place.waiter);
    return this.#settled(place.kind);
  }

  /** What one client has in this file. O(1). */
  countsOf(client: ClientId): ClientCounts {
    const posix = this.#spaces.posix.owners.clients.get(client);
    const flock = this.#spaces.flock.owners.clients.get(client);
    return {
      held: (posix?.held ?? 0) + (flock?.held ?? 0),
      waiting: (posix?.waiting ?? 0) + (flock?.waiting ?? 0),
    };
  }

  /** posix locks, then flocks, each in the kernel's order. The table must not change meanwhile. */
  *held(): IterableIterator<HeldLock> {
    for (const kind of kinds) {
      const holders: OwnerLocks[] = [];
      for (const book of this.#spaces[kind].owners.clients.values()) {
        for (const owner of book.owners.values()) if (owner.ranges.size > 0) holders.push(owner);
      }
      holders.sort((a, b) => a.place - b.place);
      for (const owner of holders) {
        for (const { start, end, value } of owner.ranges)
          yield heldRecord(kind, owner, { start, end, item: value });
      }
    }
  }

  /** What one owner holds, in order. */
  heldOf(kind: LockKind, client: ClientId, owner: LkOwner): HeldLock[] {
    const locks = this.#spaces[kind].owners.find(client, owner);
    if (locks === undefined) return [];
    return [...locks.ranges].map(({ start, end, value }) =>
      heldRecord(kind, locks, { start, end, item: value }),
    );
  }

  /** In ticket order. The table must not change meanwhile. */
  *waiting(): IterableIterator<WaitingLock> {
    const places = kinds.flatMap((kind) =>
      [...this.#spaces[kind].waiters.values()].map((waiter) => ({ kind, waiter })),
    );
    places.sort((a, b) => a.waiter.ticket - b.waiter.ticket);
    for (const { kind, waiter } of places) yield waitingRecord(kind, waiter);
  }

  snapshot(): LockSnapshot {
    return { held: [...this.held()], waiting: [...this.waiting()], nextTicket: this.nextTicket };
  }

  /** The waiters that can be granted now (of one kind, where only that one changed), in ticket order. */
  #settled(kind?: LockKind): WaitingLock[] {
    if (this.#arriving) return [];
    if (kind !== undefined) {
      return this.#spaces[kind].settle().map((waiter) => waitingRecord(kind, waiter));
    }
    return kinds.flatMap((one) => this.#settled(one)).sort((a, b) => a.ticket - b.ticket);
  }

  /** The place that a request asks for, or a new one. Only a waiter takes it. */
  #ticketFor({ ticket }: { readonly ticket?: Ticket }): Ticket {
    if (ticket === undefined) return this.nextTicket;
    const taken = this.#placeOf(ticket) !== undefined;
    if (ticket >= this.#nextTicket) this.#nextTicket = ticket + 1;
    return taken ? this.nextTicket : ticket;
  }

  #placeOf(ticket: Ticket): { kind: LockKind; waiter: Waiter } | undefined {
    for (const kind of kinds) {
      const waiter = this.#spaces[kind].waiters.get(ticket);
      if (waiter !== undefined) return { kind, waiter };
    }
    return undefined;
  }
}

const claimOf = (request: { kind: LockKind; type: LockType; start: bigint; end: bigint }): Claim =>
  request.kind === 'flock' ? { type: request.type, ...wholeFile } : request;

const isOwnerOf = (waiter: Waiter, lock: LockOwner): boolean =>
  waiter.owner.owner === lock.owner && waiter.owner.book.client === lock.client;

const ownerRecord = (owner: OwnerLocks): LockOwner => ({ client: owner.book.client, owner: owner.owner });

const heldRecord = (
  kind: LockKind,
  owner: OwnerLocks,
  { start, end, item }: ByteRange & { readonly item: Hold },
): HeldLock => ({
  kind,
  type: typeOf(item),
  start,
  end,
  client: owner.book.client,
  owner: owner.owner,
  pid: pidOf(item),
});

const waitingRecord = (kind: LockKind, waiter: Waiter): WaitingLock => ({
  kind,
  type: waiter.type,
  start: waiter.start,
  end: waiter.end,
  client: waiter.owner.book.client,
  owner: waiter.owner.owner,
  pid: waiter.pid,
  ticket: waiter.ticket,
});
