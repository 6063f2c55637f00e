/**
 * Typed answers to the bytes the kernel wants: one function a kind of reply. Each leaves room for the header, which
 * session.ts fills in, so that a reply leaves in one buffer (two where it carries file content).
 */
import type { FileId } from '../../wire/ids.js';
import type { Attributes, FileType } from '../../wire/messages.js';
import * as abi from './abi.js';

export interface Reply {
  /** The header, still empty, and the struct after it. */
  readonly head: Buffer;
  readonly data?: Uint8Array;
}

/** How long the kernel may use a name or attributes without asking again. */
export interface CacheTimes {
  readonly entryMs: number;
  readonly attributesMs: number;
}

const at = abi.outHeader.bytes;
/** From the pool of small buffers: Buffer.alloc would give each reply memory of its own. */
const room = (bytes: number): Buffer => Buffer.allocUnsafe(at + bytes).fill(0);

export const putU64 = (bytes: Buffer, value: number, offset: number): void => {
  bytes.writeUInt32LE(value % 2 ** 32, offset);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
};

/** st_ino: the low 63 bits of the file id, so that it is the same on every mount and positive for every program. */
export const inodeNumber = (file: FileId): bigint => BigInt(`0x${file.slice(16)}`) & ((1n << 63n) - 1n);

