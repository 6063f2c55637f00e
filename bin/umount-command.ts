/** `lockferry umount`: takes a mount out of the tree, also a dead one whose process is gone. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { Failure } from './failure.js';
import { fuseType, mountedAt } from './mountpoints.js';

const goneMsMax = 5000;
const answerMsMax = 2000;

/** umount(8) and fusermount3(1) hold the needed rights and the right order of steps; both know `-l`. */
function unmounter(isLazy: boolean): readonly [string, readonly string[]] {
  const lazy = isLazy ? ['-l'] : [];
  return process.getuid?.() === 0 ? ['umount', lazy] : ['fusermount3', ['-u', ...(isLazy ? ['-z'] : [])]];
}

function takeOut(point: string, isLazy: boolean): SpawnSyncReturns<string> {
  const [command, args] = unmounter(isLazy);
  return spawnSync(command, [...args, point], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
}

/**
 * Whether the process that served it is gone: the kernel then answers ENOTCONN for it. statfs is asked because nothing
 * of its answer is cached; by another process, because a mount that only hangs would hang this one too.
 */
function isDead(point: string): boolean {
  const asked = spawnSync('stat', ['-f', point], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    timeout: answerMsMax,
    killSignal: 'SIGKILL',
  });
  return /Transport endpoint is not connected/.test(asked.stderr);
}

async function umount(mountpoint: string, options: { lazy: boolean }): Promise<void> {
  const mounted = mountedAt(mountpoint);
  if (!mounted)
    throw new Failure(
      'mountpoint',
      `Nothing is mounted on ${mountpoint}`,
      'List the mounts with: findmnt -t fuse.lockferry',
    );
  if (mounted.type !== fuseType)
    throw new Failure(
      'mountpoint',
      `${mountpoint} is a ${mounted.type} filesystem, not a volume`,
      'Use umount(8) if you mean it',
    );
  const [command] = unmounter(options.lazy);
  let result = takeOut(mounted.point, options.lazy);
  // What still uses a dead mount has lost it already: there is nothing to wait for.
  if (result.status !== 0 && /busy/i.test(result.stderr ?? '') && isDead(mounted.point))
    result = takeOut(mounted.point, true);
  if (result.error)
    throw new Failure(
      'mountpoint',
      `${command} could not be run: ${result.error.message}`,
      'apt-get install fuse3, or run this as root',
    );
  if (result.status !== 0) {
    const why = result.stderr.trim().split('\n')[0] ?? '';
    const cure = /busy/i.test(why)
      ? `Close what uses it (fuser -vm ${mountpoint}), or: lockferry umount --lazy ${mountpoint}`
      : 'Run this as the user who mounted it';
    throw new Failure('mountpoint', `${mountpoint} was not unmounted: ${why.replace(/\.$/, '')}`, cure);
  }
  for (let waited = 0; mountedAt(mountpoint)?.type === fuseType && waited < goneMsMax; waited += 20)
    await sleep(20);
  console.log(`${mountpoint} is unmounted.`);
}

export function addUmountCommand(program: Command): void {
  program
    .command('umount')
    .description('unmount a volume; its mount process ends')
    .argument('<mountpoint>')
    .option('--lazy', 'out of the tree now, ended when its last user is gone', false)
    .addHelpText('after', '\nExample:\n  lockferry umount /mnt/vol')
    .action(umount);
}
