/**
 * The order of what happens to one file on one brick. Decides when a task may run: at once while nobody holds the
 * file, otherwise after the holder, in arrival order. It never decides what a task does, and it has no time in it.
 *
 * Two things hold a file: a change that must read the disk before it can decide (truncate, punch, delete), and the
 * freeze of a migration (meta-lock). A task that waited runs from its very start afterwards, so after a committed
 * move it finds the REPLAY record and is redirected like any newcomer.
 *
 * Used by brick.ts and the services of locks and migration. Reads never come here.
 */
import type { FileId } from '../wire/ids.js';

interface Lane {
  held: boolean;
  readonly waiting: (() => void)[];
}

export class FileQueue {
  readonly #lanes = new Map<FileId, Lane>();

  /** Runs `task` now (and returns what it returns), or later (and returns a promise of it). */
  run<T>(file: FileId, task: () => T | Promise<T>): T | Promise<T> {
    const lane = this.#lanes.get(file);
    if (lane === undefined) return task();
    return new Promise<T>((resolve, reject) => {
      lane.waiting.push(() => {
        try {
          resolve(task());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /**
   * Takes the file; only from inside a task that runs, or where `isHeld` is false. Until the returned function is
   * called, new tasks wait. Calling it twice is a bug and throws.
   */
  hold(file: FileId): () => void {
    const lane = this.#lanes.get(file) ?? { held: false, waiting: [] };
    if (lane.held) throw new Error(`file ${file} is already held`);
    lane.held = true;
    this.#lanes.set(file, lane);
    let over = false;
    return () => {
      if (over) throw new Error(`the hold of file ${file} was given back twice`);
      over = true;
      lane.held = false;
      this.#drain(file, lane);
    };
  }

  isHeld(file: FileId): boolean {
    return this.#lanes.get(file)?.held ?? false;
  }

  waitingCount(file: FileId): number {
    return this.#lanes.get(file)?.waiting.length ?? 0;
  }

  /** A task that runs may hold the file again: the rest then waits on. What a task adds comes after the rest. */
  #drain(file: FileId, lane: Lane): void {
    while (!lane.held) {
      const task = lane.waiting.shift();
      if (task === undefined) {
        if (this.#lanes.get(file) === lane) this.#lanes.delete(file);
        return;
      }
      task();
    }
  }
}
