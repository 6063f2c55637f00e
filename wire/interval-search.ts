/**
 * The searches of the interval tree (interval-tree.ts, the only caller): which entries of other parties than the
 * asker overlap a range, and which of them has the lowest, or the highest, rank.
 *
 * A child is left out where nothing below it reaches the range, where all that does is the asker's own, or where
 * nothing below it can beat the best so far. Children are tried best first. Changes nothing.
 */
import type { NodePage, NodeSlab } from './node-slab.js';
import { keyOf } from './offset.js';
import {
  childOf,
  farField,
  farParty,
  highField,
  lowField,
  lowParty,
  otherFarField,
  otherLowField,
  rankField,
  slotsUpTo,
  startField,
  treeWork,
} from './tree-node.js';

/** One search: where, what is asked, and the best answer so far. */
export class Search<P, T> {
  readonly leaves: NodeSlab<P, T>;
  /** None where the root is a leaf. */
  readonly inners: NodeSlab<P, T> | undefined;
  readonly start: number;
  readonly end: number;
  readonly asker: P | undefined;
  /** The leaf where the best answer is; -1 where it came from elsewhere, or there is no answer. */
  leaf = -1;
  slot = -1;
  /** The rank and start of the best answer so far, wherever it came from. */
  isFound = false;
  rank = 0;
  foundStart = 0;

  constructor(
    leaves: NodeSlab<P, T>,
    inners: NodeSlab<P, T> | undefined,
    start: bigint,
    end: bigint,
    asker: P | undefined,
  ) {
    this.leaves = leaves;
    this.inners = inners;
    this.start = keyOf(start);
    this.end = keyOf(end);
    this.asker = asker;
  }

  /** An answer that is known already: only a better one is looked for. */
  know(start: bigint, rank: number): void {
    this.isFound = true;
    this.rank = rank;
    this.foundStart = keyOf(start);
  }

  take(leaf: number, slot: number): void {
    const { numbers } = this.leaves.page(leaf);
    const { slots } = this.leaves;
    const at = this.leaves.firstNumber(leaf) + slot;
    this.leaf = leaf;
    this.slot = slot;
    this.isFound = true;
    this.rank = numbers[at + rankField * slots]!;
    this.foundStart = numbers[at + startField * slots]!;
  }
}

/** Slots that begin at or before the end of the range: the only ones that can overlap it. */
const begunIn = <P, T>(slab: NodeSlab<P, T>, node: number, search: Search<P, T>): number => {
  const count = slotsUpTo(slab, node, search.end, Number.POSITIVE_INFINITY);
  treeWork.steps += count;
  return count;
};

/**
 * Whether some entry of another party than the asker, in or below this slot, ends in the range or behind it.
 * @param at its number of field 0
 * @param ref its first reference
 */
const reaches = <P, T>(
  { isLeaf, slots }: NodeSlab<P, T>,
  { numbers, refs }: NodePage<P, T>,
  at: number,
  ref: number,
  search: Search<P, T>,
): boolean => {
  if (numbers[at + farField * slots]! < search.start) return false;
  if (refs[ref + farParty] !== search.asker) return true;
  return !isLeaf && numbers[at + otherFarField * slots]! >= search.start;
};

/** Finds the entry of lowest rank, then of lowest start. */
export const findLowest = <P, T>(node: number, height: number, search: Search<P, T>): void => {
  if (height === 0) findLowestInLeaf(node, search);
  else findLowestBelow(node, height, search);
};

const findLowestInLeaf = <P, T>(leaf: number, search: Search<P, T>): void => {
  const { leaves } = search;
  const page = leaves.page(leaf);
  const { numbers } = page;
  const { slots } = leaves;
  const first = leaves.firstNumber(leaf);
  const firstRef = leaves.firstRef(leaf);
  const count = begunIn(leaves, leaf, search);
  for (let slot = 0; slot < count; slot++) {
    const at = first + slot;
    if (numbers[at + farField * slots]! < search.start) continue;
    const rank = numbers[at + rankField * slots]!;
    if (search.isFound && rank > search.rank) continue;
    if (search.isFound && rank === search.rank && numbers[at + startField * slots]! >= search.foundStart)
      continue;
    if (reaches(leaves, page, at, firstRef + 2 * slot, search)) search.take(leaf, slot);
  }
};

