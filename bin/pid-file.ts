/**
 * Which process runs a brick or a mount: its pid and its start time, so that a pid that the machine gave to another
 * process since is never taken for ours. Called by brick-command.ts, brick-processes.ts and mount-command.ts.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSystemError } from './failure.js';

export interface RunningProcess {
  readonly pid: number;
  /** Clock ticks between the boot and the start of the process: field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: number;
  /** What it serves, for people: a brick's name or a mountpoint. */
  readonly title: string;
}

/** Undefined where no such process lives; one that only waits to be reaped does not. */
function startTicksOf(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
  // The name of the command (field 2) is in parentheses and may hold any character.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
}

export const isRunning = (found: RunningProcess): boolean => startTicksOf(found.pid) === found.startTicks;

/** Names this process in `path`. */
export function writePidFile(path: string, title: string): void {
  const self: RunningProcess = { pid: process.pid, startTicks: startTicksOf(process.pid) ?? 0, title };
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(self)}\n`, { mode: 0o600 });
  renameSync(draft, path);
}

/** The process that a pid file names, if it still runs. */
export function readPidFile(path: string): RunningProcess | undefined {
  let found: Partial<RunningProcess>;
  try {
    found = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof found.pid !== 'number' || typeof found.startTicks !== 'number') return undefined;
  const running = { pid: found.pid, startTicks: found.startTicks, title: String(found.title) };
  return isRunning(running) ? running : undefined;
}

/** Removes the file if it names this process. */
export function removePidFile(path: string): void {
  if (readPidFile(path)?.pid === process.pid) rmSync(path, { force: true });
}

/** Whether it ended within `ms`. */
export async function waitForEnd(found: RunningProcess, ms: number): Promise<boolean> {
  const deadline = Date.now() + ms;
  while (isRunning(found)) {
    if (Date.now() >= deadline) return false;
    await sleep(20);
  }
  return true;
}

/** SIGTERM, and SIGKILL if that is not heard within `ms`. Answers whether the process ended by itself. */
export async function endProcess(found: RunningProcess, ms: number): Promise<boolean> {
  if (!signal(found, 'SIGTERM') || (await waitForEnd(found, ms))) return true;
  signal(found, 'SIGKILL');
  await waitForEnd(found, 2000);
  return false;
}

function signal(found: RunningProcess, name: NodeJS.Signals): boolean {
  if (!isRunning(found)) return false;
  try {
    process.kill(found.pid, name);
    return true;
  } catch (error) {
    if (isSystemError(error, 'ESRCH')) return false;
    throw error;
  }
}
