/**
 * The disk door of a brick on LevelDB: what store.ts promises, in one folder that one process holds.
 *
 * Decides which writes share a disk write (write-queue.ts holds them until then), when a write is refused because
 * the disk is nearly full, and how the database is mended after a write failed. It knows nothing of keys or records.
 * A failed write makes the log of LevelDB unsafe to append to: a torn record hides what is written behind it from
 * the next recovery (db/log_reader.cc skips to the next block). So nothing is written after a failure until the
 * database was closed and opened again, which reads the log and begins a new one.
 */
import { mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BatchOperation, Level } from 'level';
import { silentTrace, type Trace } from '../host/trace.js';
import { Refusal } from '../wire/errors.js';
import { DiskReserve, writeBufferBytesOf } from './disk-reserve.js';
import type { KeyRange, Store, StoreEntry, StoreOp } from './store.js';
import { type Group, WriteQueue } from './write-queue.js';

export interface LevelStoreOptions {
  readonly trace?: Trace;
  /** Free bytes of the disk below which writes that add data are refused. */
  readonly dataReserveBytes?: number;
  /** Free bytes below which small writes are refused too; what only frees space still passes. */
  readonly lastReserveBytes?: number;
  /** A file of this size is given up to mend the database when the disk is full to the last byte. 0: none. */
  readonly ballastBytes?: number;
  /** Writes that wait for the one in flight go together up to this size. */
  readonly groupBytesMax?: number;
}

/** `level` types only what browsers have too; on Node it is classic-level. */
type Database = Level<Buffer, Buffer> & { compactRange(from: Buffer, to: Buffer): Promise<void> };

/** A database that could not be opened is not tried again sooner than this. */
const retryMs = 200;

const isFull = (text: string): boolean => /no space left|ENOSPC|quota exceeded/i.test(text);

const messagesOf = (error: unknown): string => {
  const lines: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) lines.push(at.message);
  return lines.length === 0 ? String(error) : lines.join(': ');
};

const codesOf = (error: unknown): string[] => {
  const codes: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause)
    codes.push(String((at as { code?: unknown }).code));
  return codes;
};

async function openDatabase(folder: string): Promise<Database> {
  let database: Database;
  try {
    await mkdir(folder, { recursive: true });
    database = new Level<Buffer, Buffer>(folder, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      cacheSize: 32 * 1024 * 1024,
      writeBufferSize: writeBufferBytesOf(folder),
    }) as Database;
    await database.open();
  } catch (error) {
    if (codesOf(error).includes('LEVEL_LOCKED'))
      throw new Error(
        `the store in ${folder} cannot be opened: another brick process is using it; stop that one first`,
        { cause: error },
      );
    throw new Error(`the store in ${folder} cannot be opened: ${messagesOf(error)}`, { cause: error });
  }
  return database;
}

/** @throws Error with a line for people: the folder is held by another process, damaged, or cannot be written */
export async function openLevelStore(folder: string, options: LevelStoreOptions = {}): Promise<Store> {
  const database = await openDatabase(folder);
  const reserve = new DiskReserve(folder, options);
  try {
    await reserve.makeBallast();
  } catch (error) {
    await database.close();
    throw new Error(`the store in ${folder} cannot be opened: ${messagesOf(error)}`, { cause: error });
  }
  return new LevelStore(folder, database, reserve, options);
}

class LevelStore implements Store {
  readonly #folder: string;
  readonly #reserve: DiskReserve;
  readonly #trace: Trace;
  readonly #queue: WriteQueue;
  #database: Database | undefined;
  #repairing: Promise<void> | undefined;
  /** The last failure, while there is no database. */
  #broken: Refusal | undefined;
  #retryAt = Number.NEGATIVE_INFINITY;
  #pumping: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  #closed = false;

  constructor(folder: string, database: Database, reserve: DiskReserve, options: LevelStoreOptions) {
    this.#folder = folder;
    this.#database = database;
    this.#reserve = reserve;
    this.#trace = options.trace ?? silentTrace;
    this.#queue = new WriteQueue(options.groupBytesMax ?? 8 * 1024 * 1024);
  }

  get repairing(): Promise<void> | undefined {
    return this.#repairing;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const pending = this.#queue.pendingValue(key);
    if (pending) return pending.value;
    return this.#open().getSync(key as Buffer);
  }

