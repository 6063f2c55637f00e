/**
 * What a disk did not take and must take once: tried again after a pause, each thing at most once at a time, until the
 * brick stops. Decides only when. What it was for may be over by then: whoever asks for another try looks again.
 *
 * Used by brick.ts, brick-context.ts and arrivals.ts.
 */
import type { Clock, Timer } from '../host/clock.js';

const pauseMs = 500;

export class LaterTries {
  readonly #clock: Clock;
  readonly #timers = new Map<string, Timer>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param what one thing; asked for again while a try is due, nothing is added */
  later(what: string, attempt: () => void): void {
    if (this.#closed || this.#timers.has(what)) return;
    const timer = this.#clock.after(pauseMs, () => {
      this.#timers.delete(what);
      attempt();
    });
    this.#timers.set(what, timer);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.stop();
  }
}
