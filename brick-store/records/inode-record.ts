/**
 * The inode record: what stat(2) shows, and for a directory how many entries and subdirectories it has here.
 *
 * The layout of a directory is a record of its own, because this one is written again with every entry that comes
 * or goes.
 */
import type { Epoch, FileId } from '../../wire/ids.js';
import type { Attributes, FileType } from '../../wire/messages.js';
import { fileOfKey } from './keys.js';
import { type RecordCodec, recordCodec } from './record-codec.js';

/** For a directory, `nlink` is not kept but follows from `subdirectories`. */
export interface Inode extends Attributes {
  /** Entries of a directory on this brick; 0 for others. */
  readonly entries: number;
  readonly subdirectories: number;
}

const types = ['file', 'dir', 'symlink', 'fifo', 'socket', 'char', 'block'] as const satisfies FileType[];

const body = recordCodec<Omit<Inode, 'file'>>(
  'inode',
  1,
  (inode) => [
    inode.type,
    inode.mode,
    inode.nlink,
    inode.uid,
    inode.gid,
    inode.rdev,
    inode.size,
    inode.storedBytes,
    inode.atimeNs,
    inode.mtimeNs,
    inode.ctimeNs,
    inode.change,
    inode.epoch,
    inode.entries,
    inode.subdirectories,
  ],
  (fields) => ({
    type: fields.oneOf(types),
    mode: fields.count(),
    nlink: fields.count(),
    uid: fields.count(),
    gid: fields.count(),
    rdev: fields.count(),
    size: fields.count(),
    storedBytes: fields.count(),
    atimeNs: fields.time(),
    mtimeNs: fields.time(),
    ctimeNs: fields.time(),
    change: fields.count(),
    epoch: fields.count<Epoch>(),
    entries: fields.count(),
    subdirectories: fields.count(),
  }),
);

/** The file id is in the key only. */
export const inodeRecord: RecordCodec<Inode> = {
  encode: body.encode,
  decode: (bytes, key) => ({ file: fileOfKey(key) satisfies FileId, ...body.decode(bytes, key) }),
};

/** What a client may know of an inode. */
export const attributesOf = (inode: Inode): Attributes => ({
  file: inode.file,
  type: inode.type,
  mode: inode.mode,
  nlink: inode.type === 'dir' ? 2 + inode.subdirectories : inode.nlink,
  uid: inode.uid,
  gid: inode.gid,
  rdev: inode.rdev,
  size: inode.size,
  storedBytes: inode.storedBytes,
  atimeNs: inode.atimeNs,
  mtimeNs: inode.mtimeNs,
  ctimeNs: inode.ctimeNs,
  change: inode.change,
  epoch: inode.epoch,
});