const typeBits: Readonly<Record<FileType, number>> = {
  fifo: 0o010000,
  char: 0o020000,
  dir: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

/** @returns undefined for bits that name no type */
export const fileTypeOf = (mode: number): FileType | undefined => {
  const bits = mode & abi.S_IFMT;
  for (const [type, value] of Object.entries(typeBits)) if (value === bits) return type as FileType;
  return bits === 0 ? 'file' : undefined;
};

const billion = 1_000_000_000n;
const putTime = (bytes: Buffer, ns: bigint, seconds: number, nanoseconds: number): void => {
  const rest = ((ns % billion) + billion) % billion;
  bytes.writeBigInt64LE((ns - rest) / billion, seconds);
  bytes.writeUInt32LE(Number(rest), nanoseconds);
};

const putAttributes = (bytes: Buffer, attributes: Attributes, offset: number): void => {
  bytes.writeBigUInt64LE(inodeNumber(attributes.file), offset + abi.attr.ino);
  putU64(bytes, attributes.size, offset + abi.attr.size);
  putU64(bytes, Math.ceil(attributes.storedBytes / 512), offset + abi.attr.blocks);
  putTime(bytes, attributes.atimeNs, offset + abi.attr.atime, offset + abi.attr.atimensec);
  putTime(bytes, attributes.mtimeNs, offset + abi.attr.mtime, offset + abi.attr.mtimensec);
  putTime(bytes, attributes.ctimeNs, offset + abi.attr.ctime, offset + abi.attr.ctimensec);
  bytes.writeUInt32LE(typeBits[attributes.type] | (attributes.mode & 0o7777), offset + abi.attr.mode);
  bytes.writeUInt32LE(attributes.nlink, offset + abi.attr.nlink);
  bytes.writeUInt32LE(attributes.uid, offset + abi.attr.uid);
  bytes.writeUInt32LE(attributes.gid, offset + abi.attr.gid);
  bytes.writeUInt32LE(attributes.rdev, offset + abi.attr.rdev);
  // The kernel makes it the block size of its page handling too (fuse_change_attributes_common): the page size.
  bytes.writeUInt32LE(4096, offset + abi.attr.blksize);
};

const putValidity = (bytes: Buffer, ms: number, seconds: number, nanoseconds: number): void => {
  putU64(bytes, Math.floor(ms / 1000), seconds);
  bytes.writeUInt32LE(Math.round((ms % 1000) * 1_000_000), nanoseconds);
};

export const putEntry = (
  bytes: Buffer,
  nodeid: number,
  attributes: Attributes,
  times: CacheTimes,
  offset: number,
): void => {
  putU64(bytes, nodeid, offset + abi.entryOut.nodeid);
  // Node ids are never given out twice in the life of a mount, so one generation is enough.
  putU64(bytes, 0, offset + abi.entryOut.generation);
  putValidity(bytes, times.entryMs, offset + abi.entryOut.entryValid, offset + abi.entryOut.entryValidNsec);
  putValidity(
    bytes,
    times.attributesMs,
    offset + abi.entryOut.attrValid,
    offset + abi.entryOut.attrValidNsec,
  );
  putAttributes(bytes, attributes, offset + abi.entryOut.attr);
};

export const okReply = (): Reply => ({ head: room(0) });

export const entryReply = (nodeid: number, attributes: Attributes, times: CacheTimes): Reply => {
  const head = room(abi.entryOut.bytes);
  putEntry(head, nodeid, attributes, times, at);
  return { head };
};

export const attrReply = (attributes: Attributes, times: CacheTimes): Reply => {
  const head = room(abi.attrOut.bytes);
  putValidity(head, times.attributesMs, at + abi.attrOut.attrValid, at + abi.attrOut.attrValidNsec);
  putAttributes(head, attributes, at + abi.attrOut.attr);
  return { head };
};

const putOpen = (bytes: Buffer, fh: number, openFlags: number, offset: number): void => {
  putU64(bytes, fh, offset + abi.openOut.fh);
  bytes.writeUInt32LE(openFlags, offset + abi.openOut.openFlags);
};

export const openReply = (fh: number, openFlags: number): Reply => {
  const head = room(abi.openOut.bytes);
  putOpen(head, fh, openFlags, at);
  return { head };
};

export const createReply = (
  nodeid: number,
  attributes: Attributes,
  times: CacheTimes,
  fh: number,
  openFlags: number,
): Reply => {
  const head = room(abi.entryOut.bytes + abi.openOut.bytes);
  putEntry(head, nodeid, attributes, times, at);
  putOpen(head, fh, openFlags, at + abi.entryOut.bytes);
  return { head };
};

/** File content, a symlink's target, the value of an extended attribute, directory entries. */
export const dataReply = (data: Uint8Array): Reply => ({ head: room(0), data });

export const writeReply = (size: number): Reply => {
  const head = room(abi.writeOut.bytes);
  head.writeUInt32LE(size, at + abi.writeOut.size);
  return { head };
};

/** The size of an extended attribute (or of the list of names), asked for with a buffer of no bytes. */
export const sizeReply = (size: number): Reply => {
  const head = room(abi.getxattrOut.bytes);
  head.writeUInt32LE(size, at + abi.getxattrOut.size);
  return { head };
};

export const seekReply = (offset: number): Reply => {
  const head = room(abi.lseekOut.bytes);
  putU64(head, offset, at);
  return { head };
};

export const statfsReply = (space: { totalBytes: number; freeBytes: number; files: number }): Reply => {
  const head = room(abi.statfsOut.bytes);
  const blockBytes = 4096;
  const free = Math.floor(space.freeBytes / blockBytes);
  putU64(head, Math.floor(space.totalBytes / blockBytes), at + abi.statfsOut.blocks);
  putU64(head, free, at + abi.statfsOut.bfree);
  putU64(head, free, at + abi.statfsOut.bavail);
  // No fixed number of inodes: as many more as there are free blocks, as other filesystems without a table say.
  putU64(head, space.files + free, at + abi.statfsOut.files);
  putU64(head, free, at + abi.statfsOut.ffree);
  head.writeUInt32LE(blockBytes, at + abi.statfsOut.bsize);
  head.writeUInt32LE(255, at + abi.statfsOut.namelen);
  head.writeUInt32LE(blockBytes, at + abi.statfsOut.frsize);
  return { head };
};

/** F_GETLK. Without a conflict only the type matters to the kernel. */
export const lockReply = (
  conflict: { type: 'read' | 'write'; start: bigint; end: bigint; pid: number } | undefined,
): Reply => {
  const head = room(abi.lkOut.bytes);
  if (conflict === undefined) {
    head.writeUInt32LE(abi.lockTypes.F_UNLCK, at + abi.lkOut.type);
    return { head };
  }
  head.writeBigUInt64LE(conflict.start, at + abi.lkOut.start);
  head.writeBigUInt64LE(conflict.end, at + abi.lkOut.end);
  const { F_RDLCK, F_WRLCK } = abi.lockTypes;
  head.writeUInt32LE(conflict.type === 'read' ? F_RDLCK : F_WRLCK, at + abi.lkOut.type);
  head.writeUInt32LE(conflict.pid, at + abi.lkOut.pid);
  return { head };
};

export interface InitAnswer {
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly maxBackground: number;
  readonly maxWrite: number;
  readonly maxPages: number;
}

export const initReply = (answer: InitAnswer): Reply => {
  const head = room(abi.initOut.bytes);
  head.writeUInt32LE(abi.protocolMajor, at + abi.initOut.major);
  head.writeUInt32LE(answer.minor, at + abi.initOut.minor);
  head.writeUInt32LE(answer.maxReadahead, at + abi.initOut.maxReadahead);
  head.writeUInt32LE(answer.flags >>> 0, at + abi.initOut.flags);
  head.writeUInt16LE(answer.maxBackground, at + abi.initOut.maxBackground);
  head.writeUInt16LE(Math.floor((answer.maxBackground * 3) / 4), at + abi.initOut.congestionThreshold);
  head.writeUInt32LE(answer.maxWrite, at + abi.initOut.maxWrite);
  head.writeUInt32LE(1, at + abi.initOut.timeGran);
  head.writeUInt16LE(answer.maxPages, at + abi.initOut.maxPages);
  return { head };
};

/** Directory entries of one READDIR or READDIRPLUS, as many as fit. */
export class DirectoryPage {
  readonly #bytes: Buffer;
  #used = 0;

  constructor(size: number) {
    this.#bytes = Buffer.alloc(size);
  }

  /**
   * @param next the offset from which the reader goes on after this entry
   * @param plus for READDIRPLUS; `nodeid` 0 gives the name without attributes
   * @returns false where it did not fit
   */
  add(
    name: string,
    ino: bigint,
    type: FileType,
    next: number,
    plus?: { nodeid: number; attributes: Attributes; times: CacheTimes } | 'name only',
  ): boolean {
    const before = plus === undefined ? 0 : abi.direntplus.dirent;
    const bytes = (before + abi.dirent.name + name.length + 7) & ~7;
    if (this.#used + bytes > this.#bytes.length) return false;
    const offset = this.#used;
    if (plus !== undefined && plus !== 'name only')
      putEntry(this.#bytes, plus.nodeid, plus.attributes, plus.times, offset);
    const entry = offset + before;
    this.#bytes.writeBigUInt64LE(ino, entry + abi.dirent.ino);
    putU64(this.#bytes, next, entry + abi.dirent.off);
    this.#bytes.writeUInt32LE(name.length, entry + abi.dirent.namelen);
    this.#bytes.writeUInt32LE(typeBits[type] >> 12, entry + abi.dirent.type);
    this.#bytes.write(name, entry + abi.dirent.name, 'latin1');
    this.#used += bytes;
    return true;
  }

  reply(): Reply {
    return dataReply(this.#bytes.subarray(0, this.#used));
  }
}

const notification = (code: number, bytes: number): Buffer => {
  const message = room(bytes);
  message.writeUInt32LE(message.length, abi.outHeader.len);
  message.writeInt32LE(code, abi.outHeader.error);
  return message;
};

/** Drops all pages and the attributes of one inode. */
export const invalidateInode = (nodeid: number): Buffer => {
  const message = notification(abi.notifyCodes.INVAL_INODE, abi.notifyInvalInodeOut.bytes);
  putU64(message, nodeid, at + abi.notifyInvalInodeOut.ino);
  return message;
};

/** Puts bytes into the page cache; the file grows to hold them. */
export const storePages = (nodeid: number, offset: number, data: Uint8Array): Buffer => {
  const message = notification(abi.notifyCodes.STORE, abi.notifyStoreOut.bytes + data.length);
  putU64(message, nodeid, at + abi.notifyStoreOut.nodeid);
  putU64(message, offset, at + abi.notifyStoreOut.offset);
  message.writeUInt32LE(data.length, at + abi.notifyStoreOut.size);
  message.set(data, at + abi.notifyStoreOut.bytes);
  return message;
};
