/**
 * Whether a process sleeps in a lock call, seen from outside: /proc/PID/task/TID/syscall. Where that file may not be
 * read (another user, a hardened kernel) a short pause must do.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** fcntl and flock, by architecture (asm/unistd.h). */
const lockCalls: Partial<Record<string, readonly string[]>> = { x64: ['72', '73'], arm64: ['25', '32'] };
const pauseMs = 100;
const pollMs = 2;

const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');

/** How many threads of the process sleep in fcntl or flock; undefined where nobody may look. */
async function blockedThreads(pid: number): Promise<number | undefined> {
  const calls = lockCalls[process.arch];
  if (calls === undefined) return undefined;
  try {
    let blocked = 0;
    for (const thread of await readdir(`/proc/${pid}/task`)) {
      // `running` where the thread does not sleep.
      const call = (await readFile(`/proc/${pid}/task/${thread}/syscall`, 'utf8')).split(' ', 1)[0]!;
      if (calls.includes(call)) blocked++;
    }
    return blocked;
  } catch (error) {
    if (isGone(error)) return 0;
    return undefined;
  }
}

/** Resolves when `threads` of the process sleep in a lock call, or when `isOver` says that it need not be awaited. */
export async function untilBlocked(pid: number, threads: number, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const blocked = await blockedThreads(pid);
    if (blocked === undefined) {
      await sleep(pauseMs);
      return;
    }
    if (blocked >= threads) return;
    await sleep(pollMs);
  }
}
