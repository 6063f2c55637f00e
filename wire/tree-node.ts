/**
 * What is in a node of the interval tree (interval-tree.ts): up to some tens of slots in a row, their numbers field by
 * field, so that a search reads a few neighbouring cache lines and follows no pointer but the one down.
 *
 * A slot of a leaf is an entry. A slot of an inner node is a child: its first key, and what searches prune by, over
 * all entries below it: the farthest end and the lowest rank, each twice, once overall and once without the party
 * that has it, so that "of all the others" is known exactly for any asker. Decides how slots move and what a child
 * sums up to; knows nothing of balance or of searches. Where a node lies: node-slab.ts.
 */
import { NodeSlab } from './node-slab.js';
import { noKey } from './offset.js';

/** Slots of nodes looked at or moved since the process began: what cost tests count in place of time. */
export const treeWork = { steps: 0 };

/** Fields of every slot; the first two are the key of the entry, and together unique. Offsets are keys: offset.ts. */
export const startField = 0;
export const rankField = 1;
/** In a leaf the entry's end; in an inner node the farthest end below. */
export const farField = 2;
const leafFields = 3;
/** The rest is in inner nodes only. The farthest end of all but the party that has the farthest: `noKey` for none. */
export const otherFarField = 3;
export const lowField = 4;
/** The lowest rank of all but the party that has the lowest: infinite for none. */
export const otherLowField = 5;
export const childField = 6;
/** The highest rank: only in a tree that is asked for it. */
export const highField = 7;
const innerFields = 7;

/** References of every slot. In a leaf the party of the entry; in an inner node the one that has the farthest end. */
export const farParty = 0;
/** In an inner node the party that has the lowest rank. */
export const lowParty = 1;
/** In a leaf. */
export const itemRef = 1;

export const leafSlab = <P, T>(slots: number): NodeSlab<P, T> => new NodeSlab<P, T>(true, leafFields, slots);

export const innerSlab = <P, T>(slots: number, hasHighs: boolean): NodeSlab<P, T> =>
  new NodeSlab<P, T>(false, innerFields + (hasHighs ? 1 : 0), slots);

const hasHighs = <P, T>(inners: NodeSlab<P, T>): boolean => inners.fields > highField;

/** How many slots have a key of at most (start, rank). */
export const slotsUpTo = <P, T>(slab: NodeSlab<P, T>, node: number, start: number, rank: number): number => {
  const { numbers } = slab.page(node);
  const { slots } = slab;
  const first = slab.firstNumber(node);
  let from = 0;
  let to = slab.count(node);
  while (from < to) {
    treeWork.steps++;
    const middle = (from + to) >>> 1;
    const order = numbers[first + middle]! - start;
    if (order > 0 || (order === 0 && numbers[first + slots + middle]! > rank)) to = middle;
    else from = middle + 1;
  }
  return from;
};

/** Copies `count` slots. Within one node only to the left; the counts of the nodes stay as they are. */
const copySlots = <P, T>(
  slab: NodeSlab<P, T>,
  from: number,
  fromSlot: number,
  to: number,
  toSlot: number,
  count: number,
): void => {
  treeWork.steps += count;
  const { fields, slots } = slab;
  const { numbers: source, refs: sourceRefs } = slab.page(from);
  const { numbers: target, refs: targetRefs } = slab.page(to);
  let sourceAt = slab.firstNumber(from) + fromSlot;
  let targetAt = slab.firstNumber(to) + toSlot;
  for (let field = 0; field < fields; field++) {
    for (let at = 0; at < count; at++) target[targetAt + at] = source[sourceAt + at]!;
    sourceAt += slots;
    targetAt += slots;
  }
  sourceAt = slab.firstRef(from) + 2 * fromSlot;
  targetAt = slab.firstRef(to) + 2 * toSlot;
  for (let at = 0; at < 2 * count; at++) targetRefs[targetAt + at] = sourceRefs[sourceAt + at];
};

/** Moves the slots from `slot` on by `by` places to the right, to make room for as many. */
export const openSlots = <P, T>(slab: NodeSlab<P, T>, node: number, slot: number, by: number): void => {
  const { numbers, refs } = slab.page(node);
  const { fields, slots } = slab;
  const count = slab.count(node);
  treeWork.steps += count - slot;
  let first = slab.firstNumber(node);
  for (let field = 0; field < fields; field++) {
    for (let at = first + count - 1; at >= first + slot; at--) numbers[at + by] = numbers[at]!;
    first += slots;
  }
  const firstRef = slab.firstRef(node);
  for (let at = firstRef + 2 * count - 1; at >= firstRef + 2 * slot; at--) refs[at + 2 * by] = refs[at];
  slab.setCount(node, count + by);
};

