/**
 * The ranges of one owner in one file: ordered, disjoint, each with a value, neighbours of equal value joined.
 *
 * Decides how a range is split and merged, as posix_lock_inode (fs/locks.c) does for the locks of one owner; knows
 * nothing of conflicts. Bricks keep each owner's held locks in it, mounts remember what their processes hold.
 * Every operation costs O(log n + ranges that it touches).
 */
import { IntervalTree } from './interval-tree.js';
import type { ByteRange, LockType } from './lock-types.js';
import { rangeEnd } from './lock-types.js';

export interface ValuedRange<V> extends ByteRange {
  readonly value: V;
}

/** What a call changed: `removed` went, `added` came; both in order. Both are empty where nothing changed. */
export interface RangeChange<V> {
  readonly removed: readonly ValuedRange<V>[];
  readonly added: readonly ValuedRange<V>[];
}

const unchanged = { removed: [], added: [] };

/** True where the two ranges have a byte in common. */
export const overlaps = (a: ByteRange, b: ByteRange): boolean => a.start <= b.end && b.start <= a.end;

export class RangeMap<V = LockType> {
  /** Most maps hold one range, and there may be a million of them: a tree is made for the second. */
  #only: ValuedRange<V> | undefined;
  #tree: IntervalTree<null, V> | undefined;
  readonly #same: (a: V, b: V) => boolean;

  /** @param same which values are one kind: such ranges are joined. Default: identity. */
  constructor(same: (a: V, b: V) => boolean = Object.is) {
    this.#same = same;
  }

  get size(): number {
    return this.#tree?.size ?? (this.#only === undefined ? 0 : 1);
  }

  /** In order of start. The map must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<ValuedRange<V>> {
    if (this.#only !== undefined) yield this.#only;
    for (const { start, end, item } of this.#tree ?? []) yield { start, end, value: item };
  }

  /** The ranges that have a byte in start..end, in order. */
  overlapping(start: bigint, end: bigint): ValuedRange<V>[] {
    const found: ValuedRange<V>[] = [];
    if (this.#only !== undefined && this.#only.start <= end && start <= this.#only.end)
      found.push(this.#only);
    this.#tree?.eachOverlapping(start, end, undefined, (range) => {
      found.push({ start: range.start, end: range.end, value: range.item });
    });
    return found;
  }

  /** True where every byte of start..end is in some range (of a value that `wanted` accepts). */
  covers(start: bigint, end: bigint, wanted?: (value: V) => boolean): boolean {
    let next = start;
    for (const range of this.overlapping(start, end)) {
      if (range.start > next || (wanted !== undefined && !wanted(range.value))) return false;
      next = range.end + 1n;
    }
    return next > end;
  }

  /**
   * Gives start..end this value, whatever was there. Where ranges are joined, the value of the first of them stays,
   * as the kernel goes on using the first file_lock that it can extend; a range of another kind that is wholly
   * replaced before that makes the new value the one that stays.
   */
  set(start: bigint, end: bigint, value: V): RangeChange<V> {
    const touched = this.overlapping(start > 0n ? start - 1n : start, end < rangeEnd ? end + 1n : end);
    const only = touched.length === 1 ? touched[0]! : undefined;
    if (only !== undefined && only.start <= start && only.end >= end && this.#same(only.value, value)) {
      return unchanged;
    }
    let from = start;
    let to = end;
    let kept: { value: V } | undefined;
    const removed: ValuedRange<V>[] = [];
    let before: ValuedRange<V> | undefined;
    let after: ValuedRange<V> | undefined;
    for (const range of touched) {
      if (this.#same(range.value, value)) {
        kept ??= range;
        if (range.start < from) from = range.start;
        if (range.end > to) to = range.end;
      } else {
        if (range.end < start || range.start > end) continue;
        if (range.start < start) before = { start: range.start, end: start - 1n, value: range.value };
        if (range.end > end) after = { start: end + 1n, end: range.end, value: range.value };
        if (range.start >= start && range.end <= end) kept ??= { value };
      }
      removed.push(range);
    }
    const added = { start: from, end: to, value: (kept ?? { value }).value };
    return this.#exchange(removed, [before, added, after]);
  }

  /** Takes start..end out of every range. */
  clear(start: bigint, end: bigint): RangeChange<V> {
    const removed = this.overlapping(start, end);
    if (removed.length === 0) return unchanged;
    const first = removed[0]!;
    const last = removed[removed.length - 1]!;
    return this.#exchange(removed, [
      first.start < start ? { ...first, end: start - 1n } : undefined,
      last.end > end ? { ...last, start: end + 1n } : undefined,
    ]);
  }

  #exchange(removed: ValuedRange<V>[], wanted: (ValuedRange<V> | undefined)[]): RangeChange<V> {
    const added = wanted.filter((range) => range !== undefined);
    for (const { start } of removed) {
      if (this.#tree === undefined) this.#only = undefined;
      else this.#tree.remove(start, onlyRank);
    }
    for (const range of added) this.#insert(range);
    return { removed, added };
  }

  #insert(range: ValuedRange<V>): void {
    if (this.#tree === undefined && this.#only === undefined) {
      this.#only = range;
      return;
    }
    this.#tree ??= new IntervalTree();
    for (const { start, end, value } of this.#only === undefined ? [range] : [this.#only, range]) {
      this.#tree.insert(start, end, onlyRank, null, value);
    }
    this.#only = undefined;
  }
}

/** Disjoint ranges need no rank to be told apart. */
const onlyRank = 0;
