/**
 * Where the story happens: a volume of its own in a folder, three brick processes, two mounts. Decides how all of it
 * is taken away again, whatever happened; it never touches a folder that it did not make.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cliPath, startBricks, stopBricks } from '../brick-processes.js';
import { Failure } from '../failure.js';
import { checkCanMount, lockferryMountsBelow } from '../mountpoints.js';
import { readPidFile, writePidFile } from '../pid-file.js';
import { createVolumeFolder, openVolumeFolder, runFolder, type VolumeFolder } from '../volume-folder.js';

const unmountMsMax = 5000;
const bricks = 3;

interface MountProcess {
  readonly point: string;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
}

export class Stage {
  readonly folder: string;
  readonly place: VolumeFolder;
  readonly #mounts: MountProcess[] = [];

  private constructor(place: VolumeFolder) {
    this.folder = place.folder;
    this.place = place;
  }

  /** @throws Failure where the folder is taken, or this machine cannot mount */
  static async build(path: string): Promise<Stage> {
    checkCanMount();
    await clearLeftover(resolve(path));
    const place = await createVolumeFolder(path, { bricks, name: 'story', tcp: false });
    writePidFile(markOf(place.folder), 'story');
    return new Stage(place);
  }

  startBricks(): Promise<unknown> {
    return startBricks(this.place);
  }

  /** Mounts on a folder inside the volume's own and answers its path. @throws Failure with what the mount said */
  async mount(name: string): Promise<string> {
    const point = join(this.folder, name);
    mkdirSync(point);
    // Detached: Ctrl-C at the terminal reaches the story only, which then ends things in order.
    const child = spawn(process.execPath, [cliPath, 'mount', this.folder, point], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    this.#mounts.push({ point, child, ended });
    const isMounted = new Promise<boolean>((resolve) => {
      createInterface({ input: child.stdout }).once('line', () => resolve(true));
    });
    if (await Promise.race([isMounted, ended.then(() => false)])) return point;
    throw new Failure(
      'mountpoint',
      `The volume could not be mounted:\n${said.join('\n')}`,
      'Nothing is left mounted',
    );
  }

  /** Unmounts, stops the bricks, removes the folder. Never throws away what is still mounted. */
  async clear(): Promise<void> {
    for (const { child } of this.#mounts) child.kill('SIGTERM');
    const all = Promise.all(this.#mounts.map(({ ended }) => ended));
    await Promise.race([all, sleep(unmountMsMax, undefined, { ref: false })]);
    for (const { child } of this.#mounts) child.kill('SIGKILL');
    await clearFolder(this.place);
  }
}

const markOf = (folder: string): string => join(runFolder(folder), 'story.pid');

async function clearFolder(place: VolumeFolder): Promise<void> {
  for (const { point } of lockferryMountsBelow(place.folder).reverse())
    if (process.getuid?.() === 0) spawnSync('umount', ['-l', point]);
    else spawnSync('fusermount3', ['-u', '-z', point]);
  await stopBricks(place);
  const left = lockferryMountsBelow(place.folder);
  if (left.length > 0)
    throw new Failure(
      'mountpoint',
      `${left[0]!.point} is still mounted`,
      `Unmount it, then remove ${place.folder}`,
    );
  rmSync(place.folder, { recursive: true, force: true });
}

/** A story that was killed could not clean up: its mark names a process that is gone. */
async function clearLeftover(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  if (!existsSync(markOf(folder)))
    throw new Failure(
      'failed',
      `${folder} exists, and this story did not make it`,
      'Remove it, or choose another: npm start -- --volume DIR',
    );
  if (readPidFile(markOf(folder)))
    throw new Failure(
      'failed',
      `Another story is running in ${folder}`,
      'Wait for it, or choose another folder: npm start -- --volume DIR',
    );
  await clearFolder(openVolumeFolder(folder));
}
