/**
 * A node of the interval tree (interval-tree.ts): up to some tens of slots in a row, their numbers in one array of
 * doubles, field by field, so that a search reads a few neighbouring cache lines and follows no pointer but the one
 * down.
 *
 * A slot of a leaf is an entry. A slot of an inner node is a child: its first key, and what searches prune by, over
 * all entries below it: the farthest end and the lowest rank, each twice, once overall and once without the party
 * that has it, so that "of all the others" is known exactly for any asker. Decides how slots move and what a child
 * sums up to; knows nothing of balance or of searches.
 */

/** Slots of nodes looked at or moved since the process began: what cost tests count in place of time. */
export const treeWork = { steps: 0 };

/** Fields of every slot; together the first three are the key, and unique. `Lost`: see offset.ts. */
export const startField = 0;
export const startLostField = 1;
export const rankField = 2;
/** In a leaf the entry's end; in an inner node the farthest end below. */
export const farField = 3;
export const farLostField = 4;
const leafFields = 5;
/** The rest is in inner nodes only. The farthest end of all but `farParties[slot]`: -1 for none. */
export const otherFarField = 5;
export const otherFarLostField = 6;
export const lowField = 7;
/** The lowest rank of all but `lowParties[slot]`: infinite for none. */
export const otherLowField = 8;
export const highField = 9;
const innerFields = 10;

const none: readonly never[] = [];

export class TreeNode<P, T> {
  readonly isLeaf: boolean;
  readonly fields: number;
  count = 0;
  /** Field f of slot s is numbers[f * slots + s]. */
  slots: number;
  numbers: number[];
  /** In a leaf the party of each entry; in an inner node the party that has the farthest end. */
  farParties: P[];
  /** In a leaf the very same array as `farParties`. */
  lowParties: P[];
  items: T[];
  children: TreeNode<P, T>[];

  constructor(isLeaf: boolean, slots: number) {
    this.isLeaf = isLeaf;
    this.fields = isLeaf ? leafFields : innerFields;
    this.slots = slots;
    // Filled with doubles: V8 keeps such an array flat, without an object a number.
    this.numbers = new Array<number>(this.fields * slots).fill(Number.NaN);
    this.farParties = new Array<P>(slots);
    this.lowParties = isLeaf ? this.farParties : new Array<P>(slots);
    this.items = isLeaf ? new Array<T>(slots) : (none as readonly T[] as T[]);
    this.children = isLeaf ? (none as readonly TreeNode<P, T>[] as TreeNode<P, T>[]) : new Array(slots);
  }

  /** Makes room for more slots. */
  grow(slots: number): void {
    const larger = new TreeNode<P, T>(this.isLeaf, slots);
    copySlots(this, 0, larger, 0, this.count);
    this.slots = slots;
    this.numbers = larger.numbers;
    this.farParties = larger.farParties;
    this.lowParties = larger.lowParties;
    this.items = larger.items;
    this.children = larger.children;
  }
}

/** How many slots have a key of at most (start, rank). */
export const slotsUpTo = <P, T>(
  node: TreeNode<P, T>,
  start: number,
  startLost: number,
  rank: number,
): number => {
  let from = 0;
  let to = node.count;
  while (from < to) {
    treeWork.steps++;
    const middle = (from + to) >>> 1;
    if (orderOfKey(node, middle, start, startLost, rank) > 0) to = middle;
    else from = middle + 1;
  }
  return from;
};

/** Copies `count` slots. Within one node only to the left; the counts of the nodes stay as they are. */
const copySlots = <P, T>(
  from: TreeNode<P, T>,
  fromSlot: number,
  to: TreeNode<P, T>,
  toSlot: number,
  count: number,
): void => {
  treeWork.steps += count;
  const { numbers: source, farParties, lowParties, items, children } = from;
  const { numbers: target } = to;
  for (let field = 0; field < from.fields; field++) {
    const sourceAt = field * from.slots + fromSlot;
    const targetAt = field * to.slots + toSlot;
    for (let at = 0; at < count; at++) target[targetAt + at] = source[sourceAt + at]!;
  }
  for (let at = 0; at < count; at++) to.farParties[toSlot + at] = farParties[fromSlot + at]!;
  if (from.isLeaf) {
    for (let at = 0; at < count; at++) to.items[toSlot + at] = items[fromSlot + at]!;
    return;
  }
  for (let at = 0; at < count; at++) {
    to.lowParties[toSlot + at] = lowParties[fromSlot + at]!;
    to.children[toSlot + at] = children[fromSlot + at]!;
  }
};

