/** Layouts cover every hash once; what is wrong with a stored one is counted. */
import t from 'tap';
import { type BrickName, type FileId, rootFileId } from '../wire/ids.js';
import { brickOf, layoutFaults, plainLayout, sameLayout, withoutBricks } from './layout.js';

const bricks = ['brick-1', 'brick-2', 'brick-3'] as BrickName[];
const ids = Array.from({ length: 64 }, (_, at) => at.toString(16).padStart(32, '0') as FileId);

t.test('a plain layout has every hash exactly once, for any number of bricks', async (t) => {
  for (let count = 1; count <= 9; count++) {
    const names = Array.from({ length: count }, (_, at) => `b${at}` as BrickName);
    const layout = plainLayout(rootFileId, names);
    t.same(layoutFaults(layout), { holes: 0, overlaps: 0 });
    t.equal(new Set(layout.map((range) => range.brick)).size, count);
    t.ok(brickOf(layout, 0));
    t.ok(brickOf(layout, 0xffffffff));
  }
});

t.test('directories differ in the brick that their first range falls to', async (t) => {
  const first = new Set(ids.map((id) => plainLayout(id, bricks)[0]!.brick));
  t.equal(first.size, bricks.length);
});

t.test('holes and overlaps are counted', async (t) => {
  const [a, b, c] = bricks as [BrickName, BrickName, BrickName];
  const layout = [
    { brick: a, start: 10, stop: 99 },
    { brick: b, start: 90, stop: 0xffff_fffe },
    { brick: c, start: 1, stop: 0 },
  ];
  t.same(layoutFaults(layout), { holes: 11, overlaps: 10 });
  t.equal(brickOf(layout, 5), undefined);
  t.equal(brickOf(layout, 100), b);
  t.same(layoutFaults([]), { holes: 2 ** 32, overlaps: 0 });
});

t.test('layouts are compared range by range', async (t) => {
  const layout = plainLayout(rootFileId, bricks);
  t.ok(sameLayout(layout, plainLayout(rootFileId, bricks)));
  t.notOk(sameLayout(layout, layout.slice(1)));
  t.notOk(sameLayout(layout, plainLayout(rootFileId, [...bricks].reverse())));
});

t.test('the part of a brick that left falls to the others, and nothing else changes', async (t) => {
  const layout = plainLayout(rootFileId, bricks);
  const [gone, ...left] = bricks;
  const mended = withoutBricks(layout, new Set([gone!]), plainLayout(rootFileId, left));
  t.same(layoutFaults(mended), { holes: 0, overlaps: 0 });
  for (const { brick, start, stop } of layout) {
    const now = brickOf(mended, start + ((stop - start) >> 1));
    if (brick === gone) t.ok(left.includes(now!));
    else t.equal(now, brick);
  }
  t.equal(withoutBricks(layout, new Set(['brick-9' as BrickName]), layout), layout);
});
