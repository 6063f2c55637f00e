/**
 * A lock table of another shape than the real one, for tests: an array with one cell a stretch of bytes for every
 * owner, waiters in one list, and every question answered by looking at all of it.
 *
 * It states the rules of docs/LOCKS.md as plainly as possible and shares no code with lock-table.ts. A world says
 * which bytes a cell is: single bytes at either end of the range that locks may name, or stretches of any length.
 */
import type { ClientId, LkOwner, Ticket } from '../../wire/ids.js';
import type { HeldLock, LockKind, LockType, WaitingLock } from '../../wire/lock-types.js';

/** Cell i is the bytes edges[i] .. edges[i + 1] - 1. */
export type World = readonly bigint[];

export interface ModelOwner {
  readonly client: ClientId;
  readonly owner: LkOwner;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export interface ModelWaiter extends Writable<ModelOwner> {
  readonly ticket: number;
  readonly kind: LockKind;
  readonly type: LockType;
  readonly from: number;
  readonly to: number;
  passes: boolean;
}

interface ModelHolder extends Writable<ModelOwner> {
  readonly kind: LockKind;
  readonly cells: (LockType | undefined)[];
}

/** One process an owner: which pid a joined lock keeps is a named test of its own. */
export const pidOf = ({ owner }: Pick<ModelOwner, 'owner'>): number => Number.parseInt(owner.slice(-4), 16);

export type ModelClaim = Omit<ModelWaiter, 'ticket' | 'passes'>;

export interface ModelResult {
  readonly outcome: 'granted' | 'conflict' | 'waiting';
  readonly ticket: number | undefined;
  readonly granted: number[];
}

export class ByteCellModel {
  /** In the order in which each owner took its first lock. */
  holders: ModelHolder[] = [];
  waiters: ModelWaiter[] = [];
  nextTicket = 1;
  readonly #edges: World;

  constructor(edges: World) {
    this.#edges = edges;
  }

  get cells(): number {
    return this.#edges.length - 1;
  }

  lock(request: ModelClaim, wait: boolean, ticket = this.nextTicket): ModelResult {
    const place = this.waiters.some((other) => other.ticket === ticket)
      ? Math.max(this.nextTicket, ticket + 1)
      : ticket;
    if (ticket !== this.nextTicket) this.nextTicket = Math.max(this.nextTicket, ticket + 1);
    const waiter = { ...request, ticket: place, passes: !wait };
    const mine = this.#holderOf(waiter);
    if (mine !== undefined && waiter.kind === 'flock') {
      if (mine.cells[0] === waiter.type) return { outcome: 'granted', ticket: undefined, granted: [] };
      this.#clear(waiter, 0, this.cells - 1);
      waiter.passes = true;
    }
    if (this.isGrantable(waiter)) {
      this.#apply(waiter);
      return { outcome: 'granted', ticket: undefined, granted: this.settle() };
    }
    if (!wait) return { outcome: 'conflict', ticket: undefined, granted: this.settle() };
    waiter.passes = false;
    this.nextTicket = Math.max(this.nextTicket, place + 1);
    this.waiters.push(waiter);
    return { outcome: 'waiting', ticket: place, granted: this.settle() };
  }

  unlock(kind: LockKind, who: ModelOwner, from: number, to: number): number[] {
    const whole = kind === 'flock';
    this.#clear({ kind, ...who }, whole ? 0 : from, whole ? this.cells - 1 : to);
    return this.settle();
  }

  /** The first conflicting stretch of the first owner that has one. */
  test(claim: ModelClaim): HeldLock | undefined {
    for (const holder of this.holders) {
      if (holder.kind !== claim.kind || isSame(holder, claim)) continue;
      for (const lock of this.#locksOf(holder)) {
        const meets = lock.start < this.#edges[claim.to + 1]! && lock.end >= this.#edges[claim.from]!;
        if (meets && (lock.type === 'write' || claim.type === 'write')) return lock;
      }
    }
    return undefined;
  }

  cancel(wanted: (waiter: ModelWaiter) => boolean): number[] {
    this.waiters = this.waiters.filter((waiter) => !wanted(waiter));
    return this.settle();
  }