export const closeSlot = <P, T>(slab: NodeSlab<P, T>, node: number, slot: number): void => {
  const count = slab.count(node) - 1;
  copySlots(slab, node, slot + 1, node, slot, count - slot);
  truncate(slab, node, count);
};

/** Moves slots from the end of `left` to the beginning of `right`, its neighbour. */
export const moveToRight = <P, T>(slab: NodeSlab<P, T>, left: number, right: number, count: number): void => {
  const rest = slab.count(left) - count;
  openSlots(slab, right, 0, count);
  copySlots(slab, left, rest, right, 0, count);
  truncate(slab, left, rest);
};

/** Moves slots from the beginning of `right` to the end of `left`, its neighbour. */
export const moveToLeft = <P, T>(slab: NodeSlab<P, T>, left: number, right: number, count: number): void => {
  const rest = slab.count(right) - count;
  copySlots(slab, right, 0, left, slab.count(left), count);
  slab.setCount(left, slab.count(left) + count);
  copySlots(slab, right, count, right, 0, rest);
  truncate(slab, right, rest);
};

/** Lets go of what is behind the new end, so that nothing is kept alive by a slot that is not in use. */
export const truncate = <P, T>(slab: NodeSlab<P, T>, node: number, count: number): void => {
  const { refs } = slab.page(node);
  const first = slab.firstRef(node);
  const before = slab.count(node);
  for (let at = 2 * count; at < 2 * before; at++) refs[first + at] = undefined;
  slab.setCount(node, count);
};

/** An entry on its way in or out, in the numbers of a leaf's slot. */
export interface EntryNumbers<P> {
  readonly start: number;
  readonly rank: number;
  readonly end: number;
  readonly party: P;
}

/** Counts in an entry that came in below a slot, whose child kept all it had. Answers whether that changed anything. */
export const takeIn = <P, T>(
  slab: NodeSlab<P, T>,
  node: number,
  slot: number,
  entry: EntryNumbers<P>,
): boolean => {
  const { numbers, refs } = slab.page(node);
  const { slots } = slab;
  const { start, rank, end, party } = entry;
  const at = slab.firstNumber(node) + slot;
  const ref = slab.firstRef(node) + 2 * slot;
  treeWork.steps++;
  let isChanged = false;
  const set = (field: number, value: number): void => {
    numbers[at + field * slots] = value;
    isChanged = true;
  };
  const first = numbers[at]!;
  if (start < first || (start === first && rank < numbers[at + rankField * slots]!)) {
    set(startField, start);
    set(rankField, rank);
  }
  const far = numbers[at + farField * slots]!;
  if (refs[ref + farParty] === party) {
    if (end > far) set(farField, end);
  } else if (end > far) {
    set(otherFarField, far);
    set(farField, end);
    refs[ref + farParty] = party;
  } else if (end > numbers[at + otherFarField * slots]!) set(otherFarField, end);
  const low = numbers[at + lowField * slots]!;
  if (refs[ref + lowParty] === party) {
    if (rank < low) set(lowField, rank);
  } else if (rank < low) {
    set(otherLowField, low);
    set(lowField, rank);
    refs[ref + lowParty] = party;
  } else if (rank < numbers[at + otherLowField * slots]!) set(otherLowField, rank);
  if (hasHighs(slab) && rank > numbers[at + highField * slots]!) set(highField, rank);
  return isChanged;
};

/** Whether the sums of a slot may be other ones without this entry, which went out below it. */
export const leansOn = <P, T>(
  slab: NodeSlab<P, T>,
  node: number,
  slot: number,
  entry: EntryNumbers<P>,
): boolean => {
  const { numbers, refs } = slab.page(node);
  const { slots } = slab;
  const { rank, party } = entry;
  const at = slab.firstNumber(node) + slot;
  const ref = slab.firstRef(node) + 2 * slot;
  if (numbers[at] === entry.start && numbers[at + rankField * slots] === rank) return true;
  if (hasHighs(slab) && numbers[at + highField * slots] === rank) return true;
  const isLowest = refs[ref + lowParty] === party;
  if (numbers[at + (isLowest ? lowField : otherLowField) * slots] === rank) return true;
  const isFarthest = refs[ref + farParty] === party;
  return numbers[at + (isFarthest ? farField : otherFarField) * slots] === entry.end;
};

/** Whether this is the key of the slot. */
export const isKey = <P, T>(
  slab: NodeSlab<P, T>,
  node: number,
  slot: number,
  start: number,
  rank: number,
): boolean => {
  const { numbers } = slab.page(node);
  const at = slab.firstNumber(node) + slot;
  return numbers[at] === start && numbers[at + rankField * slab.slots] === rank;
};

