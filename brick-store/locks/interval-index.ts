/**
 * An index of ranges that may overlap, each of one party (a lock owner) and with one rank (a place in an order).
 *
 * Answers "which range of another party overlaps start..end, and comes first" without stepping on the asker's own
 * ranges: every subtree keeps its farthest end and its lowest rank twice, once overall and once without the party
 * that has it, so "of all the others" is known exactly for any asker. It knows nothing of locks, types or waiting.
 *
 * Finding that there is none costs O(log n) always. Finding the first of many by rank prunes by the best so far:
 * O(log n) where locks are disjoint or alike; only ranges laid out against it (long and short ones of inverse rank
 * nested in each other) cost more steps, never more than the ranges that begin at or before `end`.
 */
import type { ByteRange } from '../../wire/lock-types.js';
import type { TreeNode } from '../../wire/ordered-tree.js';
import { OrderedTree, treeWork } from '../../wire/ordered-tree.js';

/** `start` and `rank` together are unique in an index. */
export interface Indexed<P, T> extends ByteRange {
  readonly rank: number;
  readonly party: P;
  readonly item: T;
}

interface Node<P, T> extends Indexed<P, T>, TreeNode<Node<P, T>> {
  start: bigint;
  rank: number;
  /** The farthest end in this subtree, whose it is, and the farthest end of all other parties (-1 for none). */
  farEnd: bigint;
  farParty: P;
  otherFarEnd: bigint;
  /** The lowest rank in this subtree, whose it is, and the lowest rank of all other parties. */
  low: number;
  lowParty: P;
  otherLow: number;
  high: number;
}

export class IntervalIndex<P, T> {
  readonly #tree = new OrderedTree<Node<P, T>>(byStartAndRank, summarise);

  get size(): number {
    return this.#tree.size;
  }

  insert(start: bigint, end: bigint, rank: number, party: P, item: T): void {
    this.#tree.insert(nodeOf(start, end, rank, party, item));
  }

  remove(start: bigint, rank: number): void {
    this.#tree.remove({ start, rank } as Node<P, T>);
  }

