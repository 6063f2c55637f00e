/**
 * What lies on a brick's disk when all is given back: a file or a name that nobody made or that was removed, facts and
 * content without their file, answers kept for a client that is gone. Each of them would grow for ever.
 */
import {
  clientOfKey,
  describeKey,
  fileOfKey,
  inodeKey,
  nameOfEntryKey,
  sessionKey,
} from '../../brick-store/records/keys.js';
import { sessionRecord } from '../../brick-store/records/session-record.js';
import type { BrickName, FileId } from '../../wire/ids.js';
import { rootFileId } from '../../wire/ids.js';
import type { Disk } from '../crashing-store.js';

const everything = { from: Buffer.of(0), to: Buffer.of(0xff) };

export interface Expected {
  /** Names and files that do not know each other are no news. */
  readonly mayHaveLeftNames: boolean;
  readonly names: ReadonlySet<string>;
  readonly files: ReadonlySet<FileId>;
}

export function leftoversAt(brick: BrickName, disk: Disk, expected: Expected): string[] {
  return disk
    .keys(everything)
    .filter((key) => isLeftOver(disk, key, expected))
    .map((key) => `${brick}: ${describeKey(key)} is left`);
}

function isLeftOver(disk: Disk, key: Uint8Array, { names, files, mayHaveLeftNames }: Expected): boolean {
  switch (describeKey(key).split(' ')[0]) {
    case 'inode':
      return !mayHaveLeftNames && !files.has(fileOfKey(key)) && fileOfKey(key) !== rootFileId;
    case 'orphan':
      return !mayHaveLeftNames;
    case 'chunk':
    case 'xattrs':
    case 'symlink':
    case 'name':
      return disk.get(inodeKey(fileOfKey(key))) === undefined;
    case 'entry':
      return !mayHaveLeftNames && !names.has(nameOfEntryKey(key));
    case 'answer':
      return !hasSession(disk, key);
    default:
      return false;
  }
}

function hasSession(disk: Disk, key: Uint8Array): boolean {
  const of = sessionKey(clientOfKey(key));
  const value = disk.get(of);
  return value !== undefined && !sessionRecord.decode(value, of).fenced;
}
