/**
 * A whole volume for one test: bricks and mounts as processes of their own, in a folder of its own, and processes
 * that lock. What a test kills stays killed until the test starts it again; everything ends with the test, also when
 * the test failed in the middle.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, mkdirSync, mkdtempSync, constants as modes, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { logTail, startBricks, stopBricks } from '../bin/brick-processes.js';
import { isSystemError } from '../bin/failure.js';
import { type ListedLock, listLocks } from '../bin/locks-command.js';
import { type Moved, moveFile } from '../bin/migrate-command.js';
import { lockferryMountsBelow } from '../bin/mountpoints.js';
import { type RunningProcess, readPidFile, waitForEnd } from '../bin/pid-file.js';
import { becomes } from '../bin/story/cast.js';
import { reachBricks, toolOptions } from '../bin/tool-links.js';
import { brickLog, brickPidFile, createVolumeFolder, type VolumeFolder } from '../bin/volume-folder.js';
import { attributesOfPath } from '../bin/volume-paths.js';
import { LockProcess } from '../conformance/lock-process.js';
import { openVolume } from '../dht/distributed-volume.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { migrateFile } from '../migrator/migrator.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { Answer } from '../wire/messages.js';
import { MountProcess, takeOutOfTheTree } from './mount-process.js';
import { OpenedFile } from './opened-file.js';

const canMount = (): boolean => {
  if (process.getuid?.() !== 0) return false;
  try {
    accessSync('/dev/fuse', modes.R_OK | modes.W_OK);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return false;
  }
};

/** For tap's `skip`: false, or why a test with mounts cannot run here. */
export const skipReason: string | false = canMount() ? false : 'needs root and /dev/fuse';

/** Generous: a machine that is busy with other tests must not fail one that is only slow. */
export const patienceMs = 20_000;

/** Of each party's log, where a test failed. */
const logLinesShown = 60;

export interface ClusterOptions {
  readonly bricks?: number;
  readonly mounts?: number;
  readonly graceMs?: number;
  readonly freezeMs?: number;
  /** This brick keeps its data on a disk of its own, of so many MiB. */
  readonly smallDisk?: { readonly brick: BrickName; readonly mib: number };
}

/** Resolves when it is so. @throws Error which names what was waited for */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  ms = patienceMs,
): Promise<void> {
  if (!(await becomes(isSo, ms))) throw new Error(`waited ${ms} ms in vain for: ${what}`);
}

/** Those of this process that did not end yet. */
const running = new Set<Cluster>();

/** A test that is killed, or runs out of time, gets no teardown. */
function endAllAtOnce(): void {
  for (const cluster of running) cluster.endAtOnce();
}
process.once('exit', endAllAtOnce);
process.once('SIGTERM', () => {
  endAllAtOnce();
  process.exit(128 + constants.signals.SIGTERM);
});

export class Cluster {
  readonly folder: string;
  /** As it was when it was last read: a test that changes volume.json reads it again. */
  place: VolumeFolder;
  readonly mounts: MountProcess[] = [];
  readonly #processes: LockProcess[] = [];
  readonly #disks: string[] = [];

  private constructor(folder: string, place: VolumeFolder) {
    this.folder = folder;
    this.place = place;
  }

  static async start(t: Test, options: ClusterOptions = {}): Promise<Cluster> {
    const { bricks = 3, mounts = 2, graceMs, freezeMs = 2000, smallDisk } = options;
    const folder = mkdtempSync(join(tmpdir(), 'lf-system-'));
    const wanted = { bricks, name: 'test', graceMs, freezeMs, tcp: false };
    const cluster = new Cluster(folder, await createVolumeFolder(join(folder, 'vol'), wanted));
    running.add(cluster);
    t.teardown(async () => {
      if (!t.passing()) t.comment(cluster.#logs());
      await cluster.#end();
    });
    if (smallDisk !== undefined) cluster.#mountDisk(smallDisk);
    await cluster.startBricks();
    for (let at = 0; at < mounts; at++) await cluster.mount();
    return cluster;
  }

  /** The folder in which a brick keeps its data. */
  dataOf(brick: BrickName): string {
    return this.place.volume.bricks.find(({ name }) => name === brick)!.folder;
  }

  #mountDisk({ brick, mib }: NonNullable<ClusterOptions['smallDisk']>): void {
    const folder = this.dataOf(brick);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', folder]);
    this.#disks.push(folder);
  }

  get bricks(): BrickName[] {
    return this.place.volume.bricks.map((brick) => brick.name);
  }

  /** Starts the bricks that do not run, as `lockferry volume start` does. */
  startBricks(): Promise<unknown> {
    return startBricks(this.place);
  }

  /** As `lockferry volume stop` does. */
  stopBricks(): Promise<unknown> {
    return stopBricks(this.place);
  }

