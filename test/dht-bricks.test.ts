/** The volume over real bricks: what the fake bricks of the dht tests take for granted is true of the real ones. */
import t from 'tap';
import { connectBricks } from '../dht/brick-links.js';
import { type DistributedVolume, openVolume } from '../dht/distributed-volume.js';
import type { LockOutcome } from '../dht/volume.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { silentTrace } from '../host/trace.js';
import { type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import { PipeNetwork } from './doors/pipe-network.js';
import { lockOf, owner, plainFile } from './fake-volume.js';
import { make, nameOn, names, RealVolume, volumeFile } from './real-volume.js';

const directory = { ...plainFile, type: 'dir', mode: 0o755 } as const;
const refusedWith = (code: string) => ({ name: 'Refusal', code });

/** A brick deletes what has no name and no opener soon after the last of them went. */
const isGone = (volume: DistributedVolume, file: FileId): Promise<boolean> =>
  volume.attributes(file).then(
    ({ nlink }) => nlink === 0,
    (error: { code?: string }) => error.code === 'ESTALE',
  );

t.test('names, directories and content', async (t) => {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const dir = (await one.makeDirectory(rootFileId, 'dir' as ByteText, directory)).file;
  const wanted: ByteText[] = [];
  for (let at = 0; at < 30; at++) {
    const name = `file ${at}` as ByteText;
    wanted.push(name);
    await one.create(dir, name, plainFile, { exclusive: true, open: false });
  }
  t.same((await two.listDirectory(dir)).map((entry) => entry.name).sort(), [...wanted].sort());
  const { file } = await two.lookup(dir, wanted[7]!);
  t.match(await two.write(file, 3, new TextEncoder().encode('abc')), { size: 6 });
  t.same((await one.read(file, 0, 100)).data.length, 6);
  await t.rejects(one.removeDirectory(rootFileId, 'dir' as ByteText), refusedWith('ENOTEMPTY'));
  for (const name of wanted) await two.unlink(dir, name);
  await one.removeDirectory(rootFileId, 'dir' as ByteText);
  t.same(await two.listDirectory(rootFileId), []);
  await t.rejects(two.lookup(dir, wanted[0]!), refusedWith('ENOENT'));
});

t.test('every rename and link between bricks, of files at home and away', async (t) => {
  const real = await RealVolume.start(t);
  const volume = await real.mount();
  let at = 0;
  for (const home of names) {
    for (const newBrick of names) {
      at += 1;
      const [from, to, link] = [
        nameOn(names[0]!, rootFileId, at),
        nameOn(newBrick, rootFileId, at + 50),
        nameOn(newBrick, rootFileId, at + 100),
      ];
      const file = await make(volume, from);
      const replaced = await make(volume, to);
      if (home !== names[0]) await real.move(volume, file, home);
      t.match(await volume.link(file, rootFileId, link), { nlink: 2 });
      await volume.rename(rootFileId, from, rootFileId, to, false);
      t.match(
        await volume.lookup(rootFileId, to),
        { file, nlink: 2 },
        `from ${names[0]} to ${newBrick}, at ${home}`,
      );
      await t.rejects(volume.lookup(rootFileId, from), refusedWith('ENOENT'));
      t.ok(await isGone(volume, replaced), 'the replaced file');
      await volume.unlink(rootFileId, link);
      await volume.unlink(rootFileId, to);
      t.ok(await isGone(volume, file), 'no name too many was left');
    }
  }
  t.same(await volume.listDirectory(rootFileId), []);
});

t.test('a directory is renamed with all that is in it, and replaces an empty one', async (t) => {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const [a, b] = ['a', 'b'] as ByteText[];
  const dir = (await one.makeDirectory(rootFileId, a!, directory)).file;
  await one.makeDirectory(rootFileId, b!, directory);
  for (const brick of names)
    await one.create(dir, nameOn(brick, dir, 1), plainFile, { exclusive: true, open: false });
  await one.rename(rootFileId, a!, rootFileId, b!, false);
  t.equal((await two.lookup(rootFileId, b!)).file, dir);
  t.equal((await two.listDirectory(dir)).length, 3);
  t.same(
    (await two.listDirectory(rootFileId)).map((entry) => entry.name),
    [b],
  );
});

t.test('holders and waiters of two clients over moves to every brick and back', async (t) => {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const file = await make(one, nameOn(names[0]!, rootFileId, 1), true);
  await two.open(file, false);
  await one.lock(lockOf(file)).outcome;
  const outcomes: string[] = [];
  const wait = (number: number): Promise<LockOutcome> => {
    const { outcome } = two.lock(lockOf(file, { owner: owner(number) }));
    outcome
      .then(({ outcome: what }) => outcomes.push(`${number} ${what}`))
      .catch(() => outcomes.push(`${number} failed`));
    return outcome;
  };
  const waits = [wait(2)];
  await real.untilWaiting(file, 1);
  waits.push(wait(3));
  await real.untilWaiting(file, 2);
  for (const target of [names[1]!, names[2]!, names[0]!, names[1]!]) {
    await real.move(one, file, target);
    t.match(await two.lock(lockOf(file, { owner: owner(9), wait: false })).outcome, { outcome: 'conflict' });
    await real.untilWaiting(file, 2);
  }
  t.same(outcomes, []);
  await one.unlock(file, owner(1), 'posix', 0n, 9n);
  await waits[0];
  await two.unlock(file, owner(2), 'posix', 0n, 9n);
  await waits[1];
  t.same(outcomes, ['2 granted', '3 granted']);
  await two.flushOwner(file, owner(3));
  t.match(await one.lock(lockOf(file, { wait: false })).outcome, { outcome: 'granted' });
});

t.test('a file without names that is open moves, and goes with its last close', async (t) => {
  const real = await RealVolume.start(t);
  const volume = await real.mount();
  const name = nameOn(names[0]!, rootFileId, 1);
  const file = await make(volume, name, true);
  await volume.write(file, 0, new TextEncoder().encode('kept'));
  await volume.unlink(rootFileId, name);
  await real.move(volume, file, names[1]!);
  t.equal(Buffer.from((await volume.read(file, 0, 10)).data).toString(), 'kept');
  await volume.release(file, []);
  for (let tries = 0; tries < 500 && (await volume.space()).files > 3; tries++) await systemClock.sleep(10);
  await t.rejects(volume.attributes(file), refusedWith('ESTALE'));
});

t.test('bricks that do not answer are named', async (t) => {
  const options = {
    volumeFile,
    network: new PipeNetwork(),
    clock: systemClock,
    random: systemRandom,
    trace: silentTrace,
    role: 'mount' as const,
    title: 'test',
    host: 'here',
    pid: process.pid,
    giveUpMs: 50,
  };
  await t.rejects(openVolume(options), {
    message: /3 of 3 bricks do not answer: brick-1 .*brick-2 .*brick-3/,
  });
  const missing: string[] = [];
  const links = await connectBricks({ ...options, role: 'tool', onMissing: (brick) => missing.push(brick) });
  t.equal(links.size, 0);
  t.same(missing, names);
});
