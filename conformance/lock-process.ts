/**
 * Drives one lock process (lock-process.c): a real process whose every system call is commanded from here.
 *
 * Decides nothing about locks; it passes commands and reports answers. Commands are answered in order, so a command
 * behind a waiting lock waits too, as it would in any single-threaded program.
 * Called by the checks, tests, the story of `npm start` and `lockferry hold`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex, Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { CommandChannel, LockProcessError } from './command-channel.js';

export { LockProcessError };

/** From dist/conformance/ to what node-gyp built. */
const program = fileURLToPath(new URL('../../build/Release/lock-process', import.meta.url));

export type Kind = 'posix' | 'ofd' | 'flock';
export type Type = 'read' | 'write';
export type OpenMode = 'r' | 'w' | 'rw' | 'a';

/** F_GETLK's answer; `length` 0 is to the end of the file. `pid` is 0 or -1 where the kernel does not tell. */
export interface Conflict {
  readonly type: Type;
  readonly start: bigint;
  readonly length: bigint;
  readonly pid: number;
}

/** `l_start`: from the begin of the file, or as l_whence says: `cur+5`, `end-10`. */
export type Start = bigint | `cur${string}` | `end${string}`;

/** How a process is signalled and how its end is learned; a forked one has another parent than this. */
interface Life {
  readonly pid: number;
  /** Descriptors for children; the ones that were not used yet. */
  readonly slots: Duplex[];
  readonly slotCount: number;
  signal(signal: NodeJS.Signals): void;
  /** Resolves with what ended the process, once it and its locks are gone. */
  readonly gone: () => Promise<string>;
  /** Resolves when nothing of the process answers any more. */
  readonly left: Promise<unknown>;
}

export class LockProcess {
  readonly #life: Life;
  readonly #channel: CommandChannel;

  private constructor(life: Life, channel: CommandChannel) {
    this.#life = life;
    this.#channel = channel;
  }

  /** @param children how many children it may fork */
  static start(children = 0): LockProcess {
    const extra = new Array<'pipe'>(children).fill('pipe');
    const child = spawn(program, [String(children)], { stdio: ['pipe', 'pipe', 'inherit', ...extra] });
    const channel = new CommandChannel(child.stdin as Writable, child.stdout as Readable);
    const gone = endOf(child).then((reason) => {
      channel.ended(reason);
      return reason;
    });
    const slots = child.stdio.slice(3) as Duplex[];
    const life: Life = {
      pid: child.pid ?? 0,
      slots,
      slotCount: children,
      signal: (signal) => child.kill(signal),
      gone: () => gone,
      left: gone,
    };
    return new LockProcess(life, channel);
  }

  get pid(): number {
    return this.#life.pid;
  }

  /** Commands that are not answered, such as a lock that is waited for. */
  get unanswered(): readonly string[] {
    return this.#channel.unanswered;
  }

  /** Sends one command line. @throws LockProcessError where its system call failed or the process ended */
  command(command: string): Promise<string> {
    return this.#channel.command(command);
  }

