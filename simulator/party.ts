/**
 * One simulated process: a brick, a mount or a tool, with its own doors. When it crashes every door goes dead at that
 * very point: its timers never run, what it sends is not sent, what it writes is not written, and promises of its
 * doors never settle. Code of it that still runs in the same turn can therefore do nothing that anybody sees, which
 * is what SIGKILL at that point means.
 */
import type { Clock, Timer } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import type { Journal } from './journal.js';
import { type Scheduler, SeededRandom } from './scheduler.js';

/** Virtual time begins here, so that the times of files look like times. */
const epochNs = 1_700_000_000_000_000_000n;

export class Party {
  readonly name: string;
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly trace: Trace;
  #isAlive = true;
  #onCrash: (() => void)[] = [];
  /** Resolves when it crashes. */
  readonly crashed: Promise<void>;

  constructor(options: {
    name: string;
    scheduler: Scheduler;
    journal: Journal;
    seed: number;
    isDebug: boolean;
  }) {
    const { name, scheduler, journal, seed, isDebug } = options;
    this.name = name;
    this.random = new SeededRandom(seed, `party ${name}`);
    this.trace = journal.traceOf(name, isDebug, () => this.#isAlive);
    this.clock = this.#makeClock(scheduler);
    this.crashed = new Promise((resolve) => this.#onCrash.push(resolve));
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Called at the crash, in the order of the calls. */
  onCrash(run: () => void): void {
    this.#onCrash.push(run);
  }

  crash(): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    for (const run of this.#onCrash) run();
    this.#onCrash = [];
  }

  #makeClock(scheduler: Scheduler): Clock {
    const after = (ms: number, run: () => void): Timer => {
      const planned = scheduler.after(ms, () => {
        if (this.#isAlive) run();
      });
      return {
        stop: () => {
          planned.cancelled = true;
        },
      };
    };
    return {
      now: () => scheduler.now,
      wallNs: () => epochNs + BigInt(Math.round(scheduler.now * 1e6)),
      after,
      sleep: (ms) => new Promise((resolve) => void after(ms, resolve)),
    };
  }
}
