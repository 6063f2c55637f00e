/**
 * The inodes that this brick answers for, as the services see them: a file with a redirect moved away, and what is
 * left of it here is never shown.
 *
 * Reads and builds ops; writes nothing. Also keeps the count of inodes, in the batch that changes it.
 */
import { Refusal } from '../wire/errors.js';
import type { BrickName, Epoch, FileId } from '../wire/ids.js';
import type { FileType } from '../wire/messages.js';
import { countRecord } from './records/brick-record.js';
import { orphanRecord } from './records/inode-facts-record.js';
import { type Inode, inodeRecord } from './records/inode-record.js';
import { brickKey, inodeKey, orphanKey, redirectKey } from './records/keys.js';
import { type Redirect, redirectRecord } from './records/redirect-record.js';
import type { Store, StoreOp } from './store.js';

const countKey = brickKey('files');

/** The store's bytes never change, so what they mean is worked out once. */
const decoded = new WeakMap<Uint8Array, Inode>();

export class Inodes {
  readonly #store: Store;
  /** What `get` answered last, and at which version of the store: a lock call asks twice, the next one again. */
  #last: { file: FileId; inode: Inode | undefined; version: number } | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Undefined where the file is not here, or moved away. */
  get(file: FileId): Inode | undefined {
    const { inodesVersion: version } = this.#store;
    const last = this.#last;
    if (last !== undefined && last.file === file && last.version === version) return last.inode;
    const stored = this.stored(file);
    const inode = stored && stored.type !== 'dir' && this.redirect(file) ? undefined : stored;
    if (version !== undefined) this.#last = { file, inode, version };
    return inode;
  }

  /** @throws Refusal ESTALE */
  require(file: FileId): Inode {
    const inode = this.get(file);
    if (!inode) throw new Refusal('ESTALE', `the file ${file} is not on this brick`);
    return inode;
  }

  /** @throws Refusal ESTALE, ENOTDIR */
  requireDirectory(dir: FileId): Inode {
    const inode = this.stored(dir);
    if (!inode) throw new Refusal('ESTALE', `the directory ${dir} is not on this brick`);
    if (inode.type !== 'dir') throw new Refusal('ENOTDIR');
    return inode;
  }

  /** The record, whether or not the file moved away. */
  stored(file: FileId): Inode | undefined {
    const key = inodeKey(file);
    const bytes = this.#store.get(key);
    if (bytes === undefined) return undefined;
    let inode = decoded.get(bytes);
    if (inode === undefined) {
      inode = inodeRecord.decode(bytes, key);
      decoded.set(bytes, inode);
    }
    return inode;
  }

  redirect(file: FileId): Redirect | undefined {
    const key = redirectKey(file);
    const bytes = this.#store.get(key);
    return bytes && redirectRecord.decode(bytes, key);
  }

  /** How many inodes the store has. */
  count(): number {
    const bytes = this.#store.get(countKey);
    return bytes ? countRecord.decode(bytes, countKey) : 0;
  }

  /** To be put in the batch that adds or deletes an inode. */
  countedBy(change: number): StoreOp {
    return { type: 'put', key: countKey, value: countRecord.encode(Math.max(0, this.count() + change)) };
  }
}

export const putInode = (inode: Inode): StoreOp => ({
  type: 'put',
  key: inodeKey(inode.file),
  value: inodeRecord.encode(inode),
});

/** The inode with another number of names; the last one gone, it is marked to be deleted when nobody has it open. */
export const putLinks = (inode: Inode, nlink: number, timeNs: bigint): StoreOp[] => {
  const ops = [putInode({ ...inode, nlink, ctimeNs: timeNs })];
  if (nlink === 0) ops.push({ type: 'put', key: orphanKey(inode.file), value: orphanRecord.encode(null) });
  return ops;
};

export const newInode = (of: {
  file: FileId;
  type: FileType;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  timeNs: bigint;
}): Inode => ({
  file: of.file,
  type: of.type,
  mode: of.mode & 0o7777,
  nlink: of.type === 'dir' ? 2 : 1,
  uid: of.uid,
  gid: of.gid,
  rdev: of.rdev,
  size: of.size,
  storedBytes: 0,
  atimeNs: of.timeNs,
  mtimeNs: of.timeNs,
  ctimeNs: of.timeNs,
  change: 0,
  epoch: 0 as Epoch,
  entries: 0,
  subdirectories: 0,
});

/** Where a file is, as far as this brick knows; `hint` is what the entry says. */
export const homeOf = (inodes: Inodes, brick: BrickName, file: FileId, hint: BrickName): BrickName =>
  inodes.redirect(file)?.target ?? (inodes.stored(file) ? brick : hint);
