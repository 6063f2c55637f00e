/**
 * A connection on a socket that node:net has connected: the native part takes the descriptor over, since a stream of
 * Node costs more than a short message itself. Bytes only, as in socket-network.ts, which is the one caller.
 *
 * Decides when what is queued is written. Where the native part is not built, there is none of these.
 */
import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import type { Connection } from './network.js';

/** A socket of the addon; numbers below 0 are an errno. */
type Handle = object;
interface Addon {
  adopt(
    fd: number,
    buffer: Buffer,
    onRead: (length: number) => Buffer | undefined,
    onRoom: () => void,
  ): Handle | number;
  write(socket: Handle, bytes: Uint8Array, from: number): number;
  end(socket: Handle): void;
}

/** One read takes at most so much. */
const readBytes = 256 * 1024;
/** Up to here a copy costs less than new memory to read into. */
const copiedBytesMax = 16 * 1024;
/** Queued bytes up to here are joined in memory: one system call. */
const joinBytesMax = 64 * 1024;

const loadAddon = (): Addon | undefined => {
  try {
    // Compiled files lie at the same depth (dist/wire) as the source files.
    return createRequire(import.meta.url)('../../build/Release/stream_socket.node') as Addon;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
};
const addon = loadAddon();

const settled = Promise.resolve();

/** Takes a copy of a connected socket's descriptor, before anything is read from it. Undefined: it cannot be had. */
export function adoptSocket(fd: number, peer: string): Connection | undefined {
  if (addon === undefined) return undefined;
  const connection = new AdoptedConnection(addon, peer);
  return connection.start(fd) ? connection : undefined;
}

class AdoptedConnection implements Connection {
  readonly peer: string;
  onData: (bytes: Uint8Array) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  readonly #addon: Addon;
  #handle: Handle | undefined;
  #buffer = Buffer.allocUnsafeSlow(readBytes);
  #queue: Uint8Array[] = [];
  /** Bytes of the first in the queue that the kernel has. */
  #sent = 0;
  #queuedBytes = 0;
  /** The kernel had no room: `onRoom` writes next. */
  #isFull = false;
  #reason: string | undefined;
  readonly #flush = (): void => {
    if (!this.#isFull) this.#write();
  };

  constructor(native: Addon, peer: string) {
    this.#addon = native;
    this.peer = peer;
  }

  start(fd: number): boolean {
    const handle = this.#addon.adopt(
      fd,
      this.#buffer,
      (length) => this.#read(length),
      () => this.#write(),
    );
    if (typeof handle === 'number') return false;
    this.#handle = handle;
    return true;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send(bytes: Uint8Array): void {
    if (this.#reason !== undefined || bytes.byteLength === 0) return;
    // A microtask, not setImmediate: that would cost every request one more turn of the event loop (an epoll_wait).
    if (this.#queue.length === 0) void settled.then(this.#flush);
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.byteLength;
  }

  close(reason: string): void {
    if (this.#reason !== undefined) return;
    // What was sent before (the refusal that explains the close) still leaves, as far as the kernel takes it now.
    this.#write();
    this.#end(reason);
  }

  #read(length: number): Buffer | undefined {
    if (this.#reason !== undefined) return undefined;
    if (length <= 0) {
      this.#end(length === 0 ? `${this.peer} closed the connection` : this.#failure(length));
      return undefined;
    }
    const bytes = this.#buffer.subarray(0, length);
    if (length <= copiedBytesMax) {
      this.onData(Buffer.from(bytes));
      return undefined;
    }
    this.#buffer = Buffer.allocUnsafeSlow(readBytes);
    this.onData(bytes);
    return this.#buffer;
  }

  #write(): void {
    this.#isFull = false;
    while (this.#queue.length > 0 && this.#reason === undefined) {
      this.#join();
      const first = this.#queue[0]!;
      const taken = this.#addon.write(this.#handle!, first, this.#sent);
      if (taken < 0) {
        this.#end(this.#failure(taken));
        return;
      }
      this.#sent += taken;
      this.#queuedBytes -= taken;
      if (this.#sent < first.byteLength) {
        this.#isFull = true;
        return;
      }
      this.#sent = 0;
      if (this.#queue.length === 1) this.#queue = [];
      else this.#queue.shift();
    }
  }

  #join(): void {
    if (this.#queue.length === 1 || this.#sent > 0 || this.#queuedBytes > joinBytesMax) return;
    this.#queue = [Buffer.concat(this.#queue, this.#queuedBytes)];
  }

  #failure(code: number): string {
    return `connection to ${this.peer} failed: ${getSystemErrorName(code)}`;
  }

  #end(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#addon.end(this.#handle!);
    this.#handle = undefined;
    process.nextTick(() => this.onClose(reason));
  }
}
