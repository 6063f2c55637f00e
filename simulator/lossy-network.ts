/**
 * The network door's twin: reliable byte streams between simulated processes, as sockets give them, over a network
 * that delays, stalls, cuts and partitions.
 *
 * Decides when bytes arrive and when an end learns that the other is gone. Bytes of one connection arrive in order
 * and once; different connections overtake each other, so what a client sent on an old connection may come after
 * what it sent again on a new one. During a partition bytes wait, as TCP's do, and arrive after it.
 * What bytes mean is unknown here: a tap may look at them (wire-tap.ts), or change them (defects.ts).
 */
import type { Address, Connection, Listener, Network } from '../wire/network.js';
import type { Journal } from './journal.js';
import type { Party } from './party.js';
import type { Scheduler, SeededRandom } from './scheduler.js';

export interface NetworkWeather {
  /** One way, of most messages. */
  delayMsMin: number;
  delayMsMax: number;
  /** Chance that a message takes `slowMs` more. */
  slowChance: number;
  slowMs: number;
  /** Chance that what arrives is cut into two reads. */
  splitChance: number;
}

export const fairWeather: NetworkWeather = {
  delayMsMin: 0.05,
  delayMsMax: 0.2,
  slowChance: 0,
  slowMs: 0,
  splitChance: 0.02,
};

/**
 * Sees each frame as it is sent, and the number of its connection; what it answers is sent instead (undefined: nothing
 * is).
 */
export type FrameFilter = (
  from: Party,
  to: Party,
  frame: Uint8Array,
  connection: number,
) => Uint8Array | undefined;

interface Parcel {
  readonly pieces: Uint8Array[];
  /** Set: the stream ends here, for this reason. */
  readonly end: string | undefined;
}

class End implements Connection {
  onData: (bytes: Uint8Array) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  readonly queuedBytes = 0;
  readonly peer: string;
  readonly party: Party;
  /** The same at both ends. */
  readonly connection: number;
  readonly #network: LossyNetwork;
  other!: End;
  isOpen = true;
  lastArrival = 0;
  /** Held back by a partition. */
  readonly stalled: Parcel[] = [];
  /** What was sent in this turn; leaves together. */
  loading: { parcel: Parcel; turn: number } | undefined;

  constructor(network: LossyNetwork, party: Party, peer: string, connection: number) {
    this.#network = network;
    this.party = party;
    this.peer = peer;
    this.connection = connection;
  }

  send(bytes: Uint8Array): void {
    if (this.isOpen && this.party.isAlive) this.#network.send(this, bytes);
  }

  close(reason: string): void {
    if (this.isOpen && this.party.isAlive) this.#network.close(this, reason);
  }
}

export class LossyNetwork {
  weather: NetworkWeather = fairWeather;
  filter: FrameFilter | undefined;
  readonly #scheduler: Scheduler;
  readonly #journal: Journal;
  readonly #random: SeededRandom;
  readonly #listeners = new Map<Address, { party: Party; accept: (connection: Connection) => void }>();
  readonly #ends = new Set<End>();
  /** Names of parties that do not reach each other, as `a|b` in both orders. */
  readonly #blocked = new Set<string>();
  /** Connections on which nothing arrives. */
  readonly #held = new Set<number>();
  #connections = 0;
  #waitingToConnect: (() => void)[] = [];

  constructor(scheduler: Scheduler, journal: Journal, random: SeededRandom) {
    this.#scheduler = scheduler;
    this.#journal = journal;
    this.#random = random;
  }

  /** The door of one process. */
  of(party: Party): Network {
    return {
      listen: (address, accept) => this.#listen(party, address, accept),
      connect: (address) => this.#connect(party, address),
    };
  }

  /** Bytes between the two wait until `heal`. */
  partition(a: string, b: string): void {
    this.#blocked.add(`${a}|${b}`);
    this.#blocked.add(`${b}|${a}`);
  }

  heal(a?: string, b?: string): void {
    if (a === undefined || b === undefined) this.#blocked.clear();
    else {
      this.#blocked.delete(`${a}|${b}`);
      this.#blocked.delete(`${b}|${a}`);
    }
    const waiting = this.#waitingToConnect;
    this.#waitingToConnect = [];
    for (const go of waiting) go();
    this.#goOn();
  }

  /** Bytes of this one connection wait until `letGo`, whatever others there are between the two parties. */
  hold(connection: number): void {
    this.#held.add(connection);
  }

