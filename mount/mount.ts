/**
 * A volume mounted over one kernel device. It joins the session with the operations and owns what both need; it
 * decides nothing about files. Built in bin/ (and by the simulator) from a device and a volume that are its caller's:
 * when `ended` resolves, the caller closes the volume.
 */

import type { Volume } from '../dht/volume.js';
import type { Clock } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import type { FuseDevice } from './fuse/device.js';
import type { CacheTimes } from './fuse/reply.js';
import { Session } from './fuse/session.js';
import { InodeTable } from './inode-table.js';
import { OpenFiles } from './open-files.js';
import type { Context } from './operations/context.js';
import { perform } from './operations/dispatch.js';
import { RestartTickets } from './restart-tickets.js';

export interface MountOptions {
  /** How long the kernel may use a name, or attributes, without asking again. */
  readonly entryMs?: number;
  readonly attributesMs?: number;
}

const cacheMsDefault = 1000;

export class Mount {
  readonly #device: FuseDevice;
  readonly #context: Context;
  readonly #session: Session;
  /** Resolves with a line for people when the filesystem was unmounted, or the kernel gave up on it. */
  readonly ended: Promise<string>;

  constructor(parts: {
    device: FuseDevice;
    volume: Volume;
    clock: Clock;
    trace: Trace;
    options?: MountOptions;
  }) {
    const { device, volume, clock, trace, options = {} } = parts;
    this.#device = device;
    this.#context = {
      device,
      volume,
      clock,
      trace,
      times: {
        entryMs: options.entryMs ?? cacheMsDefault,
        attributesMs: options.attributesMs ?? cacheMsDefault,
      },
      inodes: new InodeTable(),
      files: new OpenFiles(),
      tickets: new RestartTickets(clock),
    };
    this.#session = new Session({
      device,
      trace,
      perform: (request, call) => perform(this.#context, request, call),
    });
    this.ended = this.#session.ended.then((reason) => {
      this.#context.tickets.close();
      return reason;
    });
  }

  /**
   * Begins to answer the kernel; resolves when the mount answers processes.
   * @throws Error with a line for people where the kernel cannot be served
   */
  start(): Promise<void> {
    this.#session.start();
    return this.#session.ready;
  }

  /** From now on; what the kernel was told before, it keeps for as long as it was told. */
  cacheFor(times: CacheTimes): void {
    this.#context.times = times;
  }

  /** For status displays and tests. */
  get load(): { readonly inodes: number; readonly handles: number; readonly requests: number } {
    return {
      inodes: this.#context.inodes.size,
      handles: this.#context.files.size,
      requests: this.#session.inFlight,
    };
  }

  /**
   * Takes the filesystem out of the tree; processes that still use it go on when it was `detached`. `ended` follows
   * when the kernel is done with it.
   */
  unmount(): Promise<'unmounted' | 'detached'> {
    return this.#device.unmount();
  }

  /** Ends at once: whoever waits for an answer gets ENOTCONN. */
  abort(): void {
    this.#device.close();
  }
}
