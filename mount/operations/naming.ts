/**
 * Names: lookup, making, removing and renaming of inodes, and reading of directories. The kernel has checked
 * permissions (default_permissions) and applied the umask; what is left to decide here is who owns a new inode.
 */

import type { NewInode } from '../../dht/volume.js';
import { asRefusal, Refusal } from '../../wire/errors.js';
import type { ByteText } from '../../wire/ids.js';
import { bytesOfByteText } from '../../wire/ids.js';
import type { Attributes, DirEntry, FileType } from '../../wire/messages.js';
import * as abi from '../fuse/abi.js';
import {
  createReply,
  DirectoryPage,
  dataReply,
  entryReply,
  fileTypeOf,
  inodeNumber,
  okReply,
  openReply,
  type Reply,
} from '../fuse/reply.js';
import type { RequestHead, RequestOf } from '../fuse/request.js';
import type { Inode } from '../inode-table.js';
import type { Context } from './context.js';
import { dropCache } from './refresh.js';

const entered = (context: Context, parent: Inode, name: ByteText, attributes: Attributes): Reply => {
  const inode = context.inodes.enter(attributes);
  context.inodes.named(parent, name, inode);
  return entryReply(inode.nodeid, attributes, context.times);
};

/** A directory with the set-group-ID bit gives its group to what is made in it, and the bit to directories (inode_init_owner). */
const newInode = (
  parent: Inode,
  head: RequestHead,
  type: FileType,
  mode: number,
  more: { rdev?: number; symlink?: ByteText } = {},
): NewInode => {
  const inherits = parent.seen !== undefined && (parent.seen.mode & abi.S_ISGID) !== 0;
  return {
    type,
    mode: (mode & 0o7777) | (inherits && type === 'dir' ? abi.S_ISGID : 0),
    uid: head.uid,
    gid: inherits ? parent.seen!.gid : head.gid,
    rdev: more.rdev ?? 0,
    symlink: more.symlink,
  };
};

export const lookup = (context: Context, { head, name }: RequestOf<'LOOKUP'>): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  return context.volume
    .lookup(parent.file, name)
    .then((attributes) => entered(context, parent, name, attributes));
};

export const forget = (context: Context, { head, nlookup }: RequestOf<'FORGET'>): undefined => {
  context.inodes.forget(head.nodeid, nlookup);
};

export const batchForget = (context: Context, { forgets }: RequestOf<'BATCH_FORGET'>): undefined => {
  for (const { nodeid, nlookup } of forgets) context.inodes.forget(nodeid, nlookup);
};

export const makeDirectory = (context: Context, { head, mode, name }: RequestOf<'MKDIR'>): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  return context.volume
    .makeDirectory(parent.file, name, newInode(parent, head, 'dir', mode))
    .then((attributes) => entered(context, parent, name, attributes));
};

const createExclusive = (context: Context, parent: Inode, name: ByteText, inode: NewInode): Promise<Reply> =>
  context.volume
    .create(parent.file, name, inode, { exclusive: true, open: false })
    .then(({ attributes }) => entered(context, parent, name, attributes));

export const makeNode = (
  context: Context,
  { head, mode, rdev, name }: RequestOf<'MKNOD'>,
): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  const type = fileTypeOf(mode);
  if (type === undefined || type === 'dir' || type === 'symlink') throw new Refusal('EINVAL');
  return createExclusive(context, parent, name, newInode(parent, head, type, mode, { rdev }));
};

export const makeSymlink = (
  context: Context,
  { head, name, target }: RequestOf<'SYMLINK'>,
): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  const inode = newInode(parent, head, 'symlink', 0o777, { symlink: target });
  return createExclusive(context, parent, name, inode);
};

/** May this caller open a file that it believed it was about to make? Groups are not known here, so they do not count. */
const mayOpenExisting = (head: RequestHead, attributes: Attributes): boolean =>
  head.uid === 0 || head.uid === attributes.uid || (attributes.mode & 0o006) === 0o006;

/**
 * open(O_CREAT) of a name that the kernel did not find. Where somebody else made it in the meantime, the kernel has
 * not checked that file's mode: ESTALE makes it look the name up again and open it in the ordinary way.
 */
export const create = async (context: Context, request: RequestOf<'CREATE'>): Promise<Reply> => {
  const { head, flags, name } = request;
  const { volume } = context;
  const parent = context.inodes.get(head.nodeid);
  const options = { exclusive: (flags & abi.O_EXCL) !== 0, open: true };
  const inode = newInode(parent, head, 'file', request.mode);
  const { created, attributes } = await volume.create(parent.file, name, inode, options);
  const now = created
    ? attributes
    : await takeExisting(context, head, attributes, (flags & abi.O_TRUNC) !== 0);
  const entry = context.inodes.enter(now);
  context.inodes.named(parent, name, entry);
  const file = context.files.open(entry, flags);
  if (!entry.pages.isCurrent(now.change)) await dropCache(context, entry, now.change);
  return createReply(entry.nodeid, now, context.times, file.fh, abi.FOPEN_KEEP_CACHE);
};

