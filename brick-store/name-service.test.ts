/** Names of directories and files: every rule of create, link, rename and remove that a brick decides. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../host/clock.js';
import { Refusal, type RefusalCode } from '../wire/errors.js';
import type { BrickName, ByteText, Epoch, FileId, MigrationId } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import type { Answer, FileType, Request } from '../wire/messages.js';
import { ContentService } from './content-service.js';
import { formatBrick, readIdentity } from './format.js';
import { InodeService } from './inode-service.js';
import { Inodes } from './inodes.js';
import { openLevelStore } from './level-store.js';
import { linksMax, NameService } from './name-service.js';
import type { LatePlan, Plan } from './plan.js';
import { redirectKey } from './records/keys.js';
import { redirectRecord } from './records/redirect-record.js';
import type { Store } from './store.js';

const brick = 'brick-1' as BrickName;
const elsewhere = 'brick-2' as BrickName;
const layout = [{ brick, start: 0, stop: 0xffff_ffff }];
const id = (n: number) => n.toString(16).padStart(32, '0') as FileId;
const named = (text: string) => text as ByteText;

/** Time that moves on by a nanosecond with each look at it. */
const steppingClock = (): Clock => {
  let now = 1000n;
  return { now: () => 0, wallNs: () => ++now, after: systemClock.after, sleep: systemClock.sleep };
};

class Brick {
  readonly names: NameService;
  readonly inodes: InodeService;
  readonly #table: Inodes;
  #ids = 100;

  constructor(readonly store: Store) {
    const clock = steppingClock();
    this.names = new NameService(store, clock, brick);
    this.inodes = new InodeService(store, clock, new ContentService(store, clock));
    this.#table = new Inodes(store);
  }

  do<T>(plan: Plan<T>): T {
    void this.store.write(plan.ops);
    return plan.answer;
  }

  async doLate<T>(plan: Promise<LatePlan<T>>): Promise<T> {
    return this.do((await plan)());
  }

