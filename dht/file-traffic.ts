/**
 * Which files have requests under way that change what this client holds or has open there, and not yet a place in a
 * brick's queue. A file may change to a new graph only when it has none (graph-switch.ts): what a brick carries out
 * for the old client after that would be lost to the new one.
 *
 * Counts, and pauses the lock requests that would be sent again. Decides nothing.
 */
import type { FileId } from '../wire/ids.js';

export class FileTraffic {
  readonly #running = new Map<FileId, number>();
  readonly #whenQuiet = new Map<FileId, (() => void)[]>();
  readonly #paused = new Map<FileId, Promise<void>>();

  began(file: FileId): void {
    this.#running.set(file, (this.#running.get(file) ?? 0) + 1);
  }

  ended(file: FileId): void {
    const left = (this.#running.get(file) ?? 0) - 1;
    if (left > 0) {
      this.#running.set(file, left);
      return;
    }
    this.#running.delete(file);
    const waiting = this.#whenQuiet.get(file);
    if (waiting === undefined) return;
    this.#whenQuiet.delete(file);
    for (const go of waiting) go();
  }

  /** Counts `work` until it is settled, and hands it back. */
  during<T>(file: FileId, work: Promise<T>): Promise<T> {
    this.began(file);
    const ended = (): void => this.ended(file);
    work.then(ended, ended);
    return work;
  }

  isQuiet(file: FileId): boolean {
    return !this.#running.has(file);
  }

  /** Resolves when nothing is under way, which may be over again by the time that the caller looks. */
  whenQuiet(file: FileId): Promise<void> {
    if (this.isQuiet(file)) return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = this.#whenQuiet.get(file) ?? [];
      waiting.push(resolve);
      this.#whenQuiet.set(file, waiting);
    });
  }

  files(): FileId[] {
    return [...this.#running.keys()];
  }

  /** Until the returned function is called, no lock request of the file is sent to a brick (again). */
  pause(file: FileId): () => void {
    let over = (): void => undefined;
    const paused = new Promise<void>((resolve) => {
      over = resolve;
    });
    this.#paused.set(file, paused);
    return () => {
      if (this.#paused.get(file) === paused) this.#paused.delete(file);
      over();
    };
  }

  paused(file: FileId): Promise<void> | undefined {
    return this.#paused.size === 0 ? undefined : this.#paused.get(file);
  }
}
