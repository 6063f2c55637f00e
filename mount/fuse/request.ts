/**
 * Bytes of the kernel to a typed request: one union member an opcode. It checks lengths and nothing else; what a
 * request means is decided in mount/operations. Called by session.ts for each message.
 *
 * A message lies in a buffer that is used again for the next one, so names and data are copied out here.
 */
import type { ByteText, LkOwner } from '../../wire/ids.js';
import { lkOwnerOf } from '../../wire/ids.js';
import type { Opcode } from './abi.js';
import * as abi from './abi.js';
import { opcodes } from './abi.js';

/** What every request carries. `pid` is the process that asks, 0 where it is outside the mount's namespace. */
export interface RequestHead {
  readonly unique: number;
  readonly nodeid: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

export interface LockBody {
  readonly fh: number;
  readonly owner: LkOwner;
  readonly start: bigint;
  readonly end: bigint;
  readonly type: 'read' | 'write' | 'unlock';
  readonly pid: number;
  readonly flock: boolean;
}

interface ReadBody {
  readonly fh: number;
  readonly offset: number;
  readonly size: number;
}

interface SetattrBody {
  readonly valid: number;
  readonly size: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** The body of each opcode; offsets and sizes are numbers, exact to 2^53 (larger ones are refused by operations). */
export interface RequestBodies {
  LOOKUP: { readonly name: ByteText };
  FORGET: { readonly nlookup: number };
  GETATTR: object;
  SETATTR: SetattrBody;
  READLINK: object;
  SYMLINK: { readonly name: ByteText; readonly target: ByteText };
  MKNOD: { readonly mode: number; readonly rdev: number; readonly name: ByteText };
  MKDIR: { readonly mode: number; readonly name: ByteText };
  UNLINK: { readonly name: ByteText };
  RMDIR: { readonly name: ByteText };
  RENAME: {
    readonly newdir: number;
    readonly flags: number;
    readonly name: ByteText;
    readonly newName: ByteText;
  };
  RENAME2: {
    readonly newdir: number;
    readonly flags: number;
    readonly name: ByteText;
    readonly newName: ByteText;
  };
  LINK: { readonly oldnodeid: number; readonly name: ByteText };
  OPEN: { readonly flags: number; readonly openFlags: number };
  READ: ReadBody;
  WRITE: {
    readonly fh: number;
    readonly offset: number;
    readonly writeFlags: number;
    readonly flags: number;
    readonly data: Uint8Array;
  };
  STATFS: object;
  RELEASE: { readonly fh: number };
  FSYNC: { readonly fh: number; readonly datasync: boolean };
  SETXATTR: { readonly flags: number; readonly name: ByteText; readonly value: Uint8Array };
  GETXATTR: { readonly size: number; readonly name: ByteText };
  LISTXATTR: { readonly size: number };
  REMOVEXATTR: { readonly name: ByteText };
  FLUSH: { readonly fh: number; readonly owner: LkOwner };
  INIT: {
    readonly major: number;
    readonly minor: number;
    readonly maxReadahead: number;
    readonly flags: number;
  };
  OPENDIR: { readonly flags: number };
  READDIR: ReadBody;
  RELEASEDIR: { readonly fh: number };
  FSYNCDIR: { readonly fh: number; readonly datasync: boolean };
  GETLK: LockBody;
  SETLK: LockBody;
  SETLKW: LockBody;
  ACCESS: object;
  CREATE: {
    readonly flags: number;
    readonly mode: number;
    readonly openFlags: number;
    readonly name: ByteText;
  };
  INTERRUPT: { readonly interrupted: number };
  BMAP: object;
  DESTROY: object;
  IOCTL: object;
  POLL: object;
  BATCH_FORGET: { readonly forgets: readonly { readonly nodeid: number; readonly nlookup: number }[] };
  FALLOCATE: { readonly fh: number; readonly offset: number; readonly length: number; readonly mode: number };
  READDIRPLUS: ReadBody;
  LSEEK: { readonly fh: number; readonly offset: number; readonly whence: number };
  COPY_FILE_RANGE: object;
}

export type RequestOf<O extends Opcode> = { readonly op: O; readonly head: RequestHead } & RequestBodies[O];
export type FuseRequest = { [O in Opcode]: RequestOf<O> }[Opcode];
/** An opcode that is not in the table: answered with ENOSYS, after which the kernel does not send it again. */
export interface UnknownRequest {
  readonly op: 'UNKNOWN';
  readonly head: RequestHead;
  readonly opcode: number;
}

/** A message that breaks the protocol: shorter than its opcode says. */
export class MalformedRequest extends Error {
  override readonly name = 'MalformedRequest';
}

const u64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
const timeNs = (bytes: Buffer, seconds: number, nanoseconds: number): bigint =>
  bytes.readBigInt64LE(seconds) * 1_000_000_000n + BigInt(bytes.readUInt32LE(nanoseconds));
/** The same few owners come again and again, and their text is dear to make. */
let lastOwner = { low: 0, high: 0, text: lkOwnerOf(0, 0) };
const owner = (bytes: Buffer, at: number): LkOwner => {
  const low = bytes.readUInt32LE(at);
  const high = bytes.readUInt32LE(at + 4);
  if (low !== lastOwner.low || high !== lastOwner.high) lastOwner = { low, high, text: lkOwnerOf(low, high) };
  return lastOwner.text;
};

/** The name that starts at `at` and ends before its zero byte. */
const text = (bytes: Buffer, at: number): ByteText => {
  const end = bytes.indexOf(0, at);
  if (end < 0) throw new MalformedRequest('a name without its end');
  return bytes.toString('latin1', at, end) as ByteText;
};

/** Two names, one after the other. */
const texts = (bytes: Buffer, at: number): readonly [ByteText, ByteText] => {
  const first = text(bytes, at);
  return [first, text(bytes, at + first.length + 1)];
};

const nothing = () => ({});
const named = (bytes: Buffer) => ({ name: text(bytes, 0) });
const read = (bytes: Buffer): ReadBody => ({
  fh: u64(bytes, abi.readIn.fh),
  offset: u64(bytes, abi.readIn.offset),
  size: bytes.readUInt32LE(abi.readIn.size),
});
const lockTypeNames = ['read', 'write', 'unlock'] as const;
const lock = (bytes: Buffer): LockBody => {
  const type = lockTypeNames[bytes.readUInt32LE(abi.lkIn.type)];
  if (type === undefined) throw new MalformedRequest('a lock of no known type');
  return {
    fh: u64(bytes, abi.lkIn.fh),
    owner: owner(bytes, abi.lkIn.owner),
    start: bytes.readBigUInt64LE(abi.lkIn.start),
    end: bytes.readBigUInt64LE(abi.lkIn.end),
    type,
    pid: bytes.readUInt32LE(abi.lkIn.pid),
    flock: (bytes.readUInt32LE(abi.lkIn.lkFlags) & abi.FUSE_LK_FLOCK) !== 0,
  };
};
const fsync = (bytes: Buffer) => ({
  fh: u64(bytes, abi.fsyncIn.fh),
  datasync: (bytes.readUInt32LE(abi.fsyncIn.fsyncFlags) & 1) !== 0,
});
const release = (bytes: Buffer) => ({ fh: u64(bytes, abi.releaseIn.fh) });

const bodies: { readonly [O in Opcode]: (bytes: Buffer) => RequestBodies[O] } = {
  LOOKUP: named,
  FORGET: (bytes) => ({ nlookup: u64(bytes, abi.forgetIn.nlookup) }),
  GETATTR: nothing,
  SETATTR: (bytes) => ({
    valid: bytes.readUInt32LE(abi.setattrIn.valid),
    size: u64(bytes, abi.setattrIn.size),
    atimeNs: timeNs(bytes, abi.setattrIn.atime, abi.setattrIn.atimensec),
    mtimeNs: timeNs(bytes, abi.setattrIn.mtime, abi.setattrIn.mtimensec),
    mode: bytes.readUInt32LE(abi.setattrIn.mode),
    uid: bytes.readUInt32LE(abi.setattrIn.uid),
    gid: bytes.readUInt32LE(abi.setattrIn.gid),
  }),
  READLINK: nothing,
  SYMLINK: (bytes) => {
    const [name, target] = texts(bytes, 0);
    return { name, target };
  },
  MKNOD: (bytes) => ({
    mode: bytes.readUInt32LE(abi.mknodIn.mode),
    rdev: bytes.readUInt32LE(abi.mknodIn.rdev),
    name: text(bytes, abi.mknodIn.bytes),
  }),
  MKDIR: (bytes) => ({ mode: bytes.readUInt32LE(abi.mkdirIn.mode), name: text(bytes, abi.mkdirIn.bytes) }),
  UNLINK: named,
  RMDIR: named,
  RENAME: (bytes) => {
    const [name, newName] = texts(bytes, abi.renameIn.bytes);
    return { newdir: u64(bytes, abi.renameIn.newdir), flags: 0, name, newName };
  },
  RENAME2: (bytes) => {
    const [name, newName] = texts(bytes, abi.rename2In.bytes);
    const flags = bytes.readUInt32LE(abi.rename2In.flags);
    return { newdir: u64(bytes, abi.rename2In.newdir), flags, name, newName };
  },
  LINK: (bytes) => ({ oldnodeid: u64(bytes, abi.linkIn.oldnodeid), name: text(bytes, abi.linkIn.bytes) }),
  OPEN: (bytes) => ({
    flags: bytes.readUInt32LE(abi.openIn.flags),
    openFlags: bytes.readUInt32LE(abi.openIn.openFlags),
  }),
  READ: read,
  WRITE: (bytes) => {
    const size = bytes.readUInt32LE(abi.writeIn.size);
    if (bytes.length < abi.writeIn.bytes + size) throw new MalformedRequest('a write without its data');
    const data = Buffer.allocUnsafeSlow(size);
    bytes.copy(data, 0, abi.writeIn.bytes, abi.writeIn.bytes + size);
    return {
      fh: u64(bytes, abi.writeIn.fh),
      offset: u64(bytes, abi.writeIn.offset),
      writeFlags: bytes.readUInt32LE(abi.writeIn.writeFlags),
      flags: bytes.readUInt32LE(abi.writeIn.flags),
      data,
    };
  },
  STATFS: nothing,
  RELEASE: release,
  FSYNC: fsync,
  SETXATTR: (bytes) => {
    const size = bytes.readUInt32LE(abi.setxattrIn.size);
    const name = text(bytes, abi.setxattrIn.bytes);
    const at = abi.setxattrIn.bytes + name.length + 1;
    if (bytes.length < at + size) throw new MalformedRequest('an extended attribute without its value');
    return {
      flags: bytes.readUInt32LE(abi.setxattrIn.flags),
      name,
      value: Buffer.from(bytes.subarray(at, at + size)),
    };
  },
  GETXATTR: (bytes) => ({
    size: bytes.readUInt32LE(abi.getxattrIn.size),
    name: text(bytes, abi.getxattrIn.bytes),
  }),
  LISTXATTR: (bytes) => ({ size: bytes.readUInt32LE(abi.getxattrIn.size) }),
  REMOVEXATTR: named,
  FLUSH: (bytes) => ({ fh: u64(bytes, abi.flushIn.fh), owner: owner(bytes, abi.flushIn.lockOwner) }),
  INIT: (bytes) => ({
    major: bytes.readUInt32LE(abi.initIn.major),
    minor: bytes.readUInt32LE(abi.initIn.minor),
    maxReadahead: bytes.readUInt32LE(abi.initIn.maxReadahead),
    flags: bytes.readUInt32LE(abi.initIn.flags),
  }),
  OPENDIR: (bytes) => ({ flags: bytes.readUInt32LE(abi.openIn.flags) }),
  READDIR: read,
  RELEASEDIR: release,
  FSYNCDIR: fsync,
  GETLK: lock,
  SETLK: lock,
  SETLKW: lock,
  ACCESS: nothing,
  CREATE: (bytes) => ({
    flags: bytes.readUInt32LE(abi.createIn.flags),
    mode: bytes.readUInt32LE(abi.createIn.mode),
    openFlags: bytes.readUInt32LE(abi.createIn.openFlags),
    name: text(bytes, abi.createIn.bytes),
  }),
  INTERRUPT: (bytes) => ({ interrupted: u64(bytes, abi.interruptIn.unique) }),
  BMAP: nothing,
  DESTROY: nothing,
  IOCTL: nothing,
  POLL: nothing,
  BATCH_FORGET: (bytes) => {
    const forgets = [];
    const count = bytes.readUInt32LE(abi.batchForgetIn.count);
    for (let i = 0, at = abi.batchForgetIn.bytes; i < count; i++, at += abi.forgetOne.bytes)
      forgets.push({ nodeid: u64(bytes, at), nlookup: u64(bytes, at + abi.forgetOne.nlookup) });
    return { forgets };
  },
  FALLOCATE: (bytes) => ({
    fh: u64(bytes, abi.fallocateIn.fh),
    offset: u64(bytes, abi.fallocateIn.offset),
    length: u64(bytes, abi.fallocateIn.length),
    mode: bytes.readUInt32LE(abi.fallocateIn.mode),
  }),
  READDIRPLUS: read,
  LSEEK: (bytes) => ({
    fh: u64(bytes, abi.lseekIn.fh),
    offset: u64(bytes, abi.lseekIn.offset),
    whence: bytes.readUInt32LE(abi.lseekIn.whence),
  }),
  COPY_FILE_RANGE: nothing,
};

const byNumber: (Opcode | undefined)[] = [];
for (const [name, opcode] of Object.entries(opcodes)) byNumber[opcode] = name as Opcode;

/** @throws MalformedRequest where not even a header is there */
export const parseHead = (bytes: Buffer): RequestHead => {
  if (bytes.length < abi.inHeader.bytes) throw new MalformedRequest('a message shorter than its header');
  return {
    unique: u64(bytes, abi.inHeader.unique),
    nodeid: u64(bytes, abi.inHeader.nodeid),
    uid: bytes.readUInt32LE(abi.inHeader.uid),
    gid: bytes.readUInt32LE(abi.inHeader.gid),
    pid: bytes.readUInt32LE(abi.inHeader.pid),
  };
};

/** @throws MalformedRequest, or RangeError where the body is shorter than its struct */
export const parseRequest = (
  bytes: Buffer,
  head: RequestHead = parseHead(bytes),
): FuseRequest | UnknownRequest => {
  const opcode = bytes.readUInt32LE(abi.inHeader.opcode);
  const op = byNumber[opcode];
  if (op === undefined) return { op: 'UNKNOWN', head, opcode };
  return { op, head, ...bodies[op](bytes.subarray(abi.inHeader.bytes)) } as FuseRequest;
};
