/**
 * Open files and their content. Every answer that shows or changes content tells page-cache.ts the file's counter;
 * an open is answered only when the kernel's cache is right for it (close-to-open).
 */
import { Refusal } from '../../wire/errors.js';
import { fileBytesMax } from '../../wire/limits.js';
import * as abi from '../fuse/abi.js';
import { dataReply, okReply, openReply, type Reply, seekReply, writeReply } from '../fuse/reply.js';
import type { RequestOf } from '../fuse/request.js';
import type { Inode } from '../inode-table.js';
import type { OpenFile } from '../open-files.js';
import { dropPrivileges } from './attributes.js';
import type { Context } from './context.js';
import { dropCache } from './refresh.js';

/**
 * A file without names whose end came from another mount: the kernel found it under a name that is gone. ESTALE makes
 * it look the name up again, instead of, say, giving SQLite a journal that was deleted at commit. One that lost its
 * name here can only be reached through /proc/PID/fd, and is opened.
 */
const isGone = (inode: Inode, nlink: number): boolean => nlink === 0 && !inode.removedHere;

/**
 * The kernel always keeps its pages at open (FOPEN_KEEP_CACHE): where they are not right they were dropped before the
 * answer, so that no other process sees them in between. With O_TRUNC the kernel drops them by itself, afterwards;
 * dropping them before would only be waste.
 */
export const open = async (context: Context, request: RequestOf<'OPEN'>): Promise<Reply> => {
  const { flags, openFlags } = request;
  const inode = context.inodes.get(request.head.nodeid);
  const truncate = (flags & abi.O_TRUNC) !== 0;
  if (truncate && (openFlags & abi.FUSE_OPEN_KILL_SUIDGID) !== 0) await dropPrivileges(context, inode);
  const begun = inode.pages.beginWrite();
  const attributes = await context.volume.open(inode.file, truncate);
  if (isGone(inode, attributes.nlink)) {
    await context.volume.release(inode.file, []);
    throw new Refusal('ESTALE', 'the file was removed on another mount');
  }
  const file = context.files.open(inode, flags);
  if (truncate) inode.pages.writeAnswered(begun, attributes.change);
  else if (!inode.pages.isCurrent(attributes.change)) await dropCache(context, inode, attributes.change);
  return openReply(file.fh, abi.FOPEN_KEEP_CACHE);
};

const checkRange = (offset: number, length: number): void => {
  if (offset + length > fileBytesMax) throw new Refusal('EFBIG');
};

export const read = (context: Context, { fh, offset, size }: RequestOf<'READ'>): Promise<Reply> => {
  const { inode } = context.files.file(fh);
  if (offset > fileBytesMax) throw new Refusal('EINVAL');
  return context.volume.read(inode.file, offset, size).then(({ data, change }) => {
    inode.pages.readAnswered(change);
    return dataReply(data);
  });
};

/**
 * The kernel appends at the size that it has in mind. Where another mount cut the file that is too far, and the bytes
 * go to the end that the file has. The kernel then holds them at the wrong place, so the write raises no counter.
 */
const placeOf = (file: OpenFile, offset: number): number => {
  const { cutTo } = file.inode;
  return file.append && cutTo !== undefined && offset > cutTo ? cutTo : offset;
};

export const write = (context: Context, request: RequestOf<'WRITE'>): Promise<Reply> => {
  const file = context.files.file(request.fh);
  const { inode } = file;
  const { data } = request;
  const offset = placeOf(file, request.offset);
  checkRange(offset, data.byteLength);
  const send = () => {
    const begun = inode.pages.beginWrite();
    return context.volume.write(inode.file, offset, data).then(({ change, size }) => {
      if (inode.cutTo !== undefined) inode.cutTo = size;
      if (offset === request.offset) inode.pages.writeAnswered(begun, change);
      return writeReply(data.byteLength);
    });
  };
  if ((request.writeFlags & abi.FUSE_WRITE_KILL_SUIDGID) === 0) return send();
  const dropped = dropPrivileges(context, inode);
  return dropped === undefined ? send() : dropped.then(send);
};

export const sync = (context: Context, { fh }: RequestOf<'FSYNC'>): Promise<Reply> =>
  context.volume.sync(context.files.file(fh).inode.file).then(okReply);

export const allocate = (context: Context, request: RequestOf<'FALLOCATE'>): Promise<Reply> => {
  const { offset, length, mode } = request;
  const { inode } = context.files.file(request.fh);
  const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = abi.fallocateModes;
  if ((mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) !== 0) throw new Refusal('EOPNOTSUPP');
  checkRange(offset, length);
  const how = (mode & PUNCH_HOLE) !== 0 ? 'punch' : (mode & ZERO_RANGE) !== 0 ? 'zero' : 'allocate';
  const begun = inode.pages.beginWrite();
  return context.volume
    .allocate(inode.file, offset, length, how, (mode & KEEP_SIZE) !== 0)
    .then(({ change }) => {
      inode.pages.writeAnswered(begun, change);
      return okReply();
    });
};

export const seek = (context: Context, { fh, offset, whence }: RequestOf<'LSEEK'>): Promise<Reply> => {
  const { inode } = context.files.file(fh);
  if (whence !== abi.SEEK_DATA && whence !== abi.SEEK_HOLE) throw new Refusal('EINVAL');
  if (offset > fileBytesMax) throw new Refusal('ENXIO');
  return context.volume.seek(inode.file, offset, whence === abi.SEEK_DATA ? 'data' : 'hole').then(seekReply);
};
