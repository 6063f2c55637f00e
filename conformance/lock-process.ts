/**
 * Drives one lock process (lock-process.c): a real process whose every system call is commanded from here.
 *
 * Decides nothing about locks; it passes commands and reports answers. Commands are answered in order, so a command
 * behind a waiting lock waits too, as it would in any single-threaded program.
 * Called by tests, the story of `npm start` and `lockferry hold`.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** From dist/conformance/ to what node-gyp built. */
const program = fileURLToPath(new URL('../../build/Release/lock-process', import.meta.url));

export type Kind = 'posix' | 'ofd' | 'flock';
export type Type = 'read' | 'write';

/** F_GETLK's answer; `length` 0 is to the end of the file. `pid` is 0 or -1 where the kernel does not tell. */
export interface Conflict {
  readonly type: Type;
  readonly start: bigint;
  readonly length: bigint;
  readonly pid: number;
}

/** A system call of the process failed; `code` as in errno(3). */
export class LockProcessError extends Error {
  override readonly name = 'LockProcessError';
  readonly code: string;

  constructor(command: string, code: string, text: string) {
    super(`"${command}" failed: ${text} (${code})`);
    this.code = code;
  }
}

interface Pending {
  readonly command: string;
  readonly answered: (line: string) => void;
  readonly failed: (error: Error) => void;
}

export class LockProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #pending: Pending[] = [];
  readonly #ended: Promise<void>;
  #end: string | undefined;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      const end = (reason: string) => {
        this.#end ??= reason;
        for (const { command, failed } of this.#pending.splice(0))
          failed(new LockProcessError(command, 'ESRCH', `the process ended (${this.#end})`));
        resolve();
      };
      child.once('error', (error) => end(error.message));
      child.once('close', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    // A command written while the process dies: `close` tells of it.
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => this.#pending.shift()?.answered(line));
  }

  static start(): LockProcess {
    return new LockProcess(spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] }));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Sends one command line. @throws LockProcessError where its system call failed or the process ended */
  command(command: string): Promise<string> {
    return new Promise((answered, failed) => {
      if (this.#end !== undefined) {
        failed(new LockProcessError(command, 'ESRCH', `the process ended (${this.#end})`));
        return;
      }
      const check = (line: string): void => {
        const error = /^error (\S+) (.*)$/.exec(line);
        if (error) failed(new LockProcessError(command, error[1]!, error[2]!));
        else answered(line);
      };
      this.#pending.push({ command, answered: check, failed });
      this.#child.stdin.write(`${command}\n`);
    });
  }

  async #number(command: string): Promise<number> {
    return Number((await this.command(command)).slice('ok '.length));
  }

  /** `rw` makes the file where there is none. */
  open(path: string, mode: 'r' | 'rw'): Promise<number> {
    return this.#number(`open ${mode} ${path}`);
  }

  async close(fd: number): Promise<void> {
    await this.command(`close ${fd}`);
  }

  dup(fd: number): Promise<number> {
    return this.#number(`dup ${fd}`);
  }

  /** `length` 0 is to the end of the file, however it grows. */
  async lock(
    fd: number,
    kind: Kind,
    type: Type,
    start: bigint,
    length: bigint,
    wait = false,
  ): Promise<'granted' | 'refused'> {
    const answer = await this.command(
      `lock ${fd} ${kind} ${type} ${start} ${length} ${wait ? 'wait' : 'try'}`,
    );
    return answer === 'granted' ? 'granted' : 'refused';
  }

  async unlock(fd: number, kind: Kind, start: bigint, length: bigint): Promise<void> {
    await this.command(`unlock ${fd} ${kind} ${start} ${length}`);
  }

  async test(
    fd: number,
    kind: 'posix' | 'ofd',
    type: Type,
    start: bigint,
    length: bigint,
  ): Promise<Conflict | undefined> {
    const answer = await this.command(`test ${fd} ${kind} ${type} ${start} ${length}`);
    if (answer === 'free') return undefined;
    const [, heldType, heldStart, heldLength, pid] = answer.split(' ');
    return {
      type: heldType as Type,
      start: BigInt(heldStart!),
      length: BigInt(heldLength!),
      pid: Number(pid),
    };
  }

  /** `text` may not hold a line end. */
  write(fd: number, offset: number, text: string): Promise<number> {
    return this.#number(`write ${fd} ${offset} ${text}`);
  }

  async read(fd: number, offset: number, length: number): Promise<Buffer> {
    return Buffer.from((await this.command(`read ${fd} ${offset} ${length}`)).slice('ok '.length), 'hex');
  }

  size(fd: number): Promise<number> {
    return this.#number(`size ${fd}`);
  }

  /** Ends the process, also while it waits for a lock, and resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Lets the process end by itself: its input ends. */
  async end(): Promise<void> {
    if (this.#end !== undefined) return;
    this.#child.stdin.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    await this.#ended;
  }
}
