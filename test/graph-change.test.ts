/**
 * A mount changes to a newer volume.json over real bricks, while its locks are held and waited for, its files move and
 * its bricks come and go: nobody notices, nothing is lost, and what is lost is told.
 */
import t, { type Test } from 'tap';
import type { DistributedVolume } from '../dht/distributed-volume.js';
import type { LockOutcome, PendingLock } from '../dht/volume.js';
import { systemClock } from '../host/clock.js';
import { type BrickName, type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import { lockOf, owner, plainFile } from './fake-volume.js';
import { make, nameOn, names, RealVolume } from './real-volume.js';

t.setTimeout(120_000);
const directory = { ...plainFile, type: 'dir', mode: 0o755 } as const;
const brick4 = 'brick-4' as BrickName;
const refusedWith = (code: string) => ({ name: 'Refusal', code });

const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  for (let tries = 0; !(await isSo()); tries++) {
    if (tries > 1000) throw new Error(`waited in vain for: ${what}`);
    await systemClock.sleep(10);
  }
};

/** A queue of waits on bytes 0..9 whose order of grants is watched. */
class Queue {
  readonly granted: number[] = [];
  readonly waits = new Map<number, PendingLock>();
  readonly #volume: DistributedVolume;
  readonly #file: FileId;

  constructor(volume: DistributedVolume, file: FileId) {
    this.#volume = volume;
    this.#file = file;
  }

  join(number: number): Promise<LockOutcome> {
    const wait = this.#volume.lock(lockOf(this.#file, { owner: owner(number) }));
    this.waits.set(number, wait);
    wait.outcome.then(
      ({ outcome }) => outcome === 'granted' && this.granted.push(number),
      () => this.granted.push(-number),
    );
    return wait.outcome;
  }
}

async function scene(t: Test) {
  const real = await RealVolume.start(t);
  const one = await real.mount();
  const two = await real.mount();
  const file = await make(one, nameOn(names[0]!, rootFileId, 1), true);
  await two.open(file, false);
  return { real, one, two, file };
}

t.test('holders and waiters keep their locks and places; the old client is gone', async (t) => {
  const { real, one, two, file } = await scene(t);
  const before = one.client;
  t.match(await one.lock(lockOf(file, { wait: false })).outcome, { outcome: 'granted' });
  t.match(await one.lock(lockOf(file, { kind: 'flock', owner: owner(8) })).outcome, { outcome: 'granted' });
  const mine = new Queue(one, file);
  const theirs = new Queue(two, file);
  const granted = [mine.join(2)];
  await real.untilWaiting(file, 1);
  granted.push(theirs.join(3));
  await real.untilWaiting(file, 2);
  granted.push(mine.join(4));
  await real.untilWaiting(file, 3);

  await one.switchTo(real.change({ attrTimeoutMs: 1 }));
  t.not(one.client, before);
  for (const brick of names) {
    await until('the old client left', async () => !(await real.clients(brick)).includes(before));
  }
  t.same(
    (await real.locks(file)).map((lock) => lock.client === one.client),
    [true, true, true, false, true],
    "held, flock and waiting: all of the new client, but the other mount's wait",
  );
  t.match(await two.lock(lockOf(file, { owner: owner(9), wait: false })).outcome, { outcome: 'conflict' });
  t.same([...mine.granted, ...theirs.granted], []);
  await one.unlock(file, owner(1), 'posix', 0n, 9n);
  await granted[0];
  t.same([...mine.granted, ...theirs.granted], [2]);
  await one.flushOwner(file, owner(2));
  await granted[1];
  await two.flushOwner(file, owner(3));
  await granted[2];
  t.same(mine.granted, [2, 4]);
  await one.release(file, [owner(4), owner(8)]);
  t.same(await real.locks(file), []);
});

