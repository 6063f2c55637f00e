/** Names, homes, links and renames over fake bricks; what a client that dies in the middle leaves. */
import t, { type Test } from 'tap';
import { FakeVolume, plainFile } from '../test/fake-volume.js';
import { Refusal } from '../wire/errors.js';
import { type BrickName, type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import type { DistributedVolume } from './distributed-volume.js';

const directory = { ...plainFile, type: 'dir', mode: 0o755 } as const;

async function started(t: Test, count?: number): Promise<{ fake: FakeVolume; volume: DistributedVolume }> {
  const fake = await FakeVolume.start(count);
  const volume = await fake.mount();
  t.teardown(() => fake.close());
  return { fake, volume };
}

const refusedWith = (code: string) => ({ name: 'Refusal', code });
const exclusive = { exclusive: true, open: false };

async function makeFile(volume: DistributedVolume, name: ByteText, parent = rootFileId): Promise<FileId> {
  return (await volume.create(parent, name, plainFile, exclusive)).attributes.file;
}

t.test(
  'a new file is made on the brick that its name hashes to, and found there in one request',
  async (t) => {
    const { fake, volume } = await started(t);
    for (const brick of fake.bricks) {
      const name = fake.nameOn(brick);
      const file = await makeFile(volume, name);
      t.ok(brick.inodes.has(file));
      const before = fake.bricks.map((one) => one.log.length);
      t.equal((await volume.lookup(rootFileId, name)).file, file);
      t.equal(
        fake.bricks.reduce((sum, one) => sum + one.log.length, 0),
        before.reduce((a, b) => a + b, 0) + 1,
      );
    }
  },
);

t.test('a name that is not there costs one request, to its hashed brick', async (t) => {
  const { fake, volume } = await started(t);
  const [first] = fake.bricks;
  await t.rejects(volume.lookup(rootFileId, fake.nameOn(first!)), refusedWith('ENOENT'));
  t.equal(fake.bricks.flatMap((brick) => brick.requests('lookup')).length, 1);
});

t.test(
  'a directory whose layout names a brick that left is searched on every brick before ENOENT',
  async (t) => {
    const fake = await FakeVolume.start(2);
    t.teardown(() => fake.close());
    const [first, second] = fake.bricks;
    const gone = 'brick-9' as BrickName;
    for (const brick of fake.bricks) {
      brick.inodes.get(rootFileId)!.layout = [
        { brick: gone, start: 0, stop: 0 },
        { brick: second!.name, start: 1, stop: 0xffff_ffff },
      ];
    }
    const volume = await fake.mount({ retiredBricks: [gone] });
    const name = 'old' as ByteText;
    const file = '7'.repeat(32) as FileId;
    first!.entries.set(`${rootFileId}/old`, { name, file, type: 'symlink', home: first!.name });
    await t.rejects(volume.lookup(rootFileId, 'none' as ByteText), refusedWith('ENOENT'));
    t.equal(first!.requests('lookup').length, 1, 'the other brick was asked too');
    await t.rejects(volume.create(rootFileId, name, plainFile, exclusive), refusedWith('EEXIST'));
  },
);

t.test('lookup follows a linkto, and heals it in the background when the file moved on', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b, c] = fake.bricks as [
    FakeVolume['bricks'][0],
    FakeVolume['bricks'][0],
    FakeVolume['bricks'][0],
  ];
  const name = fake.nameOn(a);
  const file = await makeFile(volume, name);
  a.moveTo(b, file);
  a.entries.set(`${rootFileId}/${name}`, { name, file, type: 'file', home: b.name });
  b.moveTo(c, file);
  const other = await fake.mount();
  t.match(await other.lookup(rootFileId, name), { file, epoch: 2 });
  await fake.clock.advance(0);
  t.equal(a.entry(rootFileId, name)?.home, c.name);
  const asked = b.log.length;
  await other.attributes(file);
  t.equal(b.log.length, asked, 'the redirect was learned');
});

t.test('a stale hint: the file is looked for on every brick', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b, c] = fake.bricks;
  const name = fake.nameOn(a!);
  const file = await makeFile(volume, name);
  a!.moveTo(b!, file);
  a!.moved.clear();
  const entry = { name, file, type: 'file', home: c!.name } as const;
  a!.entries.set(`${rootFileId}/${name}`, entry);
  const other = await fake.mount();
  t.equal((await other.lookup(rootFileId, name)).file, file);
  await fake.clock.advance(0);
  t.equal(a!.entry(rootFileId, name)?.home, b!.name, 'healed');
});

