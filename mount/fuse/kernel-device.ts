/**
 * The real kernel door: mounts on a directory and carries messages through /dev/fuse. It is the only TypeScript that
 * knows the native addon, a descriptor, or /proc; it must never look into a message. Chosen in bin/.
 */
import { execFile } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { basename, resolve } from 'node:path';
import { getSystemErrorName, promisify } from 'node:util';
import { transferBytesMax } from '../../wire/limits.js';
import { type BlockedCall, blockedCall } from './blocked-call.js';
import type { FuseDevice } from './device.js';
import { type MappedFiles, mapsDevice, ProcessMaps } from './process-maps.js';

/** A device handle of the addon; numbers are errno, a text is what the helper said. */
type Handle = object;
interface Addon {
  mount(mountpoint: string, type: string, source: string, options: string): Handle | number;
  mountByHelper(program: string, mountpoint: string, options: string): Handle | number | string;
  watch(
    device: Handle,
    buffer: Buffer,
    onMessage: (length: number) => void,
    onEnd: (errno: number) => void,
  ): void;
  reply(device: Handle, head: Buffer, data?: Uint8Array): number;
  notify(device: Handle, bytes: Buffer): Promise<number>;
  unmount(mountpoint: string, detach: boolean): Promise<number>;
  release(device: Handle): void;
}

const { errno } = constants;
/** Largest message: a whole write and its header. The kernel never splits one. */
const messageBytesMax = transferBytesMax + 64 * 1024;

let addon: Addon | undefined;
const loadAddon = (): Addon => {
  try {
    // Compiled files lie at the same depth (dist/mount/fuse) as the source files.
    addon ??= createRequire(import.meta.url)('../../../build/Release/fuse_device.node') as Addon;
    return addon;
  } catch (error) {
    throw new Error('the native addon is missing: run `npm install` to build it', { cause: error });
  }
};

export interface KernelMountOptions {
  /** An existing directory. */
  readonly mountpoint: string;
  /** What `mount` and `df` show as the device: the name of the volume. */
  readonly source: string;
  /** Other users may enter; the kernel checks modes for them. Default: when this process is root. */
  readonly allowOther?: boolean;
  /** Mounts through this setuid program. Default: `fusermount3`, when this process is not root. */
  readonly helper?: string | undefined;
}

interface MountRow {
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
}

/** The mounts of this process, later ones last (proc(5): octal escapes for blanks). */
const mountTable = (): MountRow[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      const type = fields[fields.indexOf('-') + 1] ?? '';
      const mountpoint = (fields[4] ?? '').replace(/\\([0-7]{3})/g, (_, digits: string) =>
        String.fromCharCode(Number.parseInt(digits, 8)),
      );
      return { device: fields[2] ?? '', mountpoint: Buffer.from(mountpoint, 'latin1').toString(), type };
    });

const mountedAt = (mountpoint: string): MountRow | undefined =>
  mountTable().findLast((row) => row.mountpoint === mountpoint);

const errnoName = (code: number): string => (code > 0 ? getSystemErrorName(-code) : 'no errno');

/** @throws Error with a line for people where nothing can be mounted there */
const checkMountpoint = (mountpoint: string): void => {
  const row = mountedAt(mountpoint);
  if (row !== undefined)
    throw new Error(
      `${mountpoint} is a mount point already (${row.type}): unmount it first, or choose another directory`,
    );
  const stat = statSync(mountpoint, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`${mountpoint} does not exist: create the directory first`);
  if (!stat.isDirectory()) throw new Error(`${mountpoint} is not a directory`);
};

const reasonOf = (code: number, helper: string | undefined): string => {
  if (code === errno.ENOENT && helper !== undefined)
    return `${basename(helper)} is missing: install fuse3, or run as root`;
  if (code === errno.ENOENT)
    return '/dev/fuse is missing: load the fuse module, or give this container the device';
  if (code === errno.EPERM || code === errno.EACCES) return 'not allowed to mount here: run as root';
  if (code === errno.ENODEV) return 'this kernel has no fuse filesystem';
  return errnoName(code);
};

export class KernelDevice implements FuseDevice {
  readonly mountpoint: string;
  readonly #handle: Handle;
  readonly #helper: string | undefined;
  /** Absent where numbers of processes say nothing. */
  readonly #maps: ProcessMaps | undefined;
  #onEnd: ((reason: string) => void) | undefined;
  #state: 'idle' | 'started' | 'ended' = 'idle';

  private constructor(mountpoint: string, handle: Handle, helper: string | undefined) {
    this.mountpoint = mountpoint;
    this.#handle = handle;
    this.#helper = helper;
    const device = mountedAt(mountpoint)?.device;
    this.#maps = device !== undefined && numbersAreOurs() ? new ProcessMaps(mapsDevice(device)) : undefined;
  }

