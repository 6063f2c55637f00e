/**
 * The words for locks that mounts and bricks share. No behaviour: the rules are in brick-store/locks.
 *
 * A lock belongs to an owner = (client id, lk-owner), never to a file descriptor. OFD locks reach a mount as
 * `posix` locks with another owner (fs/fuse/file.c, fuse_lk_fill): nothing tells the two apart at this level.
 */
import type { BrickName, ClientId, Epoch, LkOwner, MigrationId, Ticket } from './ids.js';

/** `posix` covers fcntl and OFD locks: one conflict space. `flock` locks are another, whole-file, and never meet them. */
export type LockKind = 'posix' | 'flock';
export type LockType = 'read' | 'write';

/** Bytes start..end of a file, both inclusive. `rangeEnd` as end means "to the end of the file, however it grows". */
export interface ByteRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** OFFSET_MAX of the kernel, 2^63 - 1: the largest offset a lock may name. */
export const rangeEnd = (1n << 63n) - 1n;

export interface LockOwner {
  readonly client: ClientId;
  readonly owner: LkOwner;
}

/** A granted lock. `pid` is the process that asked, as the client's kernel named it; it is for people and F_GETLK. */
export interface HeldLock extends ByteRange, LockOwner {
  readonly kind: LockKind;
  readonly type: LockType;
  readonly pid: number;
}

/** A queued F_SETLKW (or blocking flock). */
export interface WaitingLock extends HeldLock {
  readonly ticket: Ticket;
}

/** Where a file went: the answer EREMOTE, taken from a brick's REPLAY record. It never reaches an application. */
export interface Moved {
  readonly target: BrickName;
  readonly epoch: Epoch;
  readonly migration: MigrationId;
}