t.test('a name whose file is on no brick is ESTALE, and can be unlinked', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const name = fake.nameOn(a!);
  a!.entries.set(`${rootFileId}/${name}`, {
    name,
    file: '7'.repeat(32) as FileId,
    type: 'file',
    home: b!.name,
  });
  await t.rejects(volume.lookup(rootFileId, name), refusedWith('ESTALE'));
  await volume.unlink(rootFileId, name);
  await t.rejects(volume.lookup(rootFileId, name), refusedWith('ENOENT'));
});

t.test('redirects that never end are an error, not a hang', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const file = await makeFile(volume, fake.nameOn(a!));
  let epoch = 1;
  for (const [one, next] of [
    [a!, b!],
    [b!, a!],
  ] as const) {
    one.script = (op) => {
      if (op !== 'getAttributes') return undefined;
      const migration = '1'.repeat(32) as never;
      return new Refusal('EREMOTE', undefined, { target: next.name, epoch: epoch++ as never, migration });
    };
  }
  const asked = volume.attributes(file);
  asked.catch(() => undefined);
  await fake.clock.advance(60_000);
  await t.rejects(asked, refusedWith('EIO'));
  t.ok(fake.warnings.includes('redirect loop'));
});

t.test('a target that has not opened yet is asked again', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const file = await makeFile(volume, fake.nameOn(a!));
  a!.moveTo(b!, file);
  const inode = b!.inodes.get(file)!;
  b!.inodes.delete(file);
  const asked = volume.attributes(file);
  await fake.clock.advance(1);
  b!.inodes.set(file, inode);
  await fake.clock.advance(1000);
  t.match(await asked, { file, epoch: 1 });
});

t.test('a file that was deleted where it went is ESTALE, though its source remembers the move', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const file = await makeFile(volume, fake.nameOn(a!));
  a!.moveTo(b!, file);
  b!.inodes.delete(file);
  const asked = volume.attributes(file);
  asked.catch(() => undefined);
  await fake.clock.advance(1000);
  await t.rejects(asked, refusedWith('ESTALE'));
});

t.test('a file that moved from A to B and back is found by those who saw any of it', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const file = await makeFile(volume, fake.nameOn(a!));
  a!.moveTo(b!, file);
  await volume.attributes(file);
  b!.moveTo(a!, file);
  t.match(await volume.attributes(file), { epoch: 2 });
  const asked = b!.log.length;
  await volume.attributes(file);
  t.equal(b!.log.length, asked);
});

t.test(
  'a brick that is down: ENOTCONN for what is there, at once after the first wait, nothing else suffers',
  async (t) => {
    const { fake, volume } = await started(t);
    const [a, b] = fake.bricks;
    const [there, here] = [await makeFile(volume, fake.nameOn(a!)), await makeFile(volume, fake.nameOn(b!))];
    await a!.stop();
    await fake.clock.advance(20_000);
    await t.rejects(volume.attributes(there), refusedWith('ENOTCONN'));
    t.equal((await volume.attributes(here)).file, here);
    t.match(await volume.space(), { totalBytes: 200, freeBytes: 80 });
    await t.rejects(
      volume.listDirectory(rootFileId),
      refusedWith('ENOTCONN'),
      'no list with names silently missing',
    );
  },
);

t.test('unlink: the entry goes at its brick, the inode at its home', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const name = fake.nameOn(a!);
  const file = await makeFile(volume, name);
  a!.moveTo(b!, file);
  await volume.unlink(rootFileId, name);
  t.notOk(a!.entry(rootFileId, name));
  t.notOk(b!.inodes.has(file));
  await t.rejects(volume.unlink(rootFileId, name), refusedWith('ENOENT'));
});

t.test(
  'unlink of what the name is thought to name: one request if it does, none is lost if not',
  async (t) => {
    const { fake, volume } = await started(t);
    const [a] = fake.bricks;
    const name = fake.nameOn(a!);
    const requests = (): number => fake.bricks.reduce((sum, one) => sum + one.log.length, 0);
    const file = await makeFile(volume, name);
    const before = requests();
    await volume.unlink(rootFileId, name, file);
    t.equal(requests(), before + 1);
    t.notOk(a!.inodes.has(file));
    const other = await makeFile(volume, name);
    await volume.unlink(rootFileId, name, file);
    t.notOk(a!.inodes.has(other), 'it named another file by then, and that name went');
    await t.rejects(volume.unlink(rootFileId, name, other), refusedWith('ENOENT'));
  },
);

