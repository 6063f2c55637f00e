/**
 * The files and directories that are open through this mount: handle numbers, the owners that locked through each,
 * and the listing that a directory's reader walks through.
 */
import { Refusal } from '../wire/errors.js';
import type { LkOwner } from '../wire/ids.js';
import type { DirEntry } from '../wire/messages.js';
import { O_APPEND } from './fuse/abi.js';
import type { Inode } from './inode-table.js';

export interface OpenFile {
  readonly fh: number;
  readonly inode: Inode;
  /** Opened with O_APPEND: the kernel chooses where it writes from the size it knows. */
  readonly append: boolean;
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
  #next = 1;

  get size(): number {
    return this.#files.size + this.#directories.size;
  }

  open(inode: Inode, flags: number): OpenFile {
    const append = (flags & O_APPEND) !== 0;
    const file: OpenFile = { fh: this.#next++, inode, append, lockOwners: new Set() };
    this.#files.set(file.fh, file);
    if (append) this.#appenders.set(inode, (this.#appenders.get(inode) ?? 0) + 1);
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

  close(file: OpenFile): void {
    if (!this.#files.delete(file.fh) || !file.append) return;
    const left = this.#appenders.get(file.inode)! - 1;
    if (left > 0) this.#appenders.set(file.inode, left);
    else this.#appenders.delete(file.inode);
  }

  closeDirectory(fh: number): void {
    this.#directories.delete(fh);
  }
}