/** The volume has counted an open of this file: it is taken back where the answer is no. */
const takeExisting = async (
  context: Context,
  head: RequestHead,
  attributes: Attributes,
  truncate: boolean,
): Promise<Attributes> => {
  const { volume } = context;
  try {
    if (!mayOpenExisting(head, attributes))
      throw new Refusal('ESTALE', 'another mount made this file at the same time');
    return truncate ? await volume.changeAttributes(attributes.file, { size: 0 }) : attributes;
  } catch (error) {
    await volume.release(attributes.file, []);
    throw error;
  }
};

const remove = (context: Context, parent: Inode, name: ByteText, removal: Promise<void>): Promise<Reply> =>
  removal.then(() => {
    context.inodes.removed(parent, name);
    return okReply();
  });

export const unlink = (context: Context, { head, name }: RequestOf<'UNLINK'>): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  const child = parent.children?.get(name);
  // The kernel has just looked the name up; so has this mount, as a rule.
  const believed = child?.seen?.type === 'dir' ? undefined : child?.file;
  return remove(context, parent, name, context.volume.unlink(parent.file, name, believed));
};

export const removeDirectory = (context: Context, { head, name }: RequestOf<'RMDIR'>): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  return remove(context, parent, name, context.volume.removeDirectory(parent.file, name));
};

export const rename = (
  context: Context,
  { head, newdir, flags, name, newName }: RequestOf<'RENAME'> | RequestOf<'RENAME2'>,
): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  const newParent = context.inodes.get(newdir);
  if ((flags & ~abi.RENAME_NOREPLACE) !== 0)
    throw new Refusal('EINVAL', 'names cannot be exchanged, nor whiteouts left');
  const noReplace = (flags & abi.RENAME_NOREPLACE) !== 0;
  return context.volume.rename(parent.file, name, newParent.file, newName, noReplace).then(() => {
    context.inodes.renamed(parent, name, newParent, newName);
    return okReply();
  });
};

export const link = (context: Context, { head, oldnodeid, name }: RequestOf<'LINK'>): Promise<Reply> => {
  const parent = context.inodes.get(head.nodeid);
  const inode = context.inodes.get(oldnodeid);
  return context.volume
    .link(inode.file, parent.file, name)
    .then((attributes) => entered(context, parent, name, attributes));
};

export const readSymlink = (context: Context, { head }: RequestOf<'READLINK'>): Promise<Reply> =>
  context.volume
    .readSymlink(context.inodes.get(head.nodeid).file)
    .then((target) => dataReply(bytesOfByteText(target)));

export const openDirectory = (context: Context, { head }: RequestOf<'OPENDIR'>): Reply =>
  openReply(context.files.openDirectory(context.inodes.get(head.nodeid)).fh, 0);

export const releaseDirectory = (context: Context, { fh }: RequestOf<'RELEASEDIR'>): Reply => {
  context.files.closeDirectory(fh);
  return okReply();
};

const addPlus = (
  context: Context,
  page: DirectoryPage,
  parent: Inode,
  entry: DirEntry,
  next: number,
): boolean => {
  const { attributes, name } = entry;
  if (attributes === undefined) return page.add(name, inodeNumber(entry.file), entry.type, next, 'name only');
  // Counted as a lookup only if the kernel gets to see it.
  const inode = context.inodes.enter(attributes);
  const plus = { nodeid: inode.nodeid, attributes, times: context.times };
  if (page.add(name, inodeNumber(entry.file), entry.type, next, plus)) {
    context.inodes.named(parent, name, inode);
    return true;
  }
  context.inodes.forget(inode.nodeid, 1);
  return false;
};

/** Positions: 1 after `.`, 2 after `..`, 3 + n after the n-th entry of the listing. */
export const readDirectory = async (
  context: Context,
  { op, fh, offset, size }: RequestOf<'READDIR'> | RequestOf<'READDIRPLUS'>,
): Promise<Reply> => {
  const directory = context.files.directory(fh);
  const { inode } = directory;
  if (offset === 0 || directory.listing === undefined) {
    directory.listing = context.volume.listDirectory(inode.file);
    directory.listing.catch(() => {
      directory.listing = undefined;
    });
  }
  const listing = await directory.listing;
  const plus = op === 'READDIRPLUS';
  const dot = plus ? 'name only' : undefined;
  const page = new DirectoryPage(size);
  if (offset < 1 && !page.add('.', inodeNumber(inode.file), 'dir', 1, dot)) return page.reply();
  const parentFile = inode.parent?.file ?? inode.file;
  if (offset < 2 && !page.add('..', inodeNumber(parentFile), 'dir', 2, dot)) return page.reply();
  for (let at = Math.max(offset - 2, 0); at < listing.length; at++) {
    const entry = listing[at]!;
    const fits = plus
      ? addPlus(context, page, inode, entry, at + 3)
      : page.add(entry.name, inodeNumber(entry.file), entry.type, at + 3);
    if (!fits) break;
  }
  return page.reply();
};

/** Names are durable against a crash of a brick when they are answered; this asks for more: a loss of power. */
export const syncDirectory = (context: Context, { head }: RequestOf<'FSYNCDIR'>): Promise<Reply> =>
  context.volume.sync(context.inodes.get(head.nodeid).file).then(okReply, (error) => {
    if (asRefusal(error)?.code === 'EINVAL') return okReply();
    throw error;
  });
