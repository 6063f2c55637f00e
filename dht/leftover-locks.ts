/**
 * Ranges in which a brick may hold more for an owner than the owner was told: a wait was granted after its process
 * had been told that it ended, or a request was given up because its brick was out of reach.
 *
 * Makes the brick agree with HeldLocks again: gaps are unlocked, and where the owner had a read lock before, the
 * write lock that came too late is turned back into it (a downgrade is always granted). A range in which a request
 * of the same owner is still unanswered is left until that is answered: it may be granted the very bytes.
 */
import { overlaps } from '../wire/byte-range.js';
import type { FileId } from '../wire/ids.js';
import type { ByteRange } from '../wire/lock-types.js';
import type { HeldLocks, Piece } from './held-locks.js';
import { type OwnerKey, ownerKeyOf } from './held-locks.js';
import type { Attempt } from './home-calls.js';
import type { LockCalls } from './lock-context.js';
import type { OwnerLanes } from './owner-lanes.js';

/** A lock request has all of it. */
export interface Leftover extends OwnerKey, ByteRange {
  readonly pid: number;
}

export class LeftoverLocks {
  readonly #marked = new Map<string, Leftover[]>();
  readonly #held: HeldLocks;
  readonly #lanes: OwnerLanes;
  readonly #calls: LockCalls;

  constructor(held: HeldLocks, lanes: OwnerLanes, calls: LockCalls) {
    this.#held = held;
    this.#lanes = lanes;
    this.#calls = calls;
  }

  mark(of: Leftover): void {
    const key = ownerKeyOf(of);
    const { file, kind, owner, start, end, pid } = of;
    const marked = this.#marked.get(key) ?? [];
    marked.push({ file, kind, owner, start, end, pid });
    this.#marked.set(key, marked);
  }

  /** All locks of the owner went: nothing is left over. */
  forget(of: OwnerKey): void {
    this.#marked.delete(ownerKeyOf(of));
  }

  /** The marks of one file, which are then forgotten here: for another graph. */
  take(file: FileId): Leftover[] {
    const taken: Leftover[] = [];
    for (const [key, marked] of this.#marked) {
      if (marked[0]?.file !== file) continue;
      this.#marked.delete(key);
      taken.push(...marked);
    }
    return taken;
  }

  /** Called whenever a request of the owner ended. */
  settle(of: OwnerKey): void {
    if (this.#marked.size === 0) return;
    const key = ownerKeyOf(of);
    const marked = this.#marked.get(key);
    if (marked === undefined) return;
    const open = [...this.#calls.ofOwner(of)];
    const later: Leftover[] = [];
    for (const leftover of marked) {
      if (open.some((call) => overlaps(call.request, leftover))) later.push(leftover);
      else void this.#lanes.add(of, () => this.#takeBack(leftover));
    }
    if (later.length > 0) this.#marked.set(key, later);
    else this.#marked.delete(key);
  }

  async #takeBack(of: Leftover): Promise<void> {
    for (const piece of this.#held.pieces(of, of)) {
      const attempt = restore(of, piece);
      if (attempt !== undefined) await this.#lanes.untilAnswered(of.file, attempt, () => undefined);
    }
  }
}

function restore(of: Leftover, { start, end, type }: Piece): Attempt<unknown> | undefined {
  const { file, kind, owner, pid } = of;
  if (type === undefined) return (link) => link.call('unlock', { file, kind, owner, start, end });
  // What was a write lock before cannot have grown.
  if (type === 'write') return undefined;
  return (link) =>
    link.call('lock', { file, kind, owner, type, start, end, pid, wait: false, ticket: undefined });
}
