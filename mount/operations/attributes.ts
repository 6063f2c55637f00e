/**
 * Attributes, extended attributes and the space of the volume.
 *
 * The kernel left the clearing of set-user-ID and set-group-ID bits to this mount (FUSE_HANDLE_KILLPRIV_V2), because
 * otherwise it would ask for `security.capability` before every write. File capabilities are refused altogether.
 */

import type { AttributeChange } from '../../dht/volume.js';
import { Refusal } from '../../wire/errors.js';
import { type ByteText, bytesOfByteText } from '../../wire/ids.js';
import { fileBytesMax, xattrNameBytesMax, xattrValueBytesMax } from '../../wire/limits.js';
import * as abi from '../fuse/abi.js';
import { attrReply, dataReply, okReply, type Reply, sizeReply, statfsReply } from '../fuse/reply.js';
import type { RequestOf } from '../fuse/request.js';
import type { Inode } from '../inode-table.js';
import type { Context } from './context.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export const getAttributes = (context: Context, { head }: RequestOf<'GETATTR'>): Promise<Reply> => {
  const inode = context.inodes.get(head.nodeid);
  // The kernel asks after each name that came or went. The volume and the kernel share the time of the answer.
  const ageMsMax = inode.seen?.type === 'dir' ? context.times.attributesMs / 2 : 0;
  return context.volume.attributes(inode.file, ageMsMax).then((attributes) => {
    context.inodes.see(inode, attributes);
    const { times } = context;
    return attrReply(
      attributes,
      ageMsMax === 0 ? times : { ...times, attributesMs: Math.max(0, times.attributesMs - ageMsMax) },
    );
  });
};

/** The mode without the bits that a write or chown by somebody else takes away; undefined where nothing changes. */
export const modeWithoutPrivileges = (mode: number): number | undefined => {
  const drop =
    abi.S_ISUID | ((mode & (abi.S_ISGID | abi.S_IXGRP)) === (abi.S_ISGID | abi.S_IXGRP) ? abi.S_ISGID : 0);
  return (mode & drop) === 0 ? undefined : mode & ~drop;
};

/** Before content changes by a caller without CAP_FSETID: the file's privileges go. */
export const dropPrivileges = (context: Context, inode: Inode): Promise<void> | undefined => {
  const mode = inode.seen === undefined ? undefined : modeWithoutPrivileges(inode.seen.mode);
  if (mode === undefined) return undefined;
  return context.volume.changeAttributes(inode.file, { mode }).then((attributes) => {
    inode.seen = attributes;
  });
};

const wantedChange = (request: RequestOf<'SETATTR'>): Writable<AttributeChange> => {
  const { valid } = request;
  const change: Writable<AttributeChange> = {};
  if ((valid & abi.setattrValid.MODE) !== 0) change.mode = request.mode & 0o7777;
  if ((valid & abi.setattrValid.UID) !== 0) change.uid = request.uid;
  if ((valid & abi.setattrValid.GID) !== 0) change.gid = request.gid;
  if ((valid & abi.setattrValid.SIZE) !== 0) change.size = request.size;
  if ((valid & abi.setattrValid.ATIME_NOW) !== 0) change.atimeNs = 'now';
  else if ((valid & abi.setattrValid.ATIME) !== 0) change.atimeNs = request.atimeNs;
  if ((valid & abi.setattrValid.MTIME_NOW) !== 0) change.mtimeNs = 'now';
  else if ((valid & abi.setattrValid.MTIME) !== 0) change.mtimeNs = request.mtimeNs;
  return change;
};

export const setAttributes = async (context: Context, request: RequestOf<'SETATTR'>): Promise<Reply> => {
  const inode = context.inodes.get(request.head.nodeid);
  const change = wantedChange(request);
  if (change.size !== undefined && change.size > fileBytesMax) throw new Refusal('EFBIG');
  const chown = change.uid !== undefined || change.gid !== undefined;
  const truncates = (request.valid & abi.setattrValid.KILL_SUIDGID) !== 0;
  if ((chown || truncates) && change.mode === undefined) {
    const now = await context.volume.attributes(inode.file);
    const mode = now.type === 'dir' ? undefined : modeWithoutPrivileges(now.mode);
    if (mode !== undefined) change.mode = mode;
  }
  const begun = inode.pages.beginWrite();
  const attributes = await context.volume.changeAttributes(inode.file, change);
  if (change.size !== undefined) inode.pages.writeAnswered(begun, attributes.change);
  context.inodes.see(inode, attributes);
  return attrReply(attributes, context.times);
};

export const statfs = (context: Context): Promise<Reply> => context.volume.space().then(statfsReply);

/** `system.` is for ACLs, which are not supported; the kernel's own answer to that is EOPNOTSUPP. */
const checkXattrName = (name: ByteText): void => {
  if (name.length > xattrNameBytesMax) throw new Refusal('ERANGE');
  if (name.startsWith('system.')) throw new Refusal('EOPNOTSUPP');
};

/** A value, or its size where the caller asks with no room for it. */
const sized = (value: Uint8Array, room: number): Reply => {
  if (room === 0) return sizeReply(value.byteLength);
  if (value.byteLength > room) throw new Refusal('ERANGE');
  return dataReply(value);
};

export const getXattr = (context: Context, { head, size, name }: RequestOf<'GETXATTR'>): Promise<Reply> => {
  checkXattrName(name);
  if (name === 'security.capability') throw new Refusal('ENODATA');
  const inode = context.inodes.get(head.nodeid);
  return context.volume.getXattr(inode.file, name).then((value) => sized(value, size));
};

export const setXattr = (context: Context, request: RequestOf<'SETXATTR'>): Promise<Reply> => {
  const { head, flags, name, value } = request;
  checkXattrName(name);
  if (name === 'security.capability') throw new Refusal('EOPNOTSUPP', 'file capabilities are not supported');
  if (value.byteLength > xattrValueBytesMax) throw new Refusal('ERANGE');
  const expect =
    (flags & abi.XATTR_CREATE) !== 0 ? 'absent' : (flags & abi.XATTR_REPLACE) !== 0 ? 'present' : 'any';
  return context.volume.setXattr(context.inodes.get(head.nodeid).file, name, value, expect).then(okReply);
};

export const listXattrs = (context: Context, { head, size }: RequestOf<'LISTXATTR'>): Promise<Reply> =>
  context.volume
    .listXattrs(context.inodes.get(head.nodeid).file)
    .then((names) => sized(bytesOfByteText(names.map((name) => `${name}\0`).join('') as ByteText), size));

export const removeXattr = (context: Context, { head, name }: RequestOf<'REMOVEXATTR'>): Promise<Reply> => {
  checkXattrName(name);
  return context.volume.removeXattr(context.inodes.get(head.nodeid).file, name).then(okReply);
};