  #brickProcess(brick: BrickName): RunningProcess {
    const running = readPidFile(brickPidFile(this.place.folder, brick));
    if (running === undefined) throw new Error(`${brick} does not run`);
    return running;
  }

  pidOf(brick: BrickName): number {
    return this.#brickProcess(brick).pid;
  }

  /** Ends one brick process as `kill -9` does; resolves when it is gone. */
  async killBrick(brick: BrickName): Promise<void> {
    const running = this.#brickProcess(brick);
    process.kill(running.pid, 'SIGKILL');
    if (!(await waitForEnd(running, patienceMs))) throw new Error(`${brick} did not die`);
  }

  async mount(): Promise<MountProcess> {
    const point = join(this.folder, `mount-${this.mounts.length + 1}`);
    mkdirSync(point);
    const mount = new MountProcess(this.place.folder, point);
    this.mounts.push(mount);
    await mount.mounted;
    return mount;
  }

  /** The path of a file through a mount (0 is the first). */
  path(mount: number, name: string): string {
    return join(this.mounts[mount]!.point, name);
  }

  /** A process that locks on command. */
  process(): LockProcess {
    const process = LockProcess.start();
    this.#processes.push(process);
    return process;
  }

  /** A process with the file open. */
  async opened(mount: number, name: string): Promise<OpenedFile> {
    const process = this.process();
    return new OpenedFile(process, await process.open(this.path(mount, name), 'rw'));
  }

  migrate(name: string, target: BrickName): Promise<Moved> {
    return moveFile(this.place, name, target, { update: () => undefined, stop: () => undefined });
  }

  /** For a file that has no name. */
  async moveFileId(file: FileId, target: BrickName): Promise<void> {
    const volume = await openVolume(toolOptions(this.place, 'test', 2000));
    const { links, close } = await reachBricks(this.place, 'test');
    try {
      const report = await migrateFile({
        links,
        volume,
        file,
        target,
        freezeMs: this.place.volume.freezeMs,
        clock: systemClock,
        random: systemRandom,
      });
      if (report.phase === 'aborted') throw new Error(report.reason);
    } finally {
      await close();
      await volume.close();
    }
  }

  /** Of the bricks that answer. */
  async locks(): Promise<ListedLock[]> {
    const reached = await reachBricks(this.place, 'test');
    try {
      return await listLocks(reached.links, undefined);
    } finally {
      await reached.close();
    }
  }

  async waiters(): Promise<ListedLock[]> {
    return (await this.locks()).filter((lock) => lock.state === 'waiting');
  }

  async untilWaiting(count: number): Promise<void> {
    await until(`${count} waiters`, async () => (await this.waiters()).length === count);
  }

  /** Of the bricks that answer. */
  async status(): Promise<Answer<'status'>[]> {
    const reached = await reachBricks(this.place, 'test');
    try {
      return await Promise.all([...reached.links.values()].map((link) => link.call('status', {})));
    } finally {
      await reached.close();
    }
  }

  /** Every brick that says that the file is its own: one, whenever nothing is moving. */
  async homesOf(name: string): Promise<BrickName[]> {
    const volume = await openVolume(toolOptions(this.place, 'test', 2000));
    const reached = await reachBricks(this.place, 'test');
    try {
      const { file } = await attributesOfPath(volume, name);
      const homes: BrickName[] = [];
      for (const [brick, link] of reached.links)
        if ((await link.call('locate', { file })).place === 'here') homes.push(brick);
      return homes;
    } finally {
      await reached.close();
      await volume.close();
    }
  }

  /** What bricks and mounts said, for the report of a test that failed. */
  #logs(): string {
    const bricks = this.bricks.map(
      (brick) => `${brick}:\n${logTail(brickLog(this.place.folder, brick), logLinesShown)}`,
    );
    const mounts = this.mounts.map(({ point, said }) =>
      [`${point}:`, ...said.slice(-logLinesShown)].join('\n  '),
    );
    return [...bricks, ...mounts].join('\n');
  }

  /** Without waiting for anything. */
  endAtOnce(): void {
    running.delete(this);
    for (const process of this.#processes) process.signal('SIGKILL');
    for (const { pid } of this.mounts) killIfAlive(pid);
    for (const { name } of this.place.volume.bricks) {
      const brick = readPidFile(brickPidFile(this.place.folder, name));
      if (brick !== undefined) killIfAlive(brick.pid);
    }
    for (const { point } of lockferryMountsBelow(this.folder).reverse()) takeOutOfTheTree(point);
    for (const disk of this.#disks) takeOutOfTheTree(disk);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #end(): Promise<void> {
    const killed = Promise.all(this.#processes.map((process) => process.kill()));
    // One that waits in the kernel for an answer dies only when its mount answered, or died itself.
    await Promise.race([killed, sleep(2000, undefined, { ref: false })]);
    await Promise.all(this.mounts.map((mount) => mount.end()));
    await killed;
    for (const { point } of lockferryMountsBelow(this.folder).reverse()) takeOutOfTheTree(point);
    for (const { name } of this.place.volume.bricks)
      if (readPidFile(brickPidFile(this.place.folder, name))) await this.killBrick(name);
    await stopBricks(this.place);
    for (const disk of this.#disks) takeOutOfTheTree(disk);
    rmSync(this.folder, { recursive: true, force: true });
    running.delete(this);
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isSystemError(error, 'ESRCH')) throw error;
  }
}
