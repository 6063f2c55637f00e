/**
 * The network door of real processes: unix sockets (`unix:/path`) and TCP (`tcp:host:port`). The only file of the
 * system that opens a socket. It moves bytes and names addresses in its errors; what the bytes mean is decided
 * elsewhere. Chosen in bin/ and in tests.
 */
import { lstatSync, mkdtempSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import type { ListenOptions, NetConnectOpts, Server, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { adoptSocket } from './adopted-socket.js';
import type { Address, Connection, Listener, Network } from './network.js';

/** sockaddr_un.sun_path has 108 bytes with its final zero (unix(7)); a longer path is cut off in silence. */
const socketPathBytesMax = 107;
/** One read takes at most so much. */
const readBytes = 256 * 1024;
/** Up to here a copy costs less than new memory to read into. */
const copiedBytesMax = 16 * 1024;
/** Pending bytes up to here are joined in memory; larger ones go to the kernel as they are (writev). */
const joinBytesMax = 256 * 1024;

const settled = Promise.resolve();

type Place = { readonly path: string } | { readonly host: string; readonly port: number };

/** @throws Error where the text is not an address */
function placeOf(address: Address): Place {
  if (address.startsWith('unix:/')) return { path: address.slice('unix:'.length) };
  const [, bracketed, plain, port] = /^tcp:(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new Error(`${address} is not an address: expected unix:/path or tcp:host:port`);
}

const tcpAddress = (host: string, port: number): Address =>
  host.includes(':') ? `tcp:[${host}]:${port}` : `tcp:${host}:${port}`;

/**
 * Calls `use` with a name of the socket that fits sun_path: for a long path, through a symbolic link to its folder
 * that exists for the length of the call. What was bound stays where the path says.
 */
async function withShortPath<T>(path: string, use: (path: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(path) <= socketPathBytesMax) return await use(path);
  const folder = mkdtempSync(join(tmpdir(), 'lockferry-'));
  try {
    const link = join(folder, 'd');
    symlinkSync(dirname(path), link);
    const short = join(link, basename(path));
    if (Buffer.byteLength(short) > socketPathBytesMax) {
      throw new Error(`the name of the socket is too long: use a shorter one than ${basename(path)}`);
    }
    return await use(short);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Where a socket reads to. Node would make new memory of 64 KiB for each read, however little comes; here what is
 * small is copied out and the buffer is read into again, what is large is handed over whole.
 */
class ReadBuffer {
  onBytes: (bytes: Uint8Array) => void = () => undefined;
  #buffer: Buffer | undefined;

  readonly options = {
    /** Asked before the first read, and after each. */
    buffer: (): Buffer => {
      this.#buffer ??= Buffer.allocUnsafeSlow(readBytes);
      return this.#buffer;
    },
    callback: (length: number, buffer: Uint8Array): boolean => {
      const bytes = buffer.subarray(0, length);
      if (length > copiedBytesMax) this.#buffer = undefined;
      this.onBytes(length > copiedBytesMax ? bytes : Buffer.from(bytes));
      return true;
    },
  };
}

class SocketConnection implements Connection {
  readonly peer: string;
  onData: (bytes: Uint8Array) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  readonly #socket: Socket;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #reason: string | undefined;
  readonly #flush = (): void => {
    this.#write();
  };

  /** @param read where the socket reads to; absent: it has memory of its own */
  constructor(socket: Socket, peer: string, read?: ReadBuffer) {
    this.peer = peer;
    this.#socket = socket;
    const onBytes = (bytes: Uint8Array): void => {
      if (this.#reason === undefined) this.onData(bytes);
    };
    if (read === undefined) socket.on('data', onBytes);
    else read.onBytes = onBytes;
    socket.on('error', (error) => {
      this.#reason ??= `connection to ${peer} failed: ${error.message}`;
    });
    socket.on('close', () => {
      this.#reason ??= `${peer} closed the connection`;
      this.#pending = [];
      this.#pendingBytes = 0;
      this.onClose(this.#reason);
    });
  }

  get queuedBytes(): number {
    return this.#pendingBytes + this.#socket.writableLength;
  }

  send(bytes: Uint8Array): void {
    if (this.#reason !== undefined || this.#socket.destroyed) return;
    // A microtask, not setImmediate: that would cost every request one more turn of the event loop (an epoll_wait).
    if (this.#pending.length === 0) void settled.then(this.#flush);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.byteLength;
  }

  close(reason: string): void {
    if (this.#reason !== undefined) return;
    // What was sent before (the refusal that explains the close) still leaves, as far as the kernel takes it now.
    this.#write();
    this.#reason = reason;
    this.#socket.destroy();
  }

  #write(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    const bytes = this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (pending.length === 1) this.#socket.write(pending[0]!);
    else if (bytes <= joinBytesMax) this.#socket.write(Buffer.concat(pending, bytes));
    else {
      this.#socket.cork();
      for (const piece of pending) this.#socket.write(piece);
      this.#socket.uncork();
    }
  }
}

const errorCode = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

const listening = (server: Server, options: ListenOptions): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });

/** @param use called as soon as there is a connection, before anything is read */
const connected = <T>(options: NetConnectOpts, use: (socket: Socket) => T): Promise<T> =>
  new Promise((resolve, reject) => {
    const socket = createConnection(options);
    // Stays: an error between `connect` and the first listener of a SocketConnection must not be one without any.
    socket.on('error', reject);
    socket.once('connect', () => resolve(use(socket)));
  });

/** A socket file that nobody serves was left by a process that was killed; it is removed. */
async function removeStaleSocket(path: string, short: string): Promise<void> {
  if (!lstatSync(path).isSocket()) throw new Error('there is a file of that name which is not a socket');
  try {
    await connected({ path: short }, (socket) => socket.destroy());
  } catch (error) {
    if (errorCode(error) !== 'ECONNREFUSED') throw error;
    unlinkSync(path);
    return;
  }
  throw new Error('another process serves it already; stop that one first');
}

async function bind(server: Server, place: Place): Promise<void> {
  if ('port' in place) {
    await listening(server, place);
    return;
  }
  await withShortPath(place.path, async (short) => {
    try {
      await listening(server, { path: short });
    } catch (error) {
      if (errorCode(error) !== 'EADDRINUSE') throw error;
      await removeStaleSocket(place.path, short);
      await listening(server, { path: short });
    }
  });
}

const withReason = (what: string, error: unknown): Error =>
  new Error(`${what}: ${(error as Error).message}`, { cause: error });

class SocketListener implements Listener {
  readonly address: Address;
  readonly #server: Server;
  readonly #path: string | undefined;

  constructor(server: Server, place: Place) {
    this.#server = server;
    if ('port' in place) {
      const bound = server.address();
      this.address = tcpAddress(place.host, bound && typeof bound === 'object' ? bound.port : place.port);
    } else {
      this.#path = place.path;
      this.address = `unix:${place.path}`;
    }
  }

  close(): Promise<void> {
    // Not its callback: that waits for every connection to end.
    this.#server.close();
    // libuv removes the file by the name it was bound with, which for a long path is gone.
    if (this.#path) rmSync(this.#path, { force: true });
    return Promise.resolve();
  }
}

export class SocketNetwork implements Network {
  readonly #adopts: boolean;
  #accepted = 0;

  /** @param adopts sockets go to the native part (adopted-socket.ts), where it is built */
  constructor(adopts = true) {
    this.#adopts = adopts;
  }

  async listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
    const place = placeOf(address);
    const server = createServer((socket) => {
      this.#accepted += 1;
      const { remoteAddress, remotePort } = socket;
      const peer =
        remoteAddress !== undefined && remotePort !== undefined
          ? tcpAddress(remoteAddress, remotePort)
          : `${address} connection ${this.#accepted}`;
      onConnection(this.#connectionOn(socket, peer));
    });
    try {
      await bind(server, place);
    } catch (error) {
      throw withReason(`cannot listen on ${address}`, error);
    }
    return new SocketListener(server, place);
  }

  async connect(address: Address): Promise<Connection> {
    const place = placeOf(address);
    try {
      const read = new ReadBuffer();
      const { options: onread } = read;
      const use = (socket: Socket): Connection => this.#connectionOn(socket, address, read);
      return 'port' in place
        ? await connected({ ...place, onread }, use)
        : await withShortPath(place.path, (path) => connected({ path, onread }, use));
    } catch (error) {
      throw withReason(`cannot connect to ${address}`, error);
    }
  }

  #connectionOn(socket: Socket, peer: string, read?: ReadBuffer): Connection {
    socket.setNoDelay(true);
    // Not documented; where it is missing the socket stays with Node.
    const fd = (socket as Socket & { readonly _handle?: { readonly fd?: number } })._handle?.fd ?? -1;
    const adopted = this.#adopts && fd >= 0 ? adoptSocket(fd, peer) : undefined;
    if (adopted === undefined) return new SocketConnection(socket, peer, read);
    // Closes Node's own descriptor only: the connection lives on in the copy.
    socket.destroy();
    return adopted;
  }
}

export const socketNetwork: Network = new SocketNetwork();
