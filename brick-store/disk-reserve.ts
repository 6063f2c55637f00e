/**
 * How much of its disk a store may use. LevelDB lives badly with a full disk, so a brick stops before: it decides
 * which writes are refused for want of room, and keeps a ballast file that is given up when other programs filled
 * the disk all the same and the database must be mended. Part of the disk door: only level-store.ts uses it.
 */
import { rmSync, statfsSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Refusal } from '../wire/errors.js';
import type { KeyRange, StoreOp } from './store.js';
import { bytesOfOps } from './write-queue.js';

export interface ReserveOptions {
  readonly dataReserveBytes?: number;
  readonly lastReserveBytes?: number;
  readonly ballastBytes?: number;
}

const mib = 1024 * 1024;
/** Data of this many write buffers: two logs, their tables, and a compaction of some tables. */
const buffersPerReserve = 8;
/** Opening after a failure writes a table for each of two logs, as long as the write buffer, and a manifest. */
const buffersPerBallast = 2.5;
/** A batch up to this size is metadata (an inode, an entry, an answer), and passes below the reserve for data. */
const smallBytesMax = 2048;
/** Bytes written after which the disk is asked again; asking takes a few microseconds. */
const bytesPerQuestion = 4 * mib;

/**
 * What is kept free of a disk for data. LevelDB compacts some tens of MiB at a time before it frees the old tables, and
 * writes two logs and their tables meanwhile: 32 MiB were met full in tests of a disk of 128 MiB. A small disk gives
 * what it can.
 */
const reserveOf = (totalBytes: number): number =>
  Math.min(Math.max(totalBytes / 50, 64 * mib), 256 * mib, totalBytes / 4);

const sizeOfDisk = (folder: string): { totalBytes: number; freeBytes: number } => {
  const { blocks, bavail, bsize } = statfsSync(folder);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
};

/**
 * LevelDB's write buffer: 8 MiB, 32 MiB where the disk has room for what that takes. Every write of content puts its
 * inode too, so each table overlaps the last and is merged with it; fewer and larger tables are merged less often.
 */
export const writeBufferBytesOf = (folder: string): number =>
  Math.max(8 * mib, Math.floor(reserveOf(sizeOfDisk(folder).totalBytes) / buffersPerReserve));

export class DiskReserve {
  readonly #folder: string;
  readonly #ballastPath: string;
  readonly #dataReserveBytes: number;
  readonly #lastReserveBytes: number;
  readonly #ballastBytes: number;
  #hasBallast = false;
  #totalBytes: number;
  #freeBytes = 0;
  /** Accepted and not on the disk yet. */
  #queuedBytes = 0;
  #writtenBytes = 0;
  #low = false;
  /** From the first to the last key deleted since the last compaction: LevelDB may still keep their data. */
  #deleted: KeyRange | undefined;

