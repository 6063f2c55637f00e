/** A file that a real process has open, and the process's locks on it, as tests speak of them. */
import type { Kind, LockProcess, Type } from '../conformance/lock-process.js';

/** A lock that was asked for and waited for. */
export interface Wait {
  /** Set when it was granted. */
  isGranted: boolean;
  /** errno's name, where the call failed. */
  error: string | undefined;
  readonly over: Promise<void>;
}

export interface Range {
  readonly start?: bigint;
  readonly length?: bigint;
}

export class OpenedFile {
  readonly process: LockProcess;
  readonly #fd: number;

  constructor(process: LockProcess, fd: number) {
    this.process = process;
    this.#fd = fd;
  }

  /** F_SETLK, or flock with LOCK_NB. */
  tryLock(kind: Kind = 'posix', type: Type = 'write', { start = 0n, length = 0n }: Range = {}) {
    return this.process.lock(this.#fd, kind, type, start, length);
  }

  /** F_SETLKW, or flock. */
  lock(kind: Kind = 'posix', type: Type = 'write', { start = 0n, length = 0n }: Range = {}): Wait {
    const asked = this.process.lock(this.#fd, kind, type, start, length, true);
    const wait: Wait = {
      isGranted: false,
      error: undefined,
      over: asked.then(
        () => {
          wait.isGranted = true;
        },
        (error: { code?: string }) => {
          wait.error = error.code ?? String(error);
        },
      ),
    };
    return wait;
  }

  unlock(kind: Kind = 'posix', { start = 0n, length = 0n }: Range = {}): Promise<void> {
    return this.process.unlock(this.#fd, kind, start, length);
  }

  /** Process that F_GETLK names; undefined where nobody holds a conflicting lock. */
  async heldBy(type: Type = 'write', { start = 0n, length = 0n }: Range = {}): Promise<number | undefined> {
    return (await this.process.test(this.#fd, 'posix', type, start, length))?.pid;
  }

  write(offset: number, text: string): Promise<number> {
    return this.process.write(this.#fd, offset, text);
  }

  async read(offset: number, length: number): Promise<string> {
    return (await this.process.read(this.#fd, offset, length)).toString('latin1');
  }

  close(): Promise<void> {
    return this.process.close(this.#fd);
  }

  kill(): Promise<void> {
    return this.process.kill();
  }
}

/** The name of the errno that a call failed with, or what it answered. */
export const errnoOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    return String(await call);
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};
