/**
 * What must be true of a lock table between calls, checked the slow and obvious way.
 *
 * Reads the table only through its public listing and compares every pair, so it shares nothing with the indexes that
 * it checks. O(n^2): for tests and simulations, never in the path of a request.
 */
import { overlaps } from '../../wire/byte-range.js';
import type { ClientId, Ticket } from '../../wire/ids.js';
import type { HeldLock, LockOwner, WaitingLock } from '../../wire/lock-types.js';
import type { LockTable } from './lock-table.js';

/**
 * @param passing tickets that were let pass (`letPass`): they do not queue behind older waiters
 * @throws an Error that names the locks at fault
 */
export function checkInvariants(table: LockTable, passing: ReadonlySet<Ticket> = new Set()): void {
  const held = [...table.held()];
  const waiting = [...table.waiting()];
  checkHeld(held);
  checkWaiting(held, waiting, passing);
  checkCounts(table, held, waiting);
}

export const sameOwner = (a: LockOwner, b: LockOwner): boolean =>
  a.client === b.client && a.owner === b.owner;

/** True where two requests of two owners cannot both be held. */
export const conflicts = (a: HeldLock, b: HeldLock): boolean =>
  a.kind === b.kind && !sameOwner(a, b) && (a.type === 'write' || b.type === 'write') && overlaps(a, b);

function checkHeld(held: readonly HeldLock[]): void {
  for (const [at, lock] of held.entries()) {
    if (lock.start < 0n || lock.start > lock.end) fail('a held lock has no valid range', lock);
    const next = held[at + 1];
    if (next !== undefined && next.kind === lock.kind && sameOwner(lock, next)) {
      if (next.start <= lock.end) fail('locks of one owner overlap or are out of order', lock, next);
      if (next.start === lock.end + 1n && next.type === lock.type) {
        fail('neighbouring locks of one owner and type are not joined', lock, next);
      }
    }
    const against = held.slice(at + 1).find((other) => conflicts(lock, other));
    if (against !== undefined) fail('two conflicting locks are held', lock, against);
  }
}

function checkWaiting(
  held: readonly HeldLock[],
  waiting: readonly WaitingLock[],
  passing: ReadonlySet<Ticket>,
): void {
  for (const [at, waiter] of waiting.entries()) {
    const older = waiting.slice(0, at);
    if (older.some((other) => other.ticket >= waiter.ticket)) fail('waiters are not in ticket order', waiter);
    if (held.some((lock) => conflicts(lock, waiter))) continue;
    const passes =
      passing.has(waiter.ticket) || held.some((lock) => lock.kind === waiter.kind && sameOwner(lock, waiter));
    if (passes || !older.some((other) => conflicts(other, waiter))) {
      fail('a waiter could be granted and was not', waiter);
    }
  }
}

function checkCounts(table: LockTable, held: readonly HeldLock[], waiting: readonly WaitingLock[]): void {
  const clients = new Set<ClientId>([...held, ...waiting].map((lock) => lock.client));
  const counted = { held: 0, waiting: 0 };
  for (const client of clients) {
    const counts = table.countsOf(client);
    counted.held += counts.held;
    counted.waiting += counts.waiting;
    const mine = (lock: HeldLock) => lock.client === client;
    if (counts.held !== held.filter(mine).length || counts.waiting !== waiting.filter(mine).length) {
      throw new Error(`lock table: the counts of client ${client} are wrong`);
    }
  }
  if (table.heldCount !== counted.held || table.waitingCount !== counted.waiting) {
    throw new Error(`lock table: counts ${table.heldCount} held, ${table.waitingCount} waiting are wrong`);
  }
  if (waiting.some((waiter) => waiter.ticket >= table.nextTicket)) {
    throw new Error(`lock table: next ticket ${table.nextTicket} is not above all tickets`);
  }
}

const fail = (what: string, ...locks: HeldLock[]): never => {
  const lines = locks.map(
    (lock) => `${lock.kind} ${lock.type} ${lock.start}..${lock.end} of ${lock.client} ${lock.owner}`,
  );
  throw new Error(`lock table: ${what}: ${lines.join(' and ')}`);
};
