/** The store keeps its order and what it acknowledged, also over a SIGKILL. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { openLevelStore } from './level-store.js';
import type { Store, StoreOp } from './store.js';

const key = (text: string) => Buffer.from(text);
const put = (name: string, value: string | Uint8Array): StoreOp => ({
  type: 'put',
  key: key(name),
  value: Buffer.from(value),
});
const del = (name: string): StoreOp => ({ type: 'del', key: key(name) });
const everything = { from: Buffer.of(0), to: Buffer.of(0xff) };
const shown = (store: Store, name: string) => {
  const value = store.get(key(name));
  return value && Buffer.from(value).toString();
};
const listed = async (store: Store, limit = 1000) =>
  (await store.list(everything, limit)).map((row) => `${Buffer.from(row.key)}=${Buffer.from(row.value)}`);

const emptyFolder = async (test: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'lockferry-store-'));
  test.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

const emptyStore = async (test: Test): Promise<Store> => {
  const store = await openLevelStore(await emptyFolder(test), { ballastBytes: 0 });
  test.teardown(() => store.close());
  return store;
};

t.test('a write is shown at once and in call order, before it is durable', async (t) => {
  const store = await emptyStore(t);
  const first = store.write([put('a', '1'), put('b', '1')]);
  t.equal(shown(store, 'a'), '1');
  const second = store.write([put('a', '2'), del('b')]);
  t.equal(shown(store, 'a'), '2');
  t.equal(shown(store, 'b'), undefined, 'a delete on its way hides what is on the disk');
  await first;
  t.equal(shown(store, 'a'), '2', 'the first write settled does not uncover its own value');
  await second;
  t.equal(shown(store, 'a'), '2');
  t.equal(shown(store, 'b'), undefined);
});

t.test('promises resolve in call order, whatever their size and sync', async (t) => {
  const store = await emptyStore(t);
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      store
        .write([put(`k${n % 7}`, Buffer.alloc(n % 5 === 0 ? 400_000 : 10, n))], { sync: n % 11 === 0 })
        .then(() => order.push(n)),
    ),
  );
  t.same(
    order,
    Array.from({ length: 50 }, (_, n) => n),
  );
});

t.test('a list sees what was written before it and nothing written after it', async (t) => {
  const store = await emptyStore(t);
  const results: Promise<string[]>[] = [];
  for (let n = 0; n < 20; n++) {
    void store.write([put('n', String(n)), ...(n > 0 ? [del(`k${n - 1}`)] : []), put(`k${n}`, '')]);
    results.push(listed(store));
  }
  for (const [n, rows] of (await Promise.all(results)).entries()) t.same(rows, [`k${n}=`, `n=${n}`]);
});

t.test('a list is in byte order, of its range and limit, and can leave the values', async (t) => {
  const store = await emptyStore(t);
  await store.write(['b', 'a', 'c\u00ff', 'c', 'd'].map((name) => put(name, 'x')));
  t.same(await listed(store, 2), ['a=x', 'b=x']);
  const keys = await store.list({ from: key('b'), to: key('d') }, 10, { keysOnly: true });
  t.same(
    keys.map((row) => Buffer.from(row.key).toString()),
    ['b', 'c', 'c\u00ff'],
  );
  t.ok(keys.every((row) => row.value.byteLength === 0));
  t.same(await store.list(everything, 0), []);
});

t.test('flush waits for what was written before', async (t) => {
  const store = await emptyStore(t);
  let isDurable = false;
  void store.write([put('a', '1')]).then(() => {
    isDurable = true;
  });
  await store.flush({ sync: true });
  t.ok(isDurable);
});

t.test('closing waits for what was written; a closed store refuses', async (t) => {
  const folder = await emptyFolder(t);
  const store = await openLevelStore(folder, { ballastBytes: 0 });
  const written = store.write([put('a', '1')]);
  await store.close();
  await written;
  await t.rejects(store.write([put('a', '2')]), { code: 'EIO', message: /closed/ });
  const again = await openLevelStore(folder, { ballastBytes: 0 });
  t.equal(shown(again, 'a'), '1');
  await again.close();
});

t.test('a store that is in use is refused with the folder and the reason', async (t) => {
  const folder = await emptyFolder(t);
  const store = await openLevelStore(folder);
  t.teardown(() => store.close());
  await t.rejects(openLevelStore(folder), {
    message: `the store in ${folder} cannot be opened: another brick process is using it; stop that one first`,
  });
});

t.test('below its reserve a store refuses data, then all that adds, and never a delete', async (t) => {
  const folder = await emptyFolder(t);
  const full = { dataReserveBytes: 2 ** 52, ballastBytes: 0 };
  const store = await openLevelStore(folder, { ...full, lastReserveBytes: 0 });
  const data = put('data', Buffer.alloc(10_000));
  await t.rejects(store.write([data]), { code: 'ENOSPC', message: /keeps \d+ MiB free: free space there/ });
  t.equal(shown(store, 'data'), undefined);
  await store.write([put('small', 'x')]);
  t.equal((await store.space()).freeBytes, 0);
  await store.close();

  const fuller = await openLevelStore(folder, { ...full, lastReserveBytes: 2 ** 51 });
  t.teardown(() => fuller.close());
  await t.rejects(fuller.write([put('small', 'y')]), { code: 'ENOSPC' });
  await fuller.write([del('small'), put('size', '0')]);
  t.equal(shown(fuller, 'small'), undefined);
});

t.test('every write that was acknowledged is there after kill -9', async (t) => {
  const folder = await emptyFolder(t);
  const writer = fork(fileURLToPath(new URL('./level-store-writer.js', import.meta.url)), [folder], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  t.teardown(() => writer.kill('SIGKILL'));
  let acknowledged = -1;
  await new Promise<void>((resolve, reject) => {
    writer.on('exit', (code) => reject(new Error(`the writer ended by itself with ${code}`)));
    writer.on('message', (n: number) => {
      acknowledged = n;
      if (n >= 2000) resolve();
    });
  });
  writer.removeAllListeners('exit');
  const dead = once(writer, 'exit');
  writer.kill('SIGKILL');
  await dead;
  const store = await openLevelStore(folder, { ballastBytes: 0 });
  t.teardown(() => store.close());
  const rows = await store.list(everything, 1_000_000);
  const last = rows.length - 1;
  t.ok(last >= acknowledged, `${acknowledged} were acknowledged, ${last} are there`);
  t.ok(
    rows.every((row, n) => Buffer.from(row.key).readUInt32BE() === n),
    'and none is missing before one that is there',
  );
});