/** Moves the slots from `slot` on by `by` places to the right, to make room for as many. */
export const openSlots = <P, T>(node: TreeNode<P, T>, slot: number, by: number): void => {
  const { numbers, farParties, lowParties, items, children, slots, count } = node;
  treeWork.steps += count - slot;
  for (let field = 0; field < node.fields; field++) {
    const first = field * slots;
    for (let at = first + count - 1; at >= first + slot; at--) numbers[at + by] = numbers[at]!;
  }
  for (let at = count - 1; at >= slot; at--) farParties[at + by] = farParties[at]!;
  if (node.isLeaf) for (let at = count - 1; at >= slot; at--) items[at + by] = items[at]!;
  else {
    for (let at = count - 1; at >= slot; at--) {
      lowParties[at + by] = lowParties[at]!;
      children[at + by] = children[at]!;
    }
  }
  node.count += by;
};

export const closeSlot = <P, T>(node: TreeNode<P, T>, slot: number): void => {
  copySlots(node, slot + 1, node, slot, node.count - slot - 1);
  truncate(node, node.count - 1);
};

/** Moves slots from the end of `left` to the beginning of `right`, its neighbour. */
export const moveToRight = <P, T>(left: TreeNode<P, T>, right: TreeNode<P, T>, count: number): void => {
  openSlots(right, 0, count);
  copySlots(left, left.count - count, right, 0, count);
  truncate(left, left.count - count);
};

/** Moves slots from the beginning of `right` to the end of `left`, its neighbour. */
export const moveToLeft = <P, T>(left: TreeNode<P, T>, right: TreeNode<P, T>, count: number): void => {
  if (left.slots < left.count + count) left.grow(left.count + count);
  copySlots(right, 0, left, left.count, count);
  left.count += count;
  copySlots(right, count, right, 0, right.count - count);
  truncate(right, right.count - count);
};

/** Lets go of what is behind the new end, so that nothing is kept alive by a slot that is not in use. */
const truncate = <P, T>(node: TreeNode<P, T>, count: number): void => {
  const nobody = undefined as P;
  for (let at = count; at < node.count; at++) {
    node.farParties[at] = nobody;
    node.lowParties[at] = nobody;
    if (node.isLeaf) node.items[at] = undefined as T;
  }
  if (!node.isLeaf) node.children.fill(undefined as never, count, node.count);
  node.count = count;
};

/** An entry on its way in or out, in the numbers of a leaf's slot. */
export interface EntryNumbers<P> {
  readonly start: number;
  readonly startLost: number;
  readonly rank: number;
  readonly end: number;
  readonly endLost: number;
  readonly party: P;
}

/** Counts in an entry that came in below a slot, whose child kept all it had. Answers whether that changed anything. */
export const takeIn = <P, T>(node: TreeNode<P, T>, slot: number, entry: EntryNumbers<P>): boolean => {
  const { numbers, slots } = node;
  const { start, startLost, rank, end, endLost, party } = entry;
  treeWork.steps++;
  let isChanged = false;
  const set = (field: number, value: number): void => {
    numbers[field * slots + slot] = value;
    isChanged = true;
  };
  if (orderOfKey(node, slot, start, startLost, rank) > 0) {
    set(startField, start);
    set(startLostField, startLost);
    set(rankField, rank);
  }
  const far = numbers[farField * slots + slot]!;
  const farLost = numbers[farLostField * slots + slot]!;
  const other = numbers[otherFarField * slots + slot]!;
  if (end > far || (end === far && endLost > farLost)) {
    if (node.farParties[slot] !== party) {
      set(otherFarField, far);
      set(otherFarLostField, farLost);
      node.farParties[slot] = party;
    }
    set(farField, end);
    set(farLostField, endLost);
  } else if (
    node.farParties[slot] !== party &&
    (end > other || (end === other && endLost > numbers[otherFarLostField * slots + slot]!))
  ) {
    set(otherFarField, end);
    set(otherFarLostField, endLost);
  }
  const low = numbers[lowField * slots + slot]!;
  if (rank < low) {
    if (node.lowParties[slot] !== party) {
      set(otherLowField, low);
      node.lowParties[slot] = party;
    }
    set(lowField, rank);
  } else if (node.lowParties[slot] !== party && rank < numbers[otherLowField * slots + slot]!) {
    set(otherLowField, rank);
  }
  if (rank > numbers[highField * slots + slot]!) set(highField, rank);
  return isChanged;
};

