/**
 * The folder of a volume on this machine:
 *
 *   volume.json    the description, with the secret: readable by its owner only
 *   bricks/NAME/   the database of each brick
 *   run/           sockets, pid files, logs: nothing here outlives a stop but the logs
 *
 * Decides where things lie and makes new folders; never touches what a brick keeps. Called by every subcommand.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import {
  type BrickEntry,
  inFolder,
  parseVolumeFile,
  serialiseVolumeFile,
  type VolumeFile,
  volumeFileFormat,
} from '../dht/volume-file.js';
import { systemRandom } from '../host/random.js';
import { type BrickName, hexOf, isBrickName } from '../wire/ids.js';
import { freezeMsDefault, graceMsDefault } from '../wire/limits.js';
import { Failure, isSystemError } from './failure.js';

/** sun_path holds 108 bytes with its closing zero (unix(7)). */
const socketPathBytesMax = 107;

export interface VolumeFolder {
  /** Absolute. */
  readonly folder: string;
  /** Every path in it is absolute. */
  readonly volume: VolumeFile;
}

export interface NewVolume {
  readonly bricks: number;
  readonly name: string;
  readonly graceMs?: number | undefined;
  readonly freezeMs?: number | undefined;
  readonly tcp: boolean;
}

export const runFolder = (folder: string): string => join(folder, 'run');
export const brickLog = (folder: string, brick: BrickName): string => join(runFolder(folder), `${brick}.log`);
export const brickPidFile = (folder: string, brick: BrickName): string =>
  join(runFolder(folder), `${brick}.pid`);

/** A free port of the loopback interface; it stays free unless another program takes it before the brick does. */
function freePort(): Promise<number> {
  return new Promise((found, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => found(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

export async function newBrick(number: number, tcp: boolean): Promise<BrickEntry> {
  const name = `brick-${number}` as BrickName;
  const address = tcp ? `tcp:127.0.0.1:${await freePort()}` : `unix:run/${name}.sock`;
  return { name, address, folder: `bricks/${name}` };
}

function checkEmpty(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return;
    if (isSystemError(error, 'ENOTDIR'))
      throw new Failure('failed', `${folder} is not a folder`, 'Name a new or empty folder for the volume');
    throw error;
  }
  if (names.includes('volume.json'))
    throw new Failure(
      'failed',
      `${folder} already holds a volume`,
      `Start it with: lockferry volume start ${folder}`,
    );
  if (names.length > 0)
    throw new Failure('failed', `${folder} is not empty`, 'Name a new or empty folder for the volume');
}

/** @throws Failure where the folder is taken */
export async function createVolumeFolder(path: string, wanted: NewVolume): Promise<VolumeFolder> {
  const folder = resolve(path);
  checkEmpty(folder);
  const bricks: BrickEntry[] = [];
  for (let number = 1; number <= wanted.bricks; number++) bricks.push(await newBrick(number, wanted.tcp));
  const volume: VolumeFile = {
    format: volumeFileFormat,
    volume: hexOf(systemRandom.bytes(16)),
    name: wanted.name,
    secret: hexOf(systemRandom.bytes(32)),
    graceMs: wanted.graceMs ?? graceMsDefault,
    freezeMs: wanted.freezeMs ?? freezeMsDefault,
    attrTimeoutMs: 1000,
    bricks,
    rootOwner: { uid: process.getuid!(), gid: process.getgid!() },
    version: 1,
  };
  parseVolumeFile(serialiseVolumeFile(volume), 'the new volume');
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o700);
  mkdirSync(runFolder(folder), { mode: 0o700 });
  mkdirSync(join(folder, 'bricks'), { mode: 0o700 });
  for (const brick of bricks) mkdirSync(join(folder, brick.folder), { mode: 0o700 });
  // Renamed into place: the folder is a volume only once all of it is there.
  const draft = join(folder, 'volume.json.new');
  writeFileSync(draft, serialiseVolumeFile(volume), { mode: 0o600, flag: 'wx' });
  renameSync(draft, join(folder, 'volume.json'));
  return openVolumeFolder(folder);
}

/** @throws Failure notFound where there is no volume */
export function openVolumeFolder(path: string): VolumeFolder {
  const folder = resolve(path);
  const file = join(folder, 'volume.json');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR'))
      throw new Failure(
        'notFound',
        `${folder} holds no volume`,
        `Make one with: lockferry volume create ${path} --bricks 3`,
      );
    if (isSystemError(error, 'EACCES'))
      throw new Failure('failed', `${file} may not be read by you`, 'Run this as the owner of the volume');
    throw error;
  }
  const volume = inFolder(parseVolumeFile(text, file), folder);
  const short = (brick: BrickEntry): BrickEntry => ({
    ...brick,
    address: shortAddress(brick, volume.volume),
  });
  const joining = volume.joiningBricks?.map(short);
  const bricks = volume.bricks.map(short);
  return {
    folder,
    volume: { ...volume, bricks, ...(joining === undefined ? {} : { joiningBricks: joining }) },
  };
}

/**
 * A socket deep in the file system may not fit into sun_path: then it lies in a short folder of this machine that is
 * named after the volume, so that bricks, mounts and tools all find the same one.
 */
function shortAddress(brick: BrickEntry, volumeId: string): string {
  if (!brick.address.startsWith('unix:')) return brick.address;
  if (Buffer.byteLength(brick.address.slice('unix:'.length)) <= socketPathBytesMax) return brick.address;
  return `unix:${join(shortSocketFolder(), `${volumeId.slice(0, 16)}.${brick.name.slice(-40)}`)}`;
}

/** Only its owner may enter: in /tmp somebody else could have made it first. @throws Failure where that is so */
function shortSocketFolder(): string {
  const user = process.getuid?.() ?? 0;
  const folder = user === 0 ? '/run/lockferry' : `/tmp/lockferry-${user}`;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== user || (found.mode & 0o077) !== 0)
    throw new Failure(
      'failed',
      `${folder} is not a private folder of yours`,
      'Remove it, or use a shorter path for the volume',
    );
  return folder;
}

/** @throws Failure usage where it is no name of a brick, notFound where the volume has none of that name */
export function findBrick(place: VolumeFolder, name: string, among?: 'also joining'): BrickEntry {
  const { bricks, joiningBricks = [] } = place.volume;
  const names = bricks.map((brick) => brick.name).join(', ');
  if (!isBrickName(name))
    throw new Failure('usage', `"${name}" is not the name of a brick`, `This volume has ${names}`);
  const brick = [...bricks, ...(among ? joiningBricks : [])].find((entry) => entry.name === name);
  if (!brick) throw new Failure('notFound', `The volume has no brick "${name}"`, `It has ${names}`);
  return brick;
}
