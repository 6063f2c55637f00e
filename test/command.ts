/** Runs `lockferry` as a person would, and answers how it ended. */
import { spawn } from 'node:child_process';
import { cliPath } from '../bin/brick-processes.js';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Ends by itself, or is killed after a time in which every command must have ended (`code` is then null). */
const commandMsMax = 60_000;

export function lockferry(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [cliPath, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    timeout: commandMsMax,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}
