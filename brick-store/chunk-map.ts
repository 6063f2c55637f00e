/**
 * Which chunks of a file are stored, and what that is in bytes.
 *
 * An absent chunk is a hole. No chunk is stored past the end of the file. A stored chunk counts with the part of it
 * that is inside the file, whatever the length of its record; so a file whose storedBytes equals its size has no
 * hole, and its chunks are known without listing them (LevelDB would read all their data to list their keys).
 */
import { chunkBytes } from '../wire/limits.js';
import type { Inode } from './records/inode-record.js';
import { chunkIndexOf, chunkKey, chunksOf } from './records/keys.js';
import type { Store } from './store.js';

/** Keys of one list call. */
const pageKeys = 4096;

/** Chunks that a file of this size has, or could have. */
export const chunksIn = (size: number): number => Math.ceil(size / chunkBytes);
/** Bytes of a chunk that are inside a file of this size. */
export const extentOf = (index: number, size: number): number =>
  Math.min(Math.max(size - index * chunkBytes, 0), chunkBytes);
export const isDense = (inode: Inode): boolean => inode.storedBytes === inode.size;

/** Must be of a file that nobody changes meanwhile, or of one where an old answer does no harm. */
export class ChunkMap {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  isStored(inode: Inode, index: number): boolean {
    if (index >= chunksIn(inode.size) || inode.storedBytes === 0) return false;
    return isDense(inode) || this.#store.get(chunkKey(inode.file, index)) !== undefined;
  }

  /** Numbers of the stored chunks from `from` to `to` (both included), ascending, at most `limit`. */
  async list(inode: Inode, from: number, to: number, limit = Number.POSITIVE_INFINITY): Promise<number[]> {
    const last = Math.min(to, chunksIn(inode.size) - 1);
    if (from > last || inode.storedBytes === 0) return [];
    if (isDense(inode)) return Array.from({ length: Math.min(limit, last - from + 1) }, (_, at) => from + at);
    const found: number[] = [];
    for (let next = from; next <= last && found.length < limit; ) {
      const page = Math.min(pageKeys, limit - found.length);
      const keys = await this.#store.list(chunksOf(inode.file, next, last), page, { keysOnly: true });
      for (const { key } of keys) found.push(chunkIndexOf(key));
      if (keys.length < page) break;
      next = found.at(-1)! + 1;
    }
    return found;
  }

  /**
   * storedBytes after the file grew to `size`: the old last chunk, where it is stored, now reaches further into it.
   */
  storedBytesGrownTo(inode: Inode, size: number): number {
    const last = chunksIn(inode.size) - 1;
    if (last < 0 || size <= inode.size || !this.isStored(inode, last)) return inode.storedBytes;
    return inode.storedBytes + extentOf(last, size) - extentOf(last, inode.size);
  }
}
