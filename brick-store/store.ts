/**
 * The disk door of a brick: an ordered key-value store. The real one is level-store.ts (LevelDB); the simulator's
 * twin forgets what was not durable when it crashes.
 *
 * The contract that makes a brick simple to reason about: a write is *visible* to `get` at once and in call order,
 * and its promise resolves when it is *durable* (it survives a kill of the process; with `sync`, a loss of power).
 * So a brick decides synchronously on what it sees, and answers when the promise resolves.
 */
export type StoreOp =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array };

/** Keys from `from` (included) to `to` (not included), in byte order. */
export interface KeyRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

export interface StoreEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface Store {
  /**
   * Set while the store mends itself after a failed write, and cannot be read: wait for it before deciding anything.
   * It resolves, never rejects, however the mending ended.
   */
  readonly repairing?: Promise<void> | undefined;
  /** Where it is kept: goes up whenever an inode or a redirect may have changed. */
  readonly inodesVersion?: number;
  /**
   * The newest value written, durable or not. The caller must not change the bytes.
   * @throws Refusal EIO while `repairing` is set
   */
  get(key: Uint8Array): Uint8Array | undefined;
  /**
   * Up to `limit` entries of a range in key order, as they were when it was called (what was written before is seen,
   * what is written after is not). With `keysOnly` the values are empty: nothing of them is copied.
   */
  list(range: KeyRange, limit: number, options?: { keysOnly?: boolean }): Promise<StoreEntry[]>;
  /**
   * Writes all of `ops` or none. Batches become durable in call order; several may share one disk write.
   * The caller must not change the bytes afterwards.
   * @throws Refusal ENOSPC where the disk is (nearly) full, EIO where it fails; then `get` shows none of the batch,
   *   nor of any batch written after it that was not durable yet (those are refused with the same code).
   */
  write(ops: readonly StoreOp[], options?: { sync?: boolean }): Promise<void>;
  /** Resolves when all that was written before is durable (with `sync`: survives a loss of power). */
  flush(options?: { sync?: boolean }): Promise<void>;
  /** Bytes of the disk the store is on. */
  space(): Promise<{ totalBytes: number; freeBytes: number }>;
  close(): Promise<void>;
}
