/**
 * The one tree under every index of locks: ranges that may overlap, each of one party (a lock owner) and with one
 * rank (a place in an order), by start and rank.
 *
 * A B+-tree whose nodes fill a few cache lines each: at a million locks what counts is not how many keys are compared
 * but how many places in memory are gone to, and a binary tree goes to twenty a search. Answers "which range of
 * another party overlaps start..end, and comes first" without stepping on the asker's own ranges, however many
 * (tree-node.ts says what is kept for that). It knows nothing of locks, types or waiting. Used by byte-range.ts and
 * brick-store/locks.
 *
 * Finding that there is none costs O(log n) always. Finding the first of many by rank prunes by the best so far:
 * O(log n) where ranges are disjoint or alike; only ranges laid out against it (long and short ones of inverse rank
 * nested in each other) cost more steps, never more than in proportion to the ranges that begin at or before `end`.
 */
import { findHighestBelow, findLowest, Search, visitOverlapping } from './interval-search.js';
import type { ByteRange } from './lock-types.js';
import type { NodeSlab } from './node-slab.js';
import { keyOf, offsetOf } from './offset.js';
import {
  adopt,
  childOf,
  closeSlot,
  type EntryNumbers,
  farField,
  farParty,
  innerSlab,
  isKey,
  itemRef,
  leafSlab,
  leansOn,
  moveToLeft,
  moveToRight,
  openSlots,
  rankField,
  refresh,
  slotsUpTo,
  startField,
  takeIn,
  truncate,
} from './tree-node.js';

/** Offsets are 0 .. 2^63-1. `start` and `rank` together are unique in a tree; a rank is not negative. */
export interface Interval<P, T> extends ByteRange {
  readonly rank: number;
  readonly party: P;
  readonly item: T;
}

/** Chosen by measuring 8, 16 and 32 at 10 to 10^6 locks. More would make each change move and sum up more. */
const slotsMaxDefault = 32;

export class IntervalTree<P, T> {
  #leaves: NodeSlab<P, T> | undefined;
  #inners: NodeSlab<P, T> | undefined;
  #root = 0;
  /** Levels of inner nodes above the leaves. */
  #height = 0;
  #size = 0;
  /** Within one call: whether what the node below sums up to may have changed, and so the one above. */
  #isChanged = false;
  readonly #slotsMax: number;
  readonly #hasHighs: boolean;

  /**
   * @param hasHighs whether `highestBelow` will be asked. A lock that is taken newly has the highest rank of all: where
   *   that counts, each level above it changes with it.
   * @param slotsMax slots of a node, at least 4; fewer than the default only to see many nodes in a test
   */
  constructor({ hasHighs = false, slotsMax = slotsMaxDefault } = {}) {
    this.#hasHighs = hasHighs;
    this.#slotsMax = slotsMax;
  }

  get size(): number {
    return this.#size;
  }

