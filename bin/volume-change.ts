/**
 * Changes of a volume that exists: a brick more, another value of an option. Every change of volume.json is one step
 * to the next version, which mounts notice (volume-file-watch.ts).
 *
 * A new brick joins in three steps, and a command that died in the middle is taken up by the next: it is written down
 * as joining and started; it gets every directory; then it is one of the bricks. Called by volume-command.ts.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openVolume } from '../dht/distributed-volume.js';
import {
  type BrickEntry,
  parseVolumeFile,
  serialiseVolumeFile,
  type VolumeFile,
} from '../dht/volume-file.js';
import type { BrickName } from '../wire/ids.js';
import { startBricks } from './brick-processes.js';
import { Failure, isSystemError } from './failure.js';
import { reachBricks, toolOptions } from './tool-links.js';
import { newBrick, openVolumeFolder, type VolumeFolder } from './volume-folder.js';

export const options = ['graceMs', 'freezeMs', 'attrTimeoutMs'] as const;
export type Option = (typeof options)[number];

/**
 * Reads volume.json as it is written (paths relative), changes it and puts it in its place at once.
 * @throws Failure where another command is doing the same
 */
export function changeVolumeFile(folder: string, change: (volume: VolumeFile) => VolumeFile): VolumeFolder {
  const place = openVolumeFolder(folder);
  const path = join(place.folder, 'volume.json');
  const draft = `${path}.new`;
  try {
    // The draft is the lock, too: who has made it may change the file.
    writeFileSync(draft, '', { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error;
    throw new Failure('failed', `Another command is changing ${path}`, `If none is running, remove ${draft}`);
  }
  try {
    const changed = change(parseVolumeFile(readFileSync(path, 'utf8'), path));
    const text = serialiseVolumeFile(changed);
    parseVolumeFile(text, 'the changed volume');
    writeFileSync(draft, text);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  return openVolumeFolder(folder);
}

const next = (volume: VolumeFile, change: Partial<VolumeFile>): VolumeFile => ({
  ...volume,
  ...change,
  version: volume.version + 1,
});

export const setOption = (folder: string, option: Option, value: number): VolumeFolder =>
  changeVolumeFile(folder, (volume) => next(volume, { [option]: value }));

const numberOf = (name: BrickName): number => Number(/(\d+)$/.exec(name)?.[1] ?? 0);

/** Names of bricks that left are not used again: layouts may still name them. */
function nextNumber({ bricks, joiningBricks = [], retiredBricks = [] }: VolumeFile): number {
  const names = [...bricks, ...joiningBricks].map(({ name }) => name).concat(retiredBricks);
  return Math.max(...names.map(numberOf)) + 1;
}

async function enter(folder: string): Promise<VolumeFolder> {
  const { volume } = openVolumeFolder(folder);
  if ((volume.joiningBricks ?? []).length > 0) return openVolumeFolder(folder);
  const isTcp = volume.bricks.every(({ address }) => address.startsWith('tcp:'));
  const brick = await newBrick(nextNumber(volume), isTcp);
  const place = changeVolumeFile(folder, (now) => {
    if (now.version !== volume.version)
      throw new Failure('failed', 'The volume was changed by another command', 'Try again');
    // The version stays: nobody has to know of the brick yet.
    return { ...now, joiningBricks: [brick] };
  });
  mkdirSync(join(place.folder, brick.folder), { recursive: true, mode: 0o700 });
  return place;
}

/** Every brick answers. */
async function isRunning(place: VolumeFolder): Promise<boolean> {
  const reached = await reachBricks(place, 'lockferry volume add-brick');
  await reached.close();
  if (reached.missing.size > 0 && reached.links.size > 0)
    throw new Failure(
      'unreachable',
      `${[...reached.missing.keys()].join(', ')} does not answer: a new brick needs what all others have`,
      `Start the volume with: lockferry volume start ${place.folder}`,
    );
  return reached.missing.size === 0;
}

const joined = (volume: VolumeFile): readonly BrickEntry[] => [
  ...volume.bricks,
  ...(volume.joiningBricks ?? []),
];

async function fill(place: VolumeFolder, brick: BrickName): Promise<number> {
  const volume = await openVolume(
    toolOptions(
      { ...place, volume: { ...place.volume, bricks: joined(place.volume) } },
      'lockferry volume add-brick',
      5000,
    ),
  );
  try {
    return await volume.spreadDirectories(brick);
  } finally {
    await volume.close();
  }
}

export interface AddedBrick {
  readonly brick: BrickName;
  readonly state: 'started' | 'added';
  /** Directories that it got; the rest of a volume that does not run follows when they are used. */
  readonly directories: number;
}

/** @throws Failure where some bricks run and others do not, or the new one does not start */
export async function addBrick(folder: string): Promise<AddedBrick> {
  const runs = await isRunning(openVolumeFolder(folder));
  const place = await enter(folder);
  const [{ name: brick }] = place.volume.joiningBricks as [BrickEntry];
  let directories = 0;
  if (runs) {
    await startBricks({ ...place, volume: { ...place.volume, bricks: joined(place.volume) } });
    directories = await fill(place, brick);
  }
  changeVolumeFile(folder, (volume) => {
    const { joiningBricks: _joining, ...rest } = volume;
    const rootBricks = volume.rootBricks ?? volume.bricks.map(({ name }) => name);
    return next(rest, { bricks: joined(volume), rootBricks });
  });
  return { brick, state: runs ? 'started' : 'added', directories };
}
