/**
 * The records that messages are made of: what an inode, a name, a lock or a move looks like between two parties.
 * messages.ts is the only user; the types that others use are derived there.
 */
import {
  brickName,
  bytes,
  clientId,
  count,
  epoch,
  fileId,
  flag,
  lkOwner,
  lockOffset,
  lockToken,
  migrationId,
  name,
  oneOf,
  optional,
  record,
  text,
  ticket,
  timeNs,
  u32,
  xattrName,
} from './fields.js';
import { sourcePhases } from './migration-steps.js';

export const fileType = oneOf('file', 'dir', 'symlink', 'fifo', 'socket', 'char', 'block');
export const role = oneOf('mount', 'tool', 'brick');
export const lockKind = oneOf('posix', 'flock');
export const lockType = oneOf('read', 'write');

/**
 * The inode as stat(2) shows it. `mode` is the permission bits only (07777). `storedBytes` is what st_blocks counts.
 * `change` grows by one with every change of the content (write, truncate, punch): the coherence of page caches
 * rests on it. `epoch` counts the moves of the file.
 */
export const attributes = record('attributes', {
  file: fileId,
  type: fileType,
  mode: u32,
  nlink: count,
  uid: u32,
  gid: u32,
  rdev: u32,
  size: count,
  storedBytes: count,
  atimeNs: timeNs,
  mtimeNs: timeNs,
  ctimeNs: timeNs,
  change: count,
  epoch,
});

/**
 * A name in a directory, as its hashed brick keeps it. `home` is the brick that has the inode, as far as this brick
 * knows: where it is another brick, this is a linkto entry, and the truth is what `home` answers.
 * Entries of directories are on every brick and have `home` = the brick that was asked.
 */
export const entry = record('entry', {
  name,
  file: fileId,
  type: fileType,
  home: brickName,
});

export const dirEntry = record('directory entry', {
  name,
  file: fileId,
  type: fileType,
  home: brickName,
  /** Present where the inode is on the brick that answers. */
  attributes: optional(attributes),
});

export const heldLock = record('held lock', {
  kind: lockKind,
  type: lockType,
  start: lockOffset,
  end: lockOffset,
  client: clientId,
  owner: lkOwner,
  pid: u32,
});

/** One owner of one client, in one of its two conflict spaces. */
export const lockHolder = record('owner of locks', { kind: lockKind, owner: lkOwner });

export const waitingLock = record('waiting lock', {
  kind: lockKind,
  type: lockType,
  start: lockOffset,
  end: lockOffset,
  client: clientId,
  owner: lkOwner,
  pid: u32,
  ticket,
});

/**
 * One wait in a chain of owners that wait for each other. `sinceUs`: when it began, by its client's wall clock; it only
 * orders waits. `blockedBy`: what makes it wait for the next one, a lock or a place in the queue.
 */
export const chainedWait = record('chained wait', {
  client: clientId,
  owner: lkOwner,
  file: fileId,
  ticket,
  sinceUs: count,
  /** The owner is a process, not an open file: its client has seen proof. */
  isProcess: flag,
  blockedBy: oneOf('holder', 'queue'),
});

/** One hash range of a directory; `stop` is included. start > stop: the brick takes no new names. */
export const hashRange = record('hash range', { brick: brickName, start: u32, stop: u32 });

export const xattr = record('extended attribute', { name: xattrName, value: bytes });
/** One chunk of content; `data` shorter than a chunk is zero-filled, absent means a hole. */
export const chunk = record('chunk', { index: count, data: optional(bytes) });
/** A name of a file: the directory it is in, and its name there. */
export const fileName = record('name of a file', { parent: fileId, name });
export const opener = record('opener', { client: clientId, opens: count });
/** A token that the source issued to a client and that was not used yet. */
export const lockinfo = record('lockinfo', { client: clientId, token: lockToken });

export const migrationReport = record('migration report', {
  migration: migrationId,
  file: fileId,
  source: brickName,
  target: brickName,
  /** Epoch of the file after the move. */
  epoch,
  phase: oneOf(...sourcePhases),
  /** Why it was aborted; empty otherwise. */
  reason: text,
  bytesTotal: count,
  bytesCopied: count,
  rounds: count,
  dirtyBytes: count,
  /** Length of the freeze in microseconds; 0 before it began. */
  freezeUs: count,
  holders: count,
  waiters: count,
  /** Requests that waited in the file's queue during the freeze. */
  parked: count,
});

export const lockRow = record('lock row', {
  file: fileId,
  kind: lockKind,
  type: lockType,
  start: lockOffset,
  end: lockOffset,
  client: clientId,
  owner: lkOwner,
  pid: u32,
  state: oneOf('held', 'waiting'),
  ticket: optional(ticket),
});

export const clientRow = record('client row', {
  client: clientId,
  role,
  title: text,
  host: text,
  pid: u32,
  state: oneOf('alive', 'lost'),
  locks: count,
  waiters: count,
  opens: count,
});
