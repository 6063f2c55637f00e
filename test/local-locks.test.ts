/**
 * Filesystems that keep locks in the kernel, each mounted twice: bindfs and the fuse-native rival of the benchmark, both
 * FUSE without a lock operation. `lockferry check` must fail the lines that are about the other mount, and hardly a
 * line that is about locks of one mount.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { startFuseNative } from '../benchmark/contestants.js';
import { checkAll } from '../conformance/check-lanes.js';
import { checks } from '../conformance/checks/all.js';
import { skipReason } from './cluster.js';
import { lockferry } from './command.js';

const run = promisify(execFile);

t.setTimeout(240_000);

type TwoMounts = readonly [directory: string, second: string];

/** What shows both points, in a folder of its own; it and they are gone after the test. */
async function mountedTwice(t: Test, mount: (folder: string, points: TwoMounts) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), 'lf-local-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const points = [join(folder, 'a'), join(folder, 'b')] as const;
  for (const point of points) mkdirSync(point);
  await mount(folder, points);
  return points;
}

/** Asserts that what is local is found to be so. @returns failed checks that needed one mount only */
async function failedInOneMount(t: Test, [directory, second]: TwoMounts): Promise<string[]> {
  const results = await checkAll({ directory, second });
  const failed = results.filter(({ outcome }) => outcome === 'failed').map(({ name }) => name);
  for (const kind of ['posix', 'ofd', 'flock'])
    for (const about of ['scope-volume', 'second-killed-holder', 'second-killed-waiter'])
      t.ok(failed.includes(`${kind}/${about}`), `${kind}/${about}`);
  t.ok(failed.includes('posix/deadlock-over-second'));
  return failed.filter((name) => checks[name]!.needs !== 'second');
}

t.test('locks of fuse-native end at the mount', { skip: skipReason }, async (t) => {
  const points = await mountedTwice(t, async (folder, [directory, second]) => {
    const rival = await startFuseNative(folder, [directory, second]);
    t.teardown(() => rival.end());
  });
  t.same(await failedInOneMount(t, points), [], 'in one mount they are as they should be');
});

t.test('locks of bindfs end at the mount', { skip: skipReason }, async (t) => {
  const points = await mountedTwice(t, async (folder, points) => {
    const files = join(folder, 'files');
    mkdirSync(files);
    for (const point of points) {
      await run('bindfs', ['--multithreaded', files, point], { cwd: '/' });
      t.teardown(() => run('umount', ['-l', point]));
    }
  });
  t.same(
    await failedInOneMount(t, points),
    ['posix/hard-link', 'ofd/hard-link', 'flock/hard-link'],
    'nothing else but this: libfuse takes two names for two files',
  );

  const [directory, second] = points;
  const told = await lockferry('check', directory, '--second', second, '--only', 'flock/scope');
  t.equal(told.code, 1);
  t.match(
    told.stdout,
    /^failed +flock\/scope-volume +expected the same lock for the other: refused\n +seen +granted$/m,
  );
  t.match(told.stdout, /^flock locks reach +this mount$/m);
});