  async list(range: KeyRange, limit: number, options?: { keysOnly?: boolean }): Promise<StoreEntry[]> {
    if (limit <= 0) return [];
    const keysOnly = options?.keysOnly === true;
    const iterator = await this.#snapshot(() =>
      this.#open().iterator({
        gte: range.from as Buffer,
        lt: range.to as Buffer,
        limit,
        values: !keysOnly,
        fillCache: !keysOnly,
      }),
    );
    try {
      const entries: StoreEntry[] = [];
      while (entries.length < limit) {
        const some = await iterator.nextv(Math.min(1000, limit - entries.length));
        if (some.length === 0) break;
        for (const [key, value] of some) entries.push({ key, value: keysOnly ? nothing : value });
      }
      return entries;
    } finally {
      await iterator.close();
    }
  }

  /** Runs `take` (an iterator takes its snapshot when it is made) between the writes before and after this call. */
  #snapshot<T>(take: () => T): T | Promise<T> {
    if (this.#queue.isIdle) return take();
    return new Promise((resolve, reject) => {
      this.#queue.addSnapshot(() => {
        try {
          resolve(take());
        } catch (error) {
          reject(error);
        }
      });
      this.#pump();
    });
  }

  write(ops: readonly StoreOp[], options?: { sync?: boolean }): Promise<void> {
    const no = this.#closed ? this.#closedRefusal() : this.#refusalOf(ops);
    if (no) {
      this.#compactIfLow();
      return Promise.reject(no);
    }
    return this.#enqueue(ops, options?.sync === true);
  }

  flush(options?: { sync?: boolean }): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closedRefusal());
    return this.#enqueue([], options?.sync === true);
  }

  space(): Promise<{ totalBytes: number; freeBytes: number }> {
    return Promise.resolve(this.#reserve.space());
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#pumping) await this.#pumping;
    await this.#compacting;
    const database = this.#database;
    this.#database = undefined;
    await database?.close();
  }

  #refusalOf(ops: readonly StoreOp[]): Refusal | undefined {
    try {
      return this.#reserve.refusalOf(ops);
    } catch (error) {
      return new Refusal('EIO', `the disk under ${this.#folder} does not answer: ${messagesOf(error)}`);
    }
  }

  #enqueue(ops: readonly StoreOp[], sync: boolean): Promise<void> {
    const written = this.#queue.add(ops, sync);
    this.#pump();
    return written;
  }

  #closedRefusal(): Refusal {
    return new Refusal('EIO', `the store in ${this.#folder} is closed`);
  }

  #open(): Database {
    if (this.#database) return this.#database;
    if (this.#closed) throw this.#closedRefusal();
    this.#pump();
    throw this.#broken ?? new Refusal('EIO', `the store in ${this.#folder} is being mended; try again`);
  }

  /** Starts what is to be done, unless that is under way. */
  #pump(): void {
    if (this.#pumping || (this.#queue.isEmpty && this.#database)) return;
    this.#pumping = this.#work().finally(() => {
      this.#pumping = undefined;
      if (!this.#queue.isEmpty) this.#pump();
    });
  }

  async #work(): Promise<void> {
    if (!this.#database) await this.#repair();
    if (!this.#database) this.#reserve.refused(this.#queue.refuseAll(this.#broken ?? this.#closedRefusal()));
    for (let group = this.#queue.next(); group; group = this.#queue.next()) {
      try {
        await this.#commit(this.#database!, group);
      } catch (error) {
        await this.#fail(error);
        return;
      }
      this.#reserve.settled(group.ops, group.bytes);
      this.#queue.done();
      this.#compactIfLow();
      if (this.#reserve.needsBallast) await this.#reserve.makeBallast().catch(this.#noBallast);
    }
  }

  readonly #noBallast = (error: unknown): void => {
    this.#trace.warn('store.ballast failed', { folder: this.#folder, reason: messagesOf(error) });
  };

  async #commit(database: Database, group: Group): Promise<void> {
    if (group.ops.length > 0)
      await database.batch(group.ops as BatchOperation<Database, Buffer, Buffer>[], { sync: group.sync });
    if (group.sync) await this.#syncLogs(group.ops.length > 0);
  }

  /**
   * LevelDB's `sync` covers the log in use. When the memtable was switched meanwhile, earlier writes are in an older
   * log that nobody synced until its table is written (db/db_impl.cc, MakeRoomForWrite). After a power loss they
   * would be missing although later, synced ones are there.
   */
  async #syncLogs(newestIsSynced: boolean): Promise<void> {
    const logs = (await readdir(this.#folder)).filter((name) => name.endsWith('.log')).sort();
    if (newestIsSynced) logs.pop();
    for (const name of logs) {
      const file = await open(join(this.#folder, name), 'r').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined; // its table is written, and synced
        throw error;
      });
      if (!file) continue;
      try {
        await file.datasync();
      } finally {
        await file.close();
      }
    }
  }

  async #fail(error: unknown): Promise<void> {
    const text = messagesOf(error);
    this.#broken = isFull(text)
      ? new Refusal('ENOSPC', `the disk under ${this.#folder} is full: free space there (${text})`)
      : new Refusal('EIO', `the store in ${this.#folder} could not be written: ${text}`);
    this.#trace.error('store.write failed', { folder: this.#folder, reason: text });
    const refused = this.#broken;
    const repaired = this.#repair();
    this.#reserve.refused(this.#queue.refuseAll(refused));
    await repaired;
  }

  /** Closes and opens the database. Leaves `#broken` set where that failed; a later write or read tries again. */
  #repair(): Promise<void> {
    if (performance.now() < this.#retryAt) return Promise.resolve();
    this.#repairing = this.#reopen().finally(() => {
      this.#repairing = undefined;
    });
    return this.#repairing;
  }

  async #reopen(): Promise<void> {
    const old = this.#database;
    this.#database = undefined;
    try {
      this.#reserve.giveUpBallast();
      await this.#compacting;
      await old?.close();
      this.#database = await openDatabase(this.#folder);
      this.#broken = undefined;
      this.#trace.info('store.reopened', { folder: this.#folder });
    } catch (error) {
      const text = messagesOf(error);
      this.#broken = new Refusal(isFull(text) ? 'ENOSPC' : 'EIO', text);
      this.#retryAt = performance.now() + retryMs;
      this.#trace.error('store.reopen failed', { folder: this.#folder, reason: text });
    }
  }

  /** Deleted data takes room until LevelDB compacts; while writes are refused for want of room, ask it to. */
  #compactIfLow(): void {
    if (this.#compacting || !this.#database || this.#closed) return;
    const range = this.#reserve.takeRangeToCompact();
    if (!range) return;
    this.#compacting = this.#database
      .compactRange(range.from as Buffer, range.to as Buffer)
      .catch((error: unknown) => {
        this.#trace.warn('store.compaction failed', { folder: this.#folder, reason: messagesOf(error) });
        this.#reserve.notCompacted(range);
        return 'failed';
      })
      .then((outcome) => {
        this.#compacting = undefined;
        // One that failed is tried again with the next write that is refused, not at once.
        if (outcome !== 'failed') this.#compactIfLow();
      });
  }
}

const nothing = new Uint8Array(0);
