/**
 * The contract between clients and bricks: one row a message. Number, request fields, answer fields, and what kind of
 * message it is. Types, codec, traces and docs/WIRE.md all come from this table.
 *
 * Flags of a row:
 *   durable   the answer is stored in the same batch as the effect, so that a resend after a crash of the brick gets
 *             the first answer and the effect happens once. For what is not naturally repeatable.
 *   roles     who may send it; a mount cannot migrate or list other clients' locks.
 */
import type { BodyOf, Fields } from './fields.js';
import {
  brickName,
  bytes,
  clientId,
  count,
  cursor,
  epoch,
  fileId,
  flag,
  list,
  lkOwner,
  lockOffset,
  lockToken,
  migrationId,
  name,
  oneOf,
  optional,
  record,
  symlinkTarget,
  text,
  ticket,
  timeNs,
  u32,
  xattrName,
} from './fields.js';
import {
  attributes,
  chainedWait,
  clientRow,
  dirEntry,
  entry,
  fileName,
  fileType,
  hashRange,
  heldLock,
  lockKind,
  lockRow,
  lockType,
  migrationReport,
  role,
  waitingLock,
} from './message-records.js';
import { clients, everyone, mounts, row, tools } from './message-row.js';
import { migrationMessages } from './migration-messages.js';

export type { Role } from './message-row.js';

/** Changes whenever a peer of another version would misunderstand; a brick refuses other versions in `hello`. */
export const protocolVersion = 2;

export type FileType = 'file' | 'dir' | 'symlink' | 'fifo' | 'socket' | 'char' | 'block';

