/**
 * Files that a process makes, uses and removes by itself: more names, other names, no name while it is open, an
 * extended attribute, a cut. Part of the workload; what was left behind by those that died on the way is removed at
 * the end of a run, by name.
 */
import { constants } from 'node:os';
import type { SeededRandom } from './scheduler.js';
import { type SimulatedProcess, SystemCallError } from './simulated-process.js';

const { errno } = constants;

const valueBytes = 20;
const offsets = [0, 9001] as const;

export class ScratchFiles {
  readonly #random: SeededRandom;
  readonly #value: (process: SimulatedProcess) => Uint8Array;
  /** All that there ever were: a loss of power may bring one back. */
  readonly #names: string[] = [];
  #made = 0;

  constructor(random: SeededRandom, value: (process: SimulatedProcess) => Uint8Array) {
    this.#random = random;
    this.#value = value;
  }

  /** @param pause something else happens meanwhile */
  async use(
    process: SimulatedProcess,
    doing: (what: string) => void,
    pause: () => Promise<void>,
  ): Promise<void> {
    const names = [`scratch-${++this.#made}`];
    const first = names[0]!;
    const fd = await this.#name(first, () => process.open(first, true));
    // From here on no loss of power takes the file from under its locks.
    await process.sync(fd);
    const steps = [
      ['locks', () => process.lock(fd, { flavour: 'posix', type: 'write', wait: true })],
      ['writes', () => process.write(fd, this.#random.pick(offsets), this.#value(process))],
      ['writes', () => process.write(fd, this.#random.pick(offsets), this.#value(process))],
      ['links', () => this.#link(process, fd, names)],
      ['renames', () => this.#rename(process, names)],
      ['sets an attribute of', () => process.setXattr(fd, this.#value(process))],
      ['cuts', () => process.truncate(fd, this.#random.pick(offsets))],
      ['reads an attribute of', () => process.getXattr(fd)],
      ['removes a name of', () => this.#unlink(process, names.shift())],
      ['renames', () => this.#rename(process, names)],
      ['removes the names of', () => this.#unlinkAll(process, names)],
      ['writes', () => process.write(fd, this.#random.pick(offsets), this.#value(process))],
    ] as const;
    for (const [what, step] of steps) {
      if (this.#random.chance(0.4)) continue;
      doing(`${what} ${first}`);
      await step();
      await pause();
    }
    doing(`reads and closes ${first}`);
    for (const offset of offsets) await process.read(fd, offset, valueBytes);
    await process.getXattr(fd);
    await process.close(fd);
    await this.#unlinkAll(process, names);
  }

  /** Whatever name may be left. Only to be called when nobody uses one any more. */
  async removeLeft(process: SimulatedProcess): Promise<void> {
    for (const name of this.#names) {
      try {
        await process.unlink(name);
      } catch (error) {
        if (!(error instanceof SystemCallError) || error.errno !== errno.ENOENT) throw error;
      }
    }
  }

  #name<T>(name: string, make: () => Promise<T>): Promise<T> {
    this.#names.push(name);
    return make();
  }

  async #link(process: SimulatedProcess, fd: number, names: string[]): Promise<void> {
    const name = `scratch-${++this.#made}`;
    await this.#name(name, () => process.link(fd, name));
    names.push(name);
  }

  async #rename(process: SimulatedProcess, names: string[]): Promise<void> {
    const from = names.pop();
    if (from === undefined) return;
    const to = `scratch-${++this.#made}`;
    await this.#name(to, () => process.rename(from, to));
    names.push(to);
  }

  async #unlink(process: SimulatedProcess, name: string | undefined): Promise<void> {
    if (name !== undefined) await process.unlink(name);
  }

  async #unlinkAll(process: SimulatedProcess, names: string[]): Promise<void> {
    while (names.length > 0) await this.#unlink(process, names.pop());
  }
}
