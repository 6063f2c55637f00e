/**
 * Waiting at the gate of a file that changes its graph: bounded for the process, and never forgotten where it frees
 * something. Decides nothing else. Called by distributed-volume.ts.
 */
import type { Clock } from '../host/clock.js';
import { Refusal } from '../wire/errors.js';
import type { FileId, Ticket } from '../wire/ids.js';
import type { LockOutcome, LockRequest, PendingLock } from './volume.js';

interface Gate {
  readonly gate: Promise<void>;
  readonly file: FileId;
  /** An unlock, flush or release: it is carried out also when its process was told that it had to wait too long. */
  readonly isOwed: boolean;
  readonly clock: Clock;
  readonly giveUpMs: number;
}

/** @refuses ENOTCONN where the gate stays closed for longer than an operation waits */
export function throughGate<T>(
  { gate, file, isOwed, clock, giveUpMs }: Gate,
  work: () => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = clock.after(giveUpMs, () => {
      isLate = true;
      reject(new Refusal('ENOTCONN', `file ${file} changes to a new graph, and its brick cannot be reached`));
    });
    const go = (): void => {
      timer.stop();
      if (!isLate || isOwed) work().then(resolve, reject);
    };
    gate.then(go, reject);
  });
}

/** A lock request at the gate: it can be cancelled before any brick hears of it. */
export class GatedLock implements PendingLock {
  readonly outcome: Promise<LockOutcome>;
  #asked: PendingLock | undefined;
  #cancel: () => void = () => undefined;

  constructor(
    at: {
      readonly gate: Promise<void>;
      readonly request: LockRequest;
      readonly ticket: Ticket | undefined;
      readonly clock: Clock;
      readonly giveUpMs: number;
    },
    ask: () => PendingLock,
  ) {
    const cancelled = new Promise<LockOutcome>((resolve) => {
      this.#cancel = () => resolve({ outcome: 'cancelled', ticket: at.ticket });
    });
    let isOver = false;
    const asked = throughGate({ ...at, file: at.request.file, isOwed: false }, () => {
      if (isOver) return cancelled;
      this.#asked = ask();
      return this.#asked.outcome;
    });
    const over = (): void => {
      isOver = true;
    };
    cancelled.then(over, over);
    this.outcome = Promise.race([asked, cancelled]);
  }

  cancel(): void {
    if (this.#asked === undefined) this.#cancel();
    else this.#asked.cancel();
  }
}
