/**
 * A bounded memory of what was used lately: a map that forgets its least recent half when it is full, except for
 * the keys that must stay. Two generations instead of a list, so that `get` of a recent key is one map look-up.
 *
 * What it forgets must be something that can be found out again. Used for the placement of files and for directories.
 */
export class RecentMap<K, V> {
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  #turnAt: number;
  readonly #half: number;
  readonly #keep: (key: K) => boolean;

  /** @param keep keys that are never forgotten, however many there are */
  constructor(limit: number, keep: (key: K) => boolean = () => false) {
    this.#half = Math.max(1, limit >> 1);
    this.#turnAt = this.#half;
    this.#keep = keep;
  }

  get(key: K): V | undefined {
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size > this.#turnAt) this.#turn();
  }

  /** Each once, in no order. The map must not change meanwhile. */
  *entries(): IterableIterator<[K, V]> {
    yield* this.#young;
    for (const entry of this.#old) if (!this.#young.has(entry[0])) yield entry;
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  #turn(): void {
    const leaving = this.#old;
    this.#old = this.#young;
    this.#young = new Map();
    for (const [key, value] of leaving) {
      if (!this.#old.has(key) && this.#keep(key)) this.#young.set(key, value);
    }
    // Many kept keys must not make every further `set` a turn.
    this.#turnAt = Math.max(this.#half, this.#young.size * 2);
  }
}
