/**
 * Notices clients that fell silent without closing their connection: a machine that hangs, a network that swallows
 * everything. Decides only that a connection is to be closed; what that means for the session is in sessions.ts.
 *
 * A client says something at least every half of the grace (heartbeat.ts in wire/). One that said nothing in three
 * looks in a row, a quarter of the grace apart, is taken for gone; its grace begins then. It takes several looks, not
 * one long time: a brick that itself stood still must first read what its clients sent meanwhile.
 */
import type { Clock, Timer } from '../host/clock.js';
import { graceMsDefault, pingsPerGrace } from '../wire/limits.js';

export interface Speaker {
  /** Set by every request; taken back by every look. */
  hasSpoken: boolean;
  /** Looks in a row in which it had said nothing. */
  silentLooks: number;
  readonly path: { close(reason: string): void } | undefined;
}

const silentLooksMax = 3;

export class SilentClients {
  readonly #clock: Clock;
  readonly #speakers: () => Iterable<Speaker>;
  readonly #lookMs: number;
  #timer: Timer | undefined;

  constructor(clock: Clock, graceMs: number, speakers: () => Iterable<Speaker>) {
    this.#clock = clock;
    this.#speakers = speakers;
    this.#lookMs = (graceMs || graceMsDefault) / pingsPerGrace;
  }

  /** Looks from now on, for as long as anybody is connected. */
  watch(): void {
    this.#timer ??= this.#clock.after(this.#lookMs, () => this.#look());
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #look(): void {
    this.#timer = undefined;
    const silent: Speaker[] = [];
    let isAnyConnected = false;
    for (const speaker of this.#speakers()) {
      if (speaker.path === undefined) continue;
      isAnyConnected = true;
      speaker.silentLooks = speaker.hasSpoken ? 0 : speaker.silentLooks + 1;
      speaker.hasSpoken = false;
      if (speaker.silentLooks >= silentLooksMax) silent.push(speaker);
    }
    if (isAnyConnected) this.watch();
    for (const { path } of silent) path?.close(`it said nothing for ${this.#lookMs * silentLooksMax} ms`);
  }
}