  create(name: string, parent = rootFileId, more: Partial<Request<'create'>> = {}): FileId {
    const file = id(++this.#ids);
    this.do(
      this.names.create({
        parent,
        name: named(name),
        file,
        type: 'file' as FileType,
        mode: 0o644,
        uid: 1,
        gid: 2,
        rdev: 0,
        symlink: undefined,
        exclusive: true,
        open: false,
        ...more,
      }),
    );
    return file;
  }

  mkdir(name: string, parent = rootFileId, file = id(++this.#ids)): FileId {
    const common = { mode: 0o755, uid: 1, gid: 2, timeNs: 5n, layout };
    this.do(this.names.makeDirectory({ parent, name: named(name), file, ...common }));
    return file;
  }

  rename(from: string, to: string, file: FileId, more: Partial<Request<'renameEntry'>> = {}) {
    return this.do(
      this.names.renameEntry({
        parent: rootFileId,
        name: named(from),
        newParent: rootFileId,
        newName: named(to),
        file,
        noReplace: false,
        ...more,
      }),
    );
  }

  at(name: string, parent = rootFileId): FileId | undefined {
    try {
      return this.names.lookup({ parent, name: named(name) }).entry.file;
    } catch (error) {
      if (error instanceof Refusal && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  stat(file: FileId): Answer<'getAttributes'>['attributes'] {
    return this.inodes.getAttributes({ file }).attributes;
  }

  entriesOf(dir: FileId): number {
    return this.#table.requireDirectory(dir).entries;
  }

  count(): number {
    return this.#table.count();
  }
}

const inBrick = (title: string, run: (brick: Brick, t: Test) => Promise<void> | void) =>
  t.test(title, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'lockferry-names-'));
    const store = await openLevelStore(folder, { ballastBytes: 0 });
    t.teardown(async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    });
    await formatBrick(store, { volume: 'v', brick, timeNs: 1n, layout, uid: 0, gid: 0 });
    await run(new Brick(store), t);
  });

const refuses = (t: Test, code: RefusalCode, run: () => unknown) => t.throws(run, { code });

inBrick('a formatted store is a brick with a root, and stays that brick', async (b, t) => {
  t.same(readIdentity(b.store), { volume: 'v', brick });
  t.match(b.stat(rootFileId), { type: 'dir', mode: 0o755, nlink: 2 });
  b.create('a');
  await formatBrick(b.store, { volume: 'v', brick, timeNs: 9n, layout, uid: 0, gid: 0 });
  t.equal(b.count(), 2, 'formatting again changes nothing');
  t.ok(b.at('a'));
  await t.rejects(formatBrick(b.store, { volume: 'w', brick, timeNs: 1n, layout, uid: 0, gid: 0 }), {
    message: /belongs to brick brick-1 of volume v, not to brick brick-1 of volume w/,
  });
});

inBrick('create makes inode and name; a second one is refused or answers the first', (b, t) => {
  const before = b.stat(rootFileId);
  const file = b.create('a');
  t.match(b.stat(file), { type: 'file', mode: 0o644, uid: 1, gid: 2, nlink: 1, size: 0 });
  t.equal(b.at('a'), file);
  t.ok(b.stat(rootFileId).mtimeNs > before.mtimeNs);
  refuses(t, 'EEXIST', () => b.create('a'));
  const request = { parent: rootFileId, name: named('a'), file: id(1000), type: 'file' as const };
  const rest = { mode: 0o600, uid: 0, gid: 0, rdev: 0, symlink: undefined, open: false };
  const found = b.do(b.names.create({ ...request, ...rest, exclusive: false }));
  t.match(found, { created: false, entry: { file, home: brick }, attributes: { mode: 0o644 } });
  t.match(b.do(b.names.create({ ...request, ...rest, file, exclusive: true })), { created: true });
  b.mkdir('d');
  refuses(t, 'EEXIST', () => b.create('d', rootFileId, { exclusive: false }));
  refuses(t, 'ESTALE', () => b.create('x', id(999)));
  refuses(t, 'ENOTDIR', () => b.create('x', file));
  t.equal(b.count(), 3);
});

inBrick('a symlink has a target and its length; only a symlink has one', (b, t) => {
  const file = b.create('s', rootFileId, { type: 'symlink', symlink: named('to/here') });
  t.same(b.inodes.readSymlink({ file }), { target: 'to/here' });
  t.equal(b.stat(file).size, 7);
  refuses(t, 'EINVAL', () => b.create('x', rootFileId, { symlink: named('y') }));
  refuses(t, 'EINVAL', () => b.create('x', rootFileId, { type: 'symlink' }));
  refuses(t, 'EINVAL', () => b.inodes.readSymlink({ file: b.create('f') }));
});

inBrick('what is made in a set-group-id directory takes its group', async (b, t) => {
  const dir = b.mkdir('d');
  const nothing = {
    size: undefined,
    atimeNs: undefined,
    mtimeNs: undefined,
    atimeNow: false,
    mtimeNow: false,
  };
  await b.doLate(b.inodes.setAttributes({ file: dir, mode: 0o2755, uid: undefined, gid: 77, ...nothing }));
  t.equal(b.stat(b.create('f', dir)).gid, 77);
  t.match(b.stat(b.mkdir('e', dir)), { gid: 77, mode: 0o2755 });
});

inBrick('directories count their subdirectories, and are removed only when empty', (b, t) => {
  const dir = b.mkdir('d');
  t.equal(b.mkdir('d', rootFileId, dir), dir, 'the same again is fine');
  t.equal(b.stat(rootFileId).nlink, 3);
  refuses(t, 'EEXIST', () => b.mkdir('d'));
  const inner = b.mkdir('inner', dir);
  const remove = (name: string, file: FileId, parent = rootFileId) =>
    b.do(b.names.removeDirectory({ parent, name: named(name), file }));
  refuses(t, 'ENOTEMPTY', () => remove('d', dir));
  refuses(t, 'ENOENT', () => remove('d', inner));
  refuses(t, 'ENOENT', () => remove('e', dir));
  refuses(t, 'ENOTDIR', () => remove('f', b.create('f')));
  refuses(t, 'EISDIR', () => b.do(b.names.removeEntry({ parent: rootFileId, name: named('d'), file: dir })));
  remove('inner', inner, dir);
  t.same(b.names.readLayout({ dir }), { layout });
  remove('d', dir);
  t.equal(b.stat(rootFileId).nlink, 2);
  refuses(t, 'ESTALE', () => b.stat(dir));
  refuses(t, 'ESTALE', () => b.names.readLayout({ dir }));
  t.equal(b.count(), 2, 'the root and f');
});

inBrick('nlink is the number of names; the last one gone, the inode waits to be deleted', async (b, t) => {
  const file = b.create('a');
  const name = { file, parent: rootFileId, name: named('b') };
  t.equal(b.do(b.names.addName(name)).attributes.nlink, 2);
  t.equal(b.do(b.names.addName(name)).attributes.nlink, 2, 'repeating is harmless');
  b.do(
    b.names.putEntry({ parent: rootFileId, entry: { ...name, type: 'file', home: brick }, expect: 'absent' }),
  );
  t.same(await b.names.namesOf({ file }), {
    names: [
      { parent: rootFileId, name: 'a' },
      { parent: rootFileId, name: 'b' },
    ],
  });
  t.match(b.do(b.names.removeEntry({ parent: rootFileId, name: named('a'), file })), { linkDropped: true });
  t.equal(b.stat(file).nlink, 1);
  t.equal(b.inodes.isOrphan(file), false);
  t.same(b.do(b.names.dropName({ file, parent: rootFileId, name: named('a') })), { nlink: 1 });
  t.same(b.do(b.names.dropName(name)), { nlink: 0 });
  t.ok(b.inodes.isOrphan(file));
  t.same(await b.inodes.orphans(), [file]);
  refuses(t, 'ENOENT', () => b.do(b.names.addName(name)));
  t.match(b.do(b.names.removeEntry({ parent: rootFileId, name: named('b'), file })), { linkDropped: true });
  t.equal(b.stat(file).nlink, 0, 'a name is dropped once');
  const count = b.count();
  await b.doLate(b.inodes.planDelete(file));
  await b.doLate(b.inodes.planDelete(file));
  t.equal(b.count(), count - 1, 'deleting again counts once');
  t.same(await b.inodes.orphans(), []);
  refuses(t, 'ESTALE', () => b.stat(file));
  refuses(t, 'EPERM', () => b.do(b.names.addName({ ...name, file: b.mkdir('d') })));
});

inBrick('a file has so many names and no more', async (b, t) => {
  const file = b.create('a');
  for (let n = 1; n < linksMax; n++)
    b.do(b.names.addName({ file, parent: rootFileId, name: named(`n${n}`) }));
  refuses(t, 'EMLINK', () => b.do(b.names.addName({ file, parent: rootFileId, name: named('one more') })));
  t.equal((await b.names.namesOf({ file })).names.length, linksMax);
});

inBrick('putEntry puts, replaces and heals as it is told', (b, t) => {
  const put = (
    name: string,
    file: FileId,
    expect: Request<'putEntry'>['expect'],
    type: FileType = 'file',
  ) => {
    const entry = { name: named(name), file, type, home: elsewhere };
    return b.do(b.names.putEntry({ parent: rootFileId, entry, expect })).replaced;
  };
  const [one, two] = [id(11), id(12)];
  t.equal(put('x', one, 'absent'), undefined);
  t.match(b.names.lookup({ parent: rootFileId, name: named('x') }), {
    entry: { file: one, home: elsewhere },
    attributes: undefined,
  });
  refuses(t, 'EEXIST', () => put('x', one, 'absent'));
  refuses(t, 'ENOENT', () => put('x', two, 'same'));
  refuses(t, 'ENOENT', () => put('y', one, 'same'));
  t.match(put('x', two, 'any'), { file: one, home: elsewhere });
  t.equal(put('x', two, 'any'), undefined, 'nothing is replaced by itself');
  t.equal(b.entriesOf(rootFileId), 1);
  b.mkdir('d');
  refuses(t, 'EISDIR', () => put('d', one, 'any'));
  refuses(t, 'ENOTDIR', () => put('x', one, 'any', 'dir'));
});

inBrick('an entry says where the file is, as well as this brick knows', (b, t) => {
  const file = b.create('a');
  b.do(
    b.names.putEntry({
      parent: rootFileId,
      entry: { name: named('a'), file, type: 'file', home: elsewhere },
      expect: 'same',
    }),
  );
  const look = () => b.names.lookup({ parent: rootFileId, name: named('a') });
  t.match(look(), { entry: { home: brick }, attributes: { file } }, 'it is here, whatever the entry says');
  const migration = 'a'.repeat(32) as MigrationId;
  const target = 'brick-3' as BrickName;
  const value = redirectRecord.encode({ target, epoch: 1 as Epoch, migration, dataLeft: true });
  void b.store.write([{ type: 'put', key: redirectKey(file), value }]);
  t.match(look(), { entry: { home: 'brick-3' }, attributes: undefined }, 'it moved');
  refuses(t, 'ESTALE', () => b.stat(file));
  const removed = b.do(b.names.removeEntry({ parent: rootFileId, name: named('a'), file }));
  t.match(
    removed,
    { entry: { home: 'brick-3' }, linkDropped: false },
    'its link is not dropped in dead data',
  );
});

inBrick('rename: the answer says where the list of names of the inode is left to be told', (b, t) => {
  const here = b.create('here');
  t.match(b.rename('here', 'new', here), { linkLeft: false });
  t.match(b.rename('here', 'new', here), { linkLeft: false }, 'the same request again');
  const away = id(0xaaaa);
  const entry = { name: named('away'), file: away, type: 'file', home: 'brick-2' as BrickName } as const;
  b.do(b.names.putEntry({ parent: rootFileId, entry, expect: 'absent' }));
  t.match(b.rename('away', 'other', away), { linkLeft: true });
  t.match(b.rename('away', 'other', away), { linkLeft: true }, 'the same request again');
  b.do(b.names.putEntry({ parent: rootFileId, entry, expect: 'absent' }));
  t.match(b.rename('away', 'other', away), { linkLeft: false }, 'two names of one file: both stay');
  t.match(b.rename('new', 'newer', here), { linkLeft: false });
  const dir = b.mkdir('dir');
  t.match(b.rename('dir', 'moved', dir), { linkLeft: false });
});

inBrick('rename: every pair of types', (b, t) => {
  const make = {
    file: (name: string) => b.create(name),
    empty: (name: string) => b.mkdir(name),
    full: (name: string) => {
      const dir = b.mkdir(name);
      b.create('inside', dir);
      return dir;
    },
  };
  const expected: Record<string, RefusalCode | 'done'> = {
    'file file': 'done',
    'file empty': 'EISDIR',
    'file full': 'EISDIR',
    'empty file': 'ENOTDIR',
    'empty empty': 'done',
    'empty full': 'ENOTEMPTY',
    'full file': 'ENOTDIR',
    'full empty': 'done',
    'full full': 'ENOTEMPTY',
  };
  for (const [pair, outcome] of Object.entries(expected)) {
    const [from, to] = pair.split(' ') as [keyof typeof make, keyof typeof make];
    const moved = make[from](`${pair} from`);
    const old = make[to](`${pair} to`);
    const entries = b.entriesOf(rootFileId);
    const links = b.stat(rootFileId).nlink;
    refuses(t, 'EEXIST', () => b.rename(`${pair} from`, `${pair} to`, moved, { noReplace: true }));
    if (outcome !== 'done') {
      refuses(t, outcome, () => b.rename(`${pair} from`, `${pair} to`, moved));
      t.equal(b.at(`${pair} from`), moved);
      continue;
    }
    const answer = b.rename(`${pair} from`, `${pair} to`, moved);
    t.match(answer, { replaced: { file: old }, linkDropped: true }, pair);
    t.equal(b.at(`${pair} from`), undefined);
    t.equal(b.at(`${pair} to`), moved);
    t.equal(b.entriesOf(rootFileId), entries - 1);
    t.equal(b.stat(rootFileId).nlink, from === 'file' ? links : links - 1);
    if (to === 'file') t.ok(b.inodes.isOrphan(old));
    else refuses(t, 'ESTALE', () => b.stat(old));
    t.match(b.rename(`${pair} from`, `${pair} to`, moved), { replaced: undefined }, 'once more is harmless');
  }
});

inBrick('rename between directories moves names, counts and links', async (b, t) => {
  const [from, to] = [b.mkdir('from'), b.mkdir('to')];
  const file = b.create('a', from);
  const dir = b.mkdir('sub', from);
  const ctime = b.stat(file).ctimeNs;
  b.rename('a', 'b', file, { parent: from, newParent: to });
  b.rename('sub', 'sub', dir, { parent: from, newParent: to });
  t.same((await b.names.namesOf({ file })).names, [{ parent: to, name: 'b' }]);
  t.equal(b.stat(file).nlink, 1);
  t.ok(b.stat(file).ctimeNs > ctime);
  t.same([b.entriesOf(from), b.entriesOf(to)], [0, 2]);
  t.same([b.stat(from).nlink, b.stat(to).nlink], [2, 3]);
  refuses(t, 'ENOENT', () => b.rename('nothing', 'x', file));
  refuses(t, 'ENOENT', () => b.rename('to', 'x', file));
  refuses(t, 'ESTALE', () => b.rename('to', 'x', to, { newParent: id(999) }));
  refuses(t, 'EINVAL', () => b.rename('to', 'x', to, { newParent: to }));
  refuses(t, 'ENOTEMPTY', () => b.rename('sub', 'to', dir, { parent: to }));
});

inBrick('rename of one name of a file onto another does nothing', async (b, t) => {
  const file = b.create('a');
  const entry = { name: named('b'), file, type: 'file' as const, home: brick };
  b.do(b.names.addName({ file, parent: rootFileId, name: named('b') }));
  b.do(b.names.putEntry({ parent: rootFileId, entry, expect: 'absent' }));
  t.match(b.rename('a', 'b', file), { replaced: undefined, linkDropped: false });
  t.same([b.at('a'), b.at('b')], [file, file]);
  t.equal(b.stat(file).nlink, 2);
});

inBrick('rename of a name whose file is elsewhere moves only the entry', (b, t) => {
  const entry = { name: named('a'), file: id(11), type: 'file' as const, home: elsewhere };
  b.do(b.names.putEntry({ parent: rootFileId, entry, expect: 'absent' }));
  const old = b.create('b');
  t.match(b.rename('a', 'b', id(11)), { replaced: { file: old }, linkDropped: true });
  t.match(b.names.lookup({ parent: rootFileId, name: named('b') }), {
    entry: { file: id(11), home: elsewhere },
  });
});

inBrick('a directory is listed in byte order, in pages, each name once', async (b, t) => {
  const dir = b.mkdir('d');
  const names = Array.from({ length: 25 }, (_, n) => `n${(n * 7) % 25}`).concat('\u00ff\u00ff', '\u0001');
  for (const name of names) b.create(name, dir);
  b.create('outside');
  const seen: string[] = [];
  for (let after = ''; ; ) {
    const { entries, more } = await b.names.listDirectory({ dir, after: named(after), limit: 10 });
    t.ok(entries.every((entry) => entry.attributes?.file === entry.file));
    seen.push(...entries.map((entry) => entry.name));
    if (!more) break;
    after = entries.at(-1)!.name;
  }
  t.same(
    seen,
    names.sort((one, other) => Buffer.compare(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1'))),
  );
});
