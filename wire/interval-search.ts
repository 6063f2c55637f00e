/**
 * The searches of the interval tree (interval-tree.ts, the only caller): which entries of other parties than the
 * asker overlap a range, and which of them has the lowest, or the highest, rank.
 *
 * A child is left out where nothing below it reaches the range, where all that does is the asker's own, or where
 * nothing below it can beat the best so far. Children are tried best first. Changes nothing.
 */
import { lostFrom, nearestTo } from './offset.js';
import {
  farField,
  farLostField,
  highField,
  lowField,
  otherFarField,
  otherFarLostField,
  otherLowField,
  rankField,
  slotsUpTo,
  startField,
  startLostField,
  type TreeNode,
  treeWork,
} from './tree-node.js';

/** One search: what is asked, and the best answer so far. */
export class Search<P, T> {
  readonly start: number;
  readonly startLost: number;
  readonly end: number;
  readonly endLost: number;
  readonly asker: P | undefined;
  /** Where the best answer is; none where it came from elsewhere, or there is no answer. */
  node: TreeNode<P, T> | undefined;
  slot = -1;
  /** The rank and start of the best answer so far, wherever it came from. */
  isFound = false;
  rank = 0;
  foundStart = 0;
  foundStartLost = 0;

  constructor(start: bigint, end: bigint, asker: P | undefined) {
    this.start = nearestTo(start);
    this.startLost = lostFrom(start);
    this.end = nearestTo(end);
    this.endLost = lostFrom(end);
    this.asker = asker;
  }

  /** An answer that is known already: only a better one is looked for. */
  know(start: bigint, rank: number): void {
    this.isFound = true;
    this.rank = rank;
    this.foundStart = nearestTo(start);
    this.foundStartLost = lostFrom(start);
  }

  take(node: TreeNode<P, T>, slot: number): void {
    const { numbers, slots } = node;
    this.node = node;
    this.slot = slot;
    this.isFound = true;
    this.rank = numbers[rankField * slots + slot]!;
    this.foundStart = numbers[startField * slots + slot]!;
    this.foundStartLost = numbers[startLostField * slots + slot]!;
  }

  beginsBeforeFound(node: TreeNode<P, T>, slot: number): boolean {
    const start = node.numbers[startField * node.slots + slot]!;
    if (start !== this.foundStart) return start < this.foundStart;
    return node.numbers[startLostField * node.slots + slot]! < this.foundStartLost;
  }
}

/** Slots that begin at or before the end of the range: the only ones that can overlap it. */
const begunIn = <P, T>(node: TreeNode<P, T>, search: Search<P, T>): number => {
  const count = slotsUpTo(node, search.end, search.endLost, Number.POSITIVE_INFINITY);
  treeWork.steps += count;
  return count;
};

/** Whether some entry of another party than the asker, in or below this slot, ends in the range or behind it. */
const reaches = <P, T>(node: TreeNode<P, T>, slot: number, search: Search<P, T>): boolean => {
  const { numbers, slots } = node;
  const far = numbers[farField * slots + slot]!;
  if (far < search.start) return false;
  if (far === search.start && numbers[farLostField * slots + slot]! < search.startLost) return false;
  if (node.farParties[slot] !== search.asker) return true;
  if (node.isLeaf) return false;
  const other = numbers[otherFarField * slots + slot]!;
  if (other !== search.start) return other > search.start;
  return numbers[otherFarLostField * slots + slot]! >= search.startLost;
};

const lowOfOthers = <P, T>(node: TreeNode<P, T>, slot: number, asker: P | undefined): number =>
  node.numbers[(node.lowParties[slot] === asker ? otherLowField : lowField) * node.slots + slot]!;

/** Finds the entry of lowest rank, then of lowest start. */
export const findLowest = <P, T>(node: TreeNode<P, T>, search: Search<P, T>): void => {
  const count = begunIn(node, search);
  if (node.isLeaf) {
    for (let slot = 0; slot < count; slot++) {
      const rank = node.numbers[rankField * node.slots + slot]!;
      if (search.isFound && rank > search.rank) continue;
      if (search.isFound && rank === search.rank && !search.beginsBeforeFound(node, slot)) continue;
      if (reaches(node, slot, search)) search.take(node, slot);
    }
    return;
  }
  let triedLow = Number.NEGATIVE_INFINITY;
  let tried = -1;
  for (;;) {
    // The next in the order of (lowest rank, slot).
    let next = -1;
    let nextLow = Number.POSITIVE_INFINITY;
    let untried = 0;
    for (let slot = 0; slot < count; slot++) {
      if (!reaches(node, slot, search)) continue;
      const low = lowOfOthers(node, slot, search.asker);
      if (low < triedLow || (low === triedLow && slot <= tried)) continue;
      untried++;
      if (low >= nextLow) continue;
      next = slot;
      nextLow = low;
    }
    if (next < 0) return;
    if (search.isFound && nextLow > search.rank) return;
    if (search.isFound && nextLow === search.rank && !search.beginsBeforeFound(node, next)) return;
    findLowest(node.children[next]!, search);
    if (untried === 1) return;
    triedLow = nextLow;
    tried = next;
    treeWork.steps += count;
  }
};

/** Finds the entry of highest rank below `limit`. */
export const findHighestBelow = <P, T>(node: TreeNode<P, T>, search: Search<P, T>, limit: number): void => {
  const count = begunIn(node, search);
  const { numbers, slots } = node;
  if (node.isLeaf) {
    for (let slot = 0; slot < count; slot++) {
      const rank = numbers[rankField * slots + slot]!;
      if (rank >= limit || (search.isFound && rank <= search.rank)) continue;
      if (reaches(node, slot, search)) search.take(node, slot);
    }
    return;
  }
  let triedHigh = Number.POSITIVE_INFINITY;
  let tried = count;
  for (;;) {
    // The next in the order of (highest rank as far as it counts, slot), both falling.
    let next = -1;
    let nextHigh = Number.NEGATIVE_INFINITY;
    let untried = 0;
    for (let slot = count - 1; slot >= 0; slot--) {
      const high = Math.min(numbers[highField * slots + slot]!, limit);
      if (high > triedHigh || (high === triedHigh && slot >= tried)) continue;
      if (search.isFound && high <= search.rank) continue;
      if (lowOfOthers(node, slot, search.asker) >= limit || !reaches(node, slot, search)) continue;
      untried++;
      if (high <= nextHigh) continue;
      next = slot;
      nextHigh = high;
    }
    if (next < 0) return;
    findHighestBelow(node.children[next]!, search, limit);
    if (untried === 1) return;
    triedHigh = nextHigh;
    tried = next;
    treeWork.steps += count;
  }
};

/** Visits all of them, in order of (start, rank). */
export const visitOverlapping = <P, T>(
  node: TreeNode<P, T>,
  search: Search<P, T>,
  visit: (node: TreeNode<P, T>, slot: number) => void,
): void => {
  const count = begunIn(node, search);
  for (let slot = 0; slot < count; slot++) {
    if (!reaches(node, slot, search)) continue;
    if (node.isLeaf) visit(node, slot);
    else visitOverlapping(node.children[slot]!, search, visit);
  }
};
