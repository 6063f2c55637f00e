/**
 * The kernel's end of the FUSE protocol: requests to bytes, replies from bytes. The mirror of mount/fuse/request.ts
 * and reply.ts, written from the same abi.ts; it knows no rule of the kernel.
 */
import * as abi from '../mount/fuse/abi.js';
import { putU64 } from '../mount/fuse/reply.js';
import type { LkOwner } from '../wire/ids.js';

export interface KernelReply {
  /** Positive errno; 0: success. */
  readonly error: number;
  readonly body: Buffer;
}

const at = abi.inHeader.bytes;

const message = (opcode: abi.Opcode, nodeid: number, pid: number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(at + bytes);
  buffer.writeUInt32LE(buffer.length, abi.inHeader.len);
  buffer.writeUInt32LE(abi.opcodes[opcode], abi.inHeader.opcode);
  putU64(buffer, nodeid, abi.inHeader.nodeid);
  buffer.writeUInt32LE(pid, abi.inHeader.pid);
  return buffer;
};

const putOwner = (buffer: Buffer, owner: LkOwner, offset: number): void => {
  buffer.writeBigUInt64LE(BigInt(`0x${owner}`), offset);
};

const named = (opcode: abi.Opcode, nodeid: number, pid: number, name: string, bytes = 0): Buffer => {
  const buffer = message(opcode, nodeid, pid, bytes + name.length + 1);
  buffer.write(name, at + bytes, 'latin1');
  return buffer;
};

export const initMessage = (): Buffer => {
  const buffer = message('INIT', 0, 0, abi.initIn.bytes);
  buffer.writeUInt32LE(abi.protocolMajor, at + abi.initIn.major);
  buffer.writeUInt32LE(abi.protocolMinor, at + abi.initIn.minor);
  buffer.writeUInt32LE(1 << 20, at + abi.initIn.maxReadahead);
  const flags = Object.values(abi.initFlags).reduce((all, flag) => all | flag, 0);
  buffer.writeUInt32LE(flags >>> 0, at + abi.initIn.flags);
  return buffer;
};

export const lookupMessage = (nodeid: number, pid: number, name: string): Buffer =>
  named('LOOKUP', nodeid, pid, name);

export const unlinkMessage = (nodeid: number, pid: number, name: string): Buffer =>
  named('UNLINK', nodeid, pid, name);

/** To a name in the root directory. */
export const linkMessage = (nodeid: number, pid: number, name: string): Buffer => {
  const buffer = named('LINK', abi.rootNodeid, pid, name, abi.linkIn.bytes);
  putU64(buffer, nodeid, at + abi.linkIn.oldnodeid);
  return buffer;
};

/** Within the root directory. */
export const renameMessage = (pid: number, from: string, to: string): Buffer => {
  const buffer = named('RENAME', abi.rootNodeid, pid, `${from}\0${to}`, abi.renameIn.bytes);
  putU64(buffer, abi.rootNodeid, at + abi.renameIn.newdir);
  return buffer;
};

export const truncateMessage = (nodeid: number, pid: number, fh: number, size: number): Buffer => {
  const buffer = message('SETATTR', nodeid, pid, abi.setattrIn.bytes);
  buffer.writeUInt32LE(abi.setattrValid.SIZE, at + abi.setattrIn.valid);
  putU64(buffer, fh, at + abi.setattrIn.fh);
  putU64(buffer, size, at + abi.setattrIn.size);
  return buffer;
};

export const setXattrMessage = (nodeid: number, pid: number, name: string, value: Uint8Array): Buffer => {
  const bytes = abi.setxattrIn.bytes + name.length + 1;
  const buffer = message('SETXATTR', nodeid, pid, bytes + value.byteLength);
  buffer.writeUInt32LE(value.byteLength, at + abi.setxattrIn.size);
  buffer.write(name, at + abi.setxattrIn.bytes, 'latin1');
  buffer.set(value, at + bytes);
  return buffer;
};

export const getXattrMessage = (nodeid: number, pid: number, name: string): Buffer => {
  const buffer = named('GETXATTR', nodeid, pid, name, abi.getxattrIn.bytes);
  buffer.writeUInt32LE(1024, at + abi.getxattrIn.size);
  return buffer;
};

export const createMessage = (nodeid: number, pid: number, name: string): Buffer => {
  const buffer = named('CREATE', nodeid, pid, name, abi.createIn.bytes);
  buffer.writeUInt32LE(0o100644, at + abi.createIn.mode);
  return buffer;
};

export const openMessage = (nodeid: number, pid: number): Buffer =>
  message('OPEN', nodeid, pid, abi.openIn.bytes);

/** Whether a handle is opened by it. */
export const isOpening = (message: Buffer): boolean => {
  const opcode = message.readUInt32LE(abi.inHeader.opcode);
  return opcode === abi.opcodes.OPEN || opcode === abi.opcodes.CREATE;
};