t.test('unlink while the home is down: the name goes, the inode as soon as the brick is back', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const name = fake.nameOn(a!);
  const file = await makeFile(volume, name);
  a!.moveTo(b!, file);
  await volume.attributes(file);
  await b!.stop();
  await fake.clock.advance(20_000);
  await volume.unlink(rootFileId, name);
  t.ok(b!.inodes.has(file));
  await b!.start();
  await fake.clock.advance(5000);
  t.notOk(b!.inodes.has(file));
});

t.test('unlink while the disk of the home is full: the inode goes when it is not', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const name = fake.nameOn(a!);
  const file = await makeFile(volume, name);
  a!.moveTo(b!, file);
  await volume.attributes(file);
  b!.script = (op) => (op === 'dropName' ? new Refusal('ENOSPC') : undefined);
  await volume.unlink(rootFileId, name);
  await fake.clock.advance(2000);
  t.ok(b!.inodes.has(file));
  b!.script = () => undefined;
  await fake.clock.advance(1000);
  t.notOk(b!.inodes.has(file));
});

t.test('link: the new name is on its own brick, the inode stays; EEXIST leaves nothing behind', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const [one, two, taken] = [fake.nameOn(a!), fake.nameOn(b!), fake.nameOn(b!)];
  const file = await makeFile(volume, one);
  await makeFile(volume, taken);
  t.match(await volume.link(file, rootFileId, two), { file, nlink: 2 });
  t.match(b!.entry(rootFileId, two), { file, home: a!.name });
  t.match(await volume.lookup(rootFileId, two), { file, nlink: 2 });
  await t.rejects(volume.link(file, rootFileId, taken), refusedWith('EEXIST'));
  await t.rejects(volume.link(file, rootFileId, two), refusedWith('EEXIST'), 'the same link again');
  t.match(await volume.attributes(file), { nlink: 2 });
});

t.test('link that loses a race for the name takes the name off the inode again', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const two = fake.nameOn(b!);
  const file = await makeFile(volume, fake.nameOn(a!));
  b!.before = (op) => {
    if (op !== 'putEntry') return;
    b!.entries.set(`${rootFileId}/${two}`, {
      name: two,
      file: '9'.repeat(32) as FileId,
      type: 'file',
      home: b!.name,
    });
  };
  await t.rejects(volume.link(file, rootFileId, two), refusedWith('EEXIST'));
  t.match(await volume.attributes(file), { nlink: 1 });
});

t.test('rename over bricks: the inode stays, the old name goes, what was replaced is deleted', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b, c] = fake.bricks;
  const [from, to] = [fake.nameOn(a!), fake.nameOn(b!)];
  const file = await makeFile(volume, from);
  const replaced = await makeFile(volume, to);
  b!.moveTo(c!, replaced);
  await volume.rename(rootFileId, from, rootFileId, to, false);
  t.notOk(a!.entry(rootFileId, from));
  t.match(b!.entry(rootFileId, to), { file, home: a!.name });
  t.same(a!.inodes.get(file)?.names, [{ parent: rootFileId, name: to }]);
  t.notOk(c!.inodes.has(replaced), 'the last name of the replaced file went');
  await t.rejects(volume.rename(rootFileId, from, rootFileId, to, false), refusedWith('ENOENT'));
});

t.test('rename on one brick of a file that lives on another keeps the inode’s names right', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const [from, to] = [fake.nameOn(a!), fake.nameOn(a!)];
  const file = await makeFile(volume, from);
  a!.moveTo(b!, file);
  await volume.rename(rootFileId, from, rootFileId, to, false);
  t.same(b!.inodes.get(file)?.names, [{ parent: rootFileId, name: to }]);
  t.match(await volume.lookup(rootFileId, to), { file, nlink: 1 });
});

t.test('rename on one brick of a file that moves away meanwhile keeps the inode’s names right', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const [from, to] = [fake.nameOn(a!), fake.nameOn(a!)];
  const file = await makeFile(volume, from);
  a!.before = (op) => {
    if (op !== 'renameEntry') return;
    a!.before = () => undefined;
    a!.moveTo(b!, file);
  };
  await volume.rename(rootFileId, from, rootFileId, to, false);
  t.same(b!.inodes.get(file)?.names, [{ parent: rootFileId, name: to }]);
  await volume.unlink(rootFileId, to);
  t.notOk(b!.inodes.has(file), 'its only name went');
});

