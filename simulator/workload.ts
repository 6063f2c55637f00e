/**
 * What the simulated processes do: open, lock in every flavour, wait, read and write under locks, fork, dup, get
 * signals, close and die, on a few files, through all mounts. Knows nothing of bricks, faults or checks.
 *
 * A process waits only while it holds nothing, so that no run has a deadlock of its own making; whoever waits for
 * ever was forgotten. An error that an application may meet when a brick is away (ENOTCONN, EIO) makes a process
 * close everything and begin again.
 */
import { constants } from 'node:os';
import { rangeEnd } from '../wire/lock-types.js';
import type { Scheduler, SeededRandom } from './scheduler.js';
import { ScratchFiles } from './scratch-files.js';
import type { SimulatedKernel } from './simulated-kernel.js';
import {
  type LockFlavour,
  type LockWish,
  ProcessKilled,
  type SimulatedProcess,
  SystemCallError,
} from './simulated-process.js';

const { errno } = constants;

export interface WorkloadOptions {
  readonly files: readonly string[];
  readonly processes: number;
  /** Operations of all processes together. */
  readonly operations: number;
  /** Longest pause between two operations. */
  readonly thinkMsMax: number;
  readonly holdMsMax: number;
  readonly killChance: number;
}

/** Registers of a file, so far apart that they lie in several chunks. */
const places = 6;
const placeStride = 7001;
const valueBytes = 20;
/** Byte ranges of locks have nothing to do with places: they are advisory. */
const cellBytes = 100n;
const flavours: readonly LockFlavour[] = ['posix', 'posix', 'posix', 'ofd', 'flock'];
const retryable = new Set<number>([errno.ENOTCONN, errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENOSPC]);

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #random: SeededRandom;
  readonly #scheduler: Scheduler;
  readonly #kernels: () => SimulatedKernel[];
  readonly #onFault: (error: unknown) => void;
  #left: number;
  #values = 0;
  #paused = false;
  #resume: (() => void)[] = [];
  /** Actors that are neither parked at a pause nor over. */
  readonly #actors = new Set<Actor>();
  readonly scratch: ScratchFiles;
  /** System calls by name and outcome. */
  readonly counts = new Map<string, number>();

  constructor(options: {
    workload: WorkloadOptions;
    random: SeededRandom;
    scheduler: Scheduler;
    /** Of the mounts that are up. */
    kernels: () => SimulatedKernel[];
    onFault: (error: unknown) => void;
  }) {
    this.#options = options.workload;
    this.#random = options.random;
    this.#scheduler = options.scheduler;
    this.#kernels = options.kernels;
    this.#onFault = options.onFault;
    this.#left = options.workload.operations;
    this.scratch = new ScratchFiles(options.random, (process) => this.#value(process));
  }

  start(): void {
    for (let at = 0; at < this.#options.processes; at++) this.#startActor();
  }

  get operationsLeft(): number {
    return this.#left;
  }

  /** From now on nobody begins anything; who holds goes on holding, who waits goes on waiting. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const resume = this.#resume;
    this.#resume = [];
    for (const go of resume) go();
  }

  /** Nothing more is begun, ever: what is held is given back. */
  finish(): void {
    this.#left = 0;
    this.resume();
  }

  /** Nobody does anything but hold and wait. */
  get isStill(): boolean {
    return [...this.#actors].every((actor) => actor.isParked || actor.process?.isBlocked === true);
  }

  get isOver(): boolean {
    return this.#actors.size === 0;
  }

  /** For people: who is doing what. */
  describe(): string[] {
    return [...this.#actors].map(
      (actor) =>
        `process ${actor.process?.pid ?? '?'} on ${actor.process?.kernel.mount ?? '?'}: ${actor.doing}${actor.isParked ? ' (parked)' : ''}${actor.process?.isBlocked === true ? ' (waits for a lock)' : ''}`,
    );
  }

  #startActor(): void {
    const actor: Actor = { process: undefined, doing: 'begins', isParked: false };
    this.#actors.add(actor);
    this.#live(actor)
      .catch(this.#onFault)
      .finally(() => this.#actors.delete(actor));
  }

  async #live(actor: Actor): Promise<void> {
    while (this.#left > 0) {
      await this.#gate(actor);
      const kernels = this.#kernels();
      if (kernels.length === 0) {
        await this.#scheduler.sleep(50);
        continue;
      }
      actor.process = this.#random.pick(kernels).startProcess();
      try {
        await this.#work(actor, actor.process);
      } catch (error) {
        if (!(error instanceof ProcessKilled)) throw error;
      }
      actor.doing = 'dies';
      await actor.process.kill();
    }
  }

  /** One process, until it is killed or has nothing more to do. */
  async #work(actor: Actor, process: SimulatedProcess): Promise<void> {
    const open = new Map<string, number>();
    while (this.#left > 0) {
      await this.#gate(actor);
      actor.doing = 'thinks';
      await this.#scheduler.sleep(this.#random.between(0, this.#options.thinkMsMax));
      await this.#gate(actor);
      if (this.#left <= 0) return;
      this.#left -= 1;
      if (this.#random.chance(this.#options.killChance)) {
        if (this.#random.chance(0.5)) return;
        this.#scheduler.after(this.#random.between(0, 20), () => void process.kill());
      }
      try {
        await this.#operate(actor, process, open);
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        this.#count(error.message);
        if (!retryable.has(error.errno)) throw error;
        actor.doing = 'closes everything after an error';
        await this.#closeAll(process, open);
        if (error.errno === errno.ENOTCONN && !process.kernel.isOpen) return;
        await this.#scheduler.sleep(this.#random.between(1, 30));
      }
    }
  }

  async #operate(actor: Actor, process: SimulatedProcess, open: Map<string, number>): Promise<void> {
    const name = this.#random.pick(this.#options.files);
    let fd = open.get(name);
    if (fd === undefined) {
      actor.doing = `opens ${name}`;
      fd = await process.open(name);
      open.set(name, fd);
    }
    const draw = this.#random.below(100);
    if (draw < 55) await this.#critical(actor, process, fd);
    else if (draw < 62) await this.#readersAndUpgrade(actor, process, fd);
    else if (draw < 68) await this.#getLock(actor, process, fd);
    else if (draw < 75) await this.#fork(actor, process, fd);
    else if (draw < 82) await this.#dup(actor, process, fd);
    else if (draw < 87) await this.#readAnything(actor, process, fd);
    else if (draw < 93) await this.#useScratchFile(actor, process);
    else {
      actor.doing = `closes ${name}`;
      open.delete(name);
      await this.#close(process, fd);
    }
  }

  /** Takes a lock, uses the file under it, and gives it back in one of the ways there are. */
  async #critical(actor: Actor, process: SimulatedProcess, fd: number): Promise<void> {
    const wish = this.#wish();
    if (!(await this.#take(actor, process, fd, wish))) return;
    actor.doing = `uses its ${wish.flavour} lock`;
    const place = this.#random.below(places);
    await process.read(fd, place * placeStride, valueBytes);
    if (wish.type === 'write') await this.#change(process, fd, place * placeStride);
    if (this.#random.chance(0.1)) await process.sync(fd);
    await this.#hold(actor);
    if (this.#random.chance(0.2) && wish.flavour !== 'flock') {
      // A part of it goes first: the lock is split.
      const middle = (wish.start! + (wish.end! < 1000n ? wish.end! : 1000n)) / 2n;
      await process.unlock(fd, { flavour: wish.flavour, start: middle, end: middle + 10n });
    }
    actor.doing = `unlocks ${wish.flavour}`;
    await process.unlock(fd, wish);
  }

  async #change(process: SimulatedProcess, fd: number, offset: number): Promise<void> {
    if (this.#random.chance(0.03)) await process.truncate(fd, offset);
    else if (this.#random.chance(0.05)) await process.setXattr(fd, this.#value(process));
    else await process.write(fd, offset, this.#value(process));
  }

  async #readersAndUpgrade(actor: Actor, process: SimulatedProcess, fd: number): Promise<void> {
    const wish: LockWish = { ...this.#range(), flavour: 'posix', type: 'read', wait: true };
    if (!(await this.#take(actor, process, fd, wish))) return;
    await this.#hold(actor);
    actor.doing = 'upgrades';
    await this.#take(actor, process, fd, { ...wish, type: 'write', wait: false });
    await this.#hold(actor);
    actor.doing = 'unlocks';
    await process.unlock(fd, wish);
  }

  async #getLock(actor: Actor, process: SimulatedProcess, fd: number): Promise<void> {
    actor.doing = 'F_GETLK';
    await process.isFree(fd, { ...this.#range(), flavour: 'posix', type: 'write' });
  }

  /** The child shares the open file, takes a lock of its own and dies with it; the parent's stays. */
  async #fork(actor: Actor, process: SimulatedProcess, fd: number): Promise<void> {
    const wish: LockWish = { ...this.#range(), flavour: 'posix', type: 'write', wait: false };
    await this.#take(actor, process, fd, wish);
    const child = process.fork();
    actor.doing = 'its child runs';
    try {
      await this.#take(actor, child, fd, { ...wish, wait: false });
    } finally {
      actor.doing = 'its child dies';
      await child.kill();
    }
    await process.unlock(fd, wish);
  }

  /** close(2) of any descriptor of the file drops the process's posix locks. */
  async #dup(actor: Actor, process: SimulatedProcess, fd: number): Promise<void> {
    await this.#take(actor, process, fd, { ...this.#range(), flavour: 'posix', type: 'write', wait: true });
    const other = process.dup(fd);
    await this.#hold(actor);
    actor.doing = 'closes a duplicate';
    await this.#close(process, other);
  }

  async #readAnything(actor: Actor, process: SimulatedProcess, fd: number): Promise<void> {
    actor.doing = 'reads';
    if (this.#random.chance(0.1)) await process.getXattr(fd);
    else await process.read(fd, this.#random.below(places) * placeStride, valueBytes);
  }

  async #useScratchFile(actor: Actor, process: SimulatedProcess): Promise<void> {
    const doing = (what: string): void => {
      actor.doing = what;
    };
    await this.scratch.use(process, doing, () => this.#hold(actor));
  }

  /** @returns false where the lock was refused or a signal came */
  async #take(actor: Actor, process: SimulatedProcess, fd: number, wish: LockWish): Promise<boolean> {
    actor.doing = `locks ${wish.flavour} ${wish.type} ${wish.wait ? 'and waits' : ''}`;
    if (wish.wait && this.#random.chance(0.15)) {
      const restart = this.#random.chance(0.5);
      this.#scheduler.after(this.#random.between(0, 100), () => process.signal(restart));
    }
    try {
      await process.lock(fd, wish);
      this.#count(`${wish.flavour} granted`);
      return true;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      if (error.errno !== errno.EAGAIN && error.errno !== errno.EINTR) throw error;
      this.#count(error.message);
      return false;
    }
  }

  async #hold(actor: Actor): Promise<void> {
    actor.doing = 'holds';
    await this.#scheduler.sleep(this.#random.between(0, this.#options.holdMsMax));
    await this.#gate(actor);
    actor.doing = 'goes on';
  }

  async #close(process: SimulatedProcess, fd: number): Promise<void> {
    try {
      await process.close(fd);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#count(error.message);
    }
  }

  async #closeAll(process: SimulatedProcess, open: Map<string, number>): Promise<void> {
    open.clear();
    for (const fd of process.fds) await this.#close(process, fd);
  }

  async #gate(actor: Actor): Promise<void> {
    while (this.#paused) {
      actor.isParked = true;
      await new Promise<void>((resolve) => void this.#resume.push(resolve));
      actor.isParked = false;
    }
  }

  #wish(): LockWish {
    return {
      ...this.#range(),
      flavour: this.#random.pick(flavours),
      type: this.#random.chance(0.7) ? 'write' : 'read',
      wait: this.#random.chance(0.8),
    };
  }

  #range(): { start: bigint; end: bigint } {
    const first = BigInt(this.#random.below(4));
    if (this.#random.chance(0.1)) return { start: first * cellBytes, end: rangeEnd };
    const cells = BigInt(1 + this.#random.below(3));
    return { start: first * cellBytes, end: (first + cells) * cellBytes - 1n };
  }

  #value(process: SimulatedProcess): Uint8Array {
    return Buffer.from(`v${++this.#values}.${process.pid}`.padEnd(valueBytes, '_'), 'latin1');
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

interface Actor {
  process: SimulatedProcess | undefined;
  doing: string;
  isParked: boolean;
}

/** For the end of a run: every place of a file is read once more. */
export async function readAllPlaces(process: SimulatedProcess, name: string): Promise<void> {
  const fd = await process.open(name);
  for (let place = 0; place < places; place++) await process.read(fd, place * placeStride, valueBytes);
  await process.getXattr(fd);
  await process.close(fd);
}
