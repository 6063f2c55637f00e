/**
 * The one table of operations: opcode > what it means. A missing row is a compile error. What is refused here with
 * ENOSYS the kernel does by itself from then on, and does not ask again.
 */
import { Refusal } from '../../wire/errors.js';
import type { Opcode } from '../fuse/abi.js';
import type { RequestOf } from '../fuse/request.js';
import type { Call, OperationRequest, Performed, SessionOpcode } from '../fuse/session.js';
import * as attributes from './attributes.js';
import * as content from './content.js';
import type { Context } from './context.js';
import * as locking from './locking.js';
import * as naming from './naming.js';

type Operation<O extends Opcode> = (context: Context, request: RequestOf<O>, call: Call) => Performed;

const notHere = (): never => {
  throw new Refusal('ENOSYS');
};

export const operations: { readonly [O in Exclude<Opcode, SessionOpcode>]: Operation<O> } = {
  LOOKUP: naming.lookup,
  FORGET: naming.forget,
  BATCH_FORGET: naming.batchForget,
  MKNOD: naming.makeNode,
  MKDIR: naming.makeDirectory,
  SYMLINK: naming.makeSymlink,
  CREATE: naming.create,
  LINK: naming.link,
  UNLINK: naming.unlink,
  RMDIR: naming.removeDirectory,
  RENAME: naming.rename,
  RENAME2: naming.rename,
  READLINK: naming.readSymlink,
  OPENDIR: naming.openDirectory,
  READDIR: naming.readDirectory,
  READDIRPLUS: naming.readDirectory,
  RELEASEDIR: naming.releaseDirectory,
  FSYNCDIR: naming.syncDirectory,

  GETATTR: attributes.getAttributes,
  SETATTR: attributes.setAttributes,
  STATFS: attributes.statfs,
  GETXATTR: attributes.getXattr,
  SETXATTR: attributes.setXattr,
  LISTXATTR: attributes.listXattrs,
  REMOVEXATTR: attributes.removeXattr,

  OPEN: content.open,
  READ: content.read,
  WRITE: content.write,
  FSYNC: content.sync,
  FALLOCATE: content.allocate,
  LSEEK: content.seek,

  GETLK: locking.getLock,
  SETLK: locking.setLock,
  SETLKW: locking.setLock,
  FLUSH: locking.flush,
  RELEASE: locking.release,

  // The kernel checks modes (default_permissions).
  ACCESS: notHere,
  // The kernel reads and writes instead.
  COPY_FILE_RANGE: notHere,
  BMAP: notHere,
  IOCTL: notHere,
  POLL: notHere,
};

export const perform = (context: Context, request: OperationRequest, call: Call): Performed =>
  (operations[request.op] as Operation<Opcode>)(context, request as RequestOf<Opcode>, call);
