/**
 * Random calls on a RangeMap and on an array with one cell a byte: the same ranges after every call, at the first
 * bytes and at the last ones that a lock may name.
 */
import fc from 'fast-check';
import t from 'tap';
import { RangeMap } from './byte-range.js';
import type { LockType } from './lock-types.js';
import { rangeEnd } from './lock-types.js';

const cells = 40;
const step = fc.record({
  type: fc.constantFrom<LockType | undefined>('read', 'write', undefined),
  from: fc.nat(cells - 1),
  length: fc.nat(12),
});

const listed = (model: readonly (LockType | undefined)[], base: bigint): string => {
  const parts: string[] = [];
  for (let from = 0; from < cells; from++) {
    const type = model[from];
    if (type === undefined) continue;
    let to = from;
    while (model[to + 1] === type) to++;
    parts.push(`${type} ${base + BigInt(from)}..${base + BigInt(to)}`);
    from = to;
  }
  return parts.join(', ');
};

const shown = (ranges: Iterable<{ start: bigint; end: bigint; value: LockType }>): string =>
  [...ranges].map(({ start, end, value }) => `${value} ${start}..${end}`).join(', ');

for (const [name, base] of [
  ['the first bytes', 0n],
  ['the last bytes', rangeEnd - BigInt(cells - 1)],
] as const) {
  t.test(`a range map is an array of cells, at ${name}`, async (t) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const map = new RangeMap();
        const model: (LockType | undefined)[] = Array(cells).fill(undefined);
        const replayed = new Map<bigint, string>();
        for (const { type, from, length } of steps) {
          const to = Math.min(cells - 1, from + length);
          const [start, end] = [base + BigInt(from), base + BigInt(to)];
          const { removed, added } = type === undefined ? map.clear(start, end) : map.set(start, end, type);
          model.fill(type, from, to + 1);
          for (const range of removed) replayed.delete(range.start);
          for (const range of added) replayed.set(range.start, shown([range]));
          const expected = listed(model, base);
          if (shown(map) !== expected) throw new Error(`${shown(map)} in place of ${expected}`);
          if (map.size !== [...map].length || map.size !== replayed.size) throw new Error('sizes differ');
          const inOrder = [...replayed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
          if (inOrder.join(', ') !== expected) throw new Error('the change told is not the change made');
          const covered = model.slice(from, to + 1).every((cell) => cell === 'read');
          if (map.covers(start, end, (value) => value === 'read') !== covered) throw new Error('covers');
          const there = [...map].filter((range) => range.start <= end && range.end >= start);
          if (shown(map.overlapping(start, end)) !== shown(there)) throw new Error('overlapping');
        }
      }),
      { numRuns: 2000 },
    );
    t.pass('2000 programs');
  });
}

t.test('what changes nothing says so', async (t) => {
  const map = new RangeMap();
  map.set(0n, 9n, 'read');
  t.same(map.set(3n, 5n, 'read'), { removed: [], added: [] });
  t.same(map.clear(10n, rangeEnd), { removed: [], added: [] });
});

t.test('joined ranges keep the value of the first, replaced ones take the new', async (t) => {
  const map = new RangeMap<{ type: LockType; pid: number }>((a, b) => a.type === b.type);
  map.set(0n, 4n, { type: 'read', pid: 1 });
  map.set(5n, 9n, { type: 'write', pid: 2 });
  map.set(10n, 14n, { type: 'read', pid: 3 });
  map.set(5n, 9n, { type: 'read', pid: 4 });
  t.same(
    [...map].map(({ start, end, value }) => [start, end, value.pid]),
    [[0n, 14n, 1]],
  );
});
