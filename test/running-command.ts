/** A `lockferry` command that goes on running, such as `hold` and `mount`: its lines, its signals, its end. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { cliPath } from '../bin/brick-processes.js';

export interface RunningCommand {
  readonly pid: number;
  /** Resolves with the first line that matches, whenever it came. @throws Error where the command ends without it */
  line(pattern: RegExp): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** Killed when `t` ends. Standard error is among the lines. */
export function startCommand(t: Test, program: string, ...args: readonly string[]): RunningCommand {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const lookers = new Set<() => void>();
  const look = () => {
    for (const one of lookers) one();
  };
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      look();
    });
  let end: number | string | undefined;
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      end = signal ?? code ?? 'unknown';
      look();
      resolve(end);
    });
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const line = (pattern: RegExp): Promise<string> =>
    new Promise((found, fail) => {
      const one = () => {
        const match = lines.find((text) => pattern.test(text));
        if (match === undefined && end === undefined) return;
        lookers.delete(one);
        if (match !== undefined) found(match);
        else
          fail(
            new Error(`${args.join(' ')} ended with ${end} and never said ${pattern}:\n${lines.join('\n')}`),
          );
      };
      lookers.add(one);
      one();
    });
  return { pid: child.pid ?? 0, line, kill: (signal) => child.kill(signal), ended };
}

export const startLockferry = (t: Test, ...args: readonly string[]): RunningCommand =>
  startCommand(t, cliPath, ...args);
