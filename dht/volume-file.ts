/**
 * volume.json: the description of a volume that clients and bricks start from. Types, and the pure way from text to
 * a checked value and back; reading and writing the file is for bin/.
 *
 * Paths in it are relative to the folder that it lies in, so that a volume folder can be moved; `inFolder` makes
 * them absolute for use. The file holds the volume's secret: it must never be readable by others.
 */
import { isAbsolute, join } from 'node:path';
import { type BrickName, isBrickName, isId128 } from '../wire/ids.js';
import { freezeMsDefault, graceMsDefault } from '../wire/limits.js';
import type { Address } from '../wire/network.js';

export const volumeFileFormat = 1;

export interface BrickEntry {
  readonly name: BrickName;
  /** `unix:run/brick-1.sock` or `tcp:host:port`. */
  readonly address: Address;
  /** Where the brick keeps its database. */
  readonly folder: string;
}

/** As in stat(2). */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface VolumeFile {
  readonly format: typeof volumeFileFormat;
  /** 32 hex digits, drawn once. Bricks refuse clients of another volume. */
  readonly volume: string;
  readonly name: string;
  /** What clients and bricks show each other. */
  readonly secret: string;
  /** How long a brick keeps the locks of a client that it lost. */
  readonly graceMs: number;
  /** The budget of one freeze during a migration. */
  readonly freezeMs: number;
  /** How long a kernel may keep names and attributes. */
  readonly attrTimeoutMs: number;
  /** Only ever added to at the end: layouts rest on their order. */
  readonly bricks: readonly BrickEntry[];
  /** The bricks that the names of the root directory are spread over: those that the volume was made with. Absent: all. */
  readonly rootBricks?: readonly BrickName[];
  /** Bricks that are being filled: no client knows of them yet. */
  readonly joiningBricks?: readonly BrickEntry[];
  /** Bricks that have left the volume. Their names are never used again. */
  readonly retiredBricks?: readonly BrickName[];
  /** Who made the volume: the root directory is theirs. Absent: root's. */
  readonly rootOwner?: Owner;
  /** Grows with every change of this file; a mount that sees a higher one builds a new graph. */
  readonly version: number;
}

export class VolumeFileError extends Error {
  override readonly name = 'VolumeFileError';
}

type Members = Readonly<Record<string, unknown>>;

class Reader {
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  fail(field: string, expected: string, value: unknown): never {
    const found = value === undefined ? 'it is missing' : `found ${JSON.stringify(value).slice(0, 80)}`;
    throw new VolumeFileError(`${this.#where}: "${field}" must be ${expected}, ${found}`);
  }

  object(value: unknown, field: string): Members {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      this.fail(field, 'an object', value);
    return value as Members;
  }

  text(value: unknown, field: string, expected: string, fits: (text: string) => boolean): string {
    if (typeof value !== 'string' || !fits(value)) this.fail(field, expected, value);
    return value as string;
  }

  whole(value: unknown, field: string, from: number, to: number): number {
    if (!Number.isInteger(value) || (value as number) < from || (value as number) > to)
      this.fail(field, `a whole number from ${from} to ${to}`, value);
    return value as number;
  }
}

const isAddress = (text: string): boolean => {
  if (text.startsWith('unix:')) return text.length > 'unix:'.length && !text.includes('\0');
  const tcp = /^tcp:(.+):(\d{1,5})$/.exec(text);
  return tcp !== null && Number(tcp[2]) <= 65_535;
};

const dayMs = 86_400_000;

function checkBricks(reader: Reader, value: unknown): BrickEntry[] {
  if (!Array.isArray(value) || value.length === 0)
    reader.fail('bricks', 'a list of at least one brick', value);
  const bricks = value.map((item: unknown, at): BrickEntry => {
    const field = `bricks[${at}]`;
    const members = reader.object(item, field);
    return {
      name: reader.text(
        members.name,
        `${field}.name`,
        'lower-case letters, digits, dots and dashes, at most 63',
        isBrickName,
      ) as BrickName,
      address: reader.text(members.address, `${field}.address`, '"unix:PATH" or "tcp:HOST:PORT"', isAddress),
      folder: reader.text(
        members.folder,
        `${field}.folder`,
        'a path',
        (text) => text !== '' && !text.includes('\0'),
      ),
    };
  });
  for (const member of ['name', 'address', 'folder'] as const) {
    const seen = new Set<string>();
    for (const [at, brick] of bricks.entries()) {
      // Port 0 is "any free port": two bricks may have it.
      if (seen.has(brick[member]) && !brick[member].endsWith(':0'))
        reader.fail(`bricks[${at}].${member}`, 'different from that of every other brick', brick[member]);
      seen.add(brick[member]);
    }
  }
  return bricks;
}

