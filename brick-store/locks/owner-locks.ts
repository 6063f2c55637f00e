/**
 * What one owner holds and waits for in one file, and the book of all owners by client.
 *
 * Bookkeeping only: finds an owner, counts per client, forgets an owner that has nothing. Which lock may be held is
 * decided in conflict-space.ts, the only caller.
 */
import { RangeMap } from '../../wire/byte-range.js';
import type { ClientId, LkOwner, Ticket } from '../../wire/ids.js';
import { IntervalTree } from '../../wire/interval-tree.js';
import type { ByteRange, LockType } from '../../wire/lock-types.js';

/**
 * The value of a held range: 2 * pid, and 1 more for a write lock. A number and not an object, for there may be a
 * million of them, each in two trees. Ranges of one type are one lock, whichever process of the owner took them.
 */
export type Hold = number & { readonly [holdBrand]: true };
declare const holdBrand: unique symbol;

export const holdOf = (type: LockType, pid: number): Hold => (2 * pid + (type === 'write' ? 1 : 0)) as Hold;
export const pidOf = (hold: Hold): number => Math.floor(hold / 2);
export const typeOf = (hold: Hold): LockType => (hold % 2 === 0 ? 'read' : 'write');

/**
 * The proof that a waiter must wait: a byte that this owner holds against it. As long as the owner holds that byte
 * in that way, nothing else that changes in the file can make the waiter grantable, so nobody looks at it.
 */
export interface Witness {
  readonly point: bigint;
  readonly holder: OwnerLocks;
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
  readonly client: ClientId;
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
  #waiters: Set<Waiter> | undefined;
  /** The one waiter that this owner holds something against; where there are more, they are in the tree. */
  #onlyWitness: Waiter | undefined;
  #witnesses: IntervalTree<null, Waiter> | undefined;
  /** Set while the book means to forget this owner. */
  isParting = false;

  constructor(book: ClientLocks, owner: LkOwner) {
    this.book = book;
    this.owner = owner;
  }

  get isIdle(): boolean {
    return this.ranges.size === 0 && this.waiters.size === 0;
  }

  /** Most owners never wait and are never waited for, and there may be a million: both are made at first use. */
  get waiters(): ReadonlySet<Waiter> {
    return this.#waiters ?? nobody;
  }

  /** Those whose witness is a byte of start..end. */
  witnessed(start: bigint, end: bigint): Waiter[] {
    const only = this.#onlyWitness;
    if (only !== undefined) {
      const { point } = only.witness!;
      return start <= point && point <= end ? [only] : [];
    }
    const found: Waiter[] = [];
    this.#witnesses?.eachOverlapping(start, end, undefined, ({ item }) => found.push(item));
    return found;
  }

  addWaiter(waiter: Waiter): void {
    this.#waiters ??= new Set();
    this.#waiters.add(waiter);
    this.book.waiting++;
  }

  dropWaiter(waiter: Waiter): void {
    this.#waiters?.delete(waiter);
    this.book.waiting--;
  }

  /** From now on this byte, which this owner holds, is why `waiter` waits. */
  addWitness(waiter: Waiter, point: bigint): void {
    waiter.witness = { point, holder: this };
    const only = this.#onlyWitness;
    if (only === undefined && (this.#witnesses?.size ?? 0) === 0) {
      this.#onlyWitness = waiter;
      return;
    }
    this.#onlyWitness = undefined;
    this.#witnesses ??= new IntervalTree();
    for (const one of only === undefined ? [waiter] : [only, waiter]) {
      this.#witnesses.insert(one.witness!.point, one.witness!.point, one.ticket, null, one);
    }
  }

  dropWitness(waiter: Waiter, { point }: Witness): void {
    if (this.#onlyWitness === waiter) this.#onlyWitness = undefined;
    else this.#witnesses?.remove(point, waiter.ticket);
    waiter.witness = undefined;
  }
}

/**
 * Owners that have nothing are forgotten this many at a time. One by one would be slow where it matters most, at one
 * process that locks and unlocks all day beside many holders: a Map of V8 keeps deleted entries in their hash chain
 * until it grows, so a key that comes and goes walks through all its former selves (measured: 90 us a call at 10^5).
 */
const partingMax = 1024;

export class OwnerBook {
  readonly clients = new Map<ClientId, ClientLocks>();
  #parting: OwnerLocks[] = [];

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

  /** Gives an owner, with all that it has, to another client, which has nothing under that name. */
  move(locks: OwnerLocks, to: ClientId): void {
    const before = locks.book;
    const after = this.findOrMake(to, locks.owner).book;
    before.owners.delete(locks.owner);
    if (before.owners.size === 0) this.clients.delete(before.client);
    after.owners.set(locks.owner, locks);
    for (const [book, sign] of [
      [before, -1],
      [after, 1],
    ] as const) {
      book.held += sign * locks.ranges.size;
      book.waiting += sign * locks.waiters.size;
    }
    locks.book = after;
  }

  /** To be called when an owner may have lost its last lock or wait. */
  partIfIdle(locks: OwnerLocks): void {
    if (locks.isParting || !locks.isIdle) return;
    locks.isParting = true;
    if (this.#parting.push(locks) < partingMax) return;
    for (const one of this.#parting) {
      one.isParting = false;
      if (one.isIdle) this.#forget(one);
    }
    this.#parting = [];
  }

  #forget(locks: OwnerLocks): void {
    const { book } = locks;
    if (book.owners.get(locks.owner) === locks) book.owners.delete(locks.owner);
    if (book.owners.size === 0 && this.clients.get(book.client) === book) this.clients.delete(book.client);
  }
}

const nobody: ReadonlySet<Waiter> = new Set();

const sameType = (a: Hold, b: Hold): boolean => typeOf(a) === typeOf(b);
