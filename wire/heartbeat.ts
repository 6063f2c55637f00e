/**
 * Signs of life on one connection: says something before the brick takes the silence for a loss, and notices a brick
 * that fell silent. Whatever comes is a sign, not the answer to a ping alone: that may be behind megabytes of content.
 * Owned by link.ts; `hasSent` and `hasHeard` are set by it on every frame, so they are plain members.
 */
import type { Clock, Timer } from '../host/clock.js';
import { graceMsDefault, pingsPerGrace } from './limits.js';

export interface HeartbeatEvents {
  /** Settles when the brick answered, or the connection ended. */
  ping(): Promise<unknown>;
  silent(reason: string): void;
}

/** How long a brick with this grace may take to say anything. A grace of 0 still leaves it time. */
export const patienceMsOf = (graceMs: number): number => (graceMs || graceMsDefault) / 2;

export class Heartbeat {
  /** Since the last look. */
  hasSent = false;
  hasHeard = false;
  readonly #clock: Clock;
  readonly #events: HeartbeatEvents;
  #timer: Timer | undefined;
  /** Grows with each start and stop: what an older watch began no longer counts. */
  #watch = 0;

  constructor(clock: Clock, events: HeartbeatEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  start(graceMs: number): void {
    this.stop();
    const watch = this.#watch;
    const quietMs = (graceMs || graceMsDefault) / pingsPerGrace;
    const again = (): void => {
      if (watch === this.#watch) this.start(graceMs);
    };
    this.hasSent = false;
    this.hasHeard = false;
    this.#timer = this.#clock.after(quietMs, () => {
      if (this.hasSent && this.hasHeard) {
        again();
        return;
      }
      this.hasHeard = false;
      const patienceMs = patienceMsOf(graceMs);
      this.#timer = this.#clock.after(patienceMs, () => {
        if (this.hasHeard) again();
        else this.#events.silent(`it did not answer a ping within ${patienceMs} ms`);
      });
      this.#events.ping().then(again, again);
    });
  }

  stop(): void {
    this.#watch += 1;
    this.#timer?.stop();
  }
}
