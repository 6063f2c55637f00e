/**
 * The rival: files in memory through fuse-native 2.2.6, in a process of its own. It has no lock operation, so the
 * kernel keeps all locks to itself and nothing of them is ever asked here.
 *
 *     node fuse-native-rival.js MOUNTPOINT        says "mounted"; serves until SIGTERM
 *
 * Run by contestants.ts, which also gives it a libfuse.so.2 to load.
 */
import Fuse, { type Operations, type Stat } from 'fuse-native';

interface File {
  readonly mode: number;
  content: Buffer;
  size: number;
}

const files = new Map<string, File>();
const open = new Map<number, File>();
let nextFd = 1;

const statOf = (mode: number, size: number): Stat => {
  const time = new Date(0);
  return { mode, size, nlink: 1, mtime: time, atime: time, ctime: time };
};

const opened = (file: File): number => {
  open.set(nextFd, file);
  return nextFd++;
};

const grow = (file: File, size: number): void => {
  if (size > file.content.length) {
    const content = Buffer.alloc(Math.max(size, 2 * file.content.length));
    file.content.copy(content, 0, 0, file.size);
    file.content = content;
  }
  file.size = Math.max(file.size, size);
};

const operations: Operations = {
  getattr(path, done) {
    const file = files.get(path);
    if (path === '/') done(0, statOf(0o040777, 0));
    else if (file === undefined) done(Fuse.ENOENT);
    else done(0, statOf(file.mode, file.size));
  },
  readdir(_path, done) {
    done(
      0,
      [...files.keys()].map((path) => path.slice(1)),
    );
  },
  open(path, _flags, done) {
    const file = files.get(path);
    if (file === undefined) done(Fuse.ENOENT);
    else done(0, opened(file));
  },
  create(path, mode, done) {
    const file = { mode: 0o100000 | (mode & 0o7777), content: Buffer.alloc(0), size: 0 };
    files.set(path, file);
    done(0, opened(file));
  },
  read(_path, fd, into, length, offset, done) {
    const file = open.get(fd)!;
    done(file.content.copy(into, 0, offset, Math.min(offset + length, file.size)));
  },
  write(_path, fd, bytes, length, offset, done) {
    const file = open.get(fd)!;
    grow(file, offset + length);
    bytes.copy(file.content, offset, 0, length);
    done(length);
  },
  release(_path, fd, done) {
    open.delete(fd);
    done(0);
  },
  /** libfuse 2 renames what is deleted while it is open (hide_node), and the last close comes after close(2). */
  rename(from, to, done) {
    const file = files.get(from);
    if (file === undefined) done(Fuse.ENOENT);
    else {
      files.delete(from);
      files.set(to, file);
      done(0);
    }
  },
  unlink(path, done) {
    done(files.delete(path) ? 0 : Fuse.ENOENT);
  },
};

const fuse = new Fuse(process.argv[2]!, operations);
fuse.mount((error) => {
  if (error !== null) {
    console.error(error.message);
    process.exit(1);
  }
  console.log('mounted');
});
process.once('SIGTERM', () => {
  fuse.unmount((error) => process.exit(error === null ? 0 : 1));
});