/** Whether the sums of a slot may be other ones without this entry, which went out below it. */
export const leansOn = <P, T>(node: TreeNode<P, T>, slot: number, entry: EntryNumbers<P>): boolean => {
  const { numbers, slots } = node;
  const { rank, end, endLost, party } = entry;
  if (orderOfKey(node, slot, entry.start, entry.startLost, rank) === 0) return true;
  if (numbers[highField * slots + slot] === rank) return true;
  const isLowest = node.lowParties[slot] === party;
  if (numbers[(isLowest ? lowField : otherLowField) * slots + slot] === rank) return true;
  const isFarthest = node.farParties[slot] === party;
  return (
    numbers[(isFarthest ? farField : otherFarField) * slots + slot] === end &&
    numbers[(isFarthest ? farLostField : otherFarLostField) * slots + slot] === endLost
  );
};

/** Below 0, 0, above 0: the key of the slot comes before, is, comes after (start, rank). */
export const orderOfKey = <P, T>(
  node: TreeNode<P, T>,
  slot: number,
  start: number,
  startLost: number,
  rank: number,
): number => {
  const { numbers, slots } = node;
  const at = numbers[slot]!;
  if (at !== start) return at - start;
  const lost = numbers[startLostField * slots + slot]!;
  return lost === startLost ? numbers[rankField * slots + slot]! - rank : lost - startLost;
};

/**
 * Sums up the child in a slot of an inner node, from its own slots. Answers whether that changed anything.
 *
 * The second value of a slot needs no party of its own: either the slot's first one leads (or is of the leading
 * party), then the second is of another party; or it does not, then the second is no better than it.
 */
export const refresh = <P, T>(node: TreeNode<P, T>, slot: number): boolean => {
  const child = node.children[slot]!;
  const { numbers, slots, count, farParties, lowParties, isLeaf } = child;
  treeWork.steps += count;
  const lows = (isLeaf ? rankField : lowField) * slots;
  const highs = (isLeaf ? rankField : highField) * slots;
  let [far, farLost, otherFar, otherFarLost] = [-1, 0, -1, 0];
  let [low, otherLow, high] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, -1];
  let farParty = farParties[0]!;
  let lowParty = lowParties[0]!;
  for (let at = 0; at < count; at++) {
    const end = numbers[farField * slots + at]!;
    const endLost = numbers[farLostField * slots + at]!;
    if (farParties[at] === farParty) {
      if (end > far || (end === far && endLost > farLost)) [far, farLost] = [end, endLost];
    } else if (end > far || (end === far && endLost > farLost)) {
      [otherFar, otherFarLost, far, farLost] = [far, farLost, end, endLost];
      farParty = farParties[at]!;
    } else if (end > otherFar || (end === otherFar && endLost > otherFarLost)) {
      [otherFar, otherFarLost] = [end, endLost];
    }
    const rank = numbers[lows + at]!;
    if (lowParties[at] === lowParty) {
      if (rank < low) low = rank;
    } else if (rank < low) {
      [otherLow, low] = [low, rank];
      lowParty = lowParties[at]!;
    } else if (rank < otherLow) otherLow = rank;
    const highest = numbers[highs + at]!;
    if (highest > high) high = highest;
    if (isLeaf) continue;
    const second = numbers[otherFarField * slots + at]!;
    const secondLost = numbers[otherFarLostField * slots + at]!;
    if (second > otherFar || (second === otherFar && secondLost > otherFarLost)) {
      [otherFar, otherFarLost] = [second, secondLost];
    }
    const secondLow = numbers[otherLowField * slots + at]!;
    if (secondLow < otherLow) otherLow = secondLow;
  }
  const { numbers: sums, slots: width } = node;
  const isSame =
    node.farParties[slot] === farParty &&
    node.lowParties[slot] === lowParty &&
    sums[slot] === numbers[0] &&
    sums[startLostField * width + slot] === numbers[startLostField * slots] &&
    sums[rankField * width + slot] === numbers[rankField * slots] &&
    sums[farField * width + slot] === far &&
    sums[farLostField * width + slot] === farLost &&
    sums[otherFarField * width + slot] === otherFar &&
    sums[otherFarLostField * width + slot] === otherFarLost &&
    sums[lowField * width + slot] === low &&
    sums[otherLowField * width + slot] === otherLow &&
    sums[highField * width + slot] === high;
  if (isSame) return false;
  node.farParties[slot] = farParty;
  node.lowParties[slot] = lowParty;
  sums[slot] = numbers[0]!;
  sums[startLostField * width + slot] = numbers[startLostField * slots]!;
  sums[rankField * width + slot] = numbers[rankField * slots]!;
  sums[farField * width + slot] = far;
  sums[farLostField * width + slot] = farLost;
  sums[otherFarField * width + slot] = otherFar;
  sums[otherFarLostField * width + slot] = otherFarLost;
  sums[lowField * width + slot] = low;
  sums[otherLowField * width + slot] = otherLow;
  sums[highField * width + slot] = high;
  return true;
};
