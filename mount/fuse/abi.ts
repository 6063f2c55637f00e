/**
 * The bytes of the kernel's FUSE protocol: opcodes, flags and the offset of each field, with the kernel's own names
 * (include/uapi/linux/fuse.h, protocol 7.31 and later). Nothing here has a meaning; request.ts and reply.ts read and
 * write messages with it, and its test compares it with the header of the machine.
 */

export const protocolMajor = 7;
/** What this mount speaks. The kernel uses the smaller of both minors; below `minorMin` fields are missing. */
export const protocolMinor = 40;
export const protocolMinorMin = 31;

export const opcodes = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
} as const;

export type Opcode = keyof typeof opcodes;

export const rootNodeid = 1;

/** Structs are written as field > offset, with `bytes` as their size. */
export const inHeader = {
  len: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
  bytes: 40,
} as const;
export const outHeader = { len: 0, error: 4, unique: 8, bytes: 16 } as const;

export const attr = {
  ino: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimensec: 48,
  mtimensec: 52,
  ctimensec: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
  bytes: 88,
} as const;

export const entryOut = {
  nodeid: 0,
  generation: 8,
  entryValid: 16,
  attrValid: 24,
  entryValidNsec: 32,
  attrValidNsec: 36,
  attr: 40,
  bytes: 128,
} as const;
export const attrOut = { attrValid: 0, attrValidNsec: 8, attr: 16, bytes: 104 } as const;

export const initIn = { major: 0, minor: 4, maxReadahead: 8, flags: 12, bytes: 16 } as const;
export const initOut = {
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  maxBackground: 16,
  congestionThreshold: 18,
  maxWrite: 20,
  timeGran: 24,
  maxPages: 28,
  bytes: 64,
} as const;

export const forgetIn = { nlookup: 0, bytes: 8 } as const;
export const batchForgetIn = { count: 0, bytes: 8 } as const;
export const forgetOne = { nodeid: 0, nlookup: 8, bytes: 16 } as const;
export const getattrIn = { getattrFlags: 0, fh: 8, bytes: 16 } as const;
export const setattrIn = {
  valid: 0,
  fh: 8,
  size: 16,
  lockOwner: 24,
  atime: 32,
  mtime: 40,
  atimensec: 56,
  mtimensec: 60,
  mode: 68,
  uid: 76,
  gid: 80,
  bytes: 88,
} as const;
export const mknodIn = { mode: 0, rdev: 4, umask: 8, bytes: 16 } as const;
export const mkdirIn = { mode: 0, umask: 4, bytes: 8 } as const;
export const renameIn = { newdir: 0, bytes: 8 } as const;
export const rename2In = { newdir: 0, flags: 8, bytes: 16 } as const;
export const linkIn = { oldnodeid: 0, bytes: 8 } as const;
export const openIn = { flags: 0, openFlags: 4, bytes: 8 } as const;
export const openOut = { fh: 0, openFlags: 8, bytes: 16 } as const;
export const createIn = { flags: 0, mode: 4, umask: 8, openFlags: 12, bytes: 16 } as const;
export const releaseIn = { fh: 0, flags: 8, releaseFlags: 12, lockOwner: 16, bytes: 24 } as const;
export const flushIn = { fh: 0, lockOwner: 16, bytes: 24 } as const;
export const readIn = {
  fh: 0,
  offset: 8,
  size: 16,
  readFlags: 20,
  lockOwner: 24,
  flags: 32,
  bytes: 40,
} as const;
export const writeIn = {
  fh: 0,
  offset: 8,
  size: 16,
  writeFlags: 20,
  lockOwner: 24,
  flags: 32,
  bytes: 40,
} as const;
export const writeOut = { size: 0, bytes: 8 } as const;
export const statfsOut = {
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
  bytes: 80,
} as const;
export const fsyncIn = { fh: 0, fsyncFlags: 8, bytes: 16 } as const;
/** The short form: FUSE_SETXATTR_EXT is not taken at INIT. */
export const setxattrIn = { size: 0, flags: 4, bytes: 8 } as const;
export const getxattrIn = { size: 0, bytes: 8 } as const;
export const getxattrOut = { size: 0, bytes: 8 } as const;
export const lkIn = {
  fh: 0,
  owner: 8,
  start: 16,
  end: 24,
  type: 32,
  pid: 36,
  lkFlags: 40,
  bytes: 48,
} as const;
export const lkOut = { start: 0, end: 8, type: 16, pid: 20, bytes: 24 } as const;
export const interruptIn = { unique: 0, bytes: 8 } as const;
export const fallocateIn = { fh: 0, offset: 8, length: 16, mode: 24, bytes: 32 } as const;
export const lseekIn = { fh: 0, offset: 8, whence: 16, bytes: 24 } as const;
export const lseekOut = { offset: 0, bytes: 8 } as const;
export const dirent = { ino: 0, off: 8, namelen: 16, type: 20, name: 24 } as const;
/** fuse_direntplus is an entryOut followed by a dirent; both forms are padded to 8 bytes. */
export const direntplus = { entry: 0, dirent: 128, name: 152 } as const;

export const notifyCodes = { INVAL_INODE: 2, INVAL_ENTRY: 3, STORE: 4 } as const;
export const notifyInvalInodeOut = { ino: 0, off: 8, len: 16, bytes: 24 } as const;
export const notifyStoreOut = { nodeid: 0, offset: 8, size: 16, bytes: 24 } as const;

export const initFlags = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  FLOCK_LOCKS: 1 << 10,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  HANDLE_KILLPRIV_V2: 1 << 28,
} as const;

export const setattrValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const;

export const FOPEN_KEEP_CACHE = 1 << 1;
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0;
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
export const FUSE_LK_FLOCK = 1 << 0;

/** Linux, all architectures that Node runs on: fcntl.h, stat.h, falloc.h, xattr.h, fs.h. */
export const O_ACCMODE = 0o3;
export const O_RDWR = 0o2;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const lockTypes = { F_RDLCK: 0, F_WRLCK: 1, F_UNLCK: 2 } as const;
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
export const RENAME_NOREPLACE = 1;
export const fallocateModes = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const S_IFMT = 0o170000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_IXGRP = 0o10;