  /** Of the ranges of other parties than `asker` that overlap start..end: the one of lowest rank, then of lowest start. */
  lowest(start: bigint, end: bigint, asker: P | undefined, seed?: Indexed<P, T>): Indexed<P, T> | undefined {
    return lowestIn(this.#tree.root, start, end, asker, -1n, seed);
  }

  /** Of those: the one of highest rank below `limit`. */
  highestBelow(
    limit: number,
    start: bigint,
    end: bigint,
    asker: P | undefined,
    seed?: Indexed<P, T>,
  ): Indexed<P, T> | undefined {
    return highestIn(this.#tree.root, limit, start, end, asker, seed);
  }

  /** All of those, in order of start: O(log n) each. */
  eachOverlapping(
    start: bigint,
    end: bigint,
    asker: P | undefined,
    visit: (found: Indexed<P, T>) => void,
  ): void {
    eachIn(this.#tree.root, start, end, asker, visit);
  }
}

const byStartAndRank = (a: { start: bigint; rank: number }, b: { start: bigint; rank: number }): number =>
  a.start < b.start ? -1 : a.start > b.start ? 1 : a.rank - b.rank;

const nodeOf = <P, T>(start: bigint, end: bigint, rank: number, party: P, item: T): Node<P, T> => ({
  start,
  end,
  rank,
  party,
  item,
  left: undefined,
  right: undefined,
  height: 1,
  farEnd: end,
  farParty: party,
  otherFarEnd: -1n,
  low: rank,
  lowParty: party,
  otherLow: Number.POSITIVE_INFINITY,
  high: rank,
});

const summarise = <P, T>(node: Node<P, T>): void => {
  node.farEnd = node.end;
  node.farParty = node.party;
  node.otherFarEnd = -1n;
  node.low = node.rank;
  node.lowParty = node.party;
  node.otherLow = Number.POSITIVE_INFINITY;
  node.high = node.rank;
  if (node.left !== undefined) takeIn(node, node.left);
  if (node.right !== undefined) takeIn(node, node.right);
};

/**
 * Adds a child's sums. The child's second value needs no party of its own: either the child's first one leads (or is
 * of the leading party), then the second is of another party; or it does not, then the second is no better than it.
 */
const takeIn = <P, T>(node: Node<P, T>, child: Node<P, T>): void => {
  if (child.high > node.high) node.high = child.high;
  if (child.farParty === node.farParty) {
    if (child.farEnd > node.farEnd) node.farEnd = child.farEnd;
  } else if (child.farEnd > node.farEnd) {
    node.otherFarEnd = node.farEnd;
    node.farEnd = child.farEnd;
    node.farParty = child.farParty;
  } else if (child.farEnd > node.otherFarEnd) node.otherFarEnd = child.farEnd;
  if (child.otherFarEnd > node.otherFarEnd) node.otherFarEnd = child.otherFarEnd;

  if (child.lowParty === node.lowParty) {
    if (child.low < node.low) node.low = child.low;
  } else if (child.low < node.low) {
    node.otherLow = node.low;
    node.low = child.low;
    node.lowParty = child.lowParty;
  } else if (child.low < node.otherLow) node.otherLow = child.low;
  if (child.otherLow < node.otherLow) node.otherLow = child.otherLow;
};

const farOfOthers = <P, T>(node: Node<P, T>, asker: P | undefined): bigint =>
  node.farParty === asker ? node.otherFarEnd : node.farEnd;

const lowOfOthers = <P, T>(node: Node<P, T> | undefined, asker: P | undefined): number =>
  node === undefined ? Number.POSITIVE_INFINITY : node.lowParty === asker ? node.otherLow : node.low;

const isAnswer = <P, T>(node: Node<P, T>, start: bigint, end: bigint, asker: P | undefined): boolean =>
  node.party !== asker && node.start <= end && node.end >= start;

/** @param from no range of this subtree begins before it */
const lowestIn = <P, T>(
  at: Node<P, T> | undefined,
  start: bigint,
  end: bigint,
  asker: P | undefined,
  from: bigint,
  known: Indexed<P, T> | undefined,
): Indexed<P, T> | undefined => {
  if (at === undefined) return known;
  treeWork.visits++;
  if (farOfOthers(at, asker) < start) return known;
  const low = lowOfOthers(at, asker);
  if (known !== undefined && (low > known.rank || (low === known.rank && from >= known.start))) return known;
  const right = at.start <= end ? at.right : undefined;
  let best = known;
  const rightFirst = lowOfOthers(right, asker) < lowOfOthers(at.left, asker);
  if (rightFirst) best = lowestIn(right, start, end, asker, at.start, best);
  else best = lowestIn(at.left, start, end, asker, from, best);
  if (
    isAnswer(at, start, end, asker) &&
    (best === undefined || at.rank < best.rank || (at.rank === best.rank && at.start < best.start))
  ) {
    best = at;
  }
  if (rightFirst) return lowestIn(at.left, start, end, asker, from, best);
  return lowestIn(right, start, end, asker, at.start, best);
};

const highestIn = <P, T>(
  at: Node<P, T> | undefined,
  limit: number,
  start: bigint,
  end: bigint,
  asker: P | undefined,
  known: Indexed<P, T> | undefined,
): Indexed<P, T> | undefined => {
  if (at === undefined) return known;
  treeWork.visits++;
  if (farOfOthers(at, asker) < start || lowOfOthers(at, asker) >= limit) return known;
  if (known !== undefined && at.high <= known.rank) return known;
  const right = at.start <= end ? at.right : undefined;
  let best = known;
  const leftFirst = (at.left?.high ?? -1) > (right?.high ?? -1);
  best = highestIn(leftFirst ? at.left : right, limit, start, end, asker, best);
  if (at.rank < limit && (best === undefined || at.rank > best.rank) && isAnswer(at, start, end, asker)) {
    best = at;
  }
  return highestIn(leftFirst ? right : at.left, limit, start, end, asker, best);
};

const eachIn = <P, T>(
  at: Node<P, T> | undefined,
  start: bigint,
  end: bigint,
  asker: P | undefined,
  visit: (found: Indexed<P, T>) => void,
): void => {
  if (at === undefined) return;
  treeWork.visits++;
  if (farOfOthers(at, asker) < start) return;
  eachIn(at.left, start, end, asker, visit);
  if (isAnswer(at, start, end, asker)) visit(at);
  if (at.start <= end) eachIn(at.right, start, end, asker, visit);
};
