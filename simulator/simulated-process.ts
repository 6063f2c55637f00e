/**
 * A process on a simulated mount: the system calls that matter to locks, by the kernel's rules (fs/fuse/file.c,
 * fs/locks.c). FLUSH with the process's owner at every close, RELEASE when the last descriptor of an open file is
 * gone, INTERRUPT for a signal in F_SETLKW, a new F_SETLKW for SA_RESTART, a new owner for a forked child, and at
 * death what the kernel does for a process: its wait is interrupted, then everything is closed.
 *
 * It decides nothing about what to do: workload.ts and scenarios do. It tells Facts what was asked and answered.
 */
import { constants } from 'node:os';
import { rootNodeid } from '../mount/fuse/abi.js';
import { type LkOwner, lkOwnerOf } from '../wire/ids.js';
import type { LockKind, LockType } from '../wire/lock-types.js';
import { rangeEnd } from '../wire/lock-types.js';
import type { LockAsk, LockFact, OwnerFact, WriteFact } from './facts.js';
import type { KernelReply } from './kernel-messages.js';
import * as messages from './kernel-messages.js';
import type { SimulatedKernel } from './simulated-kernel.js';

const { errno } = constants;

/** An open file description: shared by dup and fork. */
export interface OpenFile {
  readonly nodeid: number;
  readonly ino: bigint;
  readonly fh: number;
  /** Owner of its flock and OFD locks. */
  readonly owner: LkOwner;
  references: number;
}

export type LockFlavour = 'posix' | 'ofd' | 'flock';

export interface LockWish {
  readonly flavour: LockFlavour;
  readonly type: LockType;
  /** Both included; flock takes the whole file. */
  readonly start?: bigint;
  readonly end?: bigint;
  readonly wait: boolean;
}

/** An errno that a system call answered. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';

  constructor(
    readonly call: string,
    readonly errno: number,
  ) {
    super(`${call}: ${errnoName(errno)}`);
  }
}

/** The process was killed; whoever runs it stops. */
export class ProcessKilled extends Error {
  override readonly name = 'ProcessKilled';
}

