/**
 * A balanced search tree (AVL) whose nodes belong to the caller: the one tree under every index of locks.
 *
 * It keeps order and height, and calls `summarise` whenever a node's subtree changed, so that a caller may keep sums
 * over subtrees (largest end, lowest rank) and search by them. It never compares anything but through `compare`, and
 * makes no node of its own. Used by byte-range.ts and brick-store/locks.
 */

/** What a node must carry. A node is in at most one tree at a time. */
export interface TreeNode<N> {
  left: N | undefined;
  right: N | undefined;
  height: number;
}

/** Nodes stepped on since the process began: what cost tests count in place of time. */
export const treeWork = { visits: 0 };

export class OrderedTree<N extends TreeNode<N>> {
  root: N | undefined;
  size = 0;
  readonly #compare: (a: N, b: N) => number;
  readonly #summarise: ((node: N) => void) | undefined;

  /** @param compare no two nodes of the tree compare as 0 */
  constructor(compare: (a: N, b: N) => number, summarise?: (node: N) => void) {
    this.#compare = compare;
    this.#summarise = summarise;
  }

  insert(node: N): void {
    node.left = undefined;
    node.right = undefined;
    node.height = 1;
    this.#summarise?.(node);
    this.root = this.#insertUnder(this.root, node);
    this.size++;
  }

  /** Removes the node that compares as 0 with `key`. A key that is not there is a bug of the caller. */
  remove(key: N): void {
    this.root = this.#removeUnder(this.root, key);
    this.size--;
  }

  /** True where some node compares as 0 with `key`. */
  has(key: N): boolean {
    let at = this.root;
    while (at !== undefined) {
      treeWork.visits++;
      const order = this.#compare(key, at);
      if (order === 0) return true;
      at = order < 0 ? at.left : at.right;
    }
    return false;
  }

  first(): N | undefined {
    let node = this.root;
    while (node?.left !== undefined) node = node.left;
    return node;
  }

  /** In order; the tree must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<N> {
    const path: N[] = [];
    let node = this.root;
    while (node !== undefined || path.length > 0) {
      while (node !== undefined) {
        path.push(node);
        node = node.left;
      }
      const next = path.pop()!;
      yield next;
      node = next.right;
    }
  }

  #insertUnder(at: N | undefined, node: N): N {
    treeWork.visits++;
    if (at === undefined) return node;
    const order = this.#compare(node, at);
    if (order === 0) throw new Error('ordered tree: this key is already there');
    if (order < 0) at.left = this.#insertUnder(at.left, node);
    else at.right = this.#insertUnder(at.right, node);
    return this.#balanced(at);
  }

  #removeUnder(at: N | undefined, key: N): N | undefined {
    treeWork.visits++;
    if (at === undefined) throw new Error('ordered tree: no such key');
    const order = this.#compare(key, at);
    if (order < 0) at.left = this.#removeUnder(at.left, key);
    else if (order > 0) at.right = this.#removeUnder(at.right, key);
    else return this.#joined(at.left, at.right);
    return this.#balanced(at);
  }

  /** The two subtrees of a removed node as one. */
  #joined(left: N | undefined, right: N | undefined): N | undefined {
    if (left === undefined) return right;
    if (right === undefined) return left;
    let next = right;
    while (next.left !== undefined) next = next.left;
    const rest = this.#withoutFirst(right);
    next.left = left;
    next.right = rest;
    return this.#balanced(next);
  }

  #withoutFirst(at: N): N | undefined {
    treeWork.visits++;
    if (at.left === undefined) return at.right;
    at.left = this.#withoutFirst(at.left);
    return this.#balanced(at);
  }

  #balanced(node: N): N {
    const lean = heightOf(node.left) - heightOf(node.right);
    if (lean > 1) {
      const left = node.left!;
      if (heightOf(left.left) < heightOf(left.right)) node.left = this.#turnedLeft(left);
      return this.#turnedRight(node);
    }
    if (lean < -1) {
      const right = node.right!;
      if (heightOf(right.right) < heightOf(right.left)) node.right = this.#turnedRight(right);
      return this.#turnedLeft(node);
    }
    this.#refresh(node);
    return node;
  }

  #turnedLeft(node: N): N {
    const top = node.right!;
    node.right = top.left;
    top.left = node;
    this.#refresh(node);
    this.#refresh(top);
    return top;
  }

  #turnedRight(node: N): N {
    const top = node.left!;
    node.left = top.right;
    top.right = node;
    this.#refresh(node);
    this.#refresh(top);
    return top;
  }

  #refresh(node: N): void {
    node.height = 1 + Math.max(heightOf(node.left), heightOf(node.right));
    this.#summarise?.(node);
  }
}

const heightOf = <N extends TreeNode<N>>(node: N | undefined): number => node?.height ?? 0;
