/**
 * The place in the queue of a wait that a signal ended. With SA_RESTART the kernel sends the same F_SETLKW again at
 * once, as a new request (fuse_setlk: "locking is restartable"); for a short time it gets its old ticket back.
 */

import type { LockRequest } from '../dht/volume.js';
import type { Clock, Timer } from '../host/clock.js';
import type { Ticket } from '../wire/ids.js';

/** A handler that runs longer than this costs its process the place. */
const keepMs = 1000;

export class RestartTickets {
  readonly #clock: Clock;
  readonly #tickets = new Map<string, { ticket: Ticket; timer: Timer }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  keep(request: LockRequest, ticket: Ticket): void {
    const key = keyOf(request);
    this.#tickets.get(key)?.timer.stop();
    const timer = this.#clock.after(keepMs, () => this.#tickets.delete(key));
    this.#tickets.set(key, { ticket, timer });
  }

  /** The ticket of this very wait, if it is kept; it is given out once. */
  take(request: LockRequest): Ticket | undefined {
    if (this.#tickets.size === 0) return undefined;
    const key = keyOf(request);
    const kept = this.#tickets.get(key);
    if (kept === undefined) return undefined;
    kept.timer.stop();
    this.#tickets.delete(key);
    return kept.ticket;
  }

  close(): void {
    for (const { timer } of this.#tickets.values()) timer.stop();
    this.#tickets.clear();
  }
}

const keyOf = ({ file, owner, kind, type, start, end }: LockRequest): string =>
  `${file} ${owner} ${kind} ${type} ${start} ${end}`;
