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
import { lostFrom, nearestTo, offsetOf } from './offset.js';
import {
  closeSlot,
  type EntryNumbers,
  farField,
  farLostField,
  leansOn,
  moveToLeft,
  moveToRight,
  openSlots,
  orderOfKey,
  rankField,
  refresh,
  slotsUpTo,
  startField,
  startLostField,
  TreeNode,
  takeIn,
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
  #root: TreeNode<P, T> | undefined;
  #size = 0;
  /** Within one call: whether what the node below sums up to may have changed, and so the one above. */
  #isChanged = false;
  readonly #slotsMax: number;

  /** @param slotsMax slots of a node, at least 4; fewer than the default only to see many nodes in a test */
  constructor(slotsMax = slotsMaxDefault) {
    this.#slotsMax = slotsMax;
  }

  get size(): number {
    return this.#size;
  }

  insert(start: bigint, end: bigint, rank: number, party: P, item: T): void {
    // Most trees hold one entry, and there may be a million of them: they begin small.
    this.#root ??= new TreeNode<P, T>(true, 1);
    const root = this.#root;
    const split = this.#insertUnder(root, new Entry(start, end, rank, party, item), true);
    if (split !== undefined) {
      const above = new TreeNode<P, T>(false, this.#slotsMax);
      above.count = 2;
      adopt(above, 0, root);
      adopt(above, 1, split);
      this.#root = above;
    }
    this.#size++;
  }

  /** Removes an entry. One that is not there is a bug of the caller. */
  remove(start: bigint, rank: number): void {
    let root = this.#root;
    if (root === undefined) throw new Error('interval tree: no such key');
    this.#removeUnder(root, nearestTo(start), lostFrom(start), rank);
    while (!root.isLeaf && root.count === 1) root = root.children[0]!;
    this.#root = root;
    this.#size--;
  }

  has(start: bigint, rank: number): boolean {
    const [near, lost] = [nearestTo(start), lostFrom(start)];
    let node = this.#root;
    while (node !== undefined) {
      const slot = slotsUpTo(node, near, lost, rank) - 1;
      if (slot < 0) return false;
      if (node.isLeaf) return orderOfKey(node, slot, near, lost, rank) === 0;
      node = node.children[slot];
    }
    return false;
  }

  first(): Interval<P, T> | undefined {
    let node = this.#root;
    while (node !== undefined && !node.isLeaf) node = node.children[0];
    return node === undefined || node.count === 0 ? undefined : intervalAt(node, 0);
  }

  /** In order of start and rank; the tree must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<Interval<P, T>> {
    const ahead = this.#root === undefined ? [] : [this.#root];
    for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
      if (node.isLeaf) for (let slot = 0; slot < node.count; slot++) yield intervalAt(node, slot);
      else for (let slot = node.count - 1; slot >= 0; slot--) ahead.push(node.children[slot]!);
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
    const search = new Search<P, T>(start, end, asker);
    if (seed !== undefined) search.know(seed.start, seed.rank);
    findLowest(this.#root!, search);
    return search.node === undefined ? seed : intervalAt(search.node, search.slot);
  }

  /** Of those: the one of highest rank below `limit`. */
  highestBelow(
    limit: number,
    start: bigint,
    end: bigint,
    asker: P | undefined,
    seed?: Interval<P, T>,
  ): Interval<P, T> | undefined {
    if (this.#size === 0) return seed;
    const search = new Search<P, T>(start, end, asker);
    if (seed !== undefined) search.know(seed.start, seed.rank);
    findHighestBelow(this.#root!, search, limit);
    return search.node === undefined ? seed : intervalAt(search.node, search.slot);
  }

  /** All of those, in order of start and rank: O(log n) each. The tree must not change meanwhile. */
  eachOverlapping(
    start: bigint,
    end: bigint,
    asker: P | undefined,
    visit: (found: Interval<P, T>) => void,
  ): void {
    if (this.#size === 0) return;
    visitOverlapping(this.#root!, new Search<P, T>(start, end, asker), (node, slot) => {
      visit(intervalAt(node, slot));
    });
  }

  /**
   * Answers the new right neighbour of a node that was split.
   * @param isLast whether nothing of the tree is to the right of it
   */
  #insertUnder(node: TreeNode<P, T>, entry: Entry<P, T>, isLast: boolean): TreeNode<P, T> | undefined {
    let slot = slotsUpTo(node, entry.start, entry.startLost, entry.rank);
    if (node.isLeaf) {
      if (slot > 0 && orderOfKey(node, slot - 1, entry.start, entry.startLost, entry.rank) === 0) {
        throw new Error('interval tree: this key is already there');
      }
      this.#open(node, slot);
      entry.write(node, slot);
      this.#isChanged = true;
    } else {
      if (slot > 0) slot--;
      const split = this.#insertUnder(node.children[slot]!, entry, isLast && slot === node.count - 1);
      if (split === undefined) {
        this.#isChanged &&= takeIn(node, slot, entry);
        return undefined;
      }
      refresh(node, slot);
      slot++;
      this.#open(node, slot);
      adopt(node, slot, split);
      this.#isChanged = true;
    }
    // A node that is full between two calls would have no room in the next: it is split as soon as it fills up.
    if (node.count < this.#slotsMax) return undefined;
    return this.#split(node, isLast && slot === node.count - 1);
  }

  #open(node: TreeNode<P, T>, slot: number): void {
    if (node.count === node.slots) node.grow(Math.min(4 * node.slots, this.#slotsMax));
    openSlots(node, slot, 1);
  }

  /** Locks are often taken in order: then nothing more comes to the left node soon, and it may stay rather full. */
  #split(node: TreeNode<P, T>, isAppended: boolean): TreeNode<P, T> {
    const right = new TreeNode<P, T>(node.isLeaf, this.#slotsMax);
    moveToRight(node, right, node.count >>> (isAppended ? 2 : 1));
    return right;
  }

  /** Answers what was removed. */
  #removeUnder(node: TreeNode<P, T>, start: number, startLost: number, rank: number): EntryNumbers<P> {
    const slot = slotsUpTo(node, start, startLost, rank) - 1;
    if (slot < 0) throw new Error('interval tree: no such key');
    if (node.isLeaf) {
      if (orderOfKey(node, slot, start, startLost, rank) !== 0) throw new Error('interval tree: no such key');
      const end = node.numbers[farField * node.slots + slot]!;
      const endLost = node.numbers[farLostField * node.slots + slot]!;
      const gone = { start, startLost, rank, end, endLost, party: node.farParties[slot]! };
      closeSlot(node, slot);
      this.#isChanged = true;
      return gone;
    }
    const child = node.children[slot]!;
    const gone = this.#removeUnder(child, start, startLost, rank);
    if (child.count < this.#slotsMax / 4) {
      this.#mend(node, slot);
      this.#isChanged = true;
    } else this.#isChanged &&= leansOn(node, slot, gone) && refresh(node, slot);
    return gone;
  }

  /** Joins a child that has few slots left with a neighbour, or takes some from there. */
  #mend(node: TreeNode<P, T>, slot: number): void {
    const at = Math.max(0, slot - 1);
    const left = node.children[at]!;
    const right = at + 1 < node.count ? node.children[at + 1] : undefined;
    if (right === undefined) {
      // One child alone: with nodes of few slots, of which a quarter is split off, the last of a level may have that.
      if (left.count === 0) closeSlot(node, at);
      else refresh(node, at);
      return;
    }
    const total = left.count + right.count;
    if (total <= (3 * this.#slotsMax) / 4) {
      moveToLeft(left, right, right.count);
      closeSlot(node, at + 1);
    } else {
      const surplus = left.count - (total >>> 1);
      if (surplus > 0) moveToRight(left, right, surplus);
      else moveToLeft(left, right, -surplus);
      refresh(node, at + 1);
    }
    refresh(node, at);
  }
}

/** An entry on its way in. */
class Entry<P, T> implements EntryNumbers<P> {
  readonly start: number;
  readonly startLost: number;
  readonly end: number;
  readonly endLost: number;
  readonly rank: number;
  readonly party: P;
  readonly #item: T;

  constructor(start: bigint, end: bigint, rank: number, party: P, item: T) {
    this.start = nearestTo(start);
    this.startLost = lostFrom(start);
    this.end = nearestTo(end);
    this.endLost = lostFrom(end);
    this.rank = rank;
    this.party = party;
    this.#item = item;
  }

  write(leaf: TreeNode<P, T>, slot: number): void {
    const { numbers, slots } = leaf;
    numbers[startField * slots + slot] = this.start;
    numbers[startLostField * slots + slot] = this.startLost;
    numbers[rankField * slots + slot] = this.rank;
    numbers[farField * slots + slot] = this.end;
    numbers[farLostField * slots + slot] = this.endLost;
    leaf.farParties[slot] = this.party;
    leaf.items[slot] = this.#item;
  }
}

const adopt = <P, T>(node: TreeNode<P, T>, slot: number, child: TreeNode<P, T>): void => {
  node.children[slot] = child;
  refresh(node, slot);
};

const intervalAt = <P, T>(leaf: TreeNode<P, T>, slot: number): Interval<P, T> => {
  const { numbers, slots } = leaf;
  return {
    start: offsetOf(numbers[startField * slots + slot]!, numbers[startLostField * slots + slot]!),
    end: offsetOf(numbers[farField * slots + slot]!, numbers[farLostField * slots + slot]!),
    rank: numbers[rankField * slots + slot]!,
    party: leaf.farParties[slot]!,
    item: leaf.items[slot]!,
  };
};