  /**
   * Mounts. Until `start` is called and INIT answered, every process that enters the mount point waits.
   * @throws Error with a line for people
   */
  static mount(options: KernelMountOptions): KernelDevice {
    const mountpoint = resolve(options.mountpoint);
    checkMountpoint(mountpoint);
    const native = loadAddon();
    const uid = process.getuid?.() ?? 0;
    const gid = process.getgid?.() ?? 0;
    const helper = options.helper ?? (uid === 0 ? undefined : 'fusermount3');
    const shared = ['default_permissions', `max_read=${transferBytesMax}`];
    if (options.allowOther ?? uid === 0) shared.push('allow_other');
    const source = options.source.replaceAll(',', '_');
    const handle =
      helper === undefined
        ? native.mount(
            mountpoint,
            'fuse.lockferry',
            source,
            ['rootmode=40000', `user_id=${uid}`, `group_id=${gid}`, ...shared].join(','),
          )
        : native.mountByHelper(
            helper,
            mountpoint,
            [`fsname=${source}`, 'subtype=lockferry', ...shared].join(','),
          );
    if (typeof handle === 'string') throw new Error(`cannot mount on ${mountpoint}: ${handle.trim()}`);
    if (typeof handle === 'number')
      throw new Error(`cannot mount on ${mountpoint}: ${reasonOf(handle, helper)}`);
    raiseReadAhead(mountpoint);
    return new KernelDevice(mountpoint, handle, helper);
  }

  start(onMessage: (message: Buffer) => void, onEnd: (reason: string) => void): void {
    const buffer = Buffer.allocUnsafeSlow(messageBytesMax);
    let message = buffer;
    this.#state = 'started';
    this.#onEnd = onEnd;
    loadAddon().watch(
      this.#handle,
      buffer,
      (length) => {
        // Most messages of one kind are of one length: a new view for each would be the dearest part of reading it.
        if (message.length !== length) message = buffer.subarray(0, length);
        onMessage(message);
      },
      // ENODEV: the filesystem was unmounted (fuse_dev_do_read).
      (code) =>
        this.#end(
          code === errno.ENODEV ? 'unmounted' : `the kernel ended the connection: ${errnoName(code)}`,
        ),
    );
  }

  reply(head: Buffer, data?: Uint8Array): void {
    if (this.#state === 'ended') return;
    const code = loadAddon().reply(this.#handle, head, data);
    // ENOENT: nobody waits for this answer any more. ENODEV: the filesystem is gone; the end is about to be read.
    if (code !== 0 && code !== errno.ENOENT && code !== errno.ENODEV)
      throw new Error(`the kernel refused a reply: ${errnoName(code)}`);
  }

  async notify(message: Buffer): Promise<void> {
    if (this.#state === 'ended') return;
    const code = await loadAddon().notify(this.#handle, message);
    if (code !== 0 && code !== errno.ENOENT && code !== errno.ENODEV && code !== errno.ENOTCONN)
      throw new Error(`the kernel refused a notification: ${errnoName(code)}`);
  }

  /** Needs what ptrace(2) needs: root, or a process of the same user that does not forbid it. */
  async blockedCall(thread: number): Promise<BlockedCall> {
    if (thread === 0 || !numbersAreOurs()) return 'unknown';
    try {
      return blockedCall(await readFile(`/proc/${thread}/syscall`, 'latin1'));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return 'unknown';
    }
  }

  mappedFiles(thread: number): MappedFiles | Promise<MappedFiles | undefined> {
    return thread === 0 || this.#maps === undefined ? Promise.resolve(undefined) : this.#maps.of(thread);
  }

  async unmount(): Promise<'unmounted' | 'detached'> {
    if (this.#state === 'ended') return 'unmounted';
    const code = await this.#unmountOnce(false);
    // EINVAL: somebody else unmounted it.
    if (code === 0 || code === errno.EINVAL) return 'unmounted';
    if (code !== errno.EBUSY) throw new Error(`cannot unmount ${this.mountpoint}: ${errnoName(code)}`);
    const second = await this.#unmountOnce(true);
    if (second !== 0 && second !== errno.EINVAL)
      throw new Error(`cannot unmount ${this.mountpoint}, not even when detaching it: ${errnoName(second)}`);
    return 'detached';
  }

  close(): void {
    this.#end('the mount was closed');
  }

  async #unmountOnce(detach: boolean): Promise<number> {
    if (this.#helper === undefined) return loadAddon().unmount(this.mountpoint, detach);
    try {
      await promisify(execFile)(this.#helper, [detach ? '-uz' : '-u', '--', this.mountpoint]);
      return 0;
    } catch (error) {
      if (mountedAt(this.mountpoint) === undefined) return errno.EINVAL;
      if (!detach) return errno.EBUSY;
      throw new Error(`cannot unmount ${this.mountpoint} with ${this.#helper}`, { cause: error });
    }
  }

  #end(reason: string): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#maps?.close();
    loadAddon().release(this.#handle);
    this.#onEnd?.(reason);
  }
}

/**
 * A request's header numbers threads as in the process namespace of whoever mounted. /proc may be that of another one
 * (a container with the host's /proc): NSpid then lists more than the one number that this process knows itself by.
 */
const numbersAreOurs = (): boolean =>
  /^NSpid:\t(\d+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] === String(process.pid);

/**
 * A new fuse filesystem reads ahead 128 KiB at most (VM_READAHEAD_PAGES); its INIT can lower that, never raise it. So
 * it is raised here, where only root may, before INIT is answered. Failing is no fault: reads are smaller.
 */
const raiseReadAhead = (mountpoint: string): void => {
  const device = mountedAt(mountpoint)?.device;
  const file = `/sys/class/bdi/${device}/read_ahead_kb`;
  if (device === undefined || statSync(file, { throwIfNoEntry: false }) === undefined) return;
  try {
    writeFileSync(file, String(transferBytesMax / 1024));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
};
