/**
 * What a check works with: a file of its own, seen through one or two directories, and processes on it. Decides how
 * an expectation that was not met is told, and ends every process that the check left.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Mismatch } from './check.js';
import { type Outcome, Party, type Wait } from './lock-party.js';
import type { Kind, OpenMode } from './lock-process.js';
import { LockProcess } from './lock-process.js';

/** A lock that is free is granted long before this, also when its file moves meanwhile. */
const grantMsMax = 5000;
/** What should not happen is watched for so long. */
const watchMs = 60;
const childrenMax = 3;

export interface PartyOptions {
  readonly mode?: OpenMode;
  /** Through which directory; only checks with `needs: 'second'` say `second`. */
  readonly via?: 'first' | 'second';
  /** Default: the check's own file. */
  readonly name?: string;
  /** Default: a new process. */
  readonly process?: LockProcess;
}

export class Bench {
  /** Something worth to be told of a check that passed. */
  note: string | undefined;
  readonly #first: string;
  readonly #second: string | undefined;
  readonly #name: string;
  readonly #processes: LockProcess[] = [];

  /** @param name of the check's file; others begin with it */
  constructor(name: string, first: string, second: string | undefined) {
    this.#name = name;
    this.#first = first;
    this.#second = second;
  }

  get hasSecond(): boolean {
    return this.#second !== undefined;
  }

  path(name = '', via: 'first' | 'second' = 'first'): string {
    const directory = via === 'first' ? this.#first : this.#second;
    if (directory === undefined) throw new Error('this check must say that it needs a second directory');
    return join(directory, this.#name + name);
  }

  process(): LockProcess {
    const process = LockProcess.start(childrenMax);
    this.#processes.push(process);
    return process;
  }

  /** The file (made where it is not there), opened by a process. */
  async party(kind: Kind, options: PartyOptions = {}): Promise<Party> {
    const process = options.process ?? this.process();
    const fd = await process.open(this.path(options.name, options.via), options.mode ?? 'rw');
    return new Party(process, fd, kind);
  }

  /** So many processes, each with the file open. */
  parties(kind: Kind, count: number): Promise<Party[]> {
    return Promise.all(Array.from({ length: count }, () => this.party(kind)));
  }

  /** A child of the party's process with the same open file. */
  async fork(party: Party): Promise<Party> {
    const child = await party.process.fork();
    this.#processes.unshift(child);
    return new Party(child, party.fd, party.kind);
  }

  /** @throws Mismatch */
  expect(what: string, seen: unknown, expected: unknown): void {
    if (!isDeepStrictEqual(seen, expected)) throw new Mismatch(`${what}: ${show(expected)}`, show(seen));
  }

  /** @throws Mismatch unless the call is answered so, and in time */
  async expectOutcome(what: string, wait: Wait, expected: Outcome): Promise<void> {
    const late = new AbortController();
    const seen = await Promise.race([
      wait.outcome,
      sleep(grantMsMax, `still waiting after ${grantMsMax / 1000} s`, { signal: late.signal }),
    ]);
    late.abort();
    this.expect(what, seen, expected);
  }

  /** @throws Mismatch where one of them was answered */
  async expectWaiting(what: string, ...waits: Wait[]): Promise<void> {
    await sleep(watchMs);
    for (const wait of waits) this.expect(what, wait.answer ?? 'waits', 'waits');
  }

  pause(ms: number): Promise<void> {
    return sleep(ms);
  }

  /** Commands that the check's processes owe an answer to. */
  get unanswered(): readonly string[] {
    return this.#processes.flatMap((process) => process.unanswered);
  }

  /** Ends all processes; children first, who would otherwise be waited for by nobody. */
  async clear(): Promise<void> {
    for (const process of this.#processes)
      try {
        process.signal('SIGKILL');
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
      }
    await Promise.all(this.#processes.map((process) => process.left));
  }
}

/** For people: `granted`, or a lock with its fields. What a terminal cannot show is escaped. */
const show = (value: unknown): string =>
  typeof value === 'string' && /^[\x20-\x7e]+$/.test(value)
    ? value
    : (JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? String(member) : member)) ??
      'nothing');
