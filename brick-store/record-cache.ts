/**
 * Remembers the records that nearly every request asks for (inodes and redirects), so that a lock call reads nothing.
 * A store like any other to the services of a brick; brick.ts puts it in front of the real one.
 *
 * Never shows what the store would not: a write forgets what it touches, a refused write forgets everything.
 */
import { isOftenRead } from './records/keys.js';
import type { KeyRange, Store, StoreEntry, StoreOp } from './store.js';

/** Records remembered; at this many all are forgotten at once, which costs one read each. */
const recordsMax = 100_000;

const mapKeyOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');

export class RecordCache implements Store {
  readonly #store: Store;
  readonly #known = new Map<string, Uint8Array | undefined>();

  constructor(store: Store) {
    this.#store = store;
  }

  inodesVersion = 0;

  get repairing(): Promise<void> | undefined {
    return this.#store.repairing;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (!isOftenRead(key)) return this.#store.get(key);
    if (this.#store.repairing !== undefined) {
      // A write failed a moment ago, and its writer has yet to hear of it: what it showed must not be decided on.
      this.#known.clear();
      return this.#store.get(key);
    }
    const mapKey = mapKeyOf(key);
    const known = this.#known.get(mapKey);
    if (known !== undefined || this.#known.has(mapKey)) return known;
    const value = this.#store.get(key);
    if (this.#known.size >= recordsMax) this.#known.clear();
    this.#known.set(mapKey, value);
    return value;
  }

  list(range: KeyRange, limit: number, options?: { keysOnly?: boolean }): Promise<StoreEntry[]> {
    return this.#store.list(range, limit, options);
  }

  async write(ops: readonly StoreOp[], options?: { sync?: boolean }): Promise<void> {
    for (const { key } of ops) {
      if (!isOftenRead(key)) continue;
      this.#known.delete(mapKeyOf(key));
      this.inodesVersion += 1;
    }
    try {
      await this.#store.write(ops, options);
    } catch (error) {
      this.#known.clear();
      this.inodesVersion += 1;
      throw error;
    }
  }

  flush(options?: { sync?: boolean }): Promise<void> {
    return this.#store.flush(options);
  }

  space(): Promise<{ totalBytes: number; freeBytes: number }> {
    return this.#store.space();
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
