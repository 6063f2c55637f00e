/**
 * The rival: files in memory through fuse-native 2.2.6, in a process of its own. It has no lock operation, so the
 * kernel keeps all locks to itself and nothing of them is ever asked here.
 *
 *     node fuse-native-rival.js MOUNTPOINT...        the same files at each; says "mounted"; serves until SIGTERM
 *
 * Names are whole paths, and a hard link would be a copy, so there is none. Run by contestants.ts, which also gives it
 * a libfuse.so.2 to load, and by the test of `lockferry check` on locks that end at the mount.
 */
import Fuse, { type Operations, type Stat } from 'fuse-native';

interface File {
  mode: number;
  content: Buffer;
  size: number;
  mtime: Date;
}

const isDirectory = ({ mode }: File): boolean => (mode & 0o170000) === 0o040000;
const newFile = (mode: number): File => ({ mode, content: Buffer.alloc(0), size: 0, mtime: new Date() });

const files = new Map<string, File>([['/', newFile(0o040777)]]);
const open = new Map<number, File>();
let nextFd = 1;

const statOf = ({ mode, size, mtime }: File): Stat => ({
  mode,
  size,
  nlink: 1,
  mtime,
  atime: mtime,
  ctime: mtime,
});

const opened = (file: File): number => {
  open.set(nextFd, file);
  return nextFd++;
};

/** Bytes between the old end and the new one read as 0. */
const resize = (file: File, size: number): void => {
  if (size > file.content.length) {
    const content = Buffer.alloc(Math.max(size, 2 * file.content.length));
    file.content.copy(content, 0, 0, file.size);
    file.content = content;
  }
  if (size < file.size) file.content.fill(0, size, file.size);
  file.size = size;
};

const below = (path: string): string => (path === '/' ? '/' : `${path}/`);
const namesIn = (directory: string): string[] => {
  const start = below(directory);
  return [...files.keys()]
    .filter((path) => path !== '/' && path.startsWith(start) && !path.slice(start.length).includes('/'))
    .map((path) => path.slice(start.length));
};

/** Calls `change` with the file, or answers that there is none. */
const onFile = (path: string, done: (code: number) => void, change: (file: File) => void): void => {
  const file = files.get(path);
  if (file === undefined) done(Fuse.ENOENT);
  else {
    change(file);
    done(0);
  }
};

const names: Operations = {
  getattr(path, done) {
    const file = files.get(path);
    if (file === undefined) done(Fuse.ENOENT);
    else done(0, statOf(file));
  },
  fgetattr(_path, fd, done) {
    done(0, statOf(open.get(fd)!));
  },
  readdir(path, done) {
    done(0, namesIn(path));
  },
  mkdir(path, mode, done) {
    files.set(path, newFile(0o040000 | (mode & 0o7777)));
    done(0);
  },
  rmdir(path, done) {
    if (namesIn(path).length > 0) done(Fuse.ENOTEMPTY);
    else done(files.delete(path) ? 0 : Fuse.ENOENT);
  },
  chmod(path, mode, done) {
    onFile(path, done, (file) => {
      file.mode = (file.mode & 0o170000) | (mode & 0o7777);
    });
  },
  utimens(path, _atime, mtime, done) {
    onFile(path, done, (file) => {
      file.mtime = new Date(mtime);
    });
  },
  /** libfuse 2 renames what is deleted while it is open (hide_node), and the last close comes after close(2). */
  rename(from, to, done) {
    onFile(from, done, (file) => {
      files.delete(from);
      files.set(to, file);
      if (!isDirectory(file)) return;
      for (const [path, inside] of [...files]) {
        if (!path.startsWith(below(from))) continue;
        files.delete(path);
        files.set(below(to) + path.slice(below(from).length), inside);
      }
    });
  },
  unlink(path, done) {
    done(files.delete(path) ? 0 : Fuse.ENOENT);
  },
};

const content: Operations = {
  open(path, _flags, done) {
    const file = files.get(path);
    if (file === undefined) done(Fuse.ENOENT);
    else done(0, opened(file));
  },
  create(path, mode, done) {
    const file = newFile(0o100000 | (mode & 0o7777));
    files.set(path, file);
    done(0, opened(file));
  },
  read(_path, fd, into, length, offset, done) {
    const file = open.get(fd)!;
    done(offset >= file.size ? 0 : file.content.copy(into, 0, offset, Math.min(offset + length, file.size)));
  },
  write(_path, fd, bytes, length, offset, done) {
    const file = open.get(fd)!;
    if (offset + length > file.size) resize(file, offset + length);
    bytes.copy(file.content, offset, 0, length);
    file.mtime = new Date();
    done(length);
  },
  truncate(path, size, done) {
    onFile(path, done, (file) => resize(file, size));
  },
  ftruncate(_path, fd, size, done) {
    resize(open.get(fd)!, size);
    done(0);
  },
  release(_path, fd, done) {
    open.delete(fd);
    done(0);
  },
};

const mounts = process.argv.slice(2).map((point) => new Fuse(point, { ...names, ...content }));
let mounted = 0;
for (const mount of mounts)
  mount.mount((error) => {
    if (error !== null) {
      console.error(error.message);
      process.exit(1);
    }
    mounted++;
    if (mounted === mounts.length) console.log('mounted');
  });
process.once('SIGTERM', () => {
  let failed = 0;
  let left = mounts.length;
  for (const mount of mounts)
    mount.unmount((error) => {
      if (error !== null) failed++;
      left--;
      if (left === 0) process.exit(failed === 0 ? 0 : 1);
    });
});
