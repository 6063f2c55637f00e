/**
 * Real mounts for one test, over a volume in memory, with processes on them. Whatever a test does, all of it ends:
 * processes are killed, connections closed, mount points unmounted and removed.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { systemClock } from '../../host/clock.js';
import type { Trace } from '../../host/trace.js';
import { KernelDevice } from '../fuse/kernel-device.js';
import { Mount, type MountOptions } from '../mount.js';
import { KernelProcess } from './kernel-process.js';
import { MemoryFiles } from './memory-files.js';
import { MemoryVolume } from './memory-volume.js';

const canMount = (): boolean => {
  if (process.getuid?.() !== 0) return false;
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return false;
  }
};

const isMounted = (mountpoint: string): boolean =>
  readFileSync('/proc/self/mountinfo', 'utf8').includes(
    mountpoint.replaceAll(' ', '\\040').replaceAll('\t', '\\011'),
  );

/** For tap's `skip`: false, or why the test cannot run here. */
export const skipReason: string | false = canMount() ? false : 'needs root and /dev/fuse';

export interface MountedVolume {
  readonly directory: string;
  readonly mount: Mount;
  readonly device: KernelDevice;
}

export class KernelHarness {
  readonly files = new MemoryFiles();
  /** What the mounts complained about; must be empty at the end unless the test empties it. */
  readonly faults: string[] = [];
  readonly requests: string[] = [];
  readonly #mounted: MountedVolume[] = [];
  readonly #processes: KernelProcess[] = [];

  constructor(t: Test) {
    t.teardown(() => this.#end());
  }

  async mount(options: MountOptions = {}, helper?: string): Promise<MountedVolume> {
    const directory = mkdtempSync(join(tmpdir(), 'lockferry-mount-'));
    const trace: Trace = {
      isDebug: true,
      debug: (_, fields) => {
        if (fields?.request !== undefined) this.requests.push(String(fields.request));
      },
      info: () => undefined,
      warn: (event, fields) => this.faults.push(`${event} ${JSON.stringify(fields)}`),
      error: (event, fields) => this.faults.push(`${event} ${JSON.stringify(fields)}`),
    };
    const device = KernelDevice.mount({ mountpoint: directory, source: 'memory', helper });
    const client = String(this.#mounted.length + 1).padStart(32, '0');
    const volume = new MemoryVolume(this.files, client);
    const mount = new Mount({ device, volume, clock: systemClock, trace, options });
    const mounted = { directory, mount, device };
    this.#mounted.push(mounted);
    await mount.start();
    return mounted;
  }

  /** Ends a mount that the test made by itself. */
  unmount(mountpoint: string): void {
    if (isMounted(mountpoint)) execFileSync('umount', ['-l', mountpoint]);
  }

  process({ directory }: MountedVolume): KernelProcess {
    const process = new KernelProcess(directory);
    this.#processes.push(process);
    return process;
  }

  /** Resolves when `isTrue` holds; the calls of the volume and the requests of the kernel are what it waits for. */
  async until(isTrue: () => boolean, what: string): Promise<void> {
    for (let tries = 0; !isTrue(); tries++) {
      if (tries > 2000) throw new Error(`waited in vain for: ${what}`);
      await systemClock.sleep(2);
    }
  }

  async #end(): Promise<void> {
    for (const process of this.#processes) process.kill();
    // Closing the device first: a process that waits in the kernel for an answer can only then be killed.
    for (const { mount } of this.#mounted) mount.abort();
    await Promise.all(this.#processes.map((process) => process.exited));
    for (const { directory } of this.#mounted) {
      this.unmount(directory);
      rmdirSync(directory);
    }
  }
}
