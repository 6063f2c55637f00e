/**
 * The whole lock state of one file as plain records: what a move hands over and what a listing shows.
 *
 * `held` is in the kernel's order (lock-table.ts) and `waiting` in ticket order, so a table restored from it answers
 * F_GETLK and grants in the same order. Called by whoever moves or stores a table; decides nothing.
 */
import type { Ticket } from '../../wire/ids.js';
import type { HeldLock, WaitingLock } from '../../wire/lock-types.js';

export interface LockSnapshot {
  readonly held: readonly HeldLock[];
  readonly waiting: readonly WaitingLock[];
  /** No ticket below it is given to a new waiter. */
  readonly nextTicket: Ticket;
}

export interface LockPart {
  readonly held: readonly HeldLock[];
  readonly waiting: readonly WaitingLock[];
}

/** The snapshot cut into parts of at most `locksMax` records each, in order; one empty part where it is empty. */
export function* partsOf(snapshot: LockSnapshot, locksMax: number): IterableIterator<LockPart> {
  const { held, waiting } = snapshot;
  const total = held.length + waiting.length;
  for (let from = 0; from === 0 || from < total; from += locksMax) {
    const to = from + locksMax;
    yield {
      held: held.slice(from, to),
      waiting: waiting.slice(Math.max(0, from - held.length), Math.max(0, to - held.length)),
    };
  }
}