export const errnoName = (number: number): string =>
  Object.entries(errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;

/** For the check of content it is a place before the first byte. */
const xattrName = 'user.place';
const xattrOffset = -1;

const processOwnerBase = 0x1000_0000;
const openFileOwnerBase = 0x2000_0000;

export class SimulatedProcess {
  readonly pid: number;
  readonly kernel: SimulatedKernel;
  /** Of its posix locks. */
  readonly owner: LkOwner;
  readonly #files = new Map<number, OpenFile>();
  #nextFd = 3;
  #waitingFor: { readonly unique: number; readonly ask: LockAsk } | undefined;
  #signal: 'none' | 'interrupt' | 'restart' | 'kill' = 'none';
  #busy = 0;
  #isDead = false;
  #died: () => void = () => undefined;
  /** Resolves when it is gone and the kernel has closed what it had. */
  readonly ended: Promise<void>;

  constructor(kernel: SimulatedKernel, pid: number) {
    this.kernel = kernel;
    this.pid = pid;
    this.owner = lkOwnerOf(processOwnerBase + pid, 0);
    this.ended = new Promise((resolve) => {
      this.#died = resolve;
    });
  }

  get isAlive(): boolean {
    return !this.#isDead && this.#signal !== 'kill';
  }

  /** It sits in F_SETLKW or a blocking flock. */
  get isBlocked(): boolean {
    return this.#waitingFor !== undefined;
  }

  get fds(): number[] {
    return [...this.#files.keys()];
  }

  fileOf(fd: number): OpenFile {
    const file = this.#files.get(fd);
    if (file === undefined) throw new SystemCallError('descriptor', errno.EBADF);
    return file;
  }

  // ---- files --------------------------------------------------------------------------------------------------------

  /** @throws SystemCallError */
  open(name: string, create = false): Promise<number> {
    return this.#run(async () => {
      const looked = await this.#lookup(name);
      let made: { nodeid: number; ino: bigint };
      let fh: number;
      if (looked.error === errno.ENOENT && create) {
        const message = messages.createMessage(rootNodeid, this.pid, name);
        const reply = await this.#rename('create', message, [], name);
        made = messages.entryOf(reply.body);
        fh = messages.openedAfterEntry(reply.body);
      } else {
        if (looked.error !== 0) throw new SystemCallError('open', looked.error);
        made = messages.entryOf(looked.body);
        const reply = await this.#must('open', messages.openMessage(made.nodeid, this.pid));
        fh = messages.openedOf(reply.body);
      }
      const owner = lkOwnerOf(openFileOwnerBase + this.kernel.newOpenFileNumber(), 0);
      return this.#install({ ...made, fh, owner, references: 0 });
    });
  }

  unlink(name: string): Promise<void> {
    return this.#run(async () => {
      await this.#rename('unlink', messages.unlinkMessage(rootNodeid, this.pid, name), [name]);
    });
  }

  /** One more name for the open file. */
  link(fd: number, name: string): Promise<void> {
    return this.#run(async () => {
      const { nodeid } = this.fileOf(fd);
      await this.#rename('link', messages.linkMessage(nodeid, this.pid, name), [], name);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run(async () => {
      await this.#rename('rename', messages.renameMessage(this.pid, from, to), [from], to);
    });
  }

  dup(fd: number): number {
    this.#checkAlive();
    return this.#install(this.fileOf(fd));
  }

  read(fd: number, offset: number, length: number): Promise<Uint8Array> {
    return this.#run(async () => {
      const { nodeid, fh, ino } = this.fileOf(fd);
      const fact = { ino, offset, length };
      this.kernel.facts.tell('readBegun', fact);
      const reply = await this.#ask('read', messages.readMessage(nodeid, this.pid, fh, offset, length));
      this.kernel.facts.tell('readEnded', fact, reply.error === 0 ? reply.body : undefined);
      if (reply.error !== 0) throw new SystemCallError('read', reply.error);
      return reply.body;
    });
  }

  write(fd: number, offset: number, data: Uint8Array): Promise<void> {
    return this.#run(async () => {
      const { nodeid, fh, ino } = this.fileOf(fd);
      const fact = { ino, offset, length: data.byteLength, data };
      await this.#write('write', fact, messages.writeMessage(nodeid, this.pid, fh, offset, data));
    });
  }

  truncate(fd: number, size: number): Promise<void> {
    return this.#run(async () => {
      const { nodeid, fh, ino } = this.fileOf(fd);
      const fact = { ino, size };
      this.kernel.facts.tell('truncateBegun', fact);
      const { error } = await this.#ask('truncate', messages.truncateMessage(nodeid, this.pid, fh, size));
      this.kernel.facts.tell('truncateEnded', fact, error);
      if (error !== 0) throw new SystemCallError('truncate', error);
    });
  }

  setXattr(fd: number, value: Uint8Array): Promise<void> {
    return this.#run(async () => {
      const { nodeid, ino } = this.fileOf(fd);
      const fact = { ino, offset: xattrOffset, length: value.byteLength, data: value };
      await this.#write('setxattr', fact, messages.setXattrMessage(nodeid, this.pid, xattrName, value));
    });
  }

  getXattr(fd: number): Promise<Uint8Array> {
    return this.#run(async () => {
      const { nodeid, ino } = this.fileOf(fd);
      const fact = { ino, offset: xattrOffset, length: 0 };
      this.kernel.facts.tell('readBegun', fact);
      const reply = await this.#ask('getxattr', messages.getXattrMessage(nodeid, this.pid, xattrName));
      const isKnown = reply.error === 0 || reply.error === errno.ENODATA;
      const value = reply.error === 0 ? reply.body : new Uint8Array(0);
      this.kernel.facts.tell('readEnded', fact, isKnown ? value : undefined);
      if (!isKnown) throw new SystemCallError('getxattr', reply.error);
      return value;
    });
  }

  sync(fd: number): Promise<void> {
    return this.#run(async () => {
      const { nodeid, fh, ino } = this.fileOf(fd);
      this.kernel.facts.tell('syncBegun', ino);
      const { error } = await this.#ask('fsync', messages.syncMessage(nodeid, this.pid, fh));
      this.kernel.facts.tell('syncEnded', ino, error);
      if (error !== 0) throw new SystemCallError('fsync', error);
    });
  }

  /** close(2): errors are told, and the descriptor is gone all the same. */
  close(fd: number): Promise<void> {
    return this.#run(() => this.#close(fd));
  }

  // ---- locks --------------------------------------------------------------------------------------------------------

  /** @throws SystemCallError EAGAIN where it is held, EINTR after a signal */
  lock(fd: number, wish: LockWish): Promise<void> {
    return this.#run(async () => {
      const file = this.fileOf(fd);
      const ask = this.#askOf(file, wish);
      const message = () =>
        messages.lockMessage(wish.wait ? 'SETLKW' : 'SETLK', {
          nodeid: file.nodeid,
          fh: file.fh,
          flock: ask.kind === 'flock',
          ...ask,
        });
      for (;;) {
        this.#checkAlive();
        this.kernel.facts.tell('lockAsked', ask);
        const error = await this.#askForLock(ask, message());
        this.kernel.facts.tell('lockAnswered', ask, error);
        this.kernel.log(() => `${this.pid} ${describe(ask)} > ${error === 0 ? 'granted' : errnoName(error)}`);
        if (error === 0) return;
        if (error === errno.EINTR && this.#signal === 'restart') {
          this.#signal = 'none';
          continue;
        }
        throw new SystemCallError('lock', error);
      }
    });
  }

  unlock(fd: number, wish: Pick<LockWish, 'flavour' | 'start' | 'end'>): Promise<void> {
    return this.#run(async () => {
      const file = this.fileOf(fd);
      const ask = this.#askOf(file, { ...wish, type: 'read', wait: false });
      this.kernel.facts.tell('unlocking', ask);
      this.kernel.log(() => `${this.pid} unlock ${describe(ask)}`);
      const flock = ask.kind === 'flock';
      const { nodeid, fh } = file;
      await this.#must(
        'unlock',
        messages.lockMessage('SETLK', { nodeid, fh, flock, ...ask, type: 'unlock' }),
      );
    });
  }

  /** F_GETLK: would the lock be granted? */
  isFree(fd: number, wish: Omit<LockWish, 'wait'>): Promise<boolean> {
    return this.#run(async () => {
      const file = this.fileOf(fd);
      const { nodeid, fh } = file;
      const ask = this.#askOf(file, { ...wish, wait: false });
      const reply = await this.#must(
        'getlk',
        messages.lockMessage('GETLK', { nodeid, fh, flock: false, ...ask }),
      );
      return messages.isUnlocked(reply.body);
    });
  }

  // ---- life ---------------------------------------------------------------------------------------------------------

  /** The child has the same open files and none of the posix locks. */
  fork(): SimulatedProcess {
    this.#checkAlive();
    const child = this.kernel.startProcess();
    for (const [fd, file] of this.#files) child.inherit(fd, file);
    return child;
  }

  inherit(fd: number, file: OpenFile): void {
    file.references += 1;
    this.#files.set(fd, file);
    this.#nextFd = Math.max(this.#nextFd, fd + 1);
  }

  /** A handler runs, with or without SA_RESTART. Only a waiting call notices. */
  signal(restart: boolean): void {
    if (this.#waitingFor === undefined || this.#signal === 'kill') return;
    this.#signal = restart ? 'restart' : 'interrupt';
    this.#interrupt();
  }

  /** SIGKILL. Calls that are under way end first, as in the kernel. */
  kill(): Promise<void> {
    if (this.#signal !== 'kill') {
      this.#signal = 'kill';
      this.kernel.log(() => `${this.pid} killed`);
      this.#interrupt();
      if (this.#busy === 0) void this.#exit();
    }
    return this.ended;
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  async #run<T>(call: () => Promise<T>): Promise<T> {
    this.#checkAlive();
    this.#busy += 1;
    try {
      return await call();
    } catch (error) {
      if (error instanceof SystemCallError)
        this.kernel.facts.tell('callFailed', this.kernel.mount, error.call, error.errno);
      throw error;
    } finally {
      this.#busy -= 1;
      if (this.#signal === 'kill' && this.#busy === 0) void this.#exit();
    }
  }

  #interrupt(): void {
    if (this.#waitingFor === undefined) return;
    this.kernel.facts.tell('lockInterrupted', this.#waitingFor.ask);
    this.kernel.interrupt(this.#waitingFor.unique);
  }

  #checkAlive(): void {
    if (!this.isAlive) throw new ProcessKilled(`process ${this.pid} was killed`);
  }

  async #exit(): Promise<void> {
    if (this.#isDead) return;
    this.#isDead = true;
    for (const fd of this.fds) {
      await this.#close(fd).catch((error: unknown) => {
        if (!(error instanceof SystemCallError)) throw error;
      });
    }
    this.kernel.processes.delete(this);
    this.#died();
  }

  async #close(fd: number): Promise<void> {
    const file = this.fileOf(fd);
    this.#files.delete(fd);
    const { facts } = this.kernel;
    facts.tell('closing', this.#fact(this.owner), file.ino, ['posix']);
    const message = messages.flushMessage(file.nodeid, this.pid, file.fh, this.owner);
    const { error } = await this.#ask('close', message);
    file.references -= 1;
    if (file.references === 0) {
      facts.tell('closing', this.#fact(file.owner), file.ino, ['posix', 'flock']);
      this.kernel.sendInBackground(messages.releaseMessage(file.nodeid, file.fh));
    }
    if (error !== 0) throw new SystemCallError('close', error);
  }

  async #askForLock(ask: LockAsk, message: Buffer): Promise<number> {
    const { unique, reply } = this.kernel.send(message);
    if (ask.wait) this.#waitingFor = { unique, ask };
    const { error } = await reply;
    this.#waitingFor = undefined;
    return error;
  }

  async #ask(_call: string, message: Buffer): Promise<KernelReply> {
    return this.kernel.call(message);
  }

  async #write(call: string, fact: WriteFact, message: Buffer): Promise<void> {
    this.kernel.facts.tell('writeBegun', fact);
    const { error } = await this.#ask(call, message);
    this.kernel.facts.tell('writeEnded', fact, error);
    if (error !== 0) throw new SystemCallError(call, error);
  }

  async #lookup(name: string): Promise<KernelReply> {
    const reply = await this.#ask('lookup', messages.lookupMessage(rootNodeid, this.pid, name));
    if (reply.error === 0 || reply.error === errno.ENOENT)
      this.kernel.facts.tell('nameLooked', this.kernel.mount, name, reply.error === 0);
    return reply;
  }

  /** A change of names, which takes some away and makes one. */
  async #rename(call: string, message: Buffer, gone: readonly string[], made?: string): Promise<KernelReply> {
    const { facts } = this.kernel;
    for (const name of [...gone, made]) if (name !== undefined) facts.tell('nameChanging', name);
    const reply = await this.#ask(call, message);
    if (reply.error === errno.ENOENT)
      for (const name of gone) facts.tell('nameMissed', this.kernel.mount, name);
    if (reply.error !== 0) throw new SystemCallError(call, reply.error);
    for (const name of gone) facts.tell('nameChanged', name, false);
    if (made !== undefined) facts.tell('nameChanged', made, true);
    return reply;
  }

  async #must(call: string, message: Buffer): Promise<KernelReply> {
    const reply = await this.kernel.call(message);
    if (reply.error !== 0) throw new SystemCallError(call, reply.error);
    return reply;
  }

  #install(file: OpenFile): number {
    const fd = this.#nextFd++;
    file.references += 1;
    this.#files.set(fd, file);
    return fd;
  }

  #fact(owner: LkOwner): OwnerFact {
    return { mount: this.kernel.mount, client: this.kernel.client, owner };
  }

  #askOf(file: OpenFile, wish: LockWish): LockAsk {
    const isFlock = wish.flavour === 'flock';
    const kind: LockKind = isFlock ? 'flock' : 'posix';
    return {
      ...this.#fact(wish.flavour === 'posix' ? this.owner : file.owner),
      kind,
      ino: file.ino,
      type: wish.type,
      start: isFlock ? 0n : (wish.start ?? 0n),
      end: isFlock ? rangeEnd : (wish.end ?? rangeEnd),
      wait: wish.wait,
      pid: this.pid,
    };
  }
}

export const describe = (lock: LockFact & { type?: LockType; wait?: boolean }): string =>
  `${lock.kind} ${lock.type ?? ''}${lock.wait === true ? ' wait' : ''} ${lock.start}..${lock.end === rangeEnd ? 'end' : lock.end} of ${lock.ino.toString(16)} owner ${lock.mount}/${lock.owner.slice(8)}`;
