/**
 * The disk door's twin: an ordered store that keeps, at a crash, what the contract of brick-store/store.ts promises
 * and nothing more. A write is visible at once; later, in order, it is durable; after a killed process what was
 * durable is there, after a loss of power what was synced and a drawn part of the rest, without a hole.
 *
 * `Disk` outlives the process; `openStore` gives each run of a brick its Store over it.
 */
import type { KeyRange, Store, StoreEntry, StoreOp } from '../brick-store/store.js';
import { Refusal } from '../wire/errors.js';
import type { Journal } from './journal.js';
import type { Party } from './party.js';
import type { Scheduler, SeededRandom } from './scheduler.js';

export interface DiskSpeed {
  writeMsMin: number;
  writeMsMax: number;
  syncMs: number;
}

interface Batch {
  readonly ops: readonly StoreOp[];
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const keyText = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
const keyBytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A map in key order. */
class SortedMap {
  readonly values = new Map<string, Uint8Array>();
  #keys: string[] | undefined = [];

  apply(ops: readonly StoreOp[]): void {
    for (const op of ops) {
      const key = keyText(op.key);
      if (op.type === 'put') {
        if (!this.values.has(key)) this.#keys = undefined;
        this.values.set(key, op.value);
      } else if (this.values.delete(key)) this.#keys = undefined;
    }
  }

  /** Where `limit` is reached the rest is left out. */
  range(from: string, to: string, limit: number): string[] {
    this.#keys ??= [...this.values.keys()].sort(byCode);
    const keys = this.#keys;
    let low = 0;
    let high = keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (keys[middle]! < from) low = middle + 1;
      else high = middle;
    }
    const found: string[] = [];
    for (; low < keys.length && found.length < limit && keys[low]! < to; low++) found.push(keys[low]!);
    return found;
  }

  copy(): SortedMap {
    const copy = new SortedMap();
    for (const [key, value] of this.values) copy.values.set(key, value);
    copy.#keys = undefined;
    return copy;
  }
}

/** Texts of latin1 compare as their bytes do. */
const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export interface DiskEvents {
  /** What a reader of the brick's store sees has changed. */
  changed(ops: readonly StoreOp[]): void;
  /** The store was opened anew over what is left. */
  reopened(): void;
}

/** What only a planted defect changes: a batch as it reaches the disk. */
export type BatchFilter = (ops: readonly StoreOp[]) => readonly StoreOp[];

export class Disk {
  readonly speed: DiskSpeed = { writeMsMin: 0.02, writeMsMax: 0.1, syncMs: 0.5 };
  isFull = false;
  filter: BatchFilter = (ops) => ops;
  readonly #scheduler: Scheduler;
  readonly #journal: Journal;
  readonly #random: SeededRandom;
  readonly #events: DiskEvents;
  #synced = new SortedMap();
  #durable = new SortedMap();
  /** Durable, in order, and not synced. */
  #unsynced: (readonly StoreOp[])[] = [];
  visible = new SortedMap();

  constructor(scheduler: Scheduler, journal: Journal, random: SeededRandom, events: DiskEvents) {
    this.#scheduler = scheduler;
    this.#journal = journal;
    this.#random = random;
    this.#events = events;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.visible.values.get(keyText(key));
  }

  keys(range: KeyRange): Uint8Array[] {
    return this.visible.range(keyText(range.from), keyText(range.to), Number.POSITIVE_INFINITY).map(keyBytes);
  }

  show(ops: readonly StoreOp[]): void {
    this.visible.apply(ops);
    this.#events.changed(ops);
  }

