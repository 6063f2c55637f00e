/**
 * All that a mount may ask of a volume. The mount knows files by id and nothing of bricks, layouts or moves: where a
 * file is, that it moved, that a brick restarted, is settled behind this interface (distributed-volume.ts).
 *
 * Every method refuses with a Refusal whose code an application may see (never EREMOTE, ESTALE only where the file
 * is gone from every brick).
 */
import type { ByteText, FileId, LkOwner, Ticket } from '../wire/ids.js';
import type { HeldLock, LockKind, LockType } from '../wire/lock-types.js';
import type { Attributes, DirEntry, FileType } from '../wire/messages.js';

export interface NewInode {
  readonly type: FileType;
  /** Permission bits, umask applied. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly symlink: ByteText | undefined;
}

/** Absent members stay as they are; `'now'` takes the clock of the brick. */
export interface AttributeChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atimeNs?: bigint | 'now';
  readonly mtimeNs?: bigint | 'now';
}

export interface LockRequest {
  readonly file: FileId;
  readonly owner: LkOwner;
  readonly kind: LockKind;
  readonly type: LockType;
  /** Both included. */
  readonly start: bigint;
  readonly end: bigint;
  /** The process that asks, for F_GETLK of others and for people. */
  readonly pid: number;
  /** F_SETLKW, or flock without LOCK_NB. */
  readonly wait: boolean;
  /**
   * Is there proof that the owner is a process (F_SETLKW), not an open file (F_OFD_SETLKW)? Asked only while the
   * request waits and something points to a deadlock. Absent, or false: EDEADLK is never the outcome.
   */
  readonly isProcessOwner?: () => Promise<boolean>;
}

/** `change` is the file's content counter at the moment of the grant: what page caches are compared with. */
export type LockOutcome =
  | { readonly outcome: 'granted'; readonly change: number }
  | { readonly outcome: 'conflict' }
  | { readonly outcome: 'cancelled'; readonly ticket: Ticket | undefined }
  | { readonly outcome: 'deadlock' };

export interface PendingLock {
  readonly outcome: Promise<LockOutcome>;
  /** Asks for the wait to end. The outcome is `cancelled`, or `granted` where that came first. */
  cancel(): void;
}

export interface VolumeSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly files: number;
}

export interface Volume {
  lookup(parent: FileId, name: ByteText): Promise<Attributes>;
  /** @param ageMsMax of a directory: how old what is said of changes that others made may be. Own changes always show */
  attributes(file: FileId, ageMsMax?: number): Promise<Attributes>;
  changeAttributes(file: FileId, change: AttributeChange): Promise<Attributes>;
  /** `exclusive` false and the name taken by a regular file: answers that one. `open`: counts an open handle too. */
  create(
    parent: FileId,
    name: ByteText,
    inode: NewInode,
    options: { exclusive: boolean; open: boolean },
  ): Promise<{ created: boolean; attributes: Attributes }>;
  makeDirectory(parent: FileId, name: ByteText, inode: NewInode): Promise<Attributes>;
  removeDirectory(parent: FileId, name: ByteText): Promise<void>;
  /** @param believed the file that the name is thought to name: saves looking the name up, and may be wrong */
  unlink(parent: FileId, name: ByteText, believed?: FileId): Promise<void>;
  link(file: FileId, parent: FileId, name: ByteText): Promise<Attributes>;
  rename(
    parent: FileId,
    name: ByteText,
    newParent: FileId,
    newName: ByteText,
    noReplace: boolean,
  ): Promise<void>;
  readSymlink(file: FileId): Promise<ByteText>;
  /** All entries, each once, without `.` and `..`; attributes where they came at no further cost. */
  listDirectory(dir: FileId): Promise<DirEntry[]>;

  getXattr(file: FileId, name: ByteText): Promise<Uint8Array>;
  setXattr(
    file: FileId,
    name: ByteText,
    value: Uint8Array,
    expect: 'any' | 'absent' | 'present',
  ): Promise<void>;
  listXattrs(file: FileId): Promise<readonly ByteText[]>;
  removeXattr(file: FileId, name: ByteText): Promise<void>;

  open(file: FileId, truncate: boolean): Promise<Attributes>;
  /** Last close of one open file: one handle less, and every lock of `owners` on the file goes. */
  release(file: FileId, owners: readonly LkOwner[]): Promise<void>;
  read(file: FileId, offset: number, length: number): Promise<{ data: Uint8Array; change: number }>;
  /** `change` is the counter after this write. */
  write(file: FileId, offset: number, data: Uint8Array): Promise<{ change: number; size: number }>;
  sync(file: FileId): Promise<void>;
  allocate(
    file: FileId,
    offset: number,
    length: number,
    how: 'allocate' | 'punch' | 'zero',
    keepSize: boolean,
  ): Promise<{ change: number; size: number }>;
  seek(file: FileId, offset: number, whence: 'data' | 'hole'): Promise<number>;
  space(): Promise<VolumeSpace>;

  /** `ticket`: the place of a wait that a signal ended and the kernel sent again (SA_RESTART). */
  lock(request: LockRequest, ticket?: Ticket): PendingLock;
  unlock(file: FileId, owner: LkOwner, kind: LockKind, start: bigint, end: bigint): Promise<void>;
  /** F_GETLK. */
  testLock(request: LockRequest): Promise<HeldLock | undefined>;
  /** close(2) of any descriptor by this owner: its posix locks on the file go. */
  flushOwner(file: FileId, owner: LkOwner): Promise<void>;

  /** Says goodbye to every brick: locks and opens of this client end now. */
  close(): Promise<void>;
}