t.test('rename of a file that moves away and is unlinked meanwhile leaves nothing behind', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const [from, to] = [fake.nameOn(a!), fake.nameOn(a!)];
  const file = await makeFile(volume, from);
  a!.before = (op) => {
    if (op !== 'renameEntry') return;
    a!.before = () => undefined;
    a!.moveTo(b!, file);
  };
  b!.before = (op) => {
    // What another client does between the two: it takes off the inode a name that it does not have yet.
    if (op === 'addName') a!.entries.delete(`${rootFileId}/${to}`);
  };
  await volume.rename(rootFileId, from, rootFileId, to, false);
  t.notOk(b!.inodes.has(file));
});

t.test('rename refuses as rename(2) does', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const [one, two] = [fake.nameOn(a!), fake.nameOn(b!)];
  const dir = 'dir' as ByteText;
  const file = await makeFile(volume, one);
  await makeFile(volume, two);
  await volume.makeDirectory(rootFileId, dir, directory);
  await t.rejects(volume.rename(rootFileId, one, rootFileId, two, true), refusedWith('EEXIST'));
  await t.rejects(volume.rename(rootFileId, one, rootFileId, dir, false), refusedWith('EISDIR'));
  await t.rejects(volume.rename(rootFileId, dir, rootFileId, one, false), refusedWith('ENOTDIR'));
  await volume.unlink(rootFileId, two);
  await volume.link(file, rootFileId, two);
  await volume.rename(rootFileId, one, rootFileId, two, false);
  t.match(await volume.lookup(rootFileId, one), { file, nlink: 2 }, 'two names of one file: nothing happens');
});

t.test('a rename that dies after any of its steps loses nothing', async (t) => {
  const steps = ['addName', 'putEntry', 'removeEntry', 'dropName'] as const;
  for (const died of steps) {
    const fake = await FakeVolume.start();
    t.teardown(() => fake.close());
    const volume = await fake.mount();
    const [a, b, c] = fake.bricks;
    const [from, to] = [fake.nameOn(a!), fake.nameOn(b!)];
    const file = await makeFile(volume, from);
    a!.moveTo(c!, file);
    for (const brick of fake.bricks) {
      brick.script = (op) => (op === died ? new Refusal('ENOTCONN', 'the client dies here') : undefined);
    }
    await volume.rename(rootFileId, from, rootFileId, to, false).catch(() => undefined);
    for (const brick of fake.bricks) brick.script = () => undefined;
    const other = await fake.mount();
    const found = await Promise.allSettled([other.lookup(rootFileId, from), other.lookup(rootFileId, to)]);
    const files = found.flatMap((one) => (one.status === 'fulfilled' ? [one.value.file] : []));
    t.ok(files.length > 0 && files.every((one) => one === file), `found after dying at ${died}`);
    t.ok(
      c!.inodes.get(file)!.attributes.nlink >= files.length,
      'never fewer names on the inode than entries',
    );
    // A later rename of what is left finishes the work.
    await other.rename(
      rootFileId,
      files.length === 2 || found[0]!.status === 'fulfilled' ? from : to,
      rootFileId,
      to,
      false,
    );
    t.equal((await other.lookup(rootFileId, to)).file, file);
  }
});

t.test('after a move every name is told where the file is', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b, c] = fake.bricks;
  const [one, two] = [fake.nameOn(a!), fake.nameOn(b!)];
  const file = await makeFile(volume, one);
  await volume.link(file, rootFileId, two);
  a!.moveTo(c!, file);
  t.equal(await volume.healNames(file), 2);
  t.equal(a!.entry(rootFileId, one)?.home, c!.name);
  t.equal(b!.entry(rootFileId, two)?.home, c!.name);
  t.match(await volume.resolvePath([two]), { home: c!.name, hashed: b!.name, attributes: { file } });
});

t.test('create without O_EXCL opens what is there, wherever its inode is', async (t) => {
  const { fake, volume } = await started(t);
  const [a, b] = fake.bricks;
  const name = fake.nameOn(a!);
  const file = await makeFile(volume, name);
  a!.moveTo(b!, file);
  const answer = await volume.create(rootFileId, name, plainFile, { exclusive: false, open: true });
  t.match(answer, { created: false, attributes: { file } });
  t.equal(b!.opensOf(volume.client, file), 1);
  await t.rejects(volume.create(rootFileId, name, plainFile, exclusive), refusedWith('EEXIST'));
});
