/** Directories over fake bricks: they are on every brick, and whoever dies in between, they heal or never were. */
import t, { type Test } from 'tap';
import { FakeVolume, plainFile } from '../test/fake-volume.js';
import { Refusal } from '../wire/errors.js';
import { type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import type { DistributedVolume } from './distributed-volume.js';

const directory = { ...plainFile, type: 'dir', mode: 0o755 } as const;
const exclusive = { exclusive: true, open: false };
const refusedWith = (code: string) => ({ name: 'Refusal', code });
const name = 'dir' as ByteText;
const other = 'other' as ByteText;

async function started(t: Test): Promise<{ fake: FakeVolume; volume: DistributedVolume }> {
  const fake = await FakeVolume.start();
  const volume = await fake.mount();
  t.teardown(() => fake.close());
  return { fake, volume };
}

const has = (fake: FakeVolume, dir: FileId): number =>
  fake.bricks.filter((brick) => brick.inodes.has(dir)).length;

t.test(
  'after a name came or went, a directory that was asked for lately is not asked for again',
  async (t) => {
    const fake = await FakeVolume.start(2);
    t.teardown(() => fake.close());
    const volume = await fake.mount();
    const [a] = fake.bricks;
    const asked = (): number => fake.bricks.flatMap((brick) => brick.requests('getAttributes')).length;
    const name = fake.nameOn(a!);
    const mtimeNs = 2n ** 62n;
    await volume.attributes(rootFileId, 500);
    t.equal(asked(), 2);
    await volume.create(rootFileId, name, plainFile, { exclusive: true, open: false });
    a!.inodes.get(rootFileId)!.attributes = { ...a!.inodes.get(rootFileId)!.attributes, mtimeNs };
    await volume.unlink(rootFileId, name);
    t.equal((await volume.attributes(rootFileId, 500)).mtimeNs, mtimeNs, 'as the answer to the unlink said');
    t.equal(asked(), 2);
    await volume.attributes(rootFileId);
    t.equal(asked(), 4, 'all are asked where no age was allowed');
    await fake.clock.advance(600);
    await volume.attributes(rootFileId, 500);
    t.equal(asked(), 6, 'and when the answers are too old');
    await volume.changeAttributes(rootFileId, { mode: 0o711 });
    t.equal((await volume.attributes(rootFileId, 500)).mode, 0o711);
    t.equal(asked(), 8, 'and after changes of another kind');
  },
);

t.test('a directory is made on every brick, with the same layout', async (t) => {
  const { fake, volume } = await started(t);
  const { file } = await volume.makeDirectory(rootFileId, name, directory);
  const layouts = fake.bricks.map((brick) => brick.inodes.get(file)?.layout);
  t.equal(layouts[0]?.length, 3);
  t.same(layouts[1], layouts[0]);
  t.same(layouts[2], layouts[0]);
  await t.rejects(volume.makeDirectory(rootFileId, name, directory), refusedWith('EEXIST'));
});

t.test('a listing has every name once, from all bricks, over several pages', async (t) => {
  const { fake, volume } = await started(t);
  const { file: dir } = await volume.makeDirectory(rootFileId, name, directory);
  await volume.makeDirectory(dir, other, directory);
  const [a] = fake.bricks;
  for (let at = 0; at < 1100; at++) {
    const file = at.toString(16).padStart(32, 'f') as FileId;
    const entry = { name: `f${at}` as ByteText, file, type: 'symlink', home: a!.name } as const;
    a!.entries.set(`${dir}/f${at}`, entry);
  }
  await volume.create(dir, fake.nameOn(fake.bricks[1]!, dir), plainFile, exclusive);
  const entries = await volume.listDirectory(dir);
  t.equal(entries.length, 1102);
  t.equal(new Set(entries.map((entry) => entry.name)).size, 1102);
  t.equal(entries.find((entry) => entry.name === other)?.attributes, undefined);
});

t.test(
  'the times of a directory are the newest of its bricks; a change of the mode reaches all',
  async (t) => {
    const { fake, volume } = await started(t);
    const { file } = await volume.makeDirectory(rootFileId, name, directory);
    for (const [at, brick] of fake.bricks.entries()) {
      const inode = brick.inodes.get(file)!;
      inode.attributes = { ...inode.attributes, mtimeNs: BigInt(at * 10), ctimeNs: BigInt(100 - at) };
    }
    t.match(await volume.lookup(rootFileId, name), { mtimeNs: 20n, ctimeNs: 100n });
    t.match(await volume.changeAttributes(file, { mode: 0o700 }), { mode: 0o700 });
    t.same(
      fake.bricks.map((brick) => brick.inodes.get(file)?.attributes.mode),
      [0o700, 0o700, 0o700],
    );
    await volume.setXattr(file, other, new Uint8Array([1]), 'any');
    t.ok(fake.bricks.every((brick) => brick.inodes.get(file)?.xattrs.has(other)));
    t.same([...(await volume.getXattr(file, other))], [1]);
  },
);

t.test('a client that knows an id only learns that it is a directory', async (t) => {
  const { fake, volume } = await started(t);
  const { file } = await volume.makeDirectory(rootFileId, name, directory);
  const client = await fake.mount();
  await client.changeAttributes(file, { mode: 0o711 });
  await client.setXattr(file, other, new Uint8Array([2]), 'any');
  t.ok(fake.bricks.every((brick) => brick.inodes.get(file)?.attributes.mode === 0o711));
  t.ok(fake.bricks.every((brick) => brick.inodes.get(file)?.xattrs.has(other)));
});

t.test('rmdir: from every brick, and not where a file is left on any of them', async (t) => {
  const { fake, volume } = await started(t);
  const { file: dir } = await volume.makeDirectory(rootFileId, name, directory);
  const inside = fake.nameOn(fake.otherThan(fake.hashed('dir')), dir);
  await volume.create(dir, inside, plainFile, exclusive);
  await t.rejects(volume.removeDirectory(rootFileId, name), refusedWith('ENOTEMPTY'));
  t.equal(has(fake, dir), 3);
  await volume.unlink(dir, inside);
  await volume.removeDirectory(rootFileId, name);
  t.equal(has(fake, dir), 0);
  await t.rejects(volume.lookup(rootFileId, name), refusedWith('ENOENT'));
  await t.rejects(
    volume.create(dir, inside, plainFile, exclusive),
    refusedWith('ENOENT'),
    'nobody revives it',
  );
  t.equal(has(fake, dir), 0);
});

t.test(
  'rmdir that meets a file which came meanwhile puts the directory back where it was removed',
  async (t) => {
    const { fake, volume } = await started(t);
    const { file: dir } = await volume.makeDirectory(rootFileId, name, directory);
    await volume.setXattr(dir, other, new Uint8Array([1]), 'any');
    const decider = fake.hashed('dir');
    decider.script = (op) => (op === 'removeDirectory' ? new Refusal('ENOTEMPTY') : undefined);
    await t.rejects(volume.removeDirectory(rootFileId, name), refusedWith('ENOTEMPTY'));
    t.equal(has(fake, dir), 3);
    t.ok(
      fake.bricks.every((brick) => brick.inodes.get(dir)?.xattrs.has(other)),
      'with its attributes',
    );
  },
);

t.test('rmdir with a brick that is down is refused, and nothing is removed', async (t) => {
  const { fake, volume } = await started(t);
  const { file: dir } = await volume.makeDirectory(rootFileId, name, directory);
  const down = fake.otherThan(fake.hashed('dir'));
  await down.stop();
  await fake.clock.advance(20_000);
  await t.rejects(volume.removeDirectory(rootFileId, name), refusedWith('ENOTCONN'));
  t.equal(has(fake, dir), 3);
});

t.test('a directory that was made while a brick was down heals when a name is put there', async (t) => {
  const { fake, volume } = await started(t);
  const down = fake.otherThan(fake.hashed('dir'));
  await down.stop();
  await fake.clock.advance(20_000);
  const { file: dir } = await volume.makeDirectory(rootFileId, name, directory);
  const deep = await volume.makeDirectory(dir, fake.nameOn(fake.otherThan(down), dir), directory);
  t.equal(has(fake, dir), 2);
  await down.start();
  await fake.clock.advance(1000);
  t.equal((await volume.lookup(rootFileId, name)).file, dir);
  t.same((await volume.listDirectory(dir)).length, 1, 'a brick without it has nothing to say');
  const inside = fake.nameOn(down, deep.file);
  await volume.create(deep.file, inside, plainFile, exclusive);
  t.ok(down.inodes.has(dir) && down.inodes.has(deep.file), 'with the directory above');
  t.equal((await volume.lookup(deep.file, inside)).type, 'file');
});

t.test('what a mkdir or rmdir of a dead client left does not stand in the way', async (t) => {
  const { fake, volume } = await started(t);
  const stray = fake.otherThan(fake.hashed('dir'));
  const dead = 'd'.repeat(32) as FileId;
  stray.entries.set(`${rootFileId}/dir`, { name, file: dead, type: 'dir', home: stray.name });
  const layout = stray.inodes.get(rootFileId)!;
  stray.inodes.set(dead, { ...layout, attributes: { ...layout.attributes, file: dead }, names: [] });
  await t.rejects(volume.lookup(rootFileId, name), refusedWith('ENOENT'), 'it never was');
  const { file } = await volume.makeDirectory(rootFileId, name, directory);
  t.equal(has(fake, file), 3);
  t.equal(has(fake, dead), 0);
});

t.test('a directory is renamed on every brick; an empty one is replaced, a full one is not', async (t) => {
  const { fake, volume } = await started(t);
  const { file: dir } = await volume.makeDirectory(rootFileId, name, directory);
  const { file: target } = await volume.makeDirectory(rootFileId, other, directory);
  const inside = fake.nameOn(fake.otherThan(fake.hashed('other')), target);
  await volume.create(target, inside, plainFile, exclusive);
  await t.rejects(volume.rename(rootFileId, name, rootFileId, other, false), refusedWith('ENOTEMPTY'));
  t.equal(has(fake, target), 3);
  await volume.unlink(target, inside);
  await volume.rename(rootFileId, name, rootFileId, other, false);
  t.equal((await volume.lookup(rootFileId, other)).file, dir);
  await t.rejects(volume.lookup(rootFileId, name), refusedWith('ENOENT'));
  t.ok(fake.bricks.every((brick) => brick.entry(rootFileId, 'other')?.file === dir));
  t.ok(fake.bricks.every((brick) => brick.entry(rootFileId, 'dir') === undefined));
});

t.test('a directory whose rename died in the middle is found, and can be renamed again', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  for (const [from, to] of [
    [fake.nameOn(a!), fake.nameOn(b!)],
    [fake.nameOn(a!), fake.nameOn(a!)],
  ] as const) {
    const { file: dir } = await volume.makeDirectory(rootFileId, from, directory);
    const decider = fake.hashed(to);
    decider.entries.delete(`${rootFileId}/${from}`);
    decider.entries.set(`${rootFileId}/${to}`, { name: to, file: dir, type: 'dir', home: decider.name });
    const client = await fake.mount();
    t.equal((await client.lookup(rootFileId, to)).file, dir);
    const listed = (await client.listDirectory(rootFileId)).map((entry) => entry.name);
    t.ok(listed.includes(to));
    if (fake.hashed(from) === decider) {
      t.notOk(listed.includes(from), 'a name that cannot be looked up is not listed');
      continue;
    }
    await client.rename(rootFileId, from, rootFileId, to, false);
    t.ok(fake.bricks.every((brick) => brick.entry(rootFileId, to)?.file === dir));
    t.ok(fake.bricks.every((brick) => brick.entry(rootFileId, from) === undefined));
  }
});
