/**
 * Where the nodes of one interval tree lie: all leaves in one slab, all inner nodes in another, a node being a number.
 *
 * A million locks do not fit the caches, so what a search costs is the places in memory that it goes to. A node that is
 * an object with arrays of its own is eight places on as many pages; here it is two, one run of doubles and one of
 * references. Decides where a node is and which number is free; knows nothing of what is in a node (tree-node.ts) or
 * of the tree (interval-tree.ts, which makes and frees nodes).
 *
 * A slab of one node begins with one slot and widens, for most trees hold one entry. Memory of a slab is given back
 * with the slab: the tree makes a new one when few of its nodes are in use.
 */

/** Pages are what a slab grows by, so that a large one is never copied: some hundred kilobytes each. */
const pageShift = 8;
const nodesPerPage = 1 << pageShift;
const pageMask = nodesPerPage - 1;
/** As many are never too many. */
const fewNodes = 16;

export interface NodePage<P, T> {
  /** Field f of slot s of a node is numbers[firstNumber + f * slots + s]. */
  readonly numbers: number[];
  /** Two of each slot, side by side: refs[firstRef + 2 * s] and the next. */
  readonly refs: (P | T | undefined)[];
  /** Slots in use of each node. */
  readonly counts: number[];
}

export class NodeSlab<P, T> {
  readonly isLeaf: boolean;
  readonly fields: number;
  /** Room of each node. */
  slots: number;
  readonly pages: NodePage<P, T>[];
  /** Nodes that are in use or free; the rest of the last page was never used. */
  #made = 0;
  readonly #free: number[] = [];

  constructor(isLeaf: boolean, fields: number, slots: number) {
    this.isLeaf = isLeaf;
    this.fields = fields;
    this.slots = slots;
    this.pages = [this.#makePage(1)];
  }

  /** Nodes in use or free. */
  get made(): number {
    return this.#made;
  }

  /** Whether it is worth it to go through all that is left, to be rid of the nodes that are not in use. */
  get isMostlyFree(): boolean {
    return this.#made > fewNodes && this.#free.length > (this.#made * 7) / 8;
  }

  page(node: number): NodePage<P, T> {
    return this.pages[node >>> pageShift]!;
  }

  firstNumber(node: number): number {
    return (node & pageMask) * this.fields * this.slots;
  }

  firstRef(node: number): number {
    return (node & pageMask) * 2 * this.slots;
  }

  count(node: number): number {
    return this.page(node).counts[node & pageMask]!;
  }

  setCount(node: number, count: number): void {
    this.page(node).counts[node & pageMask] = count;
  }

  /** A node with no slot in use. */
  take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const node = this.#made++;
    if (node === this.pages.length << pageShift) this.pages.push(this.#makePage(nodesPerPage));
    else if (node === this.pages[0]!.counts.length) this.#growFirstPage();
    return node;
  }

  /** Frees a node with no slot in use. */
  free(node: number): void {
    this.#free.push(node);
  }

  /** Gives the only node more slots. */
  widen(slots: number): void {
    const { numbers, refs, counts } = this.pages[0]!;
    const before = this.slots;
    const count = counts[0]!;
    this.slots = slots;
    const wider = this.#makePage(1);
    for (let field = 0; field < this.fields; field++) {
      for (let slot = 0; slot < count; slot++) {
        wider.numbers[field * slots + slot] = numbers[field * before + slot]!;
      }
    }
    for (let at = 0; at < 2 * count; at++) wider.refs[at] = refs[at];
    wider.counts[0] = count;
    this.pages[0] = wider;
  }

  #growFirstPage(): void {
    const { numbers, refs, counts } = this.pages[0]!;
    const larger = this.#makePage(2 * counts.length);
    for (let at = 0; at < numbers.length; at++) larger.numbers[at] = numbers[at]!;
    for (let at = 0; at < refs.length; at++) larger.refs[at] = refs[at];
    for (let at = 0; at < counts.length; at++) larger.counts[at] = counts[at]!;
    this.pages[0] = larger;
  }

  #makePage(nodes: number): NodePage<P, T> {
    return {
      // Filled with doubles: V8 keeps such an array flat, without an object a number.
      numbers: new Array<number>(nodes * this.fields * this.slots).fill(Number.NaN),
      refs: new Array<undefined>(2 * nodes * this.slots).fill(undefined),
      counts: new Array<number>(nodes).fill(0),
    };
  }
}
