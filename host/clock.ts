/**
 * The door to time. Nothing outside this file (and the simulator's twin) may ask the machine for it.
 */

/** A timer that can be stopped; stopping one that ran or was stopped does nothing. */
export interface Timer {
  stop(): void;
}

export interface Clock {
  /** Milliseconds that only grow, from an arbitrary start; for measuring and for deadlines. */
  now(): number;
  /** Nanoseconds since 1970, for the times of files. */
  wallNs(): bigint;
  /** Calls `run` once, `ms` from now. */
  after(ms: number, run: () => void): Timer;
  /** Resolves `ms` from now. */
  sleep(ms: number): Promise<void>;
}

class SystemClock implements Clock {
  now(): number {
    return performance.now();
  }

  wallNs(): bigint {
    return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
  }

  after(ms: number, run: () => void): Timer {
    const handle = setTimeout(run, ms);
    return { stop: () => clearTimeout(handle) };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, ms);
    });
  }
}

export const systemClock: Clock = new SystemClock();
