/** When a file goes together with its last name, and when it waits. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../host/clock.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import { chunkBytes } from '../wire/limits.js';
import { BrickState } from './brick-state.js';
import { formatBrick } from './format.js';
import { openLevelStore } from './level-store.js';
import type { Session } from './sessions.js';
import type { Store } from './store.js';

const brick = 'brick-1' as BrickName;
const name = 'f' as ByteText;
const file = 'f'.repeat(32) as FileId;
const removal = { parent: rootFileId, name, file };
const all = { from: Buffer.of(0x10), to: Buffer.of(0x40) };

/** A brick with one file of two chunks under one name. */
async function brickWithFile(t: Test): Promise<{ store: Store; state: BrickState; keysWithout: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'lf-brick-state-'));
  const store = await openLevelStore(folder, { ballastBytes: 0 });
  t.teardown(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const layout = [{ brick, start: 0, stop: 0xffff_ffff }];
  await formatBrick(store, { volume: 'v', brick, timeNs: 1n, layout, uid: 0, gid: 0 });
  const state = new BrickState(store, systemClock, brick);
  const keysWithout = await keysOf(store);
  const owner = { mode: 0o644, uid: 0, gid: 0, rdev: 0 };
  const made = {
    ...removal,
    ...owner,
    type: 'file',
    symlink: undefined,
    exclusive: true,
    open: false,
  } as const;
  await store.write(state.names.create(made).ops);
  const data = Buffer.alloc(chunkBytes + 1, 7);
  await store.write(state.content.write({ file, offset: 0, data }).ops);
  return { store, state, keysWithout };
}

const keysOf = async (store: Store): Promise<string[]> =>
  (await store.list(all, 1000, { keysOnly: true })).map(({ key }) => Buffer.from(key).toString('hex'));

t.test('a small file that nobody has open goes in the batch that removes its last name', async (t) => {
  const { store, state, keysWithout } = await brickWithFile(t);
  const files = state.fileCount();
  await store.write(state.removeEntry(removal, false).ops);
  t.same(await keysOf(store), keysWithout);
  t.equal(state.fileCount(), files - 1);
});

t.test('one that is open, or that a moved client may have open, only loses its name', async (t) => {
  const { store, state } = await brickWithFile(t);
  t.notOk(state.removeEntry(removal, true).ops.some(({ type, key }) => type === 'del' && key[0] === 0x10));
  const session = { opens: new Map<FileId, number>() } as unknown as Session;
  state.addOpens(session, file, 1);
  await store.write(state.removeEntry(removal, false).ops);
  t.ok(state.isHere(file));
  t.notOk(state.isUnused(file));
  state.addOpens(session, file, -1);
  t.ok(state.isUnused(file), 'it is marked to be deleted');
});

t.test('one with another name stays', async (t) => {
  const { store, state } = await brickWithFile(t);
  await store.write(state.names.addName({ file, parent: rootFileId, name: 'g' as ByteText }).ops);
  await store.write(state.removeEntry(removal, false).ops);
  t.equal(state.inodes.getAttributes({ file }).attributes.nlink, 1);
  t.ok(state.content.readChunk(file, 1));
});