  async #number(command: string): Promise<number> {
    return Number((await this.command(command)).slice('ok '.length));
  }

  async #bytes(command: string): Promise<Buffer> {
    return Buffer.from((await this.command(command)).slice('ok '.length), 'hex');
  }

  /** All but `r` make the file where there is none; `a` appends. */
  open(path: string, mode: OpenMode): Promise<number> {
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
    start: Start,
    length: bigint,
    wait = false,
  ): Promise<'granted' | 'refused'> {
    const answer = await this.command(lockCommand(fd, kind, type, start, length, wait));
    return answer === 'granted' ? 'granted' : 'refused';
  }

  /** A thread of the process waits for the lock; the answer comes through `join`. */
  lockInThread(fd: number, kind: Kind, type: Type, start: Start, length: bigint): Promise<number> {
    return this.#number(`thread ${lockCommand(fd, kind, type, start, length, true)}`);
  }

  /** @throws LockProcessError what the thread's call failed with */
  join(thread: number): Promise<string> {
    return this.command(`join ${thread}`);
  }

  async unlock(fd: number, kind: Kind, start: Start, length: bigint): Promise<void> {
    await this.command(`unlock ${fd} ${kind} ${start} ${length}`);
  }

  async test(
    fd: number,
    kind: 'posix' | 'ofd',
    type: Type,
    start: Start,
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

  /** write(2): where the open file stands, or at the end if it was opened with `a`. */
  append(fd: number, text: string): Promise<number> {
    return this.#number(`append ${fd} ${text}`);
  }

  read(fd: number, offset: number, length: number): Promise<Buffer> {
    return this.#bytes(`read ${fd} ${offset} ${length}`);
  }

  size(fd: number): Promise<number> {
    return this.#number(`size ${fd}`);
  }

  async seek(fd: number, offset: number): Promise<void> {
    await this.command(`seek ${fd} ${offset}`);
  }

  async truncate(fd: number, size: number): Promise<void> {
    await this.command(`truncate ${fd} ${size}`);
  }

  /** A shared mapping; its number is for `peek` and `poke`. */
  map(fd: number, length: number): Promise<number> {
    return this.#number(`map ${fd} ${length}`);
  }

  peek(mapping: number, offset: number, length: number): Promise<Buffer> {
    return this.#bytes(`peek ${mapping} ${offset} ${length}`);
  }

  /** Stores into the shared memory and makes no system call. */
  async poke(mapping: number, offset: number, text: string): Promise<void> {
    await this.command(`poke ${mapping} ${offset} ${text}`);
  }

  /** Installs a handler that counts. */
  async handle(signal: 'SIGUSR1' | 'SIGUSR2', how: 'restart' | 'interrupt'): Promise<void> {
    await this.command(`handle ${signal} ${how}`);
  }

  signals(): Promise<number> {
    return this.#number('signals');
  }

  /** The child has every descriptor of this process and obeys commands of its own. */
  async fork(): Promise<LockProcess> {
    const slot = this.#life.slotCount - this.#life.slots.length;
    const stream = this.#life.slots.shift();
    if (stream === undefined) throw new Error('this lock process was started for fewer children');
    const pid = await this.#number(`fork ${slot}`);
    const channel = new CommandChannel(stream, stream);
    let hasLeft = false;
    // The stream ends with the process, or a moment before: its locks may still be there.
    const left = new Promise<void>((resolve) => {
      stream.once('close', () => {
        hasLeft = true;
        channel.ended('its channel ended');
        resolve();
      });
    });
    const life: Life = {
      pid,
      slots: [],
      slotCount: 0,
      signal: (signal) => {
        if (!hasLeft) process.kill(pid, signal);
      },
      gone: () =>
        this.#number(`reap ${pid}`).then((status) => {
          hasLeft = true;
          const reason = status < 0 ? `signal ${-status}` : `exit code ${status}`;
          channel.ended(reason);
          return reason;
        }),
      left,
    };
    return new LockProcess(life, channel);
  }

  /** The program starts again in the same process. */
  async exec(): Promise<void> {
    await this.command('exec');
  }

  async closeOnExec(fd: number): Promise<void> {
    await this.command(`cloexec ${fd}`);
  }

  /** Ends the process, also while it waits for a lock, and resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#life.signal(signal);
    await this.#life.gone();
  }

  /** Resolves when the process answers no more, whoever ended it; a forked one may be about to be gone then. */
  get left(): Promise<unknown> {
    return this.#life.left;
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#life.signal(signal);
  }

  /** Lets the process end by itself: its input ends. */
  async end(): Promise<void> {
    this.#channel.close();
    await this.#life.gone();
  }
}

const lockCommand = (
  fd: number,
  kind: Kind,
  type: Type,
  start: Start,
  length: bigint,
  wait: boolean,
): string => `lock ${fd} ${kind} ${type} ${start} ${length} ${wait ? 'wait' : 'try'}`;

/** The process was waited for, so its locks are gone; a process that it forked may still hold its output. */
async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = await once(child, 'exit');
    return signal ?? `exit code ${code}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
