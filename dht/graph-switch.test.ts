/** The change of one file to a new graph, step by step over fake bricks: what goes wrong in between, and what is told. */
import t, { type Test } from 'tap';
import { FakeVolume, lockOf, owner, plainFile } from '../test/fake-volume.js';
import { Refusal } from '../wire/errors.js';
import { type FileId, rootFileId } from '../wire/ids.js';
import type { LockOutcome } from './volume.js';

const refusedWith = (code: string) => ({ name: 'Refusal', code });

async function scene(t: Test) {
  const fake = await FakeVolume.start();
  t.teardown(() => fake.close());
  const volume = await fake.mount();
  const [home, other] = [fake.bricks[0]!, fake.bricks[1]!];
  const inode = await volume.create(rootFileId, fake.nameOn(home), plainFile, {
    exclusive: true,
    open: true,
  });
  const { file } = inode.attributes;
  const opens = (): number[] =>
    [...home.opens].filter(([key]) => key.endsWith(file)).map(([, count]) => count);
  return { fake, volume, home, other, file, opens };
}

/** Resolves when it is settled; time goes on meanwhile. */
async function over<T>(fake: FakeVolume, work: Promise<T>, ms = 60_000): Promise<T> {
  let isSettled = false;
  const settled = (): void => {
    isSettled = true;
  };
  work.then(settled, settled);
  for (let passed = 0; !isSettled && passed < ms; passed += 50) await fake.clock.advance(50);
  if (!isSettled) throw new Error('it never ended');
  return work;
}

const clientsOf = (home: FakeVolume['bricks'][0], file: FileId): Set<string> =>
  new Set(
    home.tables
      .get(file)
      ?.snapshot()
      .held.map((lock) => lock.client),
  );

t.test('only what is open or locked is asked for, in two requests a file', async (t) => {
  const { fake, volume, home, file, opens } = await scene(t);
  await volume.create(rootFileId, fake.nameOn(home), plainFile, { exclusive: true, open: false });
  await volume.lock(lockOf(file)).outcome;
  await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
  t.same([home.requests('readLockinfo').length, home.requests('writeLockinfo').length], [1, 1]);
  t.same([...clientsOf(home, file)], [volume.client]);
  t.same(opens(), [1]);
  await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
  t.equal(home.requests('writeLockinfo').length, 1, 'the same version is no change');
});

t.test(
  'locks that the brick has no more are an error for the file until it is closed, and logged',
  async (t) => {
    const { fake, volume, home, file } = await scene(t);
    await volume.lock(lockOf(file)).outcome;
    await volume.lock(lockOf(file, { start: 100n, end: 109n })).outcome;
    home.tables.get(file)!.unlock('posix', volume.client, owner(1), 0n, 9n);
    await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
    t.ok(fake.warnings.includes('locks lost in a graph switch'));
    await t.rejects(volume.write(file, 0, new Uint8Array(1)), refusedWith('EIO'));
    await t.rejects(volume.lock(lockOf(file)).outcome, refusedWith('EIO'));
    await volume.release(file, [owner(1)]);
    t.same(home.held(file), [], 'what was left went with the last close');
    await volume.open(file, false);
    t.match(await volume.lock(lockOf(file)).outcome, { outcome: 'granted' });
  },
);

t.test('a file that a loss of power took holds up no change of graphs, and can be closed', async (t) => {
  const { fake, volume, home, file } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  home.inodes.delete(file);
  home.tables.delete(file);
  await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
  t.ok(fake.warnings.includes('no brick has a file that is in use'));
  await t.rejects(volume.write(file, 0, new Uint8Array(1)), refusedWith('EIO'));
  await volume.release(file, [owner(1)]);
  await t.rejects(volume.write(file, 0, new Uint8Array(1)), refusedWith('ESTALE'), 'it is not in use now');
});

t.test('what is closed after a loss of power took it is not in use any more', async (t) => {
  const { fake, volume, home, file } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  home.inodes.delete(file);
  home.tables.delete(file);
  await volume.release(file, [owner(1)]);
  await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
  t.same(home.requests('readLockinfo'), [], 'there is nothing to ask for');
});

t.test('waits that are granted between the two halves join other locks: fewer, and none lost', async (t) => {
  const { fake, volume, home, file } = await scene(t);
  const two = await fake.mount();
  await two.lock(lockOf(file, { start: 10n, end: 19n })).outcome;
  await volume.lock(lockOf(file)).outcome;
  const wait = volume.lock(lockOf(file, { start: 10n, end: 19n })).outcome;
  await fake.clock.advance(0);
  home.before = (op) => {
    if (op === 'writeLockinfo') home.drop(file, two.client, owner(1));
  };
  await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
  t.match(await wait, { outcome: 'granted' });
  t.same(home.held(file), ['posix write 0-19 1']);
  t.same(
    fake.warnings.filter((one) => one.includes('lost')),
    [],
  );
  t.match(await volume.write(file, 0, new Uint8Array(1)), { size: 1 });
});

