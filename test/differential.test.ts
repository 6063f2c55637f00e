/**
 * The same random program of lock calls on tmpfs and on a mount: every answer is the same. Several processes with
 * POSIX, OFD and flock locks, forks, execs, dups, closes and kills; nothing waits, so that there is one right answer.
 */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { Cluster, skipReason } from './cluster.js';
import { carryOut, describe, isSame, program } from './lock-program.js';
import { Mover } from './mover.js';

const programs = Number(process.env.LOCKFERRY_PROGRAMS ?? 40);
const tmpfsMagic = 0x01021994;

t.setTimeout(240_000);

t.test('random programs on tmpfs and on a mount', { skip: skipReason }, async (t) => {
  const place = statfsSync('/dev/shm').type === tmpfsMagic ? '/dev/shm' : tmpdir();
  const native = mkdtempSync(join(place, 'lf-native-'));
  t.teardown(() => rmSync(native, { recursive: true, force: true }));
  const cluster = await Cluster.start(t, { bricks: 2, mounts: 1 });
  const { point } = cluster.mounts[0]!;
  let runs = 0;
  const compare = fc.asyncProperty(program, async (steps) => {
    const run = `run-${++runs}`;
    const [expected, seen] = await Promise.all([carryOut(steps, native, run), carryOut(steps, point, run)]);
    for (const [at, answer] of expected.entries())
      if (!isSame(answer, seen[at]!))
        throw new Error(`step ${at} ${describe(steps[at]!)}: ${answer} on tmpfs, ${seen[at]} on the mount`);
  });
  const settings = { numRuns: programs, endOnFailure: false, interruptAfterTimeLimit: 100_000 };

  await t.test('of a volume at rest', async (t) => {
    await fc.assert(compare, settings);
    t.pass(`${runs} programs`);
  });

  await t.test('of files that move all the time', async (t) => {
    const mover = await Mover.start(cluster);
    try {
      await fc.assert(compare, settings);
    } finally {
      await mover.stop();
    }
    t.pass(`${mover.moves} moves`);
  });
});