export const messages = {
  // ---- sessions -------------------------------------------------------------------------------------------------
  /**
   * First message of every connection. `incarnation` starts at 1 and grows by one after each EFENCED.
   * Answer `session`: `new` (nothing was known), `resumed` (all is as it was; requests in flight are sent again),
   * `reclaim` (the brick restarted: send `reclaim` messages, then `reclaimDone`, then the requests in flight).
   * Refusals: EFENCED (this incarnation was ended), EPROTO (version, volume or brick name differ), EACCES (secret).
   */
  hello: row(
    1,
    everyone,
    {
      protocol: u32,
      volume: text,
      brick: brickName,
      secret: text,
      client: clientId,
      incarnation: count,
      role,
      title: text,
      host: text,
      pid: u32,
    },
    { session: oneOf('new', 'resumed', 'reclaim'), graceMs: count },
  ),
  /** The client leaves for good: its locks, waiters and opens on this brick end now, without a grace. */
  goodbye: row(2, everyone, {}, {}),
  ping: row(3, everyone, {}, {}),
  /** After a restart of the brick: what this client holds, waits for and has open in one file (parts may repeat). */
  reclaim: row(
    4,
    everyone,
    { file: fileId, opens: count, held: list(heldLock), waiting: list(waitingLock) },
    {},
  ),
  reclaimDone: row(5, everyone, {}, {}),

  // ---- names: sent to the brick that the name hashes to (directories: to every brick) -----------------------------
  /** ENOENT where there is none. `attributes` where the inode is here. ESTALE where the parent is not known here. */
  lookup: row(10, clients, { parent: fileId, name }, { entry, attributes: optional(attributes) }),
  /**
   * Makes an inode and its name in one batch. `file` is chosen by the client. With `exclusive` false and the name
   * taken by a regular file, answers that entry with `created` false. `directory`: this brick's part of the parent,
   * as it is afterwards.
   * @refuses EEXIST ENOENT (parent was removed) ENOSPC
   */
  create: row(
    11,
    clients,
    {
      parent: fileId,
      name,
      file: fileId,
      type: fileType,
      mode: u32,
      uid: u32,
      gid: u32,
      rdev: u32,
      symlink: optional(symlinkTarget),
      exclusive: flag,
      /** Also counts an open of it for this client. */
      open: flag,
    },
    { created: flag, entry, attributes: optional(attributes), directory: attributes },
    { durable: true },
  ),
  /** One brick's part of mkdir. `layout` is the same on every brick. An existing entry of the same file id is fine. */
  makeDirectory: row(
    12,
    clients,
    {
      parent: fileId,
      name,
      file: fileId,
      mode: u32,
      uid: u32,
      gid: u32,
      timeNs,
      layout: list(hashRange),
    },
    { attributes },
    { durable: true },
  ),
  /** One brick's part of rmdir. ENOTEMPTY, ENOENT, ENOTDIR. */
  removeDirectory: row(13, clients, { parent: fileId, name, file: fileId }, {}, { durable: true }),
  /**
   * Puts a name. `expect`: `absent` (EEXIST otherwise), `any` (replaces; the old entry is answered), or `same` (only
   * where the entry names this very file: to heal `home`; ENOENT otherwise).
   */
  putEntry: row(
    14,
    clients,
    { parent: fileId, entry, expect: oneOf('absent', 'any', 'same') },
    { replaced: optional(entry) },
    { durable: true },
  ),
  /** Removes a name if it names `file` (ENOENT otherwise), and, where the inode is here, its link too. `directory` as in `create`. */
  removeEntry: row(
    15,
    clients,
    { parent: fileId, name, file: fileId },
    { entry, linkDropped: flag, directory: attributes },
    { durable: true },
  ),
  /**
   * rename(2) of a name that hashes to this brick before and after (a directory: each brick's part). Refuses as
   * rename(2) does. `replaced`: the entry that was at the new name; its link is dropped where its inode is here.
   * `linkLeft`: the inode is not here, so that its own list of names has to be told.
   */
  renameEntry: row(
    16,
    clients,
    {
      parent: fileId,
      name,
      newParent: fileId,
      newName: name,
      file: fileId,
      noReplace: flag,
    },
    { replaced: optional(entry), linkDropped: flag, linkLeft: flag },
    { durable: true },
  ),
  /** Adds or drops one name of an inode that is here: nlink is the number of names. Repeating is harmless. */
  addName: row(17, clients, { file: fileId, parent: fileId, name }, { attributes }),
  dropName: row(18, clients, { file: fileId, parent: fileId, name }, { nlink: count }),
  /** Entries after `after` in byte order, at most `limit`. */
  listDirectory: row(
    19,
    clients,
    { dir: fileId, after: cursor, limit: u32 },
    { entries: list(dirEntry), more: flag },
  ),
  readLayout: row(20, clients, { dir: fileId }, { layout: list(hashRange) }),

  // ---- one inode: sent to its home. ESTALE: not here; EREMOTE: moved ----------------------------------------------
  getAttributes: row(30, everyone, { file: fileId }, { attributes }),
  /** Absent fields stay. `atimeNow` and `mtimeNow` take the brick's clock. */
  setAttributes: row(
    31,
    clients,
    {
      file: fileId,
      mode: optional(u32),
      uid: optional(u32),
      gid: optional(u32),
      size: optional(count),
      atimeNs: optional(timeNs),
      mtimeNs: optional(timeNs),
      atimeNow: flag,
      mtimeNow: flag,
    },
    { attributes },
  ),
  readSymlink: row(32, clients, { file: fileId }, { target: symlinkTarget }),
  getXattr: row(33, clients, { file: fileId, name: xattrName }, { value: bytes }),
  setXattr: row(
    34,
    clients,
    { file: fileId, name: xattrName, value: bytes, expect: oneOf('any', 'absent', 'present') },
    {},
    { durable: true },
  ),
  listXattrs: row(35, clients, { file: fileId }, { names: list(xattrName) }),
  removeXattr: row(36, clients, { file: fileId, name: xattrName }, {}, { durable: true }),
  /** Counts one more open handle of this client; an inode without names lives while it has one. */
  open: row(37, clients, { file: fileId, truncate: flag }, { attributes }),
  /**
   * The last close of one open file: its handle goes, and all locks of `owners` on the file. Not durable: handles are
   * in memory, and a client that reclaims counts a handle until this was answered.
   */
  release: row(38, clients, { file: fileId, opens: count, owners: list(lkOwner) }, {}),

  // ---- content ----------------------------------------------------------------------------------------------------
  /** Short or empty at the end of the file. */
  read: row(50, clients, { file: fileId, offset: count, length: u32 }, { data: bytes, change: count }),
  write: row(51, clients, { file: fileId, offset: count, data: bytes }, { change: count, size: count }),
  /** Survives a loss of power when answered. */
  sync: row(52, clients, { file: fileId }, {}),
  /** fallocate(2): `allocate` grows the file unless `keepSize`; `punch` and `zero` make zeroes. */
  allocate: row(
    53,
    clients,
    { file: fileId, offset: count, length: count, how: oneOf('allocate', 'punch', 'zero'), keepSize: flag },
    { change: count, size: count },
  ),
  /** lseek(2) SEEK_DATA and SEEK_HOLE; ENXIO past the end. */
  seek: row(54, clients, { file: fileId, offset: count, whence: oneOf('data', 'hole') }, { offset: count }),
  space: row(55, everyone, {}, { totalBytes: count, freeBytes: count, files: count }),

  // ---- locks ------------------------------------------------------------------------------------------------------
  /**
   * F_SETLK (wait false), F_SETLKW (wait true), flock. A waiting request gets the event `queued` at once, and its answer when it is
   * granted or cancelled. `ticket`: the place that this very wait had before (moved, reclaimed, or restarted by a
   * signal). `migration`: shown after an EREMOTE; the proof of commit that lets a target open.
   * `change`: the file's change counter at the grant (0 where not granted).
   * `rebound`: the wait is another client's now (`writeLockinfo`), which asks for it with the ticket.
   */
  lock: row(
    60,
    clients,
    {
      file: fileId,
      owner: lkOwner,
      kind: lockKind,
      type: lockType,
      start: lockOffset,
      end: lockOffset,
      pid: u32,
      wait: flag,
      ticket: optional(ticket),
    },
    { outcome: oneOf('granted', 'conflict', 'cancelled', 'deadlock', 'rebound'), change: count },
  ),
  unlock: row(
    61,
    clients,
    { file: fileId, owner: lkOwner, kind: lockKind, start: lockOffset, end: lockOffset },
    {},
  ),
  /** F_GETLK: the lock that would refuse this one. */
  testLock: row(
    62,
    clients,
    { file: fileId, owner: lkOwner, kind: lockKind, type: lockType, start: lockOffset, end: lockOffset },
    { conflict: optional(heldLock) },
  ),
  /** Ends the wait of this session's request number `seq`: that one is answered `cancelled`, unless it was granted. */
  cancelLock: row(63, clients, { file: fileId, seq: count }, {}),
  /** close(2) of any descriptor: drops the owner's posix locks on the file. */
  flushOwner: row(64, clients, { file: fileId, owner: lkOwner }, {}),

  /**
   * Follows a chain of waits (docs/LOCKS.md, "Deadlocks"): for whom does the last of `chain`, a wait of this session,
   * wait? The clients of those owners get the event `probe`. `round` tells one search of the first wait from another.
   */
  probe: row(65, clients, { round: count, chain: list(chainedWait) }, {}),
  /** Is wait number `at` of the ring, one of this session, still blocked by the next? The last one to be asked loses. */
  confirmCycle: row(66, clients, { ring: list(chainedWait), at: count }, {}),
  /** Does nobody hold anything against this session's wait, so that it only queues? With `pass` it then need not. */
  queueState: row(67, clients, { file: fileId, owner: lkOwner, ticket, pass: flag }, { queuesOnly: flag }),

  /**
   * Fd migration, first half, over the old graph: all that this session has of the file. `count`: holders and waiters.
   * The token is good once, for this file, wherever it moves, and until this session ends or asks again.
   */
  readLockinfo: row(68, mounts, { file: fileId }, { token: lockToken, count, opens: count }),
  /**
   * Second half, over the new graph: holders, waiters and handles that the token stands for become this session's, all
   * at once. `count` of them are counted as they are now: a waiter that was granted since may have joined a holder.
   * @refuses EPERM (unknown, used, of another file, or its session ended)
   */
  writeLockinfo: row(69, mounts, { file: fileId, token: lockToken }, { count, opens: count }),

  // ---- what an operator asks --------------------------------------------------------------------------------------
  locate: row(
    70,
    everyone,
    { file: fileId },
    {
      place: oneOf('here', 'moved', 'absent'),
      moved: optional(record('moved', { target: brickName, epoch, migration: migrationId })),
    },
  ),
  listLocks: row(
    71,
    tools,
    { file: optional(fileId), skip: count, limit: u32 },
    { locks: list(lockRow), more: flag },
  ),
  status: row(
    72,
    tools,
    {},
    {
      brick: brickName,
      pid: u32,
      upMs: count,
      state: oneOf('open', 'recovering'),
      files: count,
      clients: list(clientRow),
      migrations: list(migrationReport),
    },
  ),
  /** The names of an inode that is here. */
  namesOf: row(73, everyone, { file: fileId }, { names: list(fileName) }),

  ...migrationMessages,
} as const;