t.test('switches and moves in between, again and again, with waits that are cancelled', async (t) => {
  const { real, one, two, file } = await scene(t);
  await one.lock(lockOf(file)).outcome;
  const queue = new Queue(one, file);
  const outcomes: Promise<LockOutcome>[] = [];
  for (let number = 2; number < 8; number++) {
    outcomes.push(queue.join(number));
    await real.untilWaiting(file, number - 1);
  }
  for (const target of [names[1]!, names[2]!, names[0]!, names[2]!]) {
    const moved = real.move(two, file, target);
    const switched = one.switchTo(real.change());
    await Promise.all([moved, switched]);
    await one.write(file, 0, new TextEncoder().encode(target));
  }
  queue.waits.get(4)!.cancel();
  const switching = one.switchTo(real.change());
  queue.waits.get(6)!.cancel();
  await switching;
  t.match(await outcomes[2], { outcome: 'cancelled' });
  t.match(await outcomes[4], { outcome: 'cancelled' });
  await real.untilWaiting(file, 4);
  await one.unlock(file, owner(1), 'posix', 0n, 9n);
  for (const number of [2, 3, 5, 7]) {
    t.match(await outcomes[number - 2], { outcome: 'granted' });
    await one.unlock(file, owner(number), 'posix', 0n, 9n);
  }
  t.same(queue.granted, [2, 3, 5, 7]);
  t.same(await real.locks(file), []);
});

t.test(
  'a new brick: files go there at once, new directories use it, old names stay where they are',
  async (t) => {
    const { real, one, two, file } = await scene(t);
    const old = (await one.makeDirectory(rootFileId, 'old' as ByteText, directory)).file;
    const kept = await one.create(old, 'kept' as ByteText, plainFile, { exclusive: true, open: false });
    await one.lock(lockOf(file)).outcome;
    const wait = two.lock(lockOf(file, { owner: owner(2) })).outcome;
    await real.untilWaiting(file, 1);
    const changed = await real.addBrick(brick4);
    const tool = await real.mount({ role: 'tool' });
    await tool.spreadDirectories(brick4);

    // Neither mount knows of the brick when the file goes there.
    await real.move(tool, file, brick4);
    const written = one.write(file, 0, new TextEncoder().encode('there'));
    await Promise.all([one.switchTo(changed), two.switchTo(changed)]);
    t.match(await written, { size: 5 });
    await real.untilWaiting(file, 1);
    await one.unlock(file, owner(1), 'posix', 0n, 9n);
    t.match(await wait, { outcome: 'granted' });

    t.equal((await one.lookup(old, 'kept' as ByteText)).file, kept.attributes.file);
    await t.rejects(one.lookup(old, 'none' as ByteText), refusedWith('ENOENT'));
    const sub = (await one.makeDirectory(old, 'sub' as ByteText, directory)).file;
    for (let at = 0; at < 40; at++) {
      await one.create(sub, `f${at}` as ByteText, plainFile, { exclusive: true, open: false });
      await one.create(old, `f${at}` as ByteText, plainFile, { exclusive: true, open: false });
    }
    t.equal((await two.listDirectory(sub)).length, 40);
    t.equal((await two.listDirectory(old)).length, 42);
    const homes = async (dir: FileId) => new Set((await two.listDirectory(dir)).map(({ home }) => home));
    t.ok((await homes(sub)).has(brick4), 'a new directory uses the new brick');
    const oldHomes = (await two.listDirectory(old))
      .filter(({ type }) => type === 'file')
      .map(({ home }) => home);
    t.notOk(oldHomes.includes(brick4), 'an old one keeps its layout');
  },
);

t.test('a mount that knows nothing of a new brick uses a directory that was made for it', async (t) => {
  const { real, one, two } = await scene(t);
  const changed = await real.addBrick(brick4);
  await one.switchTo(changed);
  const dir = (await one.makeDirectory(rootFileId, 'dir' as ByteText, directory)).file;
  for (let at = 0; at < 20; at++) {
    await one.create(dir, `f${at}` as ByteText, plainFile, { exclusive: true, open: false });
  }
  const found = Array.from({ length: 20 }, (_, at) => two.lookup(dir, `f${at}` as ByteText));
  await systemClock.sleep(50);
  await two.switchTo(changed);
  t.equal(new Set((await Promise.all(found)).map(({ file }) => file)).size, 20);
});

