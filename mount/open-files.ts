/**
 * The files and directories that are open through this mount: handle numbers, the owners that locked through each,
 * and the listing that a directory's reader walks through.
 */
import { Refusal } from '../wire/errors.js';
import type { LkOwner } from '../wire/ids.js';
import type { DirEntry } from '../wire/messages.js';
import { O_ACCMODE, O_APPEND, O_RDWR } from './fuse/abi.js';
import type { Inode } from './inode-table.js';

export interface OpenFile {
  readonly fh: number;
  readonly inode: Inode;
  /** Opened with O_APPEND: the kernel chooses where it writes from the size it knows. */
  readonly append: boolean;
  /** Opened for reading and writing, without which mmap(2) gives no shared writable memory. */
  readonly storable: boolean;
  /** Owners whose lock requests came through this handle; the kernel names them only in those requests. */
  readonly lockOwners: Set<LkOwner>;
}

export interface OpenDirectory {
  readonly fh: number;
  readonly inode: Inode;
  /**
   * All entries, taken when the reading began: positions stay valid while names come and go (POSIX readdir leaves
   * open whether those are seen). Taken again after rewinddir.
   */
  listing: Promise<readonly DirEntry[]> | undefined;
}

export class OpenFiles {
  readonly #files = new Map<number, OpenFile>();
  readonly #directories = new Map<number, OpenDirectory>();
  /** Handles opened with O_APPEND, per inode. */
  readonly #appenders = new Map<Inode, number>();
  /** Handles through which pages can be mapped and stored to, per inode. A mapping keeps its handle open. */
  readonly #storers = new Map<Inode, number>();
  #next = 1;

  get size(): number {
    return this.#files.size + this.#directories.size;
  }

  open(inode: Inode, flags: number): OpenFile {
    const append = (flags & O_APPEND) !== 0;
    const storable = (flags & O_ACCMODE) === O_RDWR;
    const file: OpenFile = { fh: this.#next++, inode, append, storable, lockOwners: new Set() };
    this.#files.set(file.fh, file);
    if (append) countUp(this.#appenders, inode);
    if (storable) countUp(this.#storers, inode);
    return file;
  }

  openDirectory(inode: Inode): OpenDirectory {
    const directory: OpenDirectory = { fh: this.#next++, inode, listing: undefined };
    this.#directories.set(directory.fh, directory);
    return directory;
  }

  /** @throws Refusal EBADF */
  file(fh: number): OpenFile {
    const file = this.#files.get(fh);
    if (file === undefined) throw new Refusal('EBADF', `handle ${fh} is not an open file`);
    return file;
  }

  find(fh: number): OpenFile | undefined {
    return this.#files.get(fh);
  }

  /**
   * The owner uses locks through another open file as well. So it is a process: the owner of an OFD lock is one open
   * file, and no two owners that live have one number. O(open files).
   */
  isUsedElsewhere(owner: LkOwner, fh: number): boolean {
    for (const file of this.#files.values()) if (file.fh !== fh && file.lockOwners.has(owner)) return true;
    return false;
  }

  /** @throws Refusal EBADF */
  directory(fh: number): OpenDirectory {
    const directory = this.#directories.get(fh);
    if (directory === undefined) throw new Refusal('EBADF', `handle ${fh} is not an open directory`);
    return directory;
  }

  /** Somebody appends to this inode through this mount. */
  hasAppender(inode: Inode): boolean {
    return this.#appenders.has(inode);
  }

  /** Somebody may have mapped pages of this inode to store to them. */
  hasStorer(inode: Inode): boolean {
    return this.#storers.has(inode);
  }

  close(file: OpenFile): void {
    if (!this.#files.delete(file.fh)) return;
    if (file.append) countDown(this.#appenders, file.inode);
    if (file.storable) countDown(this.#storers, file.inode);
  }

  closeDirectory(fh: number): void {
    this.#directories.delete(fh);
  }
}

const countUp = (counts: Map<Inode, number>, inode: Inode): void => {
  counts.set(inode, (counts.get(inode) ?? 0) + 1);
};

const countDown = (counts: Map<Inode, number>, inode: Inode): void => {
  const left = counts.get(inode)! - 1;
  if (left > 0) counts.set(inode, left);
  else counts.delete(inode);
};
