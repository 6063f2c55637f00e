/**
 * How a command of lockferry ends: the exit codes (docs/CLI.md lists them) and the one line that says what happened
 * and what to do. Every command throws; only cli.ts catches, prints and exits.
 */
import { VolumeFileError } from '../dht/volume-file.js';
import { asRefusal, type RefusalCode } from '../wire/errors.js';

export const exitCodes = {
  ok: 0,
  /** It was tried and did not work, or the answer is no (a lock is held by another). */
  failed: 1,
  usage: 2,
  /** The volume, brick, file or path that was named does not exist. */
  notFound: 3,
  /** The volume or one of its bricks is not running or does not answer. */
  unreachable: 4,
  /** The mountpoint cannot be used, or this machine cannot mount. */
  mountpoint: 5,
} as const;

export type ExitName = keyof typeof exitCodes;

/** An end that was foreseen: `what` happened, and what the person can `do` about it. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exit: ExitName;

  constructor(exit: ExitName, what: string, cure: string, options?: ErrorOptions) {
    super(`${what}. ${cure}`, options);
    this.exit = exit;
  }
}

/** Whether a caught value is an error of a system call with this code. */
export const isSystemError = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

const exitOfRefusal: Partial<Record<RefusalCode, ExitName>> = {
  ENOENT: 'notFound',
  ESTALE: 'notFound',
  ENOTCONN: 'unreachable',
  ETIMEDOUT: 'unreachable',
};

/** What to print and how to exit for anything that a command threw. */
export function explain(error: unknown): { exitCode: number; line: string } {
  if (error instanceof Failure) return { exitCode: exitCodes[error.exit], line: error.message };
  const refusal = asRefusal(error);
  if (refusal) {
    const exit = exitOfRefusal[refusal.code] ?? 'failed';
    const cure = exit === 'unreachable' ? ' See which bricks run with: lockferry status DIR' : '';
    return { exitCode: exitCodes[exit], line: `${refusal.message} (${refusal.code}).${cure}` };
  }
  if (error instanceof VolumeFileError) return { exitCode: exitCodes.failed, line: `${error.message}.` };
  const message = error instanceof Error ? error.message : String(error);
  return {
    exitCode: exitCodes.failed,
    line: `${message.replace(/\.$/, '')}. This was not foreseen: LOCKFERRY_DEBUG=1 shows where it came from.`,
  };
}
