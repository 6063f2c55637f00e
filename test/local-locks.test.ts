/**
 * A filesystem that keeps locks in its kernel (bindfs: FUSE without a lock operation), mounted twice: `lockferry check`
 * must fail the lines that are about the other mount, and hardly a line that is about locks of one mount.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { checkAll } from '../conformance/check-lanes.js';
import { checks } from '../conformance/checks/all.js';
import { skipReason } from './cluster.js';
import { lockferry } from './command.js';

const run = promisify(execFile);

t.setTimeout(240_000);

t.test('locks that end at the mount are found out', { skip: skipReason }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lf-local-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [files, ...points] = ['files', 'a', 'b'].map((name) => join(folder, name));
  mkdirSync(files!);
  for (const point of points) {
    mkdirSync(point);
    await run('bindfs', ['--multithreaded', files!, point], { cwd: '/' });
    t.teardown(() => run('umount', ['-l', point]));
  }
  const [directory, second] = points as [string, string];

  const results = await checkAll({ directory, second });
  const failed = results.filter(({ outcome }) => outcome === 'failed').map(({ name }) => name);
  t.same(
    failed.filter((name) => checks[name]!.needs !== 'second'),
    ['posix/hard-link', 'ofd/hard-link', 'flock/hard-link'],
    'nothing else but this: libfuse takes two names for two files',
  );
  for (const kind of ['posix', 'ofd', 'flock'])
    for (const about of ['scope-volume', 'second-killed-holder', 'second-killed-waiter'])
      t.ok(failed.includes(`${kind}/${about}`), `${kind}/${about}`);
  t.ok(failed.includes('posix/deadlock-over-second'));

  const told = await lockferry('check', directory, '--second', second, '--only', 'flock/scope');
  t.equal(told.code, 1);
  t.match(
    told.stdout,
    /^failed +flock\/scope-volume +expected the same lock for the other: refused\n +seen +granted$/m,
  );
  t.match(told.stdout, /^flock locks reach +this mount$/m);
});
