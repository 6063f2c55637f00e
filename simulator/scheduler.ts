/**
 * Virtual time and seeded chance: the one queue from which everything in a simulated run happens.
 *
 * Decides what happens next: the earliest event, those of one time in the order in which they were planned. Between
 * two events every promise that can settle does: each event runs in a setImmediate of its own, which Node runs only
 * when the microtasks of the one before are done. No real time enters, so one seed gives one course, byte for byte.
 * Called by everything in simulator/; product code sees it only as a Clock and a Random.
 */
import type { Random } from '../host/random.js';

export interface Planned {
  cancelled: boolean;
}

interface Event extends Planned {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Node begins a new round of its loop for what an immediate adds, so several are added at once. */
const immediatesPerRound = 128;

export class Scheduler {
  #now = 0;
  #planned = 0;
  #ran = 0;
  readonly #heap: Event[] = [];
  /** Called with what an event threw; the run goes on. */
  onFault: (error: unknown) => void = () => undefined;

  /** Virtual milliseconds since the run began. */
  get now(): number {
    return this.#now;
  }

  /** Events that have run. */
  get eventCount(): number {
    return this.#ran;
  }

  after(ms: number, run: () => void): Planned {
    const event: Event = { at: this.#now + Math.max(0, ms), order: this.#planned++, run, cancelled: false };
    this.#push(event);
    return event;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /**
   * Runs events until `work` settles, and settles with it.
   * @throws Error where nothing is planned and it has not settled, or the time is over
   */
  drive<T>(work: Promise<T>, untilMs = Number.POSITIVE_INFINITY): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    work.then(settled, settled);
    return new Promise((resolve, reject) => {
      const step = (): void => {
        if (isSettled) return;
        const event = this.#pop();
        if (event === undefined || event.at > untilMs) {
          isSettled = true;
          reject(
            new Error(
              event === undefined ? 'nothing is left that could happen' : `not over at ${untilMs} ms`,
            ),
          );
          return;
        }
        this.#now = event.at;
        this.#ran += 1;
        try {
          event.run();
        } catch (error) {
          this.onFault(error);
        }
      };
      const round = (): void => {
        if (isSettled) {
          work.then(resolve, reject);
          return;
        }
        for (let at = 0; at < immediatesPerRound; at++) setImmediate(step);
        setImmediate(round);
      };
      setImmediate(round);
    });
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    for (;;) {
      const first = this.#take();
      if (first === undefined || !first.cancelled) return first;
    }
  }

  #take(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** A generator of its own for each part of a run, so that what one draws does not change what another gets. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number, stream = '') {
    let state = seed >>> 0;
    for (let at = 0; at < stream.length; at++) state = mix(state ^ stream.charCodeAt(at));
    this.#state = mix(state + Math.floor(seed / 2 ** 32));
  }

  /** mulberry32. */
  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    return mix(this.#state);
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at++) bytes[at] = this.#next() & 0xff;
    return bytes;
  }

  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  /** A number from `from` to `to`, not included. */
  between(from: number, to: number): number {
    return from + (this.#next() / 2 ** 32) * (to - from);
  }

  chance(probability: number): boolean {
    return this.#next() / 2 ** 32 < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

function mix(value: number): number {
  let x = Math.imul(value ^ (value >>> 15), value | 1);
  x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
  return (x ^ (x >>> 14)) >>> 0;
}
