/**
 * Who uses locks on one file through this mount: which owners, through which open files, and what of theirs is still
 * unanswered. The locks themselves are at the brick; this only says which FLUSH and which RELEASE concern it, and
 * what has to wait for what. Pure bookkeeping for operations/locking.ts.
 *
 * A lock belongs to an owner, not to an open file: a process (posix) may use one file through several open files, and
 * several owners share one after fork. An OFD or flock owner is an open file, but nothing in a request says so.
 */
import type { LkOwner } from '../wire/ids.js';

/** One lock request that is not answered yet. */
export class PendingRequest {
  readonly owner: LkOwner;
  /** It will be answered soon: it does not wait for another owner's lock, or no longer. */
  ends: boolean;
  #answered: Promise<void> | undefined;
  #settle: (() => void) | undefined;

  constructor(owner: LkOwner, ends: boolean) {
    this.owner = owner;
    this.ends = ends;
  }

  /** Resolves when it is answered, however. Asked for only while it is not. */
  get answered(): Promise<void> {
    this.#answered ??= new Promise((resolve) => {
      this.#settle = resolve;
    });
    return this.#answered;
  }

  settle(): void {
    this.#settle?.();
  }
}

interface LockUser {
  readonly handles: Set<number>;
  readonly pending: Set<PendingRequest>;
}

export class LockUsers {
  #users: Map<LkOwner, LockUser> | undefined;
  #released: Promise<void> | undefined;

  /** `owner` asks for a lock through open file `fh`. */
  began(owner: LkOwner, fh: number, request: PendingRequest): void {
    this.#users ??= new Map();
    let user = this.#users.get(owner);
    if (user === undefined) {
      user = { handles: new Set(), pending: new Set() };
      this.#users.set(owner, user);
    }
    user.handles.add(fh);
    user.pending.add(request);
  }

  answered(request: PendingRequest): void {
    this.#users?.get(request.owner)?.pending.delete(request);
    request.settle();
  }

  has(owner: LkOwner): boolean {
    return this.#users?.has(owner) ?? false;
  }

  /** Lock requests of `owner` that will be answered without anybody else's doing: a FLUSH goes behind them. */
  ending(owner: LkOwner): Promise<void>[] {
    const user = this.#users?.get(owner);
    if (user === undefined) return [];
    return [...user.pending].filter((request) => request.ends).map((request) => request.answered);
  }

  /**
   * All locks of `owner` go: it is forgotten, unless it still waits for one. A request that comes while the FLUSH is
   * on its way is remembered anew. @returns the handles that the owner used
   */
  flushing(owner: LkOwner): readonly number[] {
    const user = this.#users?.get(owner);
    if (user === undefined || user.pending.size > 0) return [];
    this.#users?.delete(owner);
    return [...user.handles];
  }

  /** The FLUSH failed: RELEASE of these handles tries again. */
  notFlushed(owner: LkOwner, handles: readonly number[]): void {
    this.#users ??= new Map();
    const user = this.#users.get(owner) ?? { handles: new Set(), pending: new Set() };
    for (const fh of handles) user.handles.add(fh);
    this.#users.set(owner, user);
  }

  /** Open file `fh` is closed for good. @returns the owners that used locks through it and through no other */
  closed(fh: number, owners: Iterable<LkOwner>): LkOwner[] {
    const last: LkOwner[] = [];
    for (const owner of owners) {
      const user = this.#users?.get(owner);
      if (user === undefined || !user.handles.delete(fh) || user.handles.size > 0) continue;
      last.push(owner);
      this.#users?.delete(owner);
    }
    return last;
  }

  /** Lock requests that come from now on wait for `release`, which never rejects. */
  releasing(release: Promise<void>): void {
    const all =
      this.#released === undefined ? release : Promise.all([this.#released, release]).then(() => undefined);
    this.#released = all;
    all.then(() => {
      if (this.#released === all) this.#released = undefined;
    });
  }

  /** What a new lock request has to wait for, if anything. */
  get released(): Promise<void> | undefined {
    return this.#released;
  }
}