  dropClient(client: ClientId): number[] {
    this.holders = this.holders.filter((holder) => holder.client !== client);
    return this.cancel((waiter) => waiter.client === client);
  }

  rebind(from: ClientId, to: ClientId): number[] {
    for (const holder of this.holders.filter((one) => one.client === from)) {
      const twin = this.holders.find(
        (one) => one.kind === holder.kind && one.client === to && one.owner === holder.owner,
      );
      if (twin === undefined) {
        holder.client = to;
        continue;
      }
      for (const [cell, type] of holder.cells.entries()) if (type !== undefined) twin.cells[cell] = type;
      this.holders.splice(this.holders.indexOf(holder), 1);
    }
    for (const waiter of this.waiters) if (waiter.client === from) waiter.client = to;
    return this.settle();
  }

  isGrantable(waiter: ModelWaiter): boolean {
    if (this.test(waiter) !== undefined) return false;
    if (waiter.passes || this.#holderOf(waiter) !== undefined) return true;
    return !this.waiters.some(
      (other) =>
        other.ticket < waiter.ticket &&
        other.kind === waiter.kind &&
        !isSame(other, waiter) &&
        (other.type === 'write' || waiter.type === 'write') &&
        other.from <= waiter.to &&
        waiter.from <= other.to,
    );
  }

  /** Grants the oldest waiter that can be granted, until none can. */
  settle(): number[] {
    const granted: number[] = [];
    for (;;) {
      this.waiters.sort((a, b) => a.ticket - b.ticket);
      const next = this.waiters.find((waiter) => this.isGrantable(waiter));
      if (next === undefined) return granted.sort((a, b) => a - b);
      this.waiters.splice(this.waiters.indexOf(next), 1);
      this.#apply(next);
      granted.push(next.ticket);
    }
  }

  held(): HeldLock[] {
    return (['posix', 'flock'] as const).flatMap((kind) =>
      this.holders.filter((holder) => holder.kind === kind).flatMap((holder) => this.#locksOf(holder)),
    );
  }

  waiting(): WaitingLock[] {
    return this.waiters
      .map(({ kind, type, from, to, client, owner, ticket }) => ({
        kind,
        type,
        start: this.#edges[from]!,
        end: this.#edges[to + 1]! - 1n,
        client,
        owner,
        pid: pidOf({ owner }),
        ticket: ticket as Ticket,
      }))
      .sort((a, b) => a.ticket - b.ticket);
  }

  #holderOf({ kind, client, owner }: ModelOwner & { kind: LockKind }): ModelHolder | undefined {
    return this.holders.find((one) => one.kind === kind && one.client === client && one.owner === owner);
  }

  #apply(waiter: ModelWaiter): void {
    let holder = this.#holderOf(waiter);
    if (holder === undefined) {
      const { kind, client, owner } = waiter;
      holder = { kind, client, owner, cells: Array(this.cells).fill(undefined) };
      this.holders.push(holder);
    }
    holder.cells.fill(waiter.type, waiter.from, waiter.to + 1);
  }

  #clear(who: ModelOwner & { kind: LockKind }, from: number, to: number): void {
    const holder = this.#holderOf(who);
    holder?.cells.fill(undefined, from, to + 1);
    this.holders = this.holders.filter((one) => one.cells.some((type) => type !== undefined));
  }

  /** Stretches of cells of one type are one lock. */
  #locksOf({ kind, client, owner, cells }: ModelHolder): HeldLock[] {
    const locks: HeldLock[] = [];
    for (let from = 0; from < cells.length; from++) {
      const type = cells[from];
      if (type === undefined) continue;
      let to = from;
      while (cells[to + 1] === type) to++;
      const [start, end] = [this.#edges[from]!, this.#edges[to + 1]! - 1n];
      locks.push({ kind, type, start, end, client, owner, pid: pidOf({ owner }) });
      from = to;
    }
    return locks;
  }
}

const isSame = (a: ModelOwner, b: ModelOwner): boolean => a.client === b.client && a.owner === b.owner;