t.test('an empty brick leaves: the names that would hash there go to the others', async (t) => {
  const { real, one, two } = await scene(t);
  const dir = (await one.makeDirectory(rootFileId, 'dir' as ByteText, directory)).file;
  const left = names[2]!;
  const stayed = real.volumeFile.bricks.filter(({ name }) => name !== left);
  const changed = real.change({ bricks: stayed, retiredBricks: [left] });
  await Promise.all([one.switchTo(changed), two.switchTo(changed)]);
  await real.stop(left);
  for (const at of [rootFileId, dir]) {
    const name = nameOn(left, at, 3);
    const { file } = (await one.create(at, name, plainFile, { exclusive: true, open: false })).attributes;
    t.equal((await two.lookup(at, name)).file, file);
    await t.rejects(two.lookup(at, nameOn(left, at, 4)), refusedWith('ENOENT'));
    await two.unlink(at, name);
  }
});

t.test('a brick that is down does not stop the change; what is there changes when it is back', async (t) => {
  const { real, one, two, file } = await scene(t);
  const elsewhere = await make(one, nameOn(names[1]!, rootFileId, 2), true);
  await one.lock(lockOf(file)).outcome;
  await one.lock(lockOf(elsewhere)).outcome;
  const before = one.client;
  await real.stop(names[0]!);
  const switched = one.switchTo(real.change());
  // The new graph waits for the brick for as long as any operation does, and then begins without it.
  await systemClock.sleep(200);
  await real.startBrick(names[0]!);
  await switched;
  t.not(one.client, before);
  t.match(await two.lock(lockOf(file, { owner: owner(2), wait: false })).outcome, { outcome: 'conflict' });
  await one.unlock(file, owner(1), 'posix', 0n, 9n);
  t.match(await two.lock(lockOf(file, { owner: owner(2), wait: false })).outcome, { outcome: 'granted' });
  t.equal((await real.locks(elsewhere)).length, 1);
});

t.test('bricks restart during changes', async (t) => {
  const { real, one, two, file } = await scene(t);
  await one.lock(lockOf(file)).outcome;
  const queue = new Queue(one, file);
  const outcomes = [queue.join(2)];
  await real.untilWaiting(file, 1);
  outcomes.push(queue.join(3));
  await real.untilWaiting(file, 2);
  for (let round = 0; round < 6; round++) {
    const switched = one.switchTo(real.change());
    if (round % 2 === 0) await systemClock.sleep(round);
    await real.restart(names[0]!);
    await switched;
    t.match(await two.lock(lockOf(file, { owner: owner(9), wait: false })).outcome, { outcome: 'conflict' });
    await real.untilWaiting(file, 2);
  }
  await one.unlock(file, owner(1), 'posix', 0n, 9n);
  t.match(await outcomes[0], { outcome: 'granted' });
  await one.unlock(file, owner(2), 'posix', 0n, 9n);
  t.match(await outcomes[1], { outcome: 'granted' });
  t.same(queue.granted, [2, 3]);
});