  letGo(connection: number): void {
    if (this.#held.delete(connection)) this.#goOn();
  }

  #goOn(): void {
    for (const end of this.#ends) {
      if (end.stalled.length === 0 || this.#isBlocked(end)) continue;
      const parcels = end.stalled.splice(0);
      for (const parcel of parcels) this.#plan(end, parcel);
    }
  }

  isPartitioned(a: string, b: string): boolean {
    return this.#blocked.has(`${a}|${b}`);
  }

  /** Resets every connection between the two; what was on its way is lost. */
  cut(a: string, b: string): void {
    for (const end of [...this.#ends]) {
      if (end.party.name !== a || end.other.party.name !== b) continue;
      this.#reset(end);
      this.#reset(end.other);
    }
  }

  /** The process is gone. `silently`: with its machine, so that nobody is told. */
  dropParty(party: Party, silently: boolean): void {
    for (const [address, listener] of this.#listeners) {
      if (listener.party === party) this.#listeners.delete(address);
    }
    for (const end of [...this.#ends]) {
      if (end.party !== party) continue;
      end.isOpen = false;
      this.#ends.delete(end);
      if (!silently) this.#plan(end.other, { pieces: [], end: `${party.name} is gone` });
    }
  }

  // ---- of an end ----------------------------------------------------------------------------------------------------

  send(end: End, frame: Uint8Array): void {
    const bytes =
      this.filter === undefined ? frame : this.filter(end.party, end.other.party, frame, end.connection);
    if (bytes === undefined) return;
    const turn = this.#scheduler.eventCount;
    if (end.loading !== undefined && end.loading.turn === turn) {
      end.loading.parcel.pieces.push(bytes);
      return;
    }
    const parcel: Parcel = { pieces: [bytes], end: undefined };
    end.loading = { parcel, turn };
    this.#plan(end.other, parcel);
  }

  close(end: End, reason: string): void {
    end.isOpen = false;
    end.loading = undefined;
    this.#plan(end.other, { pieces: [], end: `${end.party.name} closed the connection` });
    this.#scheduler.after(0, () => {
      this.#ends.delete(end);
      if (end.party.isAlive) end.onClose(reason);
    });
  }

  #reset(end: End): void {
    if (!end.isOpen) return;
    end.isOpen = false;
    this.#scheduler.after(this.#delay(), () => {
      this.#ends.delete(end);
      if (end.party.isAlive) end.onClose('the connection was reset');
    });
  }

  #delay(): number {
    const { delayMsMin, delayMsMax, slowChance, slowMs } = this.weather;
    const slow = slowChance > 0 && this.#random.chance(slowChance) ? this.#random.between(0, slowMs) : 0;
    return this.#random.between(delayMsMin, delayMsMax) + slow;
  }

  #plan(to: End, parcel: Parcel): void {
    const at = Math.max(to.lastArrival, this.#scheduler.now + this.#delay());
    to.lastArrival = at;
    this.#scheduler.after(at - this.#scheduler.now, () => this.#arrive(to, parcel));
  }

  #arrive(to: End, parcel: Parcel): void {
    const from = to.other;
    if (from.loading?.parcel === parcel) from.loading = undefined;
    if (!to.isOpen || !to.party.isAlive) return;
    if (to.stalled.length > 0 || this.#isBlocked(to)) {
      to.stalled.push(parcel);
      return;
    }
    if (parcel.end !== undefined) {
      to.isOpen = false;
      this.#ends.delete(to);
      to.onClose(parcel.end);
      return;
    }
    const bytes = parcel.pieces.length === 1 ? parcel.pieces[0]! : Buffer.concat(parcel.pieces);
    this.#journal.mark(to.party.name, bytes.byteLength);
    if (bytes.byteLength > 1 && this.#random.chance(this.weather.splitChance)) {
      const at = 1 + this.#random.below(bytes.byteLength - 1);
      to.onData(bytes.subarray(0, at));
      if (to.isOpen && to.party.isAlive) to.onData(bytes.subarray(at));
    } else to.onData(bytes);
  }

  #isBlocked({ party, other, connection }: End): boolean {
    return this.#held.has(connection) || this.#isCutOff(other.party, party);
  }

  #isCutOff(a: Party, b: Party): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(`${a.name}|${b.name}`);
  }

  // ---- doors --------------------------------------------------------------------------------------------------------

  #listen(party: Party, address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    if (this.#listeners.has(address)) return Promise.reject(new Error(`${address} is taken`));
    const listener = { party, accept };
    this.#listeners.set(address, listener);
    return Promise.resolve({
      address,
      close: () => {
        if (this.#listeners.get(address) === listener) this.#listeners.delete(address);
        return Promise.resolve();
      },
    });
  }

  #connect(party: Party, address: Address): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const attempt = (): void => {
        if (!party.isAlive) return;
        const listener = this.#listeners.get(address);
        if (listener === undefined) {
          reject(new Error(`cannot connect to ${address}: nobody listens`));
          return;
        }
        if (this.#isCutOff(party, listener.party)) {
          this.#waitingToConnect.push(() => void this.#scheduler.after(this.#delay(), attempt));
          return;
        }
        const number = ++this.#connections;
        const near = new End(this, party, address, number);
        const far = new End(this, listener.party, party.name, number);
        near.other = far;
        far.other = near;
        this.#ends.add(near);
        this.#ends.add(far);
        listener.accept(far);
        resolve(near);
      };
      this.#scheduler.after(this.#delay(), attempt);
    });
  }
}
