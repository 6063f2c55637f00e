/** Which of two pieces of knowledge about a file's home wins, and what is never forgotten. */
import t from 'tap';
import type { BrickName, Epoch, FileId } from '../wire/ids.js';
import { Placement } from './placement.js';
import { RecentMap } from './recent-map.js';

const [a, b, c] = ['a', 'b', 'c'] as BrickName[];
const at = (epoch: number): Epoch => epoch as Epoch;
const file = '1'.repeat(32) as FileId;

t.test('an older epoch never overwrites a newer one, in whatever order they come', async (t) => {
  const moves = [
    [a!, 0],
    [b!, 1],
    [a!, 2],
    [c!, 3],
  ] as const;
  for (const order of [
    [0, 1, 2, 3],
    [3, 2, 1, 0],
    [1, 3, 0, 2],
    [2, 3, 1, 0],
  ]) {
    const placement = new Placement(100, () => false);
    for (const move of order) placement.learn(file, moves[move]![0], at(moves[move]![1]));
    t.match(placement.of(file), { brick: c, epoch: 3 }, order.join(' '));
  }
});

t.test('a hint is only taken where nothing is known, and any fact overwrites it', async (t) => {
  const placement = new Placement(100, () => false);
  placement.hint(file, a!);
  placement.hint(file, b!);
  t.match(placement.of(file), { brick: a });
  placement.learn(file, b!, at(0));
  placement.hint(file, c!);
  t.match(placement.of(file), { brick: b, epoch: 0 });
});

t.test('a sighting without an epoch does not make the next true redirect look old', async (t) => {
  const placement = new Placement(100, () => false);
  placement.learn(file, a!, at(2));
  placement.found(file, b!);
  t.match(placement.learn(file, c!, at(3)), { brick: c, epoch: 3 });
  placement.found(file, a!);
  t.match(placement.learn(file, b!, at(3)), { brick: b, epoch: 3 });
});

t.test('files in use are remembered beyond the limit, others give way to newer ones', async (t) => {
  const inUse = new Set<FileId>();
  const placement = new Placement(100, (one) => inUse.has(one));
  const id = (number: number): FileId => number.toString(16).padStart(32, '0') as FileId;
  for (let number = 0; number < 1000; number++) {
    if (number % 10 === 0) inUse.add(id(number));
    placement.learn(id(number), a!, at(0));
  }
  let known = 0;
  for (let number = 0; number < 1000; number++) if (placement.of(id(number)) !== undefined) known += 1;
  for (const one of inUse) t.ok(placement.of(one));
  t.ok(known <= 100 + 2 * inUse.size, `${known} are known`);
});

t.test('a recent map answers the newest value, also for a key of its older half', async (t) => {
  const map = new RecentMap<number, number>(4);
  for (let round = 0; round < 50; round++) {
    map.set(round % 3, round);
    t.equal(map.get(round % 3), round);
  }
  map.delete(1);
  t.equal(map.get(1), undefined);
});
