/**
 * One process with one open file and one kind of lock: what checks are written in. It turns errors of lock calls into
 * outcomes, because a check compares them; whether an outcome is right is the check's to say.
 */
import { untilBlocked } from './blocked.js';
import { NotSupported } from './check.js';
import {
  type Conflict,
  type Kind,
  type LockProcess,
  LockProcessError,
  type Start,
  type Type,
} from './lock-process.js';

/** `granted`, `refused`, or the errno of the call, such as `EDEADLK`. */
export type Outcome = string;

/** Codes with which a filesystem, or its lock manager, says that it has no locks at all. */
const noLocks = new Set(['ENOSYS', 'EOPNOTSUPP', 'ENOLCK']);

/** A lock call that may block. */
export interface Wait {
  readonly outcome: Promise<Outcome>;
  /** Undefined as long as it waits. */
  readonly answer: Outcome | undefined;
}

/** A thread that has its answer at once never sleeps in the call. */
const threadPollsMax = 500;

type Amount = bigint | number;
const startOf = (start: Amount | string): Start =>
  typeof start === 'string' ? (start as Start) : BigInt(start);

async function outcomeOf(call: Promise<string>): Promise<Outcome> {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof LockProcessError)) throw error;
    if (noLocks.has(error.code)) throw new NotSupported(error.message);
    return error.code;
  }
}

export class Party {
  readonly process: LockProcess;
  readonly fd: number;
  readonly kind: Kind;

  constructor(process: LockProcess, fd: number, kind: Kind) {
    this.process = process;
    this.fd = fd;
    this.kind = kind;
  }

  /** The same process, through another descriptor or with another kind of lock. */
  as(change: { readonly fd?: number; readonly kind?: Kind }): Party {
    return new Party(this.process, change.fd ?? this.fd, change.kind ?? this.kind);
  }

  /** Without waiting. A length of 0 is to the end; flock ignores the range. */
  take(type: Type, start: Amount | string = 0, length: Amount = 0): Promise<Outcome> {
    return outcomeOf(this.process.lock(this.fd, this.kind, type, startOf(start), BigInt(length)));
  }

  drop(start: Amount | string = 0, length: Amount = 0): Promise<Outcome> {
    return outcomeOf(
      this.process.unlock(this.fd, this.kind, startOf(start), BigInt(length)).then(() => 'done'),
    );
  }

  test(type: Type, start: Amount | string = 0, length: Amount = 0): Promise<Conflict | undefined> {
    if (this.kind === 'flock') throw new Error('flock has no test');
    return this.process.test(this.fd, this.kind, type, startOf(start), BigInt(length));
  }

  /** Asks for the lock and resolves when the process sleeps in the call, or has its answer already. */
  wait(type: Type, start: Amount = 0, length: Amount = 0): Promise<Wait> {
    const call = this.process.lock(this.fd, this.kind, type, BigInt(start), BigInt(length), true);
    return this.#waiting(outcomeOf(call), 1);
  }

  /** The same in a thread of the process, which goes on with other commands. @param nth how many threads wait then */
  async waitInThread(type: Type, start: Amount = 0, length: Amount = 0, nth = 1): Promise<ThreadWait> {
    const thread = await this.process.lockInThread(this.fd, this.kind, type, BigInt(start), BigInt(length));
    let polls = 0;
    await untilBlocked(this.process.pid, nth, () => ++polls > threadPollsMax);
    return { join: () => outcomeOf(this.process.join(thread)) };
  }

  async #waiting(outcome: Promise<Outcome>, threads: number): Promise<Wait> {
    const wait: { outcome: Promise<Outcome>; answer: Outcome | undefined } = { outcome, answer: undefined };
    const settled = outcome.then(
      (answer) => {
        wait.answer = answer;
      },
      (error: unknown) => {
        // Looked at by whoever awaits the outcome; the process may also just have been killed.
        wait.answer = String(error);
      },
    );
    await untilBlocked(this.process.pid, threads, () => wait.answer !== undefined);
    if (wait.answer !== undefined) await settled;
    return wait;
  }
}

/** A thread that waits for a lock. */
export interface ThreadWait {
  /** The process does nothing else until the thread has its answer. */
  join(): Promise<Outcome>;
}
