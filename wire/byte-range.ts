/**
 * The ranges of one owner in one file: ordered, disjoint, each with a value, neighbours of equal value joined.
 *
 * Decides how a range is split and merged, as posix_lock_inode (fs/locks.c) does for the locks of one owner; knows
 * nothing of conflicts. Bricks keep each owner's held locks in it, mounts remember what their processes hold.
 * Every operation costs O(log n + ranges that it touches).
 */
import type { ByteRange, LockType } from './lock-types.js';
import type { TreeNode } from './ordered-tree.js';
import { OrderedTree, treeWork } from './ordered-tree.js';

export interface ValuedRange<V> extends ByteRange {
  readonly value: V;
}

/** What a call changed: `removed` went, `added` came; both in order. Both are empty where nothing changed. */
export interface RangeChange<V> {
  readonly removed: readonly ValuedRange<V>[];
  readonly added: readonly ValuedRange<V>[];
}

interface RangeNode<V> extends ValuedRange<V>, TreeNode<RangeNode<V>> {}

const unchanged = { removed: [], added: [] };

/** True where the two ranges have a byte in common. */
export const overlaps = (a: ByteRange, b: ByteRange): boolean => a.start <= b.end && b.start <= a.end;

export class RangeMap<V = LockType> {
  readonly #tree = new OrderedTree<RangeNode<V>>(byStart);
  readonly #same: (a: V, b: V) => boolean;

  /** @param same which values are one kind: such ranges are joined. Default: identity. */
  constructor(same: (a: V, b: V) => boolean = Object.is) {
    this.#same = same;
  }

  get size(): number {
    return this.#tree.size;
  }

  /** In order of start. The map must not change meanwhile. */
  [Symbol.iterator](): IterableIterator<ValuedRange<V>> {
    return this.#tree[Symbol.iterator]();
  }

  /** The ranges that have a byte in start..end, in order. */
  overlapping(start: bigint, end: bigint): ValuedRange<V>[] {
    return this.#touching(start, end);
  }

  /** True where every byte of start..end is in some range (of a value that `wanted` accepts). */
  covers(start: bigint, end: bigint, wanted?: (value: V) => boolean): boolean {
    let next = start;
    for (const range of this.#touching(start, end)) {
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
    const touched = this.#touching(start - 1n, end + 1n);
    const only = touched.length === 1 ? touched[0]! : undefined;
    if (only !== undefined && only.start <= start && only.end >= end && this.#same(only.value, value)) {
      return unchanged;
    }
    let from = start;
    let to = end;
    let kept: { value: V } | undefined;
    const removed: RangeNode<V>[] = [];
    let before: RangeNode<V> | undefined;
    let after: RangeNode<V> | undefined;
    for (const range of touched) {
      if (this.#same(range.value, value)) {
        kept ??= range;
        if (range.start < from) from = range.start;
        if (range.end > to) to = range.end;
      } else {
        if (range.end < start || range.start > end) continue;
        if (range.start < start) before = node(range.start, start - 1n, range.value);
        if (range.end > end) after = node(end + 1n, range.end, range.value);
        if (range.start >= start && range.end <= end) kept ??= { value };
      }
      removed.push(range);
    }
    const added = node(from, to, (kept ?? { value }).value);
    return this.#exchange(removed, [before, added, after]);
  }

  /** Takes start..end out of every range. */
  clear(start: bigint, end: bigint): RangeChange<V> {
    const removed = this.#touching(start, end);
    if (removed.length === 0) return unchanged;
    const first = removed[0]!;
    const last = removed[removed.length - 1]!;
    return this.#exchange(removed, [
      first.start < start ? node(first.start, start - 1n, first.value) : undefined,
      last.end > end ? node(end + 1n, last.end, last.value) : undefined,
    ]);
  }

  #exchange(removed: RangeNode<V>[], wanted: (RangeNode<V> | undefined)[]): RangeChange<V> {
    const added = wanted.filter((range) => range !== undefined);
    for (const range of removed) this.#tree.remove(range);
    for (const range of added) this.#tree.insert(range);
    return { removed, added };
  }

  #touching(start: bigint, end: bigint): RangeNode<V>[] {
    const found: RangeNode<V>[] = [];
    collect(this.#tree.root, start, end, found);
    return found;
  }
}

const byStart = (a: ByteRange, b: ByteRange): number => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0);

const node = <V>(start: bigint, end: bigint, value: V): RangeNode<V> => ({
  start,
  end,
  value,
  left: undefined,
  right: undefined,
  height: 1,
});

/** Disjoint ranges are in order of their ends too, so both sides can be cut off. */
const collect = <V>(
  at: RangeNode<V> | undefined,
  start: bigint,
  end: bigint,
  found: RangeNode<V>[],
): void => {
  if (at === undefined) return;
  treeWork.visits++;
  const reaches = at.end >= start;
  const begins = at.start <= end;
  if (reaches) collect(at.left, start, end, found);
  if (reaches && begins) found.push(at);
  if (begins) collect(at.right, start, end, found);
};
