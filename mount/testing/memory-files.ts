/**
 * What all clients of the volume in memory share: inodes, names and a plain list of locks, walked from its start. Its
 * counters stand for the bricks' clock, file ids and tickets.
 */
import type { LockRequest, NewInode } from '../../dht/volume.js';
import {
  type ByteText,
  type ClientId,
  type Epoch,
  type FileId,
  type LkOwner,
  rootFileId,
  type Ticket,
} from '../../wire/ids.js';
import type { HeldLock } from '../../wire/lock-types.js';
import type { Attributes } from '../../wire/messages.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One inode. */
export interface Node {
  attributes: Writable<Attributes>;
  symlink: ByteText | undefined;
  content: Buffer;
  readonly entries: Map<ByteText, FileId>;
  readonly xattrs: Map<ByteText, Uint8Array>;
  opens: number;
}

export interface Waiter {
  readonly request: LockRequest;
  readonly client: ClientId;
  readonly ticket: Ticket;
  grant(): void;
}

/** `before` lets a test hold back or fail any call. */
export class MemoryFiles {
  readonly nodes = new Map<FileId, Node>();
  held: (HeldLock & { file: FileId })[] = [];
  waiting: Waiter[] = [];
  /** Every call, in order: `client method`. */
  readonly calls: string[] = [];
  before: (method: string, client: ClientId) => Promise<void> | undefined = () => undefined;
  #nextFile = 2;
  #nextTicket = 1;
  #clock = 1_700_000_000_000_000_000n;

  constructor() {
    this.add({ type: 'dir', mode: 0o755, uid: 0, gid: 0, rdev: 0, symlink: undefined }, rootFileId);
  }

  now(): bigint {
    this.#clock += 1_000_001n;
    return this.#clock;
  }

  ticket(): Ticket {
    return this.#nextTicket++ as Ticket;
  }

  add(inode: NewInode, id?: FileId): Node {
    const file = id ?? ((this.#nextFile++).toString(16).padStart(32, '0') as FileId);
    const time = this.now();
    const node: Node = {
      attributes: {
        file,
        type: inode.type,
        mode: inode.mode,
        nlink: inode.type === 'dir' ? 2 : 1,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        size: inode.symlink?.length ?? 0,
        storedBytes: 0,
        atimeNs: time,
        mtimeNs: time,
        ctimeNs: time,
        change: 0,
        epoch: 0 as Epoch,
      },
      symlink: inode.symlink,
      content: Buffer.alloc(0),
      entries: new Map(),
      xattrs: new Map(),
      opens: 0,
    };
    this.nodes.set(file, node);
    return node;
  }

  /** First come, first served: grants each waiter that nothing held and no earlier waiter stands against. */
  wake(): void {
    for (let granted = true; granted; ) {
      granted = false;
      for (const waiter of this.waiting) {
        if (this.conflict(waiter.request, waiter.client) !== undefined) continue;
        this.waiting.splice(this.waiting.indexOf(waiter), 1);
        waiter.grant();
        granted = true;
        break;
      }
    }
  }

  conflict(wanted: LockRequest, client: ClientId): HeldLock | undefined {
    return this.held.find(
      (lock) =>
        lock.file === wanted.file &&
        lock.kind === wanted.kind &&
        (lock.owner !== wanted.owner || lock.client !== client) &&
        (lock.type === 'write' || wanted.type === 'write') &&
        lock.start <= wanted.end &&
        wanted.start <= lock.end,
    );
  }

  /** Takes `start..end` away from what the owner holds, splitting where it must. */
  drop(
    file: FileId,
    client: ClientId,
    owner: LkOwner,
    kind: string | undefined,
    start: bigint,
    end: bigint,
  ): void {
    this.held = this.held.flatMap((lock) => {
      const mine = lock.file === file && lock.client === client && lock.owner === owner;
      if (!mine || (kind !== undefined && lock.kind !== kind) || lock.end < start || end < lock.start)
        return [lock];
      const rest = [];
      if (lock.start < start) rest.push({ ...lock, end: start - 1n });
      if (lock.end > end) rest.push({ ...lock, start: end + 1n });
      return rest;
    });
  }
}