  constructor(folder: string, options: ReserveOptions) {
    this.#folder = folder;
    this.#ballastPath = join(folder, 'ballast');
    this.#totalBytes = this.#ask();
    this.#dataReserveBytes = options.dataReserveBytes ?? reserveOf(this.#totalBytes);
    this.#lastReserveBytes = options.lastReserveBytes ?? this.#dataReserveBytes / 4;
    const ballast = Math.min(buffersPerBallast * writeBufferBytesOf(folder), this.#totalBytes / 16);
    this.#ballastBytes = options.ballastBytes ?? Math.floor(ballast);
  }

  /** Set where these writes may not be made now. Otherwise their bytes count as used. */
  refusalOf(ops: readonly StoreOp[]): Refusal | undefined {
    if (ops.length === 0) return undefined;
    const bytes = bytesOfOps(ops);
    const frees = ops.some((op) => op.type === 'del');
    const isData = bytes > smallBytesMax && !(frees && this.#isMostlyDeletes(ops));
    const floor = isData ? this.#dataReserveBytes : frees ? Number.NEGATIVE_INFINITY : this.#lastReserveBytes;
    if (this.#writtenBytes > bytesPerQuestion || this.#estimate - bytes < floor) this.#ask();
    if (this.#estimate - bytes < floor) {
      this.#low = true;
      const free = Math.max(0, Math.floor(this.#freeBytes / mib));
      return new Refusal(
        'ENOSPC',
        `the disk under ${this.#folder} has ${free} MiB left and the brick keeps ${Math.ceil(floor / mib)} MiB free: ` +
          'free space there, or delete files of the volume',
      );
    }
    if (isData) this.#low = false;
    this.#queuedBytes += bytes;
    return undefined;
  }

  /** Accepted writes came to nothing. */
  refused(bytes: number): void {
    this.#queuedBytes -= bytes;
  }

  /** An accepted write is on the disk. */
  settled(ops: readonly StoreOp[], bytes: number): void {
    this.#queuedBytes -= bytes;
    this.#writtenBytes += bytes;
    for (const op of ops) if (op.type === 'del') this.#noteDeleted(op.key);
  }

  /** Where data writes are refused and something was deleted: what to compact so that its room comes back. */
  takeRangeToCompact(): KeyRange | undefined {
    if (!this.#low) return undefined;
    const range = this.#deleted;
    this.#deleted = undefined;
    return range;
  }

  /** Compacting failed, for instance for want of room: it is tried again. */
  notCompacted({ from, to }: KeyRange): void {
    this.#noteDeleted(from);
    this.#noteDeleted(to);
  }

  space(): { totalBytes: number; freeBytes: number } {
    this.#ask();
    return {
      totalBytes: this.#totalBytes,
      freeBytes: Math.max(0, Math.floor(this.#estimate - this.#dataReserveBytes)),
    };
  }

  get needsBallast(): boolean {
    return (
      !this.#hasBallast &&
      this.#ballastBytes > 0 &&
      this.#estimate > this.#dataReserveBytes + 2 * this.#ballastBytes
    );
  }

  /** Makes the ballast file where there is room for it; finds it where it is already. */
  async makeBallast(): Promise<void> {
    const size = statSync(this.#ballastPath, { throwIfNoEntry: false })?.size;
    if (size === this.#ballastBytes) this.#hasBallast = true;
    if (!this.needsBallast) return;
    // Written, not only sized: a sparse file would hold no room.
    const file = await open(this.#ballastPath, 'w', 0o600);
    try {
      const zeroes = Buffer.alloc(mib);
      for (let at = 0; at < this.#ballastBytes; at += mib)
        await file.write(zeroes, 0, Math.min(mib, this.#ballastBytes - at), at);
      this.#hasBallast = true;
    } catch (error) {
      rmSync(this.#ballastPath, { force: true });
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      await file.close();
    }
    this.#ask();
  }

  /** Frees the room of the ballast. */
  giveUpBallast(): void {
    rmSync(this.#ballastPath, { force: true });
    this.#hasBallast = false;
    this.#ask();
  }

  get #estimate(): number {
    return this.#freeBytes - this.#queuedBytes - this.#writtenBytes;
  }

  #ask(): number {
    const { totalBytes, freeBytes } = sizeOfDisk(this.#folder);
    this.#totalBytes = totalBytes;
    this.#freeBytes = freeBytes;
    this.#writtenBytes = 0;
    return this.#totalBytes;
  }

  /** A rename or a truncate writes a little and deletes; it must pass so that room can be made. */
  #isMostlyDeletes(ops: readonly StoreOp[]): boolean {
    return bytesOfOps(ops.filter((op) => op.type === 'put')) <= smallBytesMax;
  }

  #noteDeleted(key: Uint8Array): void {
    const { from, to } = this.#deleted ?? { from: key, to: key };
    this.#deleted = {
      from: Buffer.compare(key, from) < 0 ? key : from,
      to: Buffer.compare(key, to) > 0 ? key : to,
    };
  }
}
