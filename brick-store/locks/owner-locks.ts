/**
 * What one owner holds and waits for in one file, and the book of all owners by client.
 *
 * Bookkeeping only: finds an owner, counts per client, forgets an owner that has nothing. Which lock may be held is
 * decided in conflict-space.ts, the only caller.
 */
import { RangeMap } from '../../wire/byte-range.js';
import type { ClientId, LkOwner, Ticket } from '../../wire/ids.js';
import type { ByteRange, LockType } from '../../wire/lock-types.js';
import type { TreeNode } from '../../wire/ordered-tree.js';
import { OrderedTree } from '../../wire/ordered-tree.js';

/** The value of a held range. Ranges of one type are one lock, whichever process of the owner took them. */
export interface Hold {
  readonly type: LockType;
  readonly pid: number;
}

/**
 * The proof that a waiter must wait: a byte that this owner holds against it. As long as the owner holds that byte
 * in that way, nothing else that changes in the file can make the waiter grantable, so nobody looks at it.
 */
export interface Witness extends TreeNode<Witness> {
  readonly point: bigint;
  readonly holder: OwnerLocks;
  readonly waiter: Waiter;
}

export interface Waiter extends ByteRange {
  readonly ticket: Ticket;
  readonly type: LockType;
  readonly pid: number;
  readonly owner: OwnerLocks;
  /** Set where waiting behind others would be a deadlock: then only holders stop it. */
  mayPass: boolean;
  /** Exactly one of `behind` and `witness` is set, or neither while the waiter is due for a look. */
  behind: Waiter | undefined;
  witness: Witness | undefined;
  /** Those that are `behind` this one. */
  readonly followers: Set<Waiter>;
}

export class ClientLocks {
  client: ClientId;
  readonly owners = new Map<LkOwner, OwnerLocks>();
  held = 0;
  waiting = 0;

  constructor(client: ClientId) {
    this.client = client;
  }
}

export class OwnerLocks {
  book: ClientLocks;
  readonly owner: LkOwner;
  /** Place of this owner's group in the kernel's list; a new one each time it goes from no lock to its first. */
  place = 0;
  readonly ranges = new RangeMap<Hold>(sameType);
  readonly waiters = new Set<Waiter>();
  readonly witnesses = new OrderedTree<Witness>(byPointAndTicket);

  constructor(book: ClientLocks, owner: LkOwner) {
    this.book = book;
    this.owner = owner;
  }

  get isIdle(): boolean {
    return this.ranges.size === 0 && this.waiters.size === 0;
  }
}

export class OwnerBook {
  readonly clients = new Map<ClientId, ClientLocks>();

  find(client: ClientId, owner: LkOwner): OwnerLocks | undefined {
    return this.clients.get(client)?.owners.get(owner);
  }

  findOrMake(client: ClientId, owner: LkOwner): OwnerLocks {
    let book = this.clients.get(client);
    if (book === undefined) {
      book = new ClientLocks(client);
      this.clients.set(client, book);
    }
    let locks = book.owners.get(owner);
    if (locks === undefined) {
      locks = new OwnerLocks(book, owner);
      book.owners.set(owner, locks);
    }
    return locks;
  }

  /** Gives an owner, with all that it has, to another client that has none of that name. */
  move(locks: OwnerLocks, to: ClientId, held: number, waiting: number): void {
    const before = locks.book;
    before.owners.delete(locks.owner);
    before.held -= held;
    before.waiting -= waiting;
    if (before.owners.size === 0) this.clients.delete(before.client);
    let after = this.clients.get(to);
    if (after === undefined) {
      after = new ClientLocks(to);
      this.clients.set(to, after);
    }
    after.owners.set(locks.owner, locks);
    after.held += held;
    after.waiting += waiting;
    locks.book = after;
  }

  forgetIfIdle(locks: OwnerLocks): void {
    if (!locks.isIdle) return;
    const { book } = locks;
    if (book.owners.get(locks.owner) !== locks) return;
    book.owners.delete(locks.owner);
    if (book.owners.size === 0) this.clients.delete(book.client);
  }
}

const sameType = (a: Hold, b: Hold): boolean => a.type === b.type;

const byPointAndTicket = (a: Witness, b: Witness): number =>
  a.point < b.point ? -1 : a.point > b.point ? 1 : a.waiter.ticket - b.waiter.ticket;