const findLowestBelow = <P, T>(node: number, height: number, search: Search<P, T>): void => {
  const inners = search.inners!;
  const { numbers, refs } = inners.page(node);
  const { start, asker } = search;
  const { slots } = inners;
  const first = inners.firstNumber(node);
  const firstRef = inners.firstRef(node);
  const count = begunIn(inners, node, search);
  let triedLow = Number.NEGATIVE_INFINITY;
  let tried = -1;
  for (;;) {
    // The next in the order of (lowest rank, slot).
    let next = -1;
    let nextLow = Number.POSITIVE_INFINITY;
    let untried = 0;
    for (let slot = 0; slot < count; slot++) {
      const at = first + slot;
      const ref = firstRef + 2 * slot;
      // As `reaches` says it, without its cost for each slot.
      if (numbers[at + farField * slots]! < start) continue;
      if (refs[ref + farParty] === asker && numbers[at + otherFarField * slots]! < start) continue;
      const isAskers = refs[ref + lowParty] === asker;
      const low = numbers[at + (isAskers ? otherLowField : lowField) * slots]!;
      if (low < triedLow || (low === triedLow && slot <= tried)) continue;
      untried++;
      if (low >= nextLow) continue;
      next = slot;
      nextLow = low;
    }
    if (next < 0) return;
    if (search.isFound && nextLow > search.rank) return;
    if (search.isFound && nextLow === search.rank && numbers[first + next]! >= search.foundStart) return;
    findLowest(childOf(inners, node, next), height - 1, search);
    if (untried === 1) return;
    triedLow = nextLow;
    tried = next;
    treeWork.steps += count;
  }
};

/** Finds the entry of highest rank below `limit`. */
export const findHighestBelow = <P, T>(
  node: number,
  height: number,
  search: Search<P, T>,
  limit: number,
): void => {
  const slab = height === 0 ? search.leaves : search.inners!;
  const page = slab.page(node);
  const { numbers, refs } = page;
  const { slots } = slab;
  const first = slab.firstNumber(node);
  const firstRef = slab.firstRef(node);
  const count = begunIn(slab, node, search);
  if (height === 0) {
    for (let slot = 0; slot < count; slot++) {
      const rank = numbers[first + rankField * slots + slot]!;
      if (rank >= limit || (search.isFound && rank <= search.rank)) continue;
      if (reaches(slab, page, first + slot, firstRef + 2 * slot, search)) search.take(node, slot);
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
      const at = first + slot;
      const ref = firstRef + 2 * slot;
      const high = Math.min(numbers[at + highField * slots]!, limit);
      if (high > triedHigh || (high === triedHigh && slot >= tried)) continue;
      if (search.isFound && high <= search.rank) continue;
      const isAskers = refs[ref + lowParty] === search.asker;
      if (numbers[at + (isAskers ? otherLowField : lowField) * slots]! >= limit) continue;
      if (!reaches(slab, page, at, ref, search)) continue;
      untried++;
      if (high <= nextHigh) continue;
      next = slot;
      nextHigh = high;
    }
    if (next < 0) return;
    findHighestBelow(childOf(slab, node, next), height - 1, search, limit);
    if (untried === 1) return;
    triedHigh = nextHigh;
    tried = next;
    treeWork.steps += count;
  }
};

/** Visits all of them, in order of (start, rank). */
export const visitOverlapping = <P, T>(
  node: number,
  height: number,
  search: Search<P, T>,
  visit: (leaf: number, slot: number) => void,
): void => {
  const slab = height === 0 ? search.leaves : search.inners!;
  const page = slab.page(node);
  const first = slab.firstNumber(node);
  const firstRef = slab.firstRef(node);
  const count = begunIn(slab, node, search);
  for (let slot = 0; slot < count; slot++) {
    if (!reaches(slab, page, first + slot, firstRef + 2 * slot, search)) continue;
    if (height === 0) visit(node, slot);
    else visitOverlapping(childOf(slab, node, slot), height - 1, search, visit);
  }
};