function checkNames<F extends 'rootBricks' | 'retiredBricks'>(reader: Reader, members: Members, field: F) {
  const value = members[field];
  if (value === undefined) return {};
  if (!Array.isArray(value) || !value.every(isBrickName)) reader.fail(field, 'a list of brick names', value);
  return { [field]: value as BrickName[] } as { [N in F]: BrickName[] };
}

/** (uid_t)-1 is nobody: chown(2) takes it for "leave it". */
const idMax = 0xffff_fffe;

function checkOwner(reader: Reader, value: unknown): { rootOwner?: Owner } {
  if (value === undefined) return {};
  const members = reader.object(value, 'rootOwner');
  return {
    rootOwner: {
      uid: reader.whole(members.uid, 'rootOwner.uid', 0, idMax),
      gid: reader.whole(members.gid, 'rootOwner.gid', 0, idMax),
    },
  };
}

/**
 * @param where the path of the file, for error messages
 * @throws VolumeFileError which names the file, the field and what is expected
 */
export function checkVolumeFile(value: unknown, where: string): VolumeFile {
  const reader = new Reader(where);
  const members = reader.object(value, 'the file');
  if (members.format !== volumeFileFormat)
    reader.fail('format', `${volumeFileFormat} (another version of lockferry wrote it?)`, members.format);
  const graceMs = reader.whole(members.graceMs ?? graceMsDefault, 'graceMs', 0, dayMs);
  return {
    format: volumeFileFormat,
    volume: reader.text(members.volume, 'volume', '32 hexadecimal digits', isId128),
    name: reader.text(
      members.name,
      'name',
      'a text of 1 to 255 characters without control characters',
      (text) => text.length >= 1 && text.length <= 255 && !/\p{Cc}/u.test(text),
    ),
    secret: reader.text(members.secret, 'secret', 'a text of 1 to 255 characters', (text) => {
      return text.length >= 1 && text.length <= 255;
    }),
    graceMs,
    freezeMs: reader.whole(members.freezeMs ?? freezeMsDefault, 'freezeMs', 1, 60_000),
    attrTimeoutMs: reader.whole(members.attrTimeoutMs ?? 1000, 'attrTimeoutMs', 0, dayMs),
    bricks: checkBricks(reader, members.bricks),
    ...(members.joiningBricks === undefined
      ? {}
      : { joiningBricks: checkBricks(reader, members.joiningBricks) }),
    ...checkNames(reader, members, 'rootBricks'),
    ...checkOwner(reader, members.rootOwner),
    ...checkNames(reader, members, 'retiredBricks'),
    version: reader.whole(members.version ?? 1, 'version', 1, Number.MAX_SAFE_INTEGER),
  };
}

/** @throws VolumeFileError also where the text is not JSON */
export function parseVolumeFile(text: string, where: string): VolumeFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new VolumeFileError(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  return checkVolumeFile(value, where);
}

export const serialiseVolumeFile = (volume: VolumeFile): string =>
  `${JSON.stringify(volume, undefined, 2)}\n`;

const absolute = (folder: string, path: string): string => (isAbsolute(path) ? path : join(folder, path));

/** The same description with every path absolute. Never to be written back. */
export function inFolder(volume: VolumeFile, folder: string): VolumeFile {
  const placed = (brick: BrickEntry): BrickEntry => ({
    ...brick,
    address: brick.address.startsWith('unix:')
      ? `unix:${absolute(folder, brick.address.slice('unix:'.length))}`
      : brick.address,
    folder: absolute(folder, brick.folder),
  });
  const joining = volume.joiningBricks?.map(placed);
  return {
    ...volume,
    bricks: volume.bricks.map(placed),
    ...(joining === undefined ? {} : { joiningBricks: joining }),
  };
}
