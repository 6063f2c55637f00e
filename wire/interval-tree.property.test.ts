/**
 * Random calls on an interval tree and on a plain list of its entries: every answer the same, with nodes of 4, 5 and
 * 32 slots, so that nodes split, share and join all the time; among the first offsets, above 2^53, where two offsets
 * may have one nearest double, and at the last ones that a lock may name.
 */
import fc from 'fast-check';
import t from 'tap';
import type { Interval } from './interval-tree.js';
import { IntervalTree } from './interval-tree.js';
import { rangeEnd } from './lock-types.js';
import { keyOf, noKey, offsetOf } from './offset.js';
import { treeWork } from './tree-node.js';

type Entry = Interval<string, number>;

const parties = ['a', 'b', 'c'];
const width = 24;
const bases: Record<string, bigint> = {
  'the first offsets': 0n,
  'the first that doubles cannot tell apart': (1n << 53n) - 8n,
  'those around 2^62, where keys change their sign': (1n << 62n) - 20n,
  'the last offsets': rangeEnd - BigInt(2 * width),
};

const step = fc.record({
  act: fc.constantFrom('add', 'add', 'remove', 'ask'),
  start: fc.nat(width),
  length: fc.oneof(fc.nat(3), fc.nat(width)),
  rank: fc.nat(40),
  party: fc.constantFrom(...parties),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
const program = fc.record({
  /** A tree is filled in order, in inverse order or in none: each splits nodes in another way. */
  order: fc.constantFrom('up', 'down', 'any'),
  adds: fc.array(step, { maxLength: 150, size: 'max' }),
  steps: fc.array(step, { maxLength: 150, size: 'max' }),
});

const byKey = (a: Entry, b: Entry): number =>
  a.start < b.start ? -1 : a.start > b.start ? 1 : a.rank - b.rank;

const shown = (entries: readonly (Entry | undefined)[]): string =>
  entries
    .map((one) =>
      one === undefined ? 'none' : `${one.start}..${one.end} ${one.rank} ${one.party} ${one.item}`,
    )
    .join(', ');

class Pair {
  readonly tree: IntervalTree<string, number>;
  readonly #base: bigint;
  readonly #hasHighs: boolean;
  list: Entry[] = [];
  #items = 0;

  constructor(slotsMax: number, hasHighs: boolean, base: bigint) {
    this.#hasHighs = hasHighs;
    this.tree = new IntervalTree({ hasHighs, slotsMax });
    this.#base = base;
  }

  run(one: Step): void {
    const [start, end] = [this.#base + BigInt(one.start), this.#base + BigInt(one.start + one.length)];
    const known = this.list.find((entry) => entry.start === start && entry.rank === one.rank);
    if (this.tree.has(start, one.rank) !== (known !== undefined)) throw new Error('has');
    if (one.act === 'add' && known === undefined) {
      const entry = { start, end, rank: one.rank, party: one.party, item: ++this.#items };
      this.tree.insert(start, end, one.rank, one.party, entry.item);
      this.list.push(entry);
      this.list.sort(byKey);
    } else if (one.act === 'remove' && this.list.length > 0) {
      const gone = known ?? this.list[(7 * one.rank + one.start) % this.list.length]!;
      this.tree.remove(gone.start, gone.rank);
      this.list = this.list.filter((entry) => entry !== gone);
    }
    this.check(start, end, one.party, one.rank);
  }

  check(start: bigint, end: bigint, party: string, rank: number): void {
    same([...this.tree], this.list, 'all');
    same([this.tree.first()], [this.list[0]], 'first');
    if (this.tree.size !== this.list.length) throw new Error('size');
    for (const asker of [party, undefined]) {
      const there = this.list.filter(
        (entry) => entry.party !== asker && entry.start <= end && entry.end >= start,
      );
      const seen: Entry[] = [];
      this.tree.eachOverlapping(start, end, asker, (entry) => seen.push(entry));
      same(seen, there, 'overlapping');
      const inOrder = there.toSorted((a, b) => a.rank - b.rank || byKey(a, b));
      same([this.tree.lowest(start, end, asker)], [inOrder[0]], 'lowest');
      if (!this.#hasHighs) {
        this.#checkSeeded(start, end, asker, inOrder);
        continue;
      }
      const below = inOrder.filter((entry) => entry.rank < rank);
      const highest = this.tree.highestBelow(rank, start, end, asker);
      if (highest?.rank !== below.at(-1)?.rank) throw new Error('highest below');
      if (highest !== undefined)
        same(
          below.filter((one) => one.item === highest.item),
          [highest],
          'of them',
        );
      this.#checkSeeded(start, end, asker, inOrder);
    }
  }

  /** With an answer from elsewhere, which stays where the tree has no better one. */
  #checkSeeded(start: bigint, end: bigint, asker: string | undefined, inOrder: readonly Entry[]): void {
    const middle = inOrder[inOrder.length >> 1];
    if (middle === undefined) return;
    const seed = { ...middle, start: middle.start + 1n, item: 0 };
    const better = inOrder.find(
      (one) => one.rank < seed.rank || (one.rank === seed.rank && one.start < seed.start),
    );
    same([this.tree.lowest(start, end, asker, seed)], [better ?? seed], 'lowest, seeded');
    if (!this.#hasHighs) return;
    const limit = seed.rank + 3;
    const above = inOrder.findLast((one) => one.rank < limit && one.rank > seed.rank);
    const highest = this.tree.highestBelow(limit, start, end, asker, seed);
    if (highest?.rank !== (above ?? seed).rank) throw new Error('highest below, seeded');
    if (above === undefined && highest !== seed) throw new Error('the seed was not kept');
  }
}

const same = (tree: readonly (Entry | undefined)[], list: readonly (Entry | undefined)[], what: string) => {
  if (shown(tree) !== shown(list)) throw new Error(`${what}: tree ${shown(tree)}, list ${shown(list)}`);
};

for (const [name, base] of Object.entries(bases)) {
  t.test(`the tree is the list, among ${name}`, async (t) => {
    fc.assert(
      fc.property(fc.constantFrom(4, 4, 5, 32), fc.boolean(), program, (slotsMax, hasHighs, program) => {
        const { order, adds, steps } = program;
        const pair = new Pair(slotsMax, hasHighs, base);
        const sign = { up: 1, down: -1, any: 0 }[order];
        const sorted = adds.toSorted((a, b) => sign * (a.start - b.start || a.rank - b.rank));
        for (const one of sorted) pair.run({ ...one, act: 'add' });
        for (const one of steps) pair.run(one);
        // Down to nothing, by some order of its own.
        const rest = pair.list.toSorted((a, b) => ((a.item * 7919) % 101) - ((b.item * 7919) % 101));
        for (const { start, rank } of rest) {
          pair.tree.remove(start, rank);
          pair.list = pair.list.filter((entry) => entry.start !== start || entry.rank !== rank);
          pair.check(start, start + 3n, 'a', rank);
        }
      }),
      { numRuns: 60 },
    );
    t.pass('60 programs');
  });
}

t.test('a range that is gone is in the way of no search', async (t) => {
  const tree = new IntervalTree<string, number>({ hasHighs: true });
  const count = 2000;
  for (let n = 0; n < count; n++) tree.insert(BigInt(4 * n), BigInt(4 * n + 1), n, 'a', n);
  for (let n = 0; n < count; n++) {
    // It reaches over all, is of the lowest rank in what others have, and is of the highest: all of these go with it.
    tree.insert(BigInt(4 * n + 1), rangeEnd, (n % 2) * 2 * count, 'b', n);
    tree.remove(BigInt(4 * n + 1), (n % 2) * 2 * count);
  }
  const before = treeWork.steps;
  for (let n = 0; n < count; n++) tree.lowest(BigInt(4 * n + 2), BigInt(4 * n + 3), undefined);
  const steps = (treeWork.steps - before) / count;
  t.ok(steps < 100, `${steps.toFixed(0)} steps a search`);
});

t.test('a tree that loses nearly all it had keeps the rest, in less room', async (t) => {
  const tree = new IntervalTree<string, number>({ hasHighs: true });
  const count = 20_000;
  const isKept = (n: number): boolean => n % 1000 === 7;
  for (const round of [1, 2]) {
    for (let n = 0; n < count; n++) {
      if (round === 1 || !isKept(n)) tree.insert(BigInt(4 * n), BigInt(4 * n + 1), n, parties[n % 3]!, n);
    }
    for (let n = 0; n < count; n++) if (!isKept(n)) tree.remove(BigInt(4 * n), n);
    const kept = Array.from({ length: count }, (_, n) => n).filter(isKept);
    t.same(
      [...tree].map(({ start, end, rank, party, item }) => ({ start, end, rank, party, item })),
      kept.map((n) => ({
        start: BigInt(4 * n),
        end: BigInt(4 * n + 1),
        rank: n,
        party: parties[n % 3]!,
        item: n,
      })),
    );
    t.equal(tree.lowest(0n, rangeEnd, undefined)?.item, 7);
    t.equal(tree.highestBelow(5000, 0n, rangeEnd, undefined)?.item, 4007);
    t.ok(tree.nodes < 40, `room for ${tree.nodes} nodes, where there was for 900`);
  }
  for (const { start, rank } of [...tree]) tree.remove(start, rank);
  t.equal(tree.first(), undefined);
});

t.test('the highest rank can be asked only where it is kept', async (t) => {
  t.throws(
    () => new IntervalTree<string, number>().highestBelow(1, 0n, 1n, undefined),
    /without highest ranks/,
  );
});

t.test('what is there, or is not, cannot be added, or removed', async (t) => {
  const tree = new IntervalTree<string, number>();
  t.throws(() => tree.remove(0n, 1), /no such key/);
  tree.insert(5n, 9n, 1, 'a', 1);
  t.throws(() => tree.insert(5n, 6n, 1, 'b', 2), /already there/);
  t.throws(() => tree.remove(5n, 2), /no such key/);
  t.throws(() => tree.remove(4n, 1), /no such key/);
});

t.test('an offset comes back from its key, and keys are in the order of their offsets', async () => {
  const offset = fc.oneof(
    fc.bigInt({ min: 0n, max: rangeEnd }),
    fc.bigInt({ min: (1n << 62n) - 3000n, max: (1n << 62n) + 3000n }),
    fc.bigInt({ min: (1n << 62n) - (1n << 33n), max: (1n << 62n) + (1n << 33n) }),
    fc.bigInt({ min: rangeEnd - 3000n, max: rangeEnd }),
    fc.bigInt({ min: 0n, max: 1n << 33n }),
  );
  fc.assert(
    fc.property(offset, fc.oneof(offset, fc.constantFrom(0n, 1n, 2n)), (a, other) => {
      // Neighbours are what a rounding would throw together.
      const b = other < 3n && a + other <= rangeEnd ? a + other : other;
      const [keyA, keyB] = [keyOf(a), keyOf(b)];
      if (!Number.isFinite(keyA)) throw new Error('not a number to compare');
      if (Math.sign(keyA - keyB) !== (a < b ? -1 : a > b ? 1 : 0)) throw new Error('order');
      if (keyA <= noKey) throw new Error('no key is below it');
      if (offsetOf(keyA) !== a) throw new Error('not the same');
    }),
    { numRuns: 5000 },
  );
});
