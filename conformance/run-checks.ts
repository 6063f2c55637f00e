/**
 * Runs checks one after the other in a directory, each on files of its own, and says how each ended. Decides what
 * counts as not supported and how long a check may take; leaves the directory as it was.
 * Called by `lockferry check` and by tests.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bench } from './bench.js';
import { type Check, type CheckResult, Mismatch, NotSupported } from './check.js';
import { checks } from './checks/all.js';
import { LockProcessError } from './lock-process.js';

/** Of one check; a filesystem that hangs must not hang the tool. */
const checkMsMax = 30_000;
const clearMsMax = 5000;

export interface RunOptions {
  readonly directory: string;
  /** The same directory, reached through another mount. */
  readonly second?: string | undefined;
  readonly names: readonly string[];
}

/** The two directories do not show the same files. */
export class DifferentDirectories extends Error {
  override readonly name = 'DifferentDirectories';
}

/** Checks whose name is `word`, or begins with it. */
export const checksNamed = (words: readonly string[]): string[] =>
  Object.keys(checks).filter((name) => words.length === 0 || words.some((word) => name.startsWith(word)));

/** @throws DifferentDirectories, or what the filesystem says where no folder can be made in the directory */
export async function* runChecks(options: RunOptions): AsyncGenerator<CheckResult> {
  const folder = await mkdtemp(join(options.directory, '.lock-check-'));
  try {
    const second = options.second === undefined ? undefined : join(options.second, basename(folder));
    if (second !== undefined && !(await isFolder(second)))
      throw new DifferentDirectories(
        `${options.second} does not show what was made in ${options.directory}: they are not one filesystem`,
      );
    for (const name of options.names) {
      const check = checks[name]!;
      if (check.needs === 'second' && second === undefined) continue;
      yield await runCheck(name, check, folder, second);
    }
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

async function runCheck(
  name: string,
  check: Check,
  folder: string,
  second: string | undefined,
): Promise<CheckResult> {
  const bench = new Bench(name.replace('/', '-'), folder, second);
  const started = performance.now();
  const result = await limited(checkMsMax, outcomeOf(check, bench), () => ({
    outcome: 'failed' as const,
    expected: `an end within ${checkMsMax / 1000} s`,
    seen: `no answer to ${bench.unanswered.map((command) => `"${command}"`).join(', ') || 'anything'}`,
  }));
  const ms = performance.now() - started;
  const cleared = await limited(
    clearMsMax,
    bench.clear().then(() => true),
    () => false,
  );
  if (!cleared && result.outcome !== 'failed')
    return {
      name,
      kind: check.kind,
      ms,
      outcome: 'failed',
      expected: 'processes that end when they are killed',
      seen: 'they do not',
    };
  return { name, kind: check.kind, ms, ...result };
}

async function limited<T>(ms: number, work: Promise<T>, late: () => T): Promise<T> {
  const timer = new AbortController();
  const over = sleep(ms, undefined, { signal: timer.signal }).then(late);
  // The timer is stopped when the work is done first: nobody waits for it then.
  over.catch(() => undefined);
  const result = await Promise.race([work, over]);
  timer.abort();
  return result;
}

async function outcomeOf(check: Check, bench: Bench) {
  try {
    await check.run(bench);
    return { outcome: 'passed' as const, note: bench.note };
  } catch (error) {
    if (error instanceof Mismatch)
      return { outcome: 'failed' as const, expected: error.expected, seen: error.seen };
    if (error instanceof NotSupported) return { outcome: 'not supported' as const, reason: error.message };
    if (isMissing(error)) return { outcome: 'not supported' as const, reason: (error as Error).message };
    if (isSystemError(error))
      return { outcome: 'failed' as const, expected: 'every system call to succeed', seen: error.message };
    throw error;
  }
}

/** mmap where there is none (ENODEV), links where there are none (EPERM, as link(2) says). */
const isMissing = (error: unknown): boolean =>
  (error instanceof LockProcessError && ['ENODEV', 'ENOSYS', 'EOPNOTSUPP'].includes(error.code)) ||
  (isSystemError(error) &&
    error.syscall === 'link' &&
    ['EPERM', 'ENOSYS', 'EOPNOTSUPP'].includes(error.code ?? ''));

const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && 'code' in error;