t.test('a second half whose answer is lost with the brick: the locks are found where they are', async (t) => {
  const { fake, volume, home, file } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  const wait = volume.lock(lockOf(file, { owner: owner(2) })).outcome;
  await fake.clock.advance(0);
  home.loseAnswer = (op) => op === 'writeLockinfo';
  const switched = volume.switchTo(fake.volumeFile({ version: 2 }));
  await fake.clock.advance(100);
  await home.stop();
  // The new session gives the request up: whether it took effect cannot be known.
  await fake.clock.advance(20_000);
  const unlock = volume.unlock(file, owner(1), 'posix', 0n, 9n);
  const unlocked = unlock.then(
    () => 'in time',
    (error: Refusal) => error.code,
  );
  await fake.clock.advance(20_000);
  t.equal(await unlocked, 'ENOTCONN', 'the process is told that it took too long');
  home.loseAnswer = () => false;
  await home.start();
  await over(fake, switched);
  t.match(
    await over<LockOutcome>(fake, wait),
    { outcome: 'granted' },
    'and the unlock was carried out all the same',
  );
  t.same(home.held(file), ['posix write 0-9 2']);
  t.same([...clientsOf(home, file)], [volume.client]);
});

t.test('a second half that a restart of the brick undid is done again', async (t) => {
  const { fake, volume, home, file, opens } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  const wait = volume.lock(lockOf(file, { owner: owner(2) })).outcome;
  await fake.clock.advance(0);
  home.loseAnswer = (op) => op === 'writeLockinfo';
  const switched = volume.switchTo(fake.volumeFile({ version: 2 }));
  await fake.clock.advance(100);
  home.script = (op) => (op === 'writeLockinfo' ? new Refusal('EPERM') : undefined);
  home.loseAnswer = () => false;
  await home.restart();
  await fake.clock.advance(1000);
  t.not([...clientsOf(home, file)][0], volume.client, 'the old session reclaimed the lock');
  home.script = () => undefined;
  await over(fake, switched);
  t.same([...clientsOf(home, file)], [volume.client]);
  t.same(opens(), [1]);
  await volume.unlock(file, owner(1), 'posix', 0n, 9n);
  t.match(await over<LockOutcome>(fake, wait), { outcome: 'granted' });
  t.same(home.held(file), ['posix write 0-9 2']);
});

t.test('a file that moves between the two halves is followed', async (t) => {
  const { fake, volume, home, other, file } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  const wait = volume.lock(lockOf(file, { owner: owner(2) })).outcome;
  await fake.clock.advance(0);
  let hasMoved = false;
  home.before = (op) => {
    if (op !== 'writeLockinfo' || hasMoved) return;
    hasMoved = true;
    home.moveTo(other, file);
  };
  home.script = (op) => {
    const moved = home.moved.get(file);
    return op === 'writeLockinfo' && moved !== undefined
      ? new Refusal('EREMOTE', undefined, moved)
      : undefined;
  };
  await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
  t.same([...clientsOf(other, file)], [volume.client]);
  await volume.unlock(file, owner(1), 'posix', 0n, 9n);
  t.match(await over<LockOutcome>(fake, wait), { outcome: 'granted' });
});

t.test(
  'the second half goes to where the first was answered, not to where the file was before',
  async (t) => {
    const { fake, volume, home, other, file } = await scene(t);
    await volume.lock(lockOf(file)).outcome;
    home.before = (op) => {
      if (op === 'readLockinfo' && home.moved.get(file) === undefined) home.moveTo(other, file);
    };
    home.script = (op) => {
      const moved = home.moved.get(file);
      return moved !== undefined && op.endsWith('Lockinfo')
        ? new Refusal('EREMOTE', undefined, moved)
        : undefined;
    };
    await over(fake, volume.switchTo(fake.volumeFile({ version: 2 })));
    t.same([home.requests('writeLockinfo').length, other.requests('writeLockinfo').length], [0, 1]);
    t.same([...clientsOf(other, file)], [volume.client]);
  },
);

t.test('a lock request at the gate of its file can be cancelled, and others go on behind it', async (t) => {
  const { fake, volume, home, file } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  home.loseAnswer = (op) => op === 'readLockinfo';
  const switched = volume.switchTo(fake.volumeFile({ version: 2 }));
  await fake.clock.advance(100);
  const cancelled = volume.lock(lockOf(file, { owner: owner(2) }));
  const wanted = volume.lock(lockOf(file, { owner: owner(3), start: 50n, end: 59n }));
  cancelled.cancel();
  t.match(await over<LockOutcome>(fake, cancelled.outcome), { outcome: 'cancelled' });
  t.equal(home.requests('lock').length, 1, 'nothing was sent');
  home.loseAnswer = () => false;
  home.cut();
  await over(fake, switched);
  t.match(await over<LockOutcome>(fake, wanted.outcome), { outcome: 'granted' });
  t.same(home.held(file), ['posix write 0-9 1', 'posix write 50-59 3']);
});

t.test('a closed volume ends a change that cannot end by itself', async (t) => {
  const { fake, volume, home, file } = await scene(t);
  await volume.lock(lockOf(file)).outcome;
  await home.stop();
  const switched = volume.switchTo(fake.volumeFile({ version: 2 }));
  await fake.clock.advance(30_000);
  await over(fake, volume.close());
  await t.resolves(over(fake, switched));
});