  /** Nodes that there is room for, in use or not. */
  get nodes(): number {
    return (this.#leaves?.made ?? 0) + (this.#inners?.made ?? 0);
  }

  insert(start: bigint, end: bigint, rank: number, party: P, item: T): void {
    if (this.#leaves === undefined) {
      // Most trees hold one entry, and there may be a million of them: they begin small.
      this.#leaves = leafSlab(1);
      this.#root = this.#leaves.take();
    }
    const split = this.#insertUnder(this.#root, this.#height, new Entry(start, end, rank, party, item), true);
    if (split >= 0) {
      this.#inners ??= innerSlab(this.#slotsMax, this.#hasHighs);
      const below = this.#slabAt(this.#height);
      const above = this.#inners.take();
      this.#inners.setCount(above, 2);
      adopt(this.#inners, above, 0, below, this.#root);
      adopt(this.#inners, above, 1, below, split);
      this.#root = above;
      this.#height++;
    }
    this.#size++;
  }

  /** Removes an entry. One that is not there is a bug of the caller. */
  remove(start: bigint, rank: number): void {
    if (this.#size === 0) throw new Error('interval tree: no such key');
    this.#removeUnder(this.#root, this.#height, keyOf(start), rank);
    while (this.#height > 0 && this.#inners!.count(this.#root) === 1) {
      const child = childOf(this.#inners!, this.#root, 0);
      truncate(this.#inners!, this.#root, 0);
      this.#inners!.free(this.#root);
      this.#root = child;
      this.#height--;
    }
    this.#size--;
    if (this.#leaves!.isMostlyFree) this.#rebuild();
  }

  has(start: bigint, rank: number): boolean {
    if (this.#size === 0) return false;
    const key = keyOf(start);
    let node = this.#root;
    for (let height = this.#height; ; height--) {
      const slab = this.#slabAt(height);
      const slot = slotsUpTo(slab, node, key, rank) - 1;
      if (slot < 0) return false;
      if (height === 0) return isKey(slab, node, slot, key, rank);
      node = childOf(slab, node, slot);
    }
  }

  first(): Interval<P, T> | undefined {
    if (this.#size === 0) return undefined;
    let node = this.#root;
    for (let height = this.#height; height > 0; height--) node = childOf(this.#inners!, node, 0);
    return intervalAt(this.#leaves!, node, 0);
  }

  /** In order of start and rank; the tree must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<Interval<P, T>> {
    const ahead = this.#size === 0 ? [] : [{ node: this.#root, height: this.#height }];
    for (let at = ahead.pop(); at !== undefined; at = ahead.pop()) {
      const { node, height } = at;
      const slab = this.#slabAt(height);
      const count = slab.count(node);
      if (height === 0) for (let slot = 0; slot < count; slot++) yield intervalAt(slab, node, slot);
      else {
        for (let slot = count - 1; slot >= 0; slot--) {
          ahead.push({ node: childOf(slab, node, slot), height: height - 1 });
        }
      }
    }
  }

  /**
   * Of the ranges of other parties than `asker` that overlap start..end: the one of lowest rank, then of lowest start.
   * @param seed an answer from elsewhere: comes back where there is no better one
   */
  lowest(
    start: bigint,
    end: bigint,
    asker: P | undefined,
    seed?: Interval<P, T>,
  ): Interval<P, T> | undefined {
    if (this.#size === 0) return seed;
    const search = this.#search(start, end, asker);
    if (seed !== undefined) search.know(seed.start, seed.rank);
    findLowest(this.#root, this.#height, search);
    return search.leaf < 0 ? seed : intervalAt(search.leaves, search.leaf, search.slot);
  }

  /** Of those: the one of highest rank below `limit`. */
  highestBelow(
    limit: number,
    start: bigint,
    end: bigint,
    asker: P | undefined,
    seed?: Interval<P, T>,
  ): Interval<P, T> | undefined {
    if (!this.#hasHighs) throw new Error('interval tree: made without highest ranks');
    if (this.#size === 0) return seed;
    const search = this.#search(start, end, asker);
    if (seed !== undefined) search.know(seed.start, seed.rank);
    findHighestBelow(this.#root, this.#height, search, limit);
    return search.leaf < 0 ? seed : intervalAt(search.leaves, search.leaf, search.slot);
  }

  /** All of those, in order of start and rank: O(log n) each. The tree must not change meanwhile. */
  eachOverlapping(
    start: bigint,
    end: bigint,
    asker: P | undefined,
    visit: (found: Interval<P, T>) => void,
  ): void {
    if (this.#size === 0) return;
    const search = this.#search(start, end, asker);
    visitOverlapping(this.#root, this.#height, search, (leaf, slot) => {
      visit(intervalAt(search.leaves, leaf, slot));
    });
  }

  #search(start: bigint, end: bigint, asker: P | undefined): Search<P, T> {
    return new Search<P, T>(this.#leaves!, this.#inners, start, end, asker);
  }

  #slabAt(height: number): NodeSlab<P, T> {
    return height === 0 ? this.#leaves! : this.#inners!;
  }

  /** Gives back the memory of nodes that are free. */
  #rebuild(): void {
    const entries = this[Symbol.iterator]();
    const compact = new IntervalTree<P, T>({ hasHighs: this.#hasHighs, slotsMax: this.#slotsMax });
    for (const { start, end, rank, party, item } of entries) compact.insert(start, end, rank, party, item);
    this.#leaves = compact.#leaves;
    this.#inners = compact.#inners;
    this.#root = compact.#root;
    this.#height = compact.#height;
  }

  /**
   * Answers the new right neighbour of a node that was split; -1 for none.
   * @param isLast whether nothing of the tree is to the right of it
   */
  #insertUnder(node: number, height: number, entry: Entry<P, T>, isLast: boolean): number {
    const slab = this.#slabAt(height);
    let slot = slotsUpTo(slab, node, entry.start, entry.rank);
    if (height === 0) {
      if (slot > 0 && isKey(slab, node, slot - 1, entry.start, entry.rank)) {
        throw new Error('interval tree: this key is already there');
      }
      if (slab.count(node) === slab.slots) slab.widen(Math.min(4 * slab.slots, this.#slotsMax));
      openSlots(slab, node, slot, 1);
      entry.write(slab, node, slot);
      this.#isChanged = true;
    } else {
      const below = this.#slabAt(height - 1);
      if (slot > 0) slot--;
      const isLastChild = isLast && slot === slab.count(node) - 1;
      const split = this.#insertUnder(childOf(slab, node, slot), height - 1, entry, isLastChild);
      if (split < 0) {
        this.#isChanged &&= takeIn(slab, node, slot, entry);
        return -1;
      }
      refresh(slab, node, slot, below);
      slot++;
      openSlots(slab, node, slot, 1);
      adopt(slab, node, slot, below, split);
      this.#isChanged = true;
    }
    // A node that is full between two calls would have no room in the next: it is split as soon as it fills up.
    if (slab.count(node) < this.#slotsMax) return -1;
    // Locks are often taken in order: then nothing more comes to the left node soon, and it may stay rather full.
    const isAppended = isLast && slot === slab.count(node) - 1;
    const right = slab.take();
    moveToRight(slab, node, right, slab.count(node) >>> (isAppended ? 2 : 1));
    return right;
  }

  /** Answers what was removed. */
  #removeUnder(node: number, height: number, start: number, rank: number): EntryNumbers<P> {
    const slab = this.#slabAt(height);
    const slot = slotsUpTo(slab, node, start, rank) - 1;
    if (slot < 0) throw new Error('interval tree: no such key');
    if (height === 0) {
      if (!isKey(slab, node, slot, start, rank)) throw new Error('interval tree: no such key');
      const { numbers, refs } = slab.page(node);
      const end = numbers[slab.firstNumber(node) + farField * slab.slots + slot]!;
      const party = refs[slab.firstRef(node) + 2 * slot + farParty] as P;
      closeSlot(slab, node, slot);
      this.#isChanged = true;
      return { start, rank, end, party };
    }
    const child = childOf(slab, node, slot);
    const gone = this.#removeUnder(child, height - 1, start, rank);
    const below = this.#slabAt(height - 1);
    if (below.count(child) < this.#slotsMax / 4) {
      this.#mend(slab, node, slot, below);
      this.#isChanged = true;
    } else this.#isChanged &&= leansOn(slab, node, slot, gone) && refresh(slab, node, slot, below);
    return gone;
  }

  /** Joins a child that has few slots left with a neighbour, or takes some from there. */
  #mend(slab: NodeSlab<P, T>, node: number, slot: number, below: NodeSlab<P, T>): void {
    const at = Math.max(0, slot - 1);
    const left = childOf(slab, node, at);
    if (at + 1 === slab.count(node)) {
      // One child alone: with nodes of few slots, of which a quarter is split off, the last of a level may have that.
      if (below.count(left) > 0) refresh(slab, node, at, below);
      else {
        closeSlot(slab, node, at);
        below.free(left);
      }
      return;
    }
    const right = childOf(slab, node, at + 1);
    const total = below.count(left) + below.count(right);
    if (total <= (3 * this.#slotsMax) / 4) {
      moveToLeft(below, left, right, below.count(right));
      closeSlot(slab, node, at + 1);
      below.free(right);
    } else {
      const surplus = below.count(left) - (total >>> 1);
      if (surplus > 0) moveToRight(below, left, right, surplus);
      else moveToLeft(below, left, right, -surplus);
      refresh(slab, node, at + 1, below);
    }
    refresh(slab, node, at, below);
  }
}

/** An entry on its way in. */
class Entry<P, T> implements EntryNumbers<P> {
  readonly start: number;
  readonly end: number;
  readonly rank: number;
  readonly party: P;
  readonly #item: T;

  constructor(start: bigint, end: bigint, rank: number, party: P, item: T) {
    this.start = keyOf(start);
    this.end = keyOf(end);
    this.rank = rank;
    this.party = party;
    this.#item = item;
  }

  write(leaves: NodeSlab<P, T>, leaf: number, slot: number): void {
    const { numbers, refs } = leaves.page(leaf);
    const { slots } = leaves;
    const at = leaves.firstNumber(leaf) + slot;
    const ref = leaves.firstRef(leaf) + 2 * slot;
    numbers[at + startField * slots] = this.start;
    numbers[at + rankField * slots] = this.rank;
    numbers[at + farField * slots] = this.end;
    refs[ref + farParty] = this.party;
    refs[ref + itemRef] = this.#item;
  }
}

const intervalAt = <P, T>(leaves: NodeSlab<P, T>, leaf: number, slot: number): Interval<P, T> => {
  const { numbers, refs } = leaves.page(leaf);
  const { slots } = leaves;
  const at = leaves.firstNumber(leaf) + slot;
  const ref = leaves.firstRef(leaf) + 2 * slot;
  return {
    start: offsetOf(numbers[at + startField * slots]!),
    end: offsetOf(numbers[at + farField * slots]!),
    rank: numbers[at + rankField * slots]!,
    party: refs[ref + farParty] as P,
    item: refs[ref + itemRef] as T,
  };
};