export const childOf = <P, T>(inners: NodeSlab<P, T>, node: number, slot: number): number =>
  inners.page(node).numbers[inners.firstNumber(node) + childField * inners.slots + slot]!;

/** Makes `child` that of a slot of an inner node, and sums it up. */
export const adopt = <P, T>(
  inners: NodeSlab<P, T>,
  node: number,
  slot: number,
  below: NodeSlab<P, T>,
  child: number,
): void => {
  inners.page(node).numbers[inners.firstNumber(node) + childField * inners.slots + slot] = child;
  refresh(inners, node, slot, below);
};

/**
 * Sums up the child in a slot of an inner node, from its own slots. Answers whether that changed anything.
 *
 * The second value of a slot needs no party of its own: either the slot's first one leads (or is of the leading
 * party), then the second is of another party; or it does not, then the second is no better than it.
 */
export const refresh = <P, T>(
  inners: NodeSlab<P, T>,
  node: number,
  slot: number,
  below: NodeSlab<P, T>,
): boolean => {
  const child = childOf(inners, node, slot);
  const { numbers, refs } = below.page(child);
  const { slots, isLeaf } = below;
  const first = below.firstNumber(child);
  const firstRef = below.firstRef(child);
  const count = below.count(child);
  treeWork.steps += count;
  const fars = first + farField * slots;
  const otherFars = first + otherFarField * slots;
  const lows = first + (isLeaf ? rankField : lowField) * slots;
  const otherLows = first + otherLowField * slots;
  const highs = first + (isLeaf ? rankField : highField) * slots;
  const lowParties = firstRef + (isLeaf ? farParty : lowParty);
  const isHighKept = hasHighs(inners);
  let [far, otherFar] = [noKey, noKey];
  let [low, otherLow, high] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, -1];
  let farthest = refs[firstRef];
  let lowest = refs[lowParties];
  for (let at = 0; at < count; at++) {
    const end = numbers[fars + at]!;
    const ender = refs[firstRef + 2 * at];
    if (ender === farthest) {
      if (end > far) far = end;
    } else if (end > far) {
      otherFar = far;
      far = end;
      farthest = ender;
    } else if (end > otherFar) otherFar = end;
    const rank = numbers[lows + at]!;
    const ranker = refs[lowParties + 2 * at];
    if (ranker === lowest) {
      if (rank < low) low = rank;
    } else if (rank < low) {
      otherLow = low;
      low = rank;
      lowest = ranker;
    } else if (rank < otherLow) otherLow = rank;
    if (isHighKept) {
      const highest = numbers[highs + at]!;
      if (highest > high) high = highest;
    }
    if (isLeaf) continue;
    const second = numbers[otherFars + at]!;
    if (second > otherFar) otherFar = second;
    const secondLow = numbers[otherLows + at]!;
    if (secondLow < otherLow) otherLow = secondLow;
  }
  return write(inners, node, slot, {
    start: numbers[first]!,
    rank: numbers[first + rankField * slots]!,
    far,
    otherFar,
    low,
    otherLow,
    high,
    farthest,
    lowest,
  });
};

interface Sums<P, T> {
  readonly start: number;
  readonly rank: number;
  readonly far: number;
  readonly otherFar: number;
  readonly low: number;
  readonly otherLow: number;
  readonly high: number;
  readonly farthest: P | T | undefined;
  readonly lowest: P | T | undefined;
}

/** Answers whether they are other ones than before. */
const write = <P, T>(slab: NodeSlab<P, T>, node: number, slot: number, sums: Sums<P, T>): boolean => {
  const { numbers, refs } = slab.page(node);
  const { slots } = slab;
  const at = slab.firstNumber(node) + slot;
  const ref = slab.firstRef(node) + 2 * slot;
  const isSame =
    refs[ref + farParty] === sums.farthest &&
    refs[ref + lowParty] === sums.lowest &&
    numbers[at] === sums.start &&
    numbers[at + rankField * slots] === sums.rank &&
    numbers[at + farField * slots] === sums.far &&
    numbers[at + otherFarField * slots] === sums.otherFar &&
    numbers[at + lowField * slots] === sums.low &&
    numbers[at + otherLowField * slots] === sums.otherLow &&
    (!hasHighs(slab) || numbers[at + highField * slots] === sums.high);
  if (isSame) return false;
  refs[ref + farParty] = sums.farthest;
  refs[ref + lowParty] = sums.lowest;
  numbers[at] = sums.start;
  numbers[at + rankField * slots] = sums.rank;
  numbers[at + farField * slots] = sums.far;
  numbers[at + otherFarField * slots] = sums.otherFar;
  numbers[at + lowField * slots] = sums.low;
  numbers[at + otherLowField * slots] = sums.otherLow;
  if (hasHighs(slab)) numbers[at + highField * slots] = sums.high;
  return true;
};
