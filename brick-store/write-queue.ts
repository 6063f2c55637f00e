/**
 * The writes of a store that are not durable yet: what `get` must show already, what goes to the disk together, and
 * who is told when it is there. Pure bookkeeping: level-store.ts does the writing.
 */
import type { StoreOp } from './store.js';

interface Write {
  readonly ops: readonly StoreOp[];
  readonly sync: boolean;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Called between two groups: all that was queued before is settled, nothing after has begun. */
interface Snapshot {
  readonly snapshot: () => void;
}

/** Writes that become durable in one disk write, in order. */
export interface Group {
  readonly writes: readonly Write[];
  readonly ops: readonly StoreOp[];
  readonly sync: boolean;
  readonly bytes: number;
}

interface Pending {
  readonly value: Uint8Array | undefined;
  readonly write: Write;
}

export const bytesOfOps = (ops: readonly StoreOp[]): number => {
  let bytes = 0;
  for (const op of ops) bytes += op.key.byteLength + (op.type === 'put' ? op.value.byteLength : 0);
  return bytes;
};

const mapKeyOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');

export class WriteQueue {
  readonly #groupBytesMax: number;
  /** The newest value of each key with a write on its way. */
  readonly #pending = new Map<string, Pending>();
  #items: (Write | Snapshot)[] = [];
  #inFlight: Group | undefined;

  constructor(groupBytesMax: number) {
    this.#groupBytesMax = groupBytesMax;
  }

  /** Nothing waits; something may be in flight. */
  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  get isIdle(): boolean {
    return this.isEmpty && this.#inFlight === undefined;
  }

  /** What a write on its way makes of this key; `value` undefined: deletes it. */
  pendingValue(key: Uint8Array): { readonly value: Uint8Array | undefined } | undefined {
    return this.#pending.size === 0 ? undefined : this.#pending.get(mapKeyOf(key));
  }

  add(ops: readonly StoreOp[], sync: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const write: Write = { ops, sync, bytes: bytesOfOps(ops), resolve, reject };
      for (const op of ops)
        this.#pending.set(mapKeyOf(op.key), { value: op.type === 'put' ? op.value : undefined, write });
      this.#items.push(write);
    });
  }

  /** @param snapshot must not throw */
  addSnapshot(snapshot: () => void): void {
    this.#items.push({ snapshot });
  }

  /** Takes the next group, at least one write of any size. Runs the snapshots that come before it. */
  next(): Group | undefined {
    let snapshots = 0;
    for (const item of this.#items) {
      if (!('snapshot' in item)) break;
      snapshots++;
      item.snapshot();
    }
    const writes: Write[] = [];
    let bytes = 0;
    let sync = false;
    for (let at = snapshots; at < this.#items.length; at++) {
      const item = this.#items[at]!;
      if ('snapshot' in item) break;
      if (writes.length > 0 && bytes + item.bytes > this.#groupBytesMax) break;
      writes.push(item);
      bytes += item.bytes;
      sync ||= item.sync;
    }
    this.#items = this.#items.slice(snapshots + writes.length);
    if (writes.length === 0) return undefined;
    const ops = writes.length === 1 ? writes[0]!.ops : writes.flatMap((write) => write.ops);
    this.#inFlight = { writes, ops, sync, bytes };
    return this.#inFlight;
  }

  /** The group taken last is durable. */
  done(): void {
    const group = this.#inFlight;
    this.#inFlight = undefined;
    for (const write of group?.writes ?? []) {
      this.#settle(write);
      write.resolve();
    }
  }

  /** Nothing of the group taken last, nor of what waits, becomes durable: none of it is shown any more. @returns their bytes */
  refuseAll(error: Error): number {
    const writes = [...(this.#inFlight?.writes ?? [])];
    this.#inFlight = undefined;
    const snapshots: Snapshot[] = [];
    for (const item of this.#items) {
      if ('snapshot' in item) snapshots.push(item);
      else writes.push(item);
    }
    this.#items = snapshots;
    for (const write of writes) this.#settle(write);
    for (const write of writes) write.reject(error);
    return writes.reduce((bytes, write) => bytes + write.bytes, 0);
  }

  #settle(write: Write): void {
    for (const op of write.ops) {
      const key = mapKeyOf(op.key);
      if (this.#pending.get(key)?.write === write) this.#pending.delete(key);
    }
  }
}
