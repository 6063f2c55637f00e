/** The benchmark runs and every filesystem did the same work. Never a time: the machine of a test may be busy. */
import t from 'tap';
import { runBenchmark } from './benchmark.js';
import { CannotDo, works } from './load.js';
import { isBlank, median, quantile, rowOf } from './summary.js';

t.test('middles and ratios', async (t) => {
  t.equal(quantile([1, 2, 3, 4], 0.99), 4);
  t.equal(median([9, 1, 5]), 5);
  const work = works[0]!;
  const round = (...ns: number[]) => ({ hash: 'h', wallNs: 1e9, ns });
  const row = rowOf(
    work,
    'lockferry',
    [round(4000), round(80_000), round(4000)],
    [round(1000), round(1000), round(2000)],
  );
  t.match(
    row,
    { medianUs: 4, timesFloor: 4, operationsPerSecond: 1, hash: 'h' },
    'one bad round changes nothing',
  );
  const other = { ...round(1), hash: 'other' };
  t.ok(
    isBlank(rowOf(work, 'local', [round(1), other], undefined)),
    'rounds that did other work have no numbers',
  );
  t.ok(new CannotDo('x') instanceof Error);
});

t.test('every work on every filesystem', async (t) => {
  const { rows, hashes, sameWork } = await runBenchmark({ smoke: true, onStep: (line) => t.comment(line) });
  t.equal(rows.length, works.length * 4, 'a row for each');
  t.ok(sameWork, hashes.join('\n'));
  const blanks = rows.filter(isBlank).filter(({ reason }) => !/\/dev\/fuse|only root/.test(reason));
  t.same(
    blanks.filter(({ filesystem }) => filesystem === 'lockferry' || filesystem === 'local'),
    [],
    'Lockferry and the local filesystem do all of it',
  );
  const floor = blanks.find(({ filesystem, work }) => filesystem === 'null-fuse' && work === 'handover');
  if (floor !== undefined)
    t.match(floor.reason, /does not exclude|libfuse3-dev/, 'the floor grants all locks at once');
});
