/**
 * Command lines to one process, answer lines back in the same order. Decides nothing about what they say, except that
 * an answer `error NAME text` is thrown, and that what a process that ended owes is thrown too.
 * Called by lock-process.ts, one channel for each process.
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

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

export class CommandChannel {
  readonly #input: Writable;
  readonly #pending: Pending[] = [];
  #end: string | undefined;

  constructor(input: Writable, output: Readable) {
    this.#input = input;
    // A command written while the process dies: `ended` tells of it.
    input.on('error', () => undefined);
    output.on('error', () => undefined);
    createInterface({ input: output }).on('line', (line) => this.#pending.shift()?.answered(line));
  }

  /** Commands that are not answered. */
  get unanswered(): readonly string[] {
    return this.#pending.map(({ command }) => command);
  }

  /** @throws LockProcessError where its system call failed or the process ended */
  command(command: string): Promise<string> {
    return new Promise((answered, failed) => {
      if (this.#end !== undefined) {
        failed(goneError(command, this.#end));
        return;
      }
      const check = (line: string): void => {
        const error = /^error (\S+) (.*)$/.exec(line);
        if (error) failed(new LockProcessError(command, error[1]!, error[2]!));
        else answered(line);
      };
      this.#pending.push({ command, answered: check, failed });
      this.#input.write(`${command}\n`);
    });
  }

  close(): void {
    this.#input.end();
  }

  /** The process is gone; the first reason counts. */
  ended(reason: string): void {
    this.#end ??= reason;
    for (const { command, failed } of this.#pending.splice(0)) failed(goneError(command, this.#end));
  }
}

const goneError = (command: string, reason: string): LockProcessError =>
  new LockProcessError(command, 'ESRCH', `the process ended (${reason})`);
