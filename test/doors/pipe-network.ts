/**
 * A network within one process, for tests: bytes arrive in order, in a later microtask, until the test cuts the
 * connections, makes an address unreachable or swallows what is sent.
 */
import type { Address, Connection, Listener, Network } from '../../wire/network.js';

class PipeEnd implements Connection {
  onData: (bytes: Uint8Array) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  other: PipeEnd | undefined;
  isOpen = true;
  /** Bytes go in and nothing comes out, as with a host that lost its power. */
  isSilent = false;
  readonly queuedBytes = 0;

  constructor(readonly peer: string) {}

  send(bytes: Uint8Array): void {
    const { other } = this;
    if (!this.isOpen || !other) return;
    queueMicrotask(() => {
      if (other.isOpen && !this.isSilent) other.onData(bytes);
    });
  }

  close(reason: string): void {
    this.end(reason);
    this.other?.end(`${this.peer} closed the connection`);
  }

  end(reason: string): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    queueMicrotask(() => this.onClose(reason));
  }
}

export class PipeNetwork implements Network {
  /** Addresses that nobody answers at. */
  readonly unreachable = new Set<Address>();
  /** Times of attempts, as the caller's clock shows them. */
  readonly attempts: number[] = [];
  readonly #now: () => number;
  readonly #listeners = new Map<Address, (connection: Connection) => void>();
  readonly #ends: PipeEnd[] = [];

  constructor(now: () => number = () => 0) {
    this.#now = now;
  }

  listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
    if (this.#listeners.has(address)) return Promise.reject(new Error(`${address} is taken`));
    this.#listeners.set(address, onConnection);
    return Promise.resolve({
      address,
      close: () => {
        this.#listeners.delete(address);
        return Promise.resolve();
      },
    });
  }

  connect(address: Address): Promise<Connection> {
    this.attempts.push(this.#now());
    const accept = this.#listeners.get(address);
    if (!accept || this.unreachable.has(address)) {
      return Promise.reject(new Error(`cannot connect to ${address}: nobody listens`));
    }
    const near = new PipeEnd(address);
    const far = new PipeEnd(`client of ${address}`);
    near.other = far;
    far.other = near;
    this.#ends.push(near, far);
    accept(far);
    return Promise.resolve(near);
  }

  get openConnections(): number {
    return this.#ends.filter((end) => end.isOpen).length / 2;
  }

  /** Ends every connection; what was sent and has not arrived is lost. */
  cut(): void {
    for (const end of this.#ends) end.end('the cable was cut');
  }

  /** From now on nothing that is sent on a connection of today arrives. */
  silence(): void {
    for (const end of this.#ends) end.isSilent = true;
  }
}
