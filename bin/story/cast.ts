/**
 * Who plays: real processes (conformance/lock-process.c) that hold, wait and write. The cast knows what each of them
 * was promised, so that the end can be compared with it. It asserts nothing itself; plot.ts does.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kind, LockProcess, type Type } from '../../conformance/lock-process.js';
import { Failure } from '../failure.js';

/** A lock as the story describes it. `length` 0: to the end of the file. */
export interface Claim {
  readonly kind: Kind;
  readonly type: Type;
  readonly start: bigint;
  readonly length: bigint;
}

export class Actor {
  readonly name: string;
  readonly claim: Claim;
  readonly process: LockProcess;
  readonly fd: number;
  /** Set when the lock was granted. */
  grantedAtMs: number | undefined;
  hasEnded = false;

  constructor(name: string, claim: Claim, process: LockProcess, fd: number) {
    this.name = name;
    this.claim = claim;
    this.process = process;
    this.fd = fd;
  }

  get pid(): number {
    return this.process.pid;
  }

  lock(wait: boolean): Promise<'granted' | 'refused'> {
    const { kind, type, start, length } = this.claim;
    return this.process.lock(this.fd, kind, type, start, length, wait);
  }

  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.hasEnded = true;
    await this.process.kill(signal);
  }
}

const leaveMsMax = 3000;
export const recordBytes = 64;
export const recordSlots = 1024;

/** What the writer was told to write, and what therefore must be in the file. */
export class Ledger {
  readonly expected: Buffer;
  records = 0;
  slowestMs = 0;
  #isWriting = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(bytes: number) {
    this.expected = randomBytes(bytes);
  }

  get digest(): string {
    return createHash('sha256').update(this.expected).digest('hex');
  }

  /** Lets `writer` write one record after the other, as fast as it can, until `stop`. */
  start(writer: Actor): void {
    this.#isWriting = true;
    this.#loop = this.#write(writer);
    // The failure is told by `stop`; a rejection that nobody has looked at yet must not end the process.
    this.#loop.catch(() => undefined);
  }

  async #write(writer: Actor): Promise<void> {
    while (this.#isWriting) {
      const record = `record ${this.records} written under the lock `.padEnd(recordBytes, '.');
      const offset = (this.records % recordSlots) * recordBytes;
      const before = performance.now();
      const written = await writer.process.write(writer.fd, offset, record);
      this.slowestMs = Math.max(this.slowestMs, performance.now() - before);
      if (written !== recordBytes)
        throw new Failure(
          'failed',
          `A write of ${recordBytes} bytes wrote ${written}`,
          'Look at the log of the mount',
        );
      this.expected.write(record, offset, 'latin1');
      this.records++;
    }
  }

  /** @throws what a write failed with */
  async stop(): Promise<void> {
    this.#isWriting = false;
    await this.#loop;
  }
}

export class Cast {
  readonly actors: Actor[] = [];

  async enter(name: string, path: string, claim: Claim): Promise<Actor> {
    const process = LockProcess.start();
    const actor = new Actor(name, claim, process, await process.open(path, 'rw'));
    this.actors.push(actor);
    return actor;
  }

  /** Ends every process, also those that wait. One that the filesystem does not let go ends with its mount. */
  async leave(): Promise<void> {
    const all = Promise.all(this.actors.map((actor) => actor.end()));
    await Promise.race([all, sleep(leaveMsMax, undefined, { ref: false })]);
  }
}

/** Looks again and again until it is so. Answers whether it came to be within `ms`. */
export async function becomes(isSo: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}