export const readMessage = (
  nodeid: number,
  pid: number,
  fh: number,
  offset: number,
  size: number,
): Buffer => {
  const buffer = message('READ', nodeid, pid, abi.readIn.bytes);
  putU64(buffer, fh, at + abi.readIn.fh);
  putU64(buffer, offset, at + abi.readIn.offset);
  buffer.writeUInt32LE(size, at + abi.readIn.size);
  return buffer;
};

export const writeMessage = (
  nodeid: number,
  pid: number,
  fh: number,
  offset: number,
  data: Uint8Array,
): Buffer => {
  const buffer = message('WRITE', nodeid, pid, abi.writeIn.bytes + data.byteLength);
  putU64(buffer, fh, at + abi.writeIn.fh);
  putU64(buffer, offset, at + abi.writeIn.offset);
  buffer.writeUInt32LE(data.byteLength, at + abi.writeIn.size);
  buffer.set(data, at + abi.writeIn.bytes);
  return buffer;
};

export const syncMessage = (nodeid: number, pid: number, fh: number): Buffer => {
  const buffer = message('FSYNC', nodeid, pid, abi.fsyncIn.bytes);
  putU64(buffer, fh, at + abi.fsyncIn.fh);
  return buffer;
};

export const flushMessage = (nodeid: number, pid: number, fh: number, owner: LkOwner): Buffer => {
  const buffer = message('FLUSH', nodeid, pid, abi.flushIn.bytes);
  putU64(buffer, fh, at + abi.flushIn.fh);
  putOwner(buffer, owner, at + abi.flushIn.lockOwner);
  return buffer;
};

export const releaseMessage = (nodeid: number, fh: number): Buffer => {
  const buffer = message('RELEASE', nodeid, 0, abi.releaseIn.bytes);
  putU64(buffer, fh, at + abi.releaseIn.fh);
  return buffer;
};

export interface LockMessage {
  readonly nodeid: number;
  readonly pid: number;
  readonly fh: number;
  readonly owner: LkOwner;
  readonly type: 'read' | 'write' | 'unlock';
  readonly start: bigint;
  readonly end: bigint;
  readonly flock: boolean;
}

const typeNumbers = {
  read: abi.lockTypes.F_RDLCK,
  write: abi.lockTypes.F_WRLCK,
  unlock: abi.lockTypes.F_UNLCK,
};

export const lockMessage = (opcode: 'SETLK' | 'SETLKW' | 'GETLK', lock: LockMessage): Buffer => {
  const buffer = message(opcode, lock.nodeid, lock.pid, abi.lkIn.bytes);
  putU64(buffer, lock.fh, at + abi.lkIn.fh);
  putOwner(buffer, lock.owner, at + abi.lkIn.owner);
  buffer.writeBigUInt64LE(lock.start, at + abi.lkIn.start);
  buffer.writeBigUInt64LE(lock.end, at + abi.lkIn.end);
  buffer.writeUInt32LE(typeNumbers[lock.type], at + abi.lkIn.type);
  buffer.writeUInt32LE(lock.pid, at + abi.lkIn.pid);
  buffer.writeUInt32LE(lock.flock ? abi.FUSE_LK_FLOCK : 0, at + abi.lkIn.lkFlags);
  return buffer;
};

export const interruptMessage = (unique: number): Buffer => {
  const buffer = message('INTERRUPT', 0, 0, abi.interruptIn.bytes);
  putU64(buffer, unique, at + abi.interruptIn.unique);
  return buffer;
};

export const forgetMessage = (nodeid: number, lookups: number): Buffer => {
  const buffer = message('FORGET', nodeid, 0, abi.forgetIn.bytes);
  putU64(buffer, lookups, at + abi.forgetIn.nlookup);
  return buffer;
};

export const putUnique = (buffer: Buffer, unique: number): void =>
  putU64(buffer, unique, abi.inHeader.unique);

const u64 = (bytes: Buffer, offset: number): number => Number(bytes.readBigUInt64LE(offset));

export const replyHead = (head: Buffer): { unique: number; error: number } => ({
  unique: u64(head, abi.outHeader.unique),
  error: -head.readInt32LE(abi.outHeader.error),
});

export const entryOf = (body: Buffer): { nodeid: number; ino: bigint } => ({
  nodeid: u64(body, abi.entryOut.nodeid),
  ino: body.readBigUInt64LE(abi.entryOut.attr + abi.attr.ino),
});

export const openedAfterEntry = (body: Buffer): number => u64(body, abi.entryOut.bytes + abi.openOut.fh);
export const openedOf = (body: Buffer): number => u64(body, abi.openOut.fh);
export const isUnlocked = (body: Buffer): boolean =>
  body.readUInt32LE(abi.lkOut.type) === abi.lockTypes.F_UNLCK;
