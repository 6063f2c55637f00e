/**
 * What a service of the brick decided, before it is durable: the writes that make it so, and the answer that may be
 * given once they are. Services decide synchronously on what the store shows; brick.ts writes and answers.
 */
import type { StoreOp } from './store.js';

export interface Plan<T> {
  readonly ops: readonly StoreOp[];
  readonly answer: T;
  /** The chunks of content that these ops change, first and last included; a running copy sends them again. */
  readonly touched?: { readonly firstChunk: number; readonly lastChunk: number } | undefined;
}

/**
 * A plan whose facts had to be listed first. It reads the store again, so that what a name operation changed in the
 * same inode meanwhile is kept: call it in the same turn as the write of its ops.
 */
export type LatePlan<T> = () => Plan<T>;