  /** A batch reached the disk. */
  keep(batch: readonly StoreOp[], sync: boolean): void {
    const ops = this.filter(batch);
    this.#durable.apply(ops);
    this.#unsynced.push(ops);
    if (!sync) return;
    for (const one of this.#unsynced) this.#synced.apply(one);
    this.#unsynced = [];
  }

  /** All that is there now survives whatever comes. */
  syncAll(): void {
    this.keep([], true);
  }

  forgetNotDurable(): void {
    this.visible = this.#durable.copy();
    this.#events.reopened();
  }

  losePower(): void {
    const kept = this.#random.below(this.#unsynced.length + 1);
    for (const ops of this.#unsynced.slice(0, kept)) this.#synced.apply(ops);
    this.#unsynced = [];
    this.#durable = this.#synced.copy();
    this.forgetNotDurable();
  }

  openStore(party: Party): Store {
    this.forgetNotDurable();
    return new CrashingStore(this, party, this.#scheduler, this.#random, this.#journal);
  }
}

class CrashingStore implements Store {
  readonly #disk: Disk;
  readonly #party: Party;
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #journal: Journal;
  #waiting: Batch[] = [];
  #isWriting = false;
  #repairing: Promise<void> | undefined;

  constructor(disk: Disk, party: Party, scheduler: Scheduler, random: SeededRandom, journal: Journal) {
    this.#disk = disk;
    this.#party = party;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#journal = journal;
  }

  get repairing(): Promise<void> | undefined {
    return this.#repairing;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (this.#repairing !== undefined) throw new Refusal('EIO', 'the store is being mended');
    return this.#disk.get(key);
  }

  list(range: KeyRange, limit: number, options?: { keysOnly?: boolean }): Promise<StoreEntry[]> {
    const { visible } = this.#disk;
    const keysOnly = options?.keysOnly === true;
    const entries = visible.range(keyText(range.from), keyText(range.to), limit).map((key) => ({
      key: keyBytes(key),
      value: keysOnly ? nothing : visible.values.get(key)!,
    }));
    return this.#later(this.#random.between(0.01, 0.05), () => entries);
  }

  write(ops: readonly StoreOp[], options?: { sync?: boolean }): Promise<void> {
    if (!this.#party.isAlive) return never();
    if (this.#disk.isFull && ops.some((op) => op.type === 'put')) {
      return Promise.reject(new Refusal('ENOSPC', 'the simulated disk is full'));
    }
    if (this.#repairing !== undefined) return Promise.reject(new Refusal('EIO', 'the store is being mended'));
    this.#disk.show(ops);
    return this.#enqueue(ops, options?.sync === true);
  }

  flush(options?: { sync?: boolean }): Promise<void> {
    if (!this.#party.isAlive) return never();
    return this.#enqueue([], options?.sync === true);
  }

  space(): Promise<{ totalBytes: number; freeBytes: number }> {
    return Promise.resolve({ totalBytes: 1e9, freeBytes: 5e8 });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The disk fails now: what is not durable is refused and not seen any more, and the store mends itself a while. */
  fail(code: 'ENOSPC' | 'EIO', mendMs: number): void {
    if (!this.#party.isAlive || this.#repairing !== undefined) return;
    const refused = this.#waiting;
    this.#waiting = [];
    this.#disk.forgetNotDurable();
    this.#repairing = this.#later(mendMs, () => {
      this.#repairing = undefined;
    });
    for (const batch of refused) batch.reject(new Refusal(code, 'the simulated disk failed'));
  }

  #enqueue(ops: readonly StoreOp[], sync: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ops, sync, resolve, reject });
      this.#work();
    });
  }

  /** What waits goes to the disk together, as in level-store.ts. */
  #work(): void {
    if (this.#isWriting || this.#waiting.length === 0) return;
    this.#isWriting = true;
    const group = [...this.#waiting];
    const sync = group.some((batch) => batch.sync);
    const { writeMsMin, writeMsMax, syncMs } = this.#disk.speed;
    const ms = this.#random.between(writeMsMin, writeMsMax) + (sync ? syncMs : 0);
    this.#scheduler.after(ms, () => {
      if (!this.#party.isAlive) return;
      this.#isWriting = false;
      // After a failure the group was refused, and none of it waits any more.
      const written = group.filter((batch) => this.#waiting.includes(batch));
      this.#waiting = this.#waiting.filter((batch) => !written.includes(batch));
      for (const batch of written) this.#disk.keep(batch.ops, sync && batch === written[written.length - 1]);
      this.#journal.mark(`${this.#party.name} disk`, written.length);
      for (const batch of written) batch.resolve();
      this.#work();
    });
  }

  #later<T>(ms: number, value: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#scheduler.after(ms, () => {
        if (this.#party.isAlive) resolve(value());
      });
    });
  }
}

export type FailingStore = CrashingStore;

const nothing = new Uint8Array(0);
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
