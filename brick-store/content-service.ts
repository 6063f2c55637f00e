/**
 * The content of files: chunks of chunkBytes under (file id, number) (rows 50 to 55 of wire/messages.ts).
 *
 * Decides on what the store shows now and answers with a plan. What must list chunks first is a LatePlan; the caller
 * lets nothing else change the content of that file until it is written. Permissions, locks and redirects were
 * settled before; clearing set-id bits on a write is the kernel's part (fs/fuse/file.c, file_remove_privs).
 */
import type { Clock } from '../host/clock.js';
import { Refusal } from '../wire/errors.js';
import type { FileId } from '../wire/ids.js';
import { chunkBytes, fileBytesMax, transferBytesMax } from '../wire/limits.js';
import type { Answer, Request } from '../wire/messages.js';
import { ChunkMap, chunksIn, extentOf, isDense } from './chunk-map.js';
import { Inodes, putInode } from './inodes.js';
import type { LatePlan, Plan } from './plan.js';
import type { Inode } from './records/inode-record.js';
import { chunkKey } from './records/keys.js';
import type { Store, StoreOp } from './store.js';

/** Chunks that one batch deletes; what is more goes before, in batches of its own, so that memory stays bounded. */
const chunksPerBatch = 32_768;
/** Chunks that are deleted in the batch that removes the name of their file. */
const chunksAtOnce = 256;
/** How far one answer of `seek` looks for a hole before it lists again. */
const chunksPerSearch = 4096;

