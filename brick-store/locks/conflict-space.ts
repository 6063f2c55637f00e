/**
 * All locks of one kind in one file: who holds, who waits, who waits for what.
 *
 * Decides conflicts, the order of waiters, and who is granted when something goes. Lists nothing and counts no
 * tickets: that is lock-table.ts, the only caller. Every public call leaves no grantable waiter behind, except
 * between `arrive` and `settle`.
 *
 * A waiter is looked at again only when what it waits for changed: it is `behind` one older waiter, or it has a
 * `witness`, one byte that another owner holds against it (owner-locks.ts). So a release wakes no herd.
 */

import type { RangeChange } from '../../wire/byte-range.js';
import type { ClientId, Ticket } from '../../wire/ids.js';
import type { Interval } from '../../wire/interval-tree.js';
import { IntervalTree } from '../../wire/interval-tree.js';
import type { LockType } from '../../wire/lock-types.js';
import type { Hold, OwnerLocks, Waiter } from './owner-locks.js';
import { holdOf, OwnerBook, pidOf, typeOf } from './owner-locks.js';

export interface Claim {
  readonly type: LockType;
  readonly start: bigint;
  readonly end: bigint;
}

type Holding = Interval<OwnerLocks, Hold>;
type Queued = Interval<OwnerLocks, Waiter>;

