/**
 * `lockferry mount` and what `--daemon` starts: one mount in one process. Decides the order of ending: first the
 * kernel lets go of the mountpoint, then the bricks are told goodbye.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { openVolume } from '../dht/distributed-volume.js';
import type { VolumeFile } from '../dht/volume-file.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { KernelDevice } from '../mount/fuse/kernel-device.js';
import { Mount } from '../mount/mount.js';
import { SocketNetwork } from '../wire/socket-network.js';
import { cliPath, logTail } from './brick-processes.js';
import { Failure } from './failure.js';
import { tolerateGarbage } from './garbage.js';
import { logLevel, openTrace } from './log.js';
import { checkCanMount, checkMountpoint } from './mountpoints.js';
import { removePidFile, writePidFile } from './pid-file.js';
import { untilSignal } from './signals.js';
import { reachAllBricks } from './tool-links.js';
import { watchVolumeFile } from './volume-file-watch.js';
import { openVolumeFolder, runFolder, type VolumeFolder } from './volume-folder.js';

const daemonMsMax = 30_000;
const answerMsMax = 15_000;

/** A mountpoint as part of a file name. */
const mountKey = (point: string): string => createHash('sha256').update(point).digest('hex').slice(0, 12);
const mountLog = (folder: string, point: string): string =>
  join(runFolder(folder), `mount-${mountKey(point)}.log`);
const mountPidFile = (folder: string, point: string): string =>
  join(runFolder(folder), `mount-${mountKey(point)}.pid`);

/** What can be known before anything is started, so that the line which says so is the only one. */
async function check(folder: string, mountpoint: string): Promise<{ place: VolumeFolder; point: string }> {
  const place = openVolumeFolder(folder);
  const point = checkMountpoint(mountpoint);
  checkCanMount();
  const reached = await reachAllBricks(place, 'lockferry mount');
  await reached.close();
  return { place, point };
}

async function serve(place: VolumeFolder, point: string, isDaemon: boolean): Promise<void> {
  const stopped = untilSignal();
  tolerateGarbage();
  const trace = openTrace(`mount ${point}`, logLevel(isDaemon ? 'info' : 'warn'));
  const volume = await openVolume({
    volumeFile: place.volume,
    network: new SocketNetwork(),
    clock: systemClock,
    random: systemRandom,
    trace,
    role: 'mount',
    title: point,
    host: hostname(),
    pid: process.pid,
  });
  const pidFile = mountPidFile(place.folder, point);
  let device: KernelDevice;
  try {
    device = KernelDevice.mount({ mountpoint: point, source: place.volume.name });
  } catch (error) {
    await volume.close();
    throw new Failure('mountpoint', (error as Error).message, 'Look at the mountpoint with: findmnt', {
      cause: error,
    });
  }
  const mount = new Mount({
    device,
    volume,
    clock: systemClock,
    trace,
    options: cacheTimes(place.volume),
  });
  mount.start();
  writePidFile(pidFile, point);
  await checkAnswers(mount, point);
  trace.info('mounted', { point });
  if (isDaemon) {
    process.send?.('mounted');
    process.disconnect?.();
  } else console.log(`Volume "${place.volume.name}" is mounted on ${point}. Ctrl-C unmounts it.`);
  const unwatch = watchVolumeFile(place, trace, ({ volume: newer }) => {
    mount.cacheFor(cacheTimes(newer));
    volume
      .switchTo(newer)
      .catch((error: unknown) => trace.error('graph not changed', { error: String(error) }));
  });
  const outcome = await Promise.race([stopped.then(() => 'asked' as const), mount.ended]);
  if (outcome === 'asked') {
    const how = await mount.unmount();
    trace.info('unmounted', { how });
    if (how === 'detached')
      console.error(
        `${point} was in use: it is out of the tree, and this process serves it until the last user is gone.`,
      );
    await mount.ended;
  } else if (!isDaemon) console.log(`${point} was unmounted.`);
  unwatch();
  await volume.close();
  removePidFile(pidFile);
}

const cacheTimes = ({ attrTimeoutMs }: VolumeFile) => ({
  entryMs: attrTimeoutMs,
  attributesMs: attrTimeoutMs,
});

/** The kernel has to find a filesystem that answers; a thread of the pool asks, so the event loop is free to. */
async function checkAnswers(mount: Mount, point: string): Promise<void> {
  const late = new AbortController();
  const found = await Promise.race([
    stat(point).then(() => true),
    mount.ended.then(() => false),
    sleep(answerMsMax, false, { signal: late.signal }).catch(() => false),
  ]);
  late.abort();
  if (found) return;
  await mount.unmount();
  throw new Failure(
    'mountpoint',
    `The mount on ${point} does not answer`,
    'Look at the bricks with: lockferry status',
  );
}

/** Starts `lockferry mount --served` and returns when it answers. */
async function serveInBackground(place: VolumeFolder, point: string): Promise<void> {
  const log = mountLog(place.folder, point);
  const file = openSync(log, 'a', 0o600);
  const child = spawn(process.execPath, [cliPath, 'mount', place.folder, point, '--served'], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', file, file, 'ipc'],
  });
  closeSync(file);
  const failed = await new Promise<string | undefined>((resolve) => {
    const late = setTimeout(() => resolve(`no answer within ${daemonMsMax / 1000} s`), daemonMsMax);
    const done = (reason: string | undefined): void => {
      clearTimeout(late);
      resolve(reason);
    };
    child.once('message', () => done(undefined));
    child.once('error', (error) => done(error.message));
    child.once('exit', (code, signal) => done(signal ? `ended by ${signal}` : `exit code ${code}`));
  });
  if (failed === undefined) {
    if (child.connected) child.disconnect();
    child.unref();
    console.log(`Volume "${place.volume.name}" is mounted on ${point} by process ${child.pid}.`);
    return;
  }
  child.kill('SIGTERM');
  throw new Failure(
    'mountpoint',
    `The mount did not come up (${failed}); the end of its log:\n${logTail(log)}`,
    `The whole log is in ${log}`,
  );
}

interface MountOptions {
  readonly daemon: boolean;
  readonly served: boolean;
}

async function mount(folder: string, mountpoint: string, options: MountOptions): Promise<void> {
  const { place, point } = await check(folder, mountpoint);
  if (options.daemon) await serveInBackground(place, point);
  else await serve(place, point, options.served);
}

export function addMountCommand(program: Command): void {
  program
    .command('mount')
    .description('mount a volume that runs; stays in the foreground until Ctrl-C or umount')
    .argument('<dir>', 'the folder of the volume')
    .argument('<mountpoint>', 'an existing folder')
    .option('--daemon', 'return when the mount answers, and serve it in the background', false)
    .addOption(
      program.createOption('--served', 'this is the process that --daemon started').default(false).hideHelp(),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  lockferry mount /srv/vol /mnt/vol\n  lockferry mount /srv/vol /mnt/vol --daemon',
    )
    .action(mount);
}
