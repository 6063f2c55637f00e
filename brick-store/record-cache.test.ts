/** The cache shows what the store would, also after a write was refused. */
import t from 'tap';
import { Refusal } from '../wire/errors.js';
import type { FileId } from '../wire/ids.js';
import { RecordCache } from './record-cache.js';
import { chunkKey, inodeKey } from './records/keys.js';
import type { Store, StoreOp } from './store.js';

const file = 'a'.repeat(32) as FileId;
const bytes = (text: string): Uint8Array => Buffer.from(text);

/** Counts reads; refuses writes while `full`. A write is visible at once and taken back when it is refused. */
class CountingStore implements Store {
  readonly values = new Map<string, Uint8Array>();
  reads = 0;
  full = false;
  /** Refused only after it was visible. */
  failLate = false;
  repairing: Promise<void> | undefined;

  get(key: Uint8Array): Uint8Array | undefined {
    this.reads += 1;
    return this.values.get(Buffer.from(key).toString('hex'));
  }

  async write(ops: readonly StoreOp[]): Promise<void> {
    if (this.full) throw new Refusal('ENOSPC');
    const before = new Map(this.values);
    for (const op of ops) {
      const key = Buffer.from(op.key).toString('hex');
      if (op.type === 'put') this.values.set(key, op.value);
      else this.values.delete(key);
    }
    if (!this.failLate) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.values.clear();
    for (const [key, value] of before) this.values.set(key, value);
    throw new Refusal('EIO');
  }

  list = async () => [];
  flush = async () => undefined;
  space = async () => ({ totalBytes: 0, freeBytes: 0 });
  close = async () => undefined;
}

const put = (key: Uint8Array, text: string): StoreOp => ({ type: 'put', key, value: bytes(text) });

t.test('an inode is read once, also one that is not there; a chunk each time', async (t) => {
  const store = new CountingStore();
  const cache = new RecordCache(store);
  t.equal(cache.get(inodeKey(file)), undefined);
  t.equal(cache.get(inodeKey(file)), undefined);
  t.equal(store.reads, 1);
  cache.get(chunkKey(file, 0));
  cache.get(chunkKey(file, 0));
  t.equal(store.reads, 3);
});

t.test('a write is seen at once, and after it is durable', async (t) => {
  const cache = new RecordCache(new CountingStore());
  cache.get(inodeKey(file));
  const written = cache.write([put(inodeKey(file), 'one')]);
  t.same(cache.get(inodeKey(file)), bytes('one'));
  await written;
  t.same(cache.get(inodeKey(file)), bytes('one'));
  await cache.write([{ type: 'del', key: inodeKey(file) }]);
  t.equal(cache.get(inodeKey(file)), undefined);
});

t.test('what a refused write showed for a while is forgotten with it', async (t) => {
  const store = new CountingStore();
  const cache = new RecordCache(store);
  await cache.write([put(inodeKey(file), 'one')]);
  cache.get(inodeKey(file));
  store.failLate = true;
  const refused = cache.write([put(inodeKey(file), 'two')]);
  t.same(cache.get(inodeKey(file)), bytes('two'));
  await t.rejects(refused, { code: 'EIO' });
  t.same(cache.get(inodeKey(file)), bytes('one'));
  store.failLate = false;
  store.full = true;
  const full = cache.write([put(inodeKey(file), 'three')]);
  t.same(cache.get(inodeKey(file)), bytes('one'));
  await t.rejects(full, { code: 'ENOSPC' });
});

t.test('while the store mends itself, nothing that was remembered is shown', async (t) => {
  const store = new CountingStore();
  const cache = new RecordCache(store);
  await cache.write([put(inodeKey(file), 'refused')]);
  t.same(cache.get(inodeKey(file)), bytes('refused'));
  // As in a store whose write failed: it is taken back, and the writer is told in a later microtask.
  store.values.clear();
  store.repairing = Promise.resolve();
  t.equal(cache.get(inodeKey(file)), undefined);
  store.repairing = undefined;
  t.equal(cache.get(inodeKey(file)), undefined);
});
