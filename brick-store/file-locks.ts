/**
 * What lock-service.ts keeps of one file: the table, the requests that wait on it, and the waits that came without
 * their requests. Bookkeeping only: finds and remembers, answers nobody.
 */
import type { Refusal } from '../wire/errors.js';
import type { ClientId, FileId, Ticket } from '../wire/ids.js';
import type { HeldLock, LockOwner, WaitingLock } from '../wire/lock-types.js';
import type { Answer } from '../wire/messages.js';
import type { ChangedOwners } from './changed-owners.js';
import type { LockTable } from './locks/lock-table.js';
import type { Session } from './sessions.js';

/** A request that waits. */
export interface Wait {
  readonly session: Session;
  readonly seq: number;
  readonly settle: (outcome: Answer<'lock'>) => void;
  readonly refuse: (error: Refusal) => void;
}

/** One wait of one owner. */
export interface WaitName extends LockOwner {
  readonly file: FileId;
  readonly ticket: Ticket;
}

export interface FileLocks {
  readonly table: LockTable;
  readonly waits: Map<Ticket, Wait>;
  /** Granted while nobody was there to be told: answered when the client asks with the ticket. */
  readonly grantedUnclaimed: Map<Ticket, WaitingLock>;
  /**
   * Tickets of waits that came without their requests, by what they ask for. A request that was in flight when the
   * brick restarted is sent again as it was, before it had a ticket. May name waits that are gone.
   */
  readonly arrived: Map<string, Ticket[]>;
  /** Set while a move sends the table ahead. */
  watched: ChangedOwners | undefined;
}

export interface LockSnapshotParts {
  readonly held: HeldLock[];
  readonly waiting: WaitingLock[];
  readonly nextTicket: Ticket;
}

export const newFileLocks = (table: LockTable): FileLocks => ({
  table,
  waits: new Map(),
  grantedUnclaimed: new Map(),
  arrived: new Map(),
  watched: undefined,
});

export const isIdle = (locks: FileLocks): boolean =>
  locks.watched === undefined && locks.table.isEmpty && locks.grantedUnclaimed.size === 0;

type Wanted = Pick<WaitingLock, 'owner' | 'kind' | 'type' | 'start' | 'end'>;

const wantOf = (of: Wanted, client: ClientId): string =>
  `${client}${of.owner}${of.kind}${of.type}${of.start}-${of.end}`;

export function noteArrived(locks: FileLocks, lock: WaitingLock, ticket: Ticket): void {
  const want = wantOf(lock, lock.client);
  const arrived = locks.arrived.get(want);
  if (arrived === undefined) locks.arrived.set(want, [ticket]);
  else arrived.push(ticket);
}

/** The oldest wait for just this that nobody asked for yet. */
export function takeArrived(locks: FileLocks, client: ClientId, wanted: Wanted): Ticket | undefined {
  if (locks.arrived.size === 0) return undefined;
  const want = wantOf(wanted, client);
  const arrived = locks.arrived.get(want);
  for (let ticket = arrived?.shift(); ticket !== undefined; ticket = arrived?.shift()) {
    if (locks.grantedUnclaimed.has(ticket)) return ticket;
    if (locks.table.waiterOf(ticket) !== undefined && !locks.waits.has(ticket)) return ticket;
  }
  locks.arrived.delete(want);
  return undefined;
}

/** What the changed owners hold now. */
export function heldOfChanged(table: LockTable, changed: ChangedOwners): HeldLock[] {
  const held: HeldLock[] = [];
  for (const { kind, client, owner } of changed.owners()) {
    if (!changed.clients.has(client)) held.push(...table.heldOf(kind, client, owner));
  }
  if (changed.clients.size > 0)
    for (const lock of table.held()) if (changed.clients.has(lock.client)) held.push(lock);
  return held;
}
