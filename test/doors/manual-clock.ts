/**
 * A clock that stands still until a test moves it. Timers run in the order of their times, those of one time in the
 * order in which they were set.
 */
import type { Clock, Timer } from '../../host/clock.js';

interface Waiting {
  readonly at: number;
  readonly run: () => void;
}

/** Lets everything that is ready run: promises, and the sends of a PipeNetwork. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 5; round++) await new Promise((resolve) => setImmediate(resolve));
}

export class ManualClock implements Clock {
  #now = 0;
  readonly #waiting = new Set<Waiting>();

  now(): number {
    return this.#now;
  }

  wallNs(): bigint {
    return BigInt(Math.round(this.#now * 1e6));
  }

  after(ms: number, run: () => void): Timer {
    const waiting = { at: this.#now + ms, run };
    this.#waiting.add(waiting);
    return { stop: () => void this.#waiting.delete(waiting) };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  get timers(): number {
    return this.#waiting.size;
  }

  /** Moves the time on by `ms`, through every timer on the way, and lets what each of them began come to rest. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      let next: Waiting | undefined;
      for (const waiting of this.#waiting) {
        if (waiting.at <= until && (!next || waiting.at < next.at)) next = waiting;
      }
      if (!next) break;
      this.#now = Math.max(this.#now, next.at);
      this.#waiting.delete(next);
      next.run();
      await settle();
    }
    this.#now = until;
  }
}