export type Op = keyof typeof messages;
export type Request<O extends Op> = BodyOf<(typeof messages)[O]['request']>;
export type Answer<O extends Op> = BodyOf<(typeof messages)[O]['answer']>;

/** What a brick says unasked to one client. Lost with the connection: each is a hint that the protocol can live without. */
export const events = {
  /** The `lock` request number `seq` waits under this ticket. */
  queued: { event: 1, body: { seq: count, file: fileId, ticket } },
  /** A file that this client holds locks in or has open moved: saves it the redirect. */
  moved: { event: 2, body: { file: fileId, target: brickName, epoch, migration: migrationId } },
  /** Do these owners of this client wait somewhere? The chain goes on where they do. */
  probe: { event: 3, body: { round: count, chain: list(chainedWait), owners: list(lkOwner) } },
  /** Wait number `at` of the ring is this client's: it is asked to confirm it. */
  confirmCycle: { event: 4, body: { ring: list(chainedWait), at: count } },
} as const satisfies Record<string, { event: number; body: Fields }>;

export type EventName = keyof typeof events;
export type EventBody<E extends EventName> = BodyOf<(typeof events)[E]['body']>;

export type Attributes = NonNullable<Answer<'open'>['attributes']>;
export type Entry = Answer<'lookup'>['entry'];
export type DirEntry = Answer<'listDirectory'>['entries'][number];
export type HashRange = Answer<'readLayout'>['layout'][number];
export type MigrationReport = Answer<'migrationStatus'>['report'];
export type ChainedWait = Request<'probe'>['chain'][number];
export type LockRow = Answer<'listLocks'>['locks'][number];
export type ClientRow = Answer<'status'>['clients'][number];
export type FileName = Answer<'namesOf'>['names'][number];
