/**
 * Connects to one brick, again and again: at once after a loss, then with growing delays. Decides when the next attempt
 * is made and when one has taken too long; never what a lost connection means (link.ts, which owns one of these).
 */
import type { Clock, Timer } from '../host/clock.js';
import type { Random } from '../host/random.js';
import type { Address, Connection, Network } from './network.js';

export interface DialerDoors {
  readonly network: Network;
  /** Asked again before every attempt where it is a function: a restarted brick may listen elsewhere. */
  readonly address: Address | (() => Address | Promise<Address>);
  readonly clock: Clock;
  readonly random: Random;
}

export interface DialerEvents {
  connected(connection: Connection): void;
  failed(reason: string): void;
}

const retryMsFirst = 10;
const retryMsMax = 500;

export class Dialer {
  readonly #doors: DialerDoors;
  readonly #events: DialerEvents;
  /** Grows with each attempt and each stop, so that a late connection is known to be late. */
  #attempt = 0;
  #failures = 0;
  #retryTimer: Timer | undefined;
  #patienceTimer: Timer | undefined;

  constructor(doors: DialerDoors, events: DialerEvents) {
    this.#doors = doors;
    this.#events = events;
  }

  /** One attempt now; it fails unless `greeted` is called within `patienceMs`. */
  async dial(patienceMs: number): Promise<void> {
    this.stop();
    const attempt = this.#attempt;
    const { address, clock, network } = this.#doors;
    this.#patienceTimer = clock.after(patienceMs, () =>
      this.#events.failed(`it did not answer within ${patienceMs} ms`),
    );
    let connection: Connection;
    try {
      connection = await network.connect(typeof address === 'function' ? await address() : address);
    } catch (error) {
      if (attempt === this.#attempt) this.#events.failed((error as Error).message);
      return;
    }
    if (attempt === this.#attempt) this.#events.connected(connection);
    else connection.close('it was connected too late');
  }

  /** The brick answered on the connection. */
  greeted(): void {
    this.#patienceTimer?.stop();
  }

  /** The last connection was a good one: the next attempt after it needs no delay. */
  recovered(): void {
    this.#failures = 0;
  }

  /** An attempt at once the first time, else after a delay that doubles; `isLate`: after the longest one. */
  dialAgain(patienceMs: number, isLate: boolean): void {
    const { clock, random } = this.#doors;
    const failures = this.#failures;
    this.#failures += 1;
    if (failures === 0) {
      void this.dial(patienceMs);
      return;
    }
    const delayMs = isLate ? retryMsMax : Math.min(retryMsFirst * 2 ** (failures - 1), retryMsMax);
    // Half of the delay is drawn, so that the clients of a restarted brick do not come all at once.
    const halfMs = Math.ceil(delayMs / 2);
    this.#retryTimer = clock.after(halfMs + random.below(halfMs + 1), () => void this.dial(patienceMs));
  }

  /** Ends the attempt that is under way or planned. */
  stop(): void {
    this.#attempt += 1;
    this.#retryTimer?.stop();
    this.#patienceTimer?.stop();
  }
}
