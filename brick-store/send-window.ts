/** Keeps a few messages to one brick on their way, in order, and brings the first failure home. */

/** Messages on their way at once. */
const inFlightMax = 4;

export class SendWindow {
  readonly #inFlight: Promise<unknown>[] = [];

  /** Resolves when there is room for another; rejects with the failure of an earlier one. */
  async send(message: Promise<unknown>): Promise<void> {
    // A failure is met when its turn comes; until then it must not count as unhandled.
    message.catch(() => undefined);
    this.#inFlight.push(message);
    if (this.#inFlight.length >= inFlightMax) await this.#inFlight.shift();
  }

  /** Resolves when all have arrived. */
  async finish(): Promise<void> {
    for (const message of this.#inFlight) await message;
    this.#inFlight.length = 0;
  }
}
