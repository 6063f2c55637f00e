/**
 * Every check of `lockferry check` on a real volume over two mounts: at rest, and while all its files, and all that is
 * locked, move from brick to brick without pause.
 */
import t from 'tap';
import { checkAll } from '../conformance/check-lanes.js';
import { checks } from '../conformance/checks/all.js';
import { Cluster, skipReason } from './cluster.js';
import { lockferry } from './command.js';
import { Mover } from './mover.js';

const movesMin = 100;

t.setTimeout(240_000);

t.test('all checks over two mounts', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const places = { directory: cluster.mounts[0]!.point, second: cluster.mounts[1]!.point };
  const judge = async (): Promise<void> => {
    const results = await checkAll(places);
    t.same(
      results.filter(({ outcome }) => outcome !== 'passed'),
      [],
    );
    t.equal(results.length, Object.keys(checks).length);
    const inOtherOrder = results.filter(
      (result) => result.outcome === 'passed' && /order|loses/.test(result.note ?? ''),
    );
    t.same(inOtherOrder, [], 'first come, first served; a restarted wait keeps its place');
  };

  await t.test('of a volume at rest', judge);

  await t.test('of files that move all the time', async (t) => {
    const mover = await Mover.start(cluster);
    try {
      await judge();
    } finally {
      await mover.stop();
    }
    t.comment(`${mover.moves} moves, ${mover.aborted} aborted`);
    t.ok(mover.moves >= movesMin, `${mover.moves} moves`);
  });

  await t.test('as a command', async (t) => {
    const [directory, second] = [places.directory, places.second];
    const one = await lockferry(
      'check',
      directory,
      '--second',
      second,
      '--only',
      'flock/scope',
      '--only',
      'data/second-bytes',
    );
    t.equal(one.code, 0, one.stderr);
    t.match(one.stdout, /^passed +flock\/scope-volume$/m);
    t.match(one.stdout, /^flock locks reach +the whole volume$/m);
    t.match(one.stdout, /^6 passed, 0 failed, 0 not supported$/m);
    const listed = JSON.parse(
      (await lockferry('check', directory, '--only', 'flock/scope', '--json')).stdout,
    );
    t.match(listed, { passed: 2, failed: 0, scope: { flock: 'mount', posix: null }, second: null });
    for (const [args, code, text] of [
      [['check', `${directory}/nowhere`], 3, /There is no directory/],
      [['check', directory, '--only', 'nonsense'], 2, /No check is named nonsense/],
      [['check', directory, '--second', '/tmp', '--only', 'flock/scope'], 2, /not one filesystem/],
      [['check', directory, '--only', 'posix/scope-volume'], 2, /--second/],
      [['check'], 2, /No directory was named/],
    ] as const) {
      const ended = await lockferry(...args);
      t.equal(ended.code, code, ended.stderr);
      t.match(ended.stderr, text);
      t.equal(ended.stderr.trim().split('\n').length, 1, 'one line');
    }
  });
});