t.test(
  'locks taken, dropped and waited for without pause while graphs change: none is lost or left',
  async (t) => {
    const { real, one, two, file } = await scene(t);
    let stopped = false;
    let inside = 0;
    let rounds = 0;
    const worker = async (volume: DistributedVolume, number: number): Promise<void> => {
      while (!stopped) {
        const { outcome } = await volume.lock(lockOf(file, { owner: owner(number) })).outcome;
        if (outcome !== 'granted') throw new Error(outcome);
        inside += 1;
        if (inside !== 1) throw new Error('two holders');
        const { data } = await volume.read(file, 0, 8);
        const count = data.byteLength === 8 ? Buffer.from(data).readBigUInt64LE() : 0n;
        const next = Buffer.alloc(8);
        next.writeBigUInt64LE(count + 1n);
        await volume.write(file, 0, next);
        inside -= 1;
        rounds += 1;
        if (number % 2 === 0) await volume.unlock(file, owner(number), 'posix', 0n, 9n);
        else await volume.flushOwner(file, owner(number));
      }
    };
    const work = [1, 2, 3]
      .map((number) => worker(one, number))
      .concat([4, 5].map((number) => worker(two, number)));
    for (let round = 0; round < 8; round++) {
      await Promise.all([one.switchTo(real.change()), real.move(two, file, names[(round + 1) % 3]!)]);
      if (round % 3 === 0) await two.switchTo(real.volumeFile);
    }
    stopped = true;
    await Promise.all(work);
    t.same(await real.locks(file), []);
    t.ok(rounds > 20, `${rounds} rounds`);
    t.equal(
      Buffer.from((await one.read(file, 0, 8)).data).readBigUInt64LE(),
      BigInt(rounds),
      'no write is lost',
    );
  },
);

t.test('files come and go while graphs change: handles are counted right', async (t) => {
  const { real, one } = await scene(t);
  let stopped = false;
  const worker = async (number: number): Promise<void> => {
    for (let at = 0; !stopped; at++) {
      const name = `w${number}-${at}` as ByteText;
      const { file } = (await one.create(rootFileId, name, plainFile, { exclusive: true, open: true }))
        .attributes;
      await one.unlink(rootFileId, name);
      await one.write(file, 0, new Uint8Array([number]));
      await one.open(file, false);
      await one.release(file, []);
      const { data } = await one.read(file, 0, 1);
      if (data[0] !== number) throw new Error('the file is gone');
      await one.release(file, []);
    }
  };
  const work = [1, 2, 3, 4].map(worker);
  for (let round = 0; round < 8; round++) await one.switchTo(real.change());
  stopped = true;
  await Promise.all(work);
  const roots = 3;
  const files = async () => (await one.space()).files - roots;
  await until('every unnamed file is deleted', async () => (await files()) === 1);
  t.equal(await files(), 1);
});

t.test(
  'a token that was read before a move is good where the file went, and leaves nothing behind',
  async (t) => {
    const real = await RealVolume.start(t);
    const mover = await real.mount({ role: 'tool' });
    const file = await make(mover, nameOn(names[0]!, rootFileId, 1));
    const [old, next, thief] = [await real.links(t), await real.links(t), await real.links(t)];
    const [source, target] = [names[0]!, names[1]!];
    await old.get(source)!.call('open', { file, truncate: false });
    await old.get(source)!.call('lock', { ...lockOf(file), ticket: undefined });
    const { token, ...counts } = await old.get(source)!.call('readLockinfo', { file });
    t.same(counts, { count: 1, opens: 1 });
    await real.move(mover, file, target);
    const write = (of: typeof old, brick: BrickName) => of.get(brick)!.call('writeLockinfo', { file, token });
    await t.rejects(write(next, source), { code: 'EREMOTE', moved: { target } });
    const guessed = { file, token: 'f'.repeat(32) as typeof token };
    await t.rejects(thief.get(target)!.call('writeLockinfo', guessed), refusedWith('EPERM'));
    t.same(await write(next, target), { count: 1, opens: 1 });
    await t.rejects(write(thief, target), refusedWith('EPERM'), 'replayed');
    await t.rejects(write(thief, source), { code: 'EREMOTE' });
    t.equal((await real.locks(file)).length, 1);
    // Neither client tells the restarted brick of the lock: what the move had brought for the old one must be gone.
    await real.restart(target);
    await until('the brick is open', async () => (await real.locks(file)).length === 0);
    t.pass();
  },
);
