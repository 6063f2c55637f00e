/**
 * One `lockferry mount` in the foreground, for a test that may kill it. Knows when it answers and when it is gone,
 * and takes its mountpoint out of the tree whatever happened to it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cliPath } from '../bin/brick-processes.js';
import { mountedAt } from '../bin/mountpoints.js';

const endMsMax = 5000;

/** Also with users, also where the process that served it is gone. */
export const takeOutOfTheTree = (point: string): void => {
  spawnSync('umount', ['-l', point], { timeout: endMsMax });
};

export class MountProcess {
  readonly point: string;
  /** Resolves when the mount answers. @throws Error with what it said instead */
  readonly mounted: Promise<void>;
  readonly ended: Promise<void>;
  /** Lines on standard error. */
  readonly said: string[] = [];
  readonly #child: ChildProcess;

  constructor(volumeFolder: string, point: string) {
    this.point = point;
    this.#child = spawn(process.execPath, [cliPath, 'mount', volumeFolder, point], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
    });
    createInterface({ input: this.#child.stderr! }).on('line', (line) => this.said.push(line));
    this.ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
    this.mounted = new Promise((resolve, reject) => {
      createInterface({ input: this.#child.stdout! }).once('line', () => resolve());
      this.ended.then(() => reject(new Error(`${point} was not mounted: ${this.said.join('\n')}`)));
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Resolves when the process is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal);
    await this.ended;
  }

  /** Whatever state it is in: the mountpoint is free and the process gone. */
  async end(): Promise<void> {
    this.#child.kill('SIGTERM');
    await Promise.race([this.ended, sleep(endMsMax, undefined, { ref: false })]);
    await this.kill();
    if (mountedAt(this.point)) takeOutOfTheTree(this.point);
  }
}
