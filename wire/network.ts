/**
 * The network door. The real one is socket-network.ts (unix sockets, TCP); the simulator has a lossy twin.
 *
 * A connection is a reliable byte stream until it closes: bytes arrive in order, once, cut anywhere.
 */

/** `unix:/path/to/socket` or `tcp:host:port`. */
export type Address = string;

export interface Connection {
  /** Who is at the other end, for logs. */
  readonly peer: string;
  /** Set by the user of the connection before the current turn of the event loop ends; each is called in order. */
  onData: (bytes: Uint8Array) => void;
  /** Called once, after the last onData, however the connection ended. `reason` is a line for people. */
  onClose: (reason: string) => void;
  /**
   * Queues bytes; they leave when the callback that sent them, and what it set going in the same turn, is done: all of
   * them in one system call, and none later than that. Never throws: a dead link closes.
   */
  send(bytes: Uint8Array): void;
  /** Bytes queued and not yet taken by the kernel. */
  readonly queuedBytes: number;
  /** Ends the link at once; onClose follows on both sides. */
  close(reason: string): void;
}

export interface Listener {
  readonly address: Address;
  /** Stops accepting. Connections that exist go on. */
  close(): Promise<void>;
}

export interface Network {
  /** @throws Error with a line for people where the address cannot be listened on */
  listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener>;
  /** @throws Error with a line for people where nobody answers */
  connect(address: Address): Promise<Connection>;
}