export class ConflictSpace {
  readonly owners = new OwnerBook();
  readonly waiters = new Map<Ticket, Waiter>();
  heldCount = 0;
  readonly #held = {
    read: new IntervalTree<OwnerLocks, Hold>(),
    write: new IntervalTree<OwnerLocks, Hold>(),
  };
  readonly #queue = {
    read: new IntervalTree<OwnerLocks, Waiter>({ hasHighs: true }),
    write: new IntervalTree<OwnerLocks, Waiter>({ hasHighs: true }),
  };
  /** Those that nobody knows a reason for why they wait, by ticket. */
  readonly #due = new IntervalTree<null, Waiter>();
  #nextPlace = 1;

  /** The first lock in the kernel's order that another owner holds against this claim. */
  holderAgainst(claim: Claim, asker: OwnerLocks | undefined): Holding | undefined {
    const writer = this.#held.write.lowest(claim.start, claim.end, asker);
    return claim.type === 'read' ? writer : this.#held.read.lowest(claim.start, claim.end, asker, writer);
  }

  /** The youngest waiter before `ticket` that conflicts with this claim. */
  waiterAhead(claim: Claim, asker: OwnerLocks | undefined, ticket: number): Waiter | undefined {
    const writer = this.#queue.write.highestBelow(ticket, claim.start, claim.end, asker);
    const found: Queued | undefined =
      claim.type === 'read'
        ? writer
        : this.#queue.read.highestBelow(ticket, claim.start, claim.end, asker, writer);
    return found?.item;
  }

  /** Every owner that holds something against this waiter, in no order. */
  holdersAgainst(waiter: Waiter): Set<OwnerLocks> {
    const found = new Set<OwnerLocks>();
    const add = (holding: Holding) => found.add(holding.party);
    this.#held.write.eachOverlapping(waiter.start, waiter.end, waiter.owner, add);
    if (waiter.type === 'write') this.#held.read.eachOverlapping(waiter.start, waiter.end, waiter.owner, add);
    return found;
  }

  /** The waiters that it stands behind, each behind the next: the youngest ahead of it first, at most `limit`. */
  queueBefore(waiter: Waiter, limit: number): Waiter[] {
    const found: Waiter[] = [];
    for (let at = waiter; found.length < limit && !mayPassWaiters(at); ) {
      const ahead = this.waiterAhead(at, at.owner, at.ticket);
      if (ahead === undefined) break;
      found.push(ahead);
      at = ahead;
    }
    return found;
  }

  /**
   * Makes the claim a held lock. The caller has made sure that no other owner holds anything against it.
   * @param place the owner's place in the kernel's list, where it had one before
   */
  hold(owner: OwnerLocks, claim: Claim, pid: number, place?: number): void {
    const first = owner.ranges.size === 0;
    if (first) owner.place = place ?? this.#nextPlace++;
    const change = owner.ranges.set(claim.start, claim.end, holdOf(claim.type, pid));
    this.#reindex(owner, change);
    if (claim.type === 'read' && change.removed.some((range) => typeOf(range.value) === 'write')) {
      this.#breakWitnesses(owner, claim.start, claim.end, 'read');
    }
    // A holder need not queue behind others any more.
    if (first) for (const waiter of owner.waiters) this.#makeDue(waiter);
  }

  release(owner: OwnerLocks, start: bigint, end: bigint): void {
    const change = owner.ranges.clear(start, end);
    if (change.removed.length === 0) return;
    this.#reindex(owner, change);
    this.#breakWitnesses(owner, start, end);
    this.owners.partIfIdle(owner);
  }

  /** Puts a waiter in its place; `settle` then finds what it waits for, or grants it. */
  enqueue(owner: OwnerLocks, claim: Claim, pid: number, ticket: Ticket): Waiter {
    const waiter: Waiter = {
      ticket,
      type: claim.type,
      start: claim.start,
      end: claim.end,
      pid,
      owner,
      mayPass: false,
      behind: undefined,
      witness: undefined,
      followers: new Set(),
    };
    this.waiters.set(ticket, waiter);
    owner.addWaiter(waiter);
    this.#queue[claim.type].insert(claim.start, claim.end, ticket, owner, waiter);
    this.#makeDue(waiter);
    return waiter;
  }

  /** Takes a waiter out; those behind it are looked at by the next `settle`. */
  dequeue(waiter: Waiter): void {
    this.#unlink(waiter);
    this.#leaveQueue(waiter);
    for (const follower of waiter.followers) this.#makeDue(follower);
    this.owners.partIfIdle(waiter.owner);
  }

  /** From now on only holders stop this waiter. */
  letPass(waiter: Waiter): void {
    waiter.mayPass = true;
    if (waiter.behind !== undefined) this.#makeDue(waiter);
  }

  /** Grants what can be granted, always the oldest first, until nothing can. Answers them in ticket order. */
  settle(): Waiter[] {
    const granted: Waiter[] = [];
    for (let due = this.#due.first(); due !== undefined; due = this.#due.first()) {
      const waiter = due.item;
      this.#due.remove(nowhere, waiter.ticket);
      if (this.#stillWaits(waiter)) continue;
      this.#grant(waiter);
      granted.push(waiter);
    }
    return granted.sort((a, b) => a.ticket - b.ticket);
  }

  /** Gives this owner to another client. Where that client knows the same owner, the two become one. */
  rebind(from: OwnerLocks, to: ClientId): { held: number; waiting: number } {
    const counts = { held: from.ranges.size, waiting: from.waiters.size };
    const known = this.owners.find(to, from.owner);
    if (known === undefined || known.isIdle) {
      this.owners.move(from, to);
      return counts;
    }
    const waiters = [...from.waiters];
    const ranges = [...from.ranges];
    for (const waiter of waiters) this.dequeue(waiter);
    for (const range of ranges) this.release(from, range.start, range.end);
    for (const { start, end, value } of ranges) {
      this.hold(known, { type: typeOf(value), start, end }, pidOf(value), from.place);
    }
    for (const waiter of waiters) {
      this.enqueue(known, waiter, waiter.pid, waiter.ticket).mayPass = waiter.mayPass;
    }
    return counts;
  }

  #stillWaits(waiter: Waiter): boolean {
    const ahead = mayPassWaiters(waiter) ? undefined : this.waiterAhead(waiter, waiter.owner, waiter.ticket);
    if (ahead !== undefined) {
      waiter.behind = ahead;
      ahead.followers.add(waiter);
      return true;
    }
    const against = this.holderAgainst(waiter, waiter.owner);
    if (against === undefined) return false;
    this.#attest(waiter, against.party, against.start);
    return true;
  }

  #grant(waiter: Waiter): void {
    this.#leaveQueue(waiter);
    this.hold(waiter.owner, waiter, waiter.pid);
    // Who was behind it now waits for the same bytes, held: no need to search.
    for (const follower of waiter.followers) {
      follower.behind = undefined;
      this.#attest(follower, waiter.owner, waiter.start);
    }
    waiter.followers.clear();
  }

  #attest(waiter: Waiter, holder: OwnerLocks, heldFrom: bigint): void {
    const point = heldFrom > waiter.start ? heldFrom : waiter.start;
    holder.addWitness(waiter, point);
  }

  #leaveQueue(waiter: Waiter): void {
    this.waiters.delete(waiter.ticket);
    waiter.owner.dropWaiter(waiter);
    this.#queue[waiter.type].remove(waiter.start, waiter.ticket);
  }

  /** A waiter that has neither `behind` nor `witness` is in #due. */
  #unlink(waiter: Waiter): void {
    if (waiter.behind !== undefined) {
      waiter.behind.followers.delete(waiter);
      waiter.behind = undefined;
    } else if (waiter.witness !== undefined) {
      waiter.witness.holder.dropWitness(waiter, waiter.witness);
    } else this.#due.remove(nowhere, waiter.ticket);
  }

  #makeDue(waiter: Waiter): void {
    // Fresh ones have no link yet and are not in #due either; `due` ones stay where they are.
    if (waiter.behind !== undefined || waiter.witness !== undefined) this.#unlink(waiter);
    else if (this.#due.has(nowhere, waiter.ticket)) return;
    this.#due.insert(nowhere, nowhere, waiter.ticket, null, waiter);
  }

  #breakWitnesses(owner: OwnerLocks, start: bigint, end: bigint, of?: LockType): void {
    for (const waiter of owner.witnessed(start, end)) {
      if (of === undefined || waiter.type === of) this.#makeDue(waiter);
    }
  }

  #reindex(owner: OwnerLocks, change: RangeChange<Hold>): void {
    for (const range of change.removed) this.#held[typeOf(range.value)].remove(range.start, owner.place);
    for (const range of change.added) {
      this.#held[typeOf(range.value)].insert(range.start, range.end, owner.place, owner, range.value);
    }
    const grown = change.added.length - change.removed.length;
    this.heldCount += grown;
    owner.book.held += grown;
  }
}

/** An owner that holds a lock here does not queue behind others: they may be waiting for that very lock. */
export const mayPassWaiters = (waiter: Waiter): boolean => waiter.mayPass || waiter.owner.ranges.size > 0;

/** Waiters that are due are told apart by their tickets alone. */
const nowhere = 0n;