export class ContentService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #inodes: Inodes;
  readonly #chunks: ChunkMap;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#inodes = new Inodes(store);
    this.#chunks = new ChunkMap(store);
  }

  read({ file, offset, length }: Request<'read'>): Answer<'read'> {
    const inode = this.#requireFile(file);
    const end = Math.min(offset + Math.min(length, transferBytesMax), inode.size);
    if (offset >= end) return { data: new Uint8Array(0), change: inode.change };
    // Not made of zeroes first: most of it is overwritten.
    const data = Buffer.allocUnsafe(end - offset);
    let filled = 0;
    for (let index = Math.floor(offset / chunkBytes); index * chunkBytes < end; index++) {
      const chunk = this.readChunk(file, index);
      if (!chunk) continue;
      const start = index * chunkBytes;
      const skip = Math.max(offset - start, 0);
      const part = chunk.subarray(skip, Math.min(end - start, chunk.byteLength));
      const at = start + skip - offset;
      if (at > filled) data.fill(0, filled, at);
      data.set(part, at);
      filled = at + part.byteLength;
    }
    data.fill(0, filled);
    return { data, change: inode.change };
  }

  /** `data` belongs to the plan from now on: it is not copied where whole chunks are written. */
  write({ file, offset, data }: Request<'write'>): Plan<Answer<'write'>> {
    const inode = this.#requireFile(file);
    if (data.byteLength === 0) return { ops: [], answer: { change: inode.change, size: inode.size } };
    const end = offset + data.byteLength;
    if (end > fileBytesMax) throw new Refusal('EFBIG');
    const firstChunk = Math.floor(offset / chunkBytes);
    const lastChunk = Math.floor((end - 1) / chunkBytes);
    const size = Math.max(inode.size, end);
    let storedBytes = this.#chunks.storedBytesGrownTo(inode, size);
    const ops: StoreOp[] = [];
    for (let index = firstChunk; index <= lastChunk; index++) {
      const start = index * chunkBytes;
      const from = Math.max(offset, start);
      const to = Math.min(end, start + chunkBytes);
      const part = data.subarray(from - offset, to - offset);
      const isWhole = from === start && to >= Math.min(start + chunkBytes, inode.size);
      const old = isWhole ? undefined : this.#storedChunk(inode, index);
      const isStored = isWhole ? this.#chunks.isStored(inode, index) : old !== undefined;
      if (!isStored) storedBytes += extentOf(index, size);
      ops.push(putChunk(file, index, isWhole ? part : overlaid(old, part, from - start)));
    }
    const written = this.#changed(inode, { size, storedBytes });
    ops.push(putInode(written));
    return {
      ops,
      answer: { change: written.change, size },
      touched: { firstChunk, lastChunk },
    };
  }

  /** Resolves when what was answered before survives a loss of power. */
  async sync({ file }: Request<'sync'>): Promise<Answer<'sync'>> {
    this.#inodes.require(file);
    await this.#store.flush({ sync: true });
    return {};
  }

  async space(): Promise<Answer<'space'>> {
    return { ...(await this.#store.space()), files: this.#inodes.count() };
  }

  /** Stores no zeroes for `allocate`: that there is room is checked now, and not kept. */
  async allocate(request: Request<'allocate'>): Promise<LatePlan<Answer<'allocate'>>> {
    const { file, offset, length, how, keepSize } = request;
    const { size } = this.#requireFile(file);
    if (length === 0) throw new Refusal('EINVAL');
    const end = offset + length;
    if (end > fileBytesMax) throw new Refusal('EFBIG');
    // fallocate(2): FALLOC_FL_PUNCH_HOLE never changes the size.
    const grownTo = keepSize || how === 'punch' ? 0 : end;
    if (how === 'allocate') {
      if (length > (await this.#store.space()).freeBytes) throw new Refusal('ENOSPC');
      return () => this.#grow(this.#requireFile(file), grownTo);
    }
    return this.#makeHole(file, offset, Math.min(end, size), grownTo);
  }

  /** Changes the size; chunks past the new end go, and what is grown over reads as zeroes. */
  async resize(file: FileId, size: number): Promise<LatePlan<Inode>> {
    const inode = this.#requireFile(file);
    if (size > fileBytesMax) throw new Refusal('EFBIG');
    if (size >= inode.size) {
      return () => {
        const now = this.#requireFile(file);
        const grown = this.#changed(now, {
          size,
          storedBytes: this.#chunks.storedBytesGrownTo(now, size),
        });
        // The size that it has is no change of content, but truncate(2) marks the times all the same.
        const answer = size === now.size ? { ...grown, change: now.change } : grown;
        return { ops: [putInode(answer)], answer };
      };
    }
    const chunks = await this.#chunks.list(inode, chunksIn(size), chunksIn(inode.size) - 1);
    // From the end, shrinking the file each time: a crash in between leaves a file that is partly truncated.
    while (chunks.length > chunksPerBatch) {
      const some = chunks.splice(chunks.length - chunksPerBatch);
      await this.#store.write(this.#shrink(this.#requireFile(file), some[0]! * chunkBytes, some).ops);
    }
    return () => this.#shrink(this.#requireFile(file), size, chunks);
  }

  async seek({ file, offset, whence }: Request<'seek'>): Promise<Answer<'seek'>> {
    const inode = this.#requireFile(file);
    const { size } = inode;
    if (offset >= size) throw new Refusal('ENXIO');
    const end = chunksIn(size);
    const index = Math.floor(offset / chunkBytes);
    if (whence === 'data') {
      const [found] = await this.#chunks.list(inode, index, end - 1, 1);
      if (found === undefined) throw new Refusal('ENXIO');
      return { offset: Math.max(offset, found * chunkBytes) };
    }
    // Past the last byte is a hole always (lseek(2)).
    if (inode.storedBytes === size) return { offset: size };
    for (let from = index; from < end; from += chunksPerSearch) {
      const found = await this.#chunks.list(inode, from, Math.min(from + chunksPerSearch, end) - 1);
      const gap = found.findIndex((at, i) => at !== from + i);
      const hole = from + (gap === -1 ? found.length : gap);
      if (hole < Math.min(from + chunksPerSearch, end))
        return { offset: Math.max(offset, hole * chunkBytes) };
    }
    return { offset: size };
  }

  /** Numbers of the stored chunks from `from` on, ascending. */
  async chunkIndexes(file: FileId, from: number, limit: number): Promise<number[]> {
    const inode = this.#inodes.stored(file);
    return inode ? this.#chunks.list(inode, from, Number.POSITIVE_INFINITY, limit) : [];
  }

  /** Undefined is a hole; shorter than chunkBytes, the rest is zeroes. */
  readChunk(file: FileId, index: number): Uint8Array | undefined {
    return this.#store.get(chunkKey(file, index));
  }

  /** The ops that delete all content; undefined where chunks would have to be listed first, or are many. */
  deletesAtOnce(inode: Inode): StoreOp[] | undefined {
    if (inode.storedBytes === 0) return [];
    const chunks = chunksIn(inode.size);
    if (!isDense(inode) || chunks > chunksAtOnce) return undefined;
    return deletesOf(
      inode.file,
      Array.from({ length: chunks }, (_, index) => index),
    );
  }

  /** Deletes content in batches until what is left fits one; answers the ops for that. */
  async deleteChunks(inode: Inode): Promise<StoreOp[]> {
    const chunks = await this.#chunks.list(inode, 0, Number.POSITIVE_INFINITY);
    while (chunks.length > chunksPerBatch)
      await this.#store.write(deletesOf(inode.file, chunks.splice(chunks.length - chunksPerBatch)));
    return deletesOf(inode.file, chunks);
  }

  #requireFile(file: FileId): Inode {
    const inode = this.#inodes.require(file);
    if (inode.type === 'dir') throw new Refusal('EISDIR');
    if (inode.type !== 'file') throw new Refusal('EINVAL', 'only a regular file has content');
    return inode;
  }

  #storedChunk(inode: Inode, index: number): Uint8Array | undefined {
    return index < chunksIn(inode.size) ? this.readChunk(inode.file, index) : undefined;
  }

  #changed(inode: Inode, to: { size: number; storedBytes: number }): Inode {
    const timeNs = this.#clock.wallNs();
    return { ...inode, ...to, change: inode.change + 1, mtimeNs: timeNs, ctimeNs: timeNs };
  }

  #grow(inode: Inode, grownTo: number): Plan<Answer<'allocate'>> {
    const { change, size } = inode;
    if (grownTo <= size) return { ops: [], answer: { change, size } };
    const storedBytes = this.#chunks.storedBytesGrownTo(inode, grownTo);
    const grown = this.#changed(inode, { size: grownTo, storedBytes });
    return { ops: [putInode(grown)], answer: { change: grown.change, size: grownTo } };
  }

  /** @param dropped all stored chunks that lie wholly past `size` */
  #shrink(inode: Inode, size: number, dropped: readonly number[]): Plan<Inode> {
    const ops = deletesOf(inode.file, dropped);
    let storedBytes = inode.storedBytes;
    for (const index of dropped) storedBytes -= extentOf(index, inode.size);
    const last = chunksIn(size) - 1;
    const kept = last >= 0 ? this.#storedChunk(inode, last) : undefined;
    if (kept) {
      storedBytes -= extentOf(last, inode.size) - extentOf(last, size);
      // What is cut off must not come back when the file grows again: a short chunk ends in zeroes.
      const length = extentOf(last, size);
      if (kept.byteLength > length) ops.push(putChunk(inode.file, last, kept.subarray(0, length)));
    }
    const answer = this.#changed(inode, { size, storedBytes });
    ops.push(putInode(answer));
    return {
      ops,
      answer,
      touched: { firstChunk: Math.max(last, 0), lastChunk: Math.max(chunksIn(inode.size) - 1, 0) },
    };
  }

  /** Makes `offset` to `end` (inside the file) read as zeroes: whole chunks go, the ends of the others are cleared. */
  async #makeHole(
    file: FileId,
    offset: number,
    end: number,
    grownTo: number,
  ): Promise<LatePlan<Answer<'allocate'>>> {
    const inode = this.#requireFile(file);
    if (offset >= end) return () => this.#grow(this.#requireFile(file), grownTo);
    const isWhole = (index: number) =>
      offset <= index * chunkBytes && end >= Math.min((index + 1) * chunkBytes, inode.size);
    const firstChunk = Math.floor(offset / chunkBytes);
    const lastChunk = Math.floor((end - 1) / chunkBytes);
    const stored = await this.#chunks.list(inode, firstChunk, lastChunk);
    const whole = stored.filter(isWhole);
    const partial = stored.filter((index) => !isWhole(index));
    while (whole.length > chunksPerBatch) {
      const some = whole.splice(whole.length - chunksPerBatch);
      await this.#store.write(this.#drop(this.#requireFile(file), some, 0));
    }
    return () => {
      const now = this.#requireFile(file);
      const ops = partial.map((index) =>
        putChunk(file, index, cleared(this.readChunk(file, index)!, offset, end, index * chunkBytes)),
      );
      ops.push(...this.#drop(now, whole, grownTo));
      const size = Math.max(now.size, grownTo);
      return {
        ops,
        answer: { change: now.change + 1, size },
        touched: { firstChunk, lastChunk },
      };
    };
  }

  /** Deletes chunks inside the file, and grows it. */
  #drop(inode: Inode, dropped: readonly number[], grownTo: number): StoreOp[] {
    const size = Math.max(inode.size, grownTo);
    let storedBytes = inode.storedBytes;
    for (const index of dropped) storedBytes -= extentOf(index, inode.size);
    const last = chunksIn(inode.size) - 1;
    if (size > inode.size && this.#chunks.isStored(inode, last) && !dropped.includes(last))
      storedBytes += extentOf(last, size) - extentOf(last, inode.size);
    return [...deletesOf(inode.file, dropped), putInode(this.#changed(inode, { size, storedBytes }))];
  }
}

const putChunk = (file: FileId, index: number, value: Uint8Array): StoreOp => ({
  type: 'put',
  key: chunkKey(file, index),
  value,
});

const deletesOf = (file: FileId, chunks: readonly number[]): StoreOp[] =>
  chunks.map((index) => ({ type: 'del', key: chunkKey(file, index) }));

/** A chunk with `part` written at `at`. */
const overlaid = (old: Uint8Array | undefined, part: Uint8Array, at: number): Uint8Array => {
  const chunk = Buffer.alloc(Math.max(old?.byteLength ?? 0, at + part.byteLength));
  if (old) chunk.set(old);
  chunk.set(part, at);
  return chunk;
};

/** A chunk that begins at `start` of its file, with the bytes `offset` to `end` of the file made zeroes. */
const cleared = (chunk: Uint8Array, offset: number, end: number, start: number): Uint8Array => {
  const copy = Buffer.from(chunk);
  copy.fill(0, Math.min(Math.max(offset - start, 0), copy.length), Math.min(end - start, copy.length));
  return copy;
};
