/** Attributes, extended attributes, links and the end of an inode, decided on a real store. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../host/clock.js';
import type { BrickName, ByteText, Epoch, FileId, MigrationId } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import { chunkBytes } from '../wire/limits.js';
import type { Request } from '../wire/messages.js';
import { ContentService } from './content-service.js';
import { InodeService, xattrBytesPerInodeMax } from './inode-service.js';
import { Inodes, newInode, putInode } from './inodes.js';
import { openLevelStore } from './level-store.js';
import { NameService } from './name-service.js';
import type { Plan } from './plan.js';
import { chunkKey, redirectKey } from './records/keys.js';
import { redirectRecord } from './records/redirect-record.js';
import type { Store } from './store.js';

const named = (text: string) => text as ByteText;
const file = 'a'.repeat(32) as FileId;
const dir = 'd'.repeat(32) as FileId;

const openBrick = async (t: Test) => {
  const folder = mkdtempSync(join(tmpdir(), 'lockferry-inodes-'));
  const store = await openLevelStore(folder, { ballastBytes: 0 });
  t.teardown(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const common = { mode: 0o644, uid: 1, gid: 2, rdev: 0, size: 0, timeNs: 1000n };
  await store.write([
    putInode(newInode({ file, type: 'file', ...common })),
    putInode(newInode({ file: dir, type: 'dir', ...common })),
  ]);
  const content = new ContentService(store, systemClock);
  const names = new NameService(store, systemClock, 'brick-1' as BrickName);
  return { store, content, names, inodes: new InodeService(store, systemClock, content) };
};

const apply = <T>(store: Store, plan: Plan<T>): T => {
  void store.write(plan.ops);
  return plan.answer;
};

const unchanged: Omit<Request<'setAttributes'>, 'file'> = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: undefined,
  atimeNs: undefined,
  mtimeNs: undefined,
  atimeNow: false,
  mtimeNow: false,
};

t.test('attributes: what is absent stays, and any change marks ctime', async (t) => {
  const { store, inodes } = await openBrick(t);
  const set = async (change: Partial<Request<'setAttributes'>>) =>
    apply(store, (await inodes.setAttributes({ ...unchanged, file, ...change }))()).attributes;
  const first = await set({ mode: 0o104755, uid: 7 });
  t.match(first, { mode: 0o4755, uid: 7, gid: 2, size: 0, change: 0, mtimeNs: 1000n });
  t.ok(first.ctimeNs > 1000n);
  t.match(await set({ mtimeNs: -5n, atimeNs: 2n ** 62n }), { mtimeNs: -5n, atimeNs: 2n ** 62n });
  const now = await set({ atimeNow: true, mtimeNow: true });
  t.ok(now.atimeNs > 1000n && now.atimeNs === now.mtimeNs);
  t.same(inodes.getAttributes({ file }).attributes, now);
});

t.test('a change of size changes content, times and counter in one plan with the rest', async (t) => {
  const { store, content, inodes } = await openBrick(t);
  apply(store, content.write({ file, offset: 0, data: Buffer.alloc(3 * chunkBytes, 1) }));
  const plan = (await inodes.setAttributes({ ...unchanged, file, size: chunkBytes + 1, mtimeNs: 3n }))();
  t.match(plan.answer.attributes, {
    size: chunkBytes + 1,
    storedBytes: chunkBytes + 1,
    change: 2,
    mtimeNs: 3n,
  });
  t.same(plan.touched, { firstChunk: 1, lastChunk: 2 });
  apply(store, plan);
  t.same(inodes.getAttributes({ file }), plan.answer);
  await t.rejects(inodes.setAttributes({ ...unchanged, file: dir, size: 0 }), { code: 'EISDIR' });
  await t.rejects(inodes.setAttributes({ ...unchanged, file: 'e'.repeat(32) as FileId }), { code: 'ESTALE' });
  await t.rejects(inodes.setAttributes({ ...unchanged, file, size: 2 ** 53 }), { code: 'EFBIG' });
});

t.test('a name that goes while a truncate lists its chunks stays gone', async (t) => {
  const { store, content, names, inodes } = await openBrick(t);
  apply(store, names.addName({ file, parent: rootFileId, name: named('b') }));
  apply(store, content.write({ file, offset: 5 * chunkBytes, data: Buffer.alloc(10, 1) }));
  const truncating = inodes.setAttributes({ ...unchanged, file, size: 1 });
  apply(store, names.dropName({ file, parent: rootFileId, name: named('b') }));
  t.equal(apply(store, (await truncating)()).attributes.nlink, 1);
});

t.test('extended attributes: set, get, list, remove, and what is expected of them', async (t) => {
  const { store, inodes } = await openBrick(t);
  const set = (name: string, value: string | Buffer, expect: 'any' | 'absent' | 'present' = 'any') =>
    apply(store, inodes.setXattr({ file, name: named(name), value: Buffer.from(value), expect }));
  const get = (name: string) => Buffer.from(inodes.getXattr({ file, name: named(name) }).value).toString();
  t.throws(() => set('user.a', '1', 'present'), { code: 'ENODATA' });
  set('user.a', '1', 'absent');
  t.throws(() => set('user.a', '2', 'absent'), { code: 'EEXIST' });
  set('user.a', '2', 'present');
  set('user.\u00ff', '');
  t.equal(get('user.a'), '2');
  t.equal(get('user.\u00ff'), '');
  t.same(inodes.listXattrs({ file }), { names: ['user.a', 'user.\u00ff'] });
  apply(store, inodes.removeXattr({ file, name: named('user.a') }));
  t.throws(() => get('user.a'), { code: 'ENODATA' });
  t.throws(() => inodes.removeXattr({ file, name: named('user.a') }), { code: 'ENODATA' });
  t.throws(() => set('user.big', Buffer.alloc(65_537)), { code: 'ERANGE' });
  for (let n = 1; n * 60_000 < xattrBytesPerInodeMax; n++) set(`user.${n}`, Buffer.alloc(59_900));
  t.throws(() => set('user.more', Buffer.alloc(59_900)), { code: 'ENOSPC' });
  t.throws(() => inodes.listXattrs({ file: 'e'.repeat(32) as FileId }), { code: 'ESTALE' });
});

t.test('what one brick deletes another can install, whole', async (t) => {
  const { store, content, names, inodes } = await openBrick(t);
  apply(store, content.write({ file, offset: 100_000, data: Buffer.from('content') }));
  apply(store, names.addName({ file, parent: rootFileId, name: named('b') }));
  apply(store, names.addName({ file, parent: dir, name: named('c') }));
  apply(store, inodes.setXattr({ file, name: named('user.a'), value: Buffer.of(1), expect: 'any' }));
  const moved = {
    attributes: inodes.getAttributes({ file }).attributes,
    xattrs: inodes.xattrsOf(file),
    names: await inodes.namesOf(file),
    symlink: inodes.symlinkOf(file),
  };
  const [index] = await content.chunkIndexes(file, 0, 10);
  const chunk = content.readChunk(file, index!)!;
  const count = new Inodes(store).count();
  apply(store, (await inodes.planDelete(file))());
  t.same(await content.chunkIndexes(file, 0, 10), []);
  t.same(await inodes.namesOf(file), []);
  t.same(inodes.xattrsOf(file), []);
  t.equal(content.readChunk(file, index!), undefined);

  const arrival = await openBrick(t);
  apply(arrival.store, (await arrival.inodes.planDelete(file))());
  apply(arrival.store, arrival.inodes.planInstall(moved));
  apply(arrival.store, arrival.inodes.planInstall(moved));
  t.equal(new Inodes(arrival.store).count(), Math.max(count, 0) + 1, 'installing again counts once');
  // The names are the truth: the first brick's inode was made with a link more than it had names.
  t.same(arrival.inodes.getAttributes({ file }).attributes, { ...moved.attributes, nlink: 2 });
  t.same(await arrival.inodes.namesOf(file), moved.names);
  t.same(arrival.inodes.xattrsOf(file), moved.xattrs);
  await arrival.store.write([{ type: 'put', key: chunkKey(file, index!), value: chunk }]);
  const { data } = arrival.content.read({ file, offset: 100_000, length: 100 });
  t.equal(Buffer.from(data).toString(), 'content');
});

t.test('a file that moved away without names is not deleted as an orphan here', async (t) => {
  const { store, inodes } = await openBrick(t);
  const { attributes } = inodes.getAttributes({ file });
  apply(store, inodes.planInstall({ attributes, xattrs: [], names: [] }));
  t.ok(inodes.isOrphan(file));
  const redirect = {
    target: 'brick-2' as BrickName,
    epoch: 1 as Epoch,
    migration: 'b'.repeat(32) as MigrationId,
    dataLeft: true,
  };
  await store.write([{ type: 'put', key: redirectKey(file), value: redirectRecord.encode(redirect) }]);
  t.equal(inodes.isOrphan(file), false);
  apply(store, (await inodes.planDelete(file))());
  t.ok(store.get(redirectKey(file)), 'the redirect outlives the data');
});
