/**
 * The disk of one brick fills up: the writer is told ENOSPC, what was there stays, locks and small changes go on,
 * deleting makes room, and a file that was to move there stays where it is, locks and all.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { BrickName } from '../wire/ids.js';
import { Cluster, skipReason, until } from './cluster.js';
import { errnoOf } from './opened-file.js';

t.setTimeout(300_000);

const mib = 1024 * 1024;
const diskMib = 256;
/** LevelDB gives room back when it has rewritten what lies around it; on a busy machine that takes its time. */
const compactingMsMax = 90_000;
const full = 'brick-2' as BrickName;
const roomy = 'brick-1' as BrickName;

/** Where a file first differs from what was acknowledged; undefined where it does not. */
async function differsAt(path: string, expected: Buffer): Promise<string | undefined> {
  const found = await readFile(path);
  if (found.equals(expected)) return undefined;
  const at = expected.findIndex((byte, index) => found[index] !== byte);
  const text = (bytes: Buffer): string => JSON.stringify(bytes.subarray(at, at + 40).toString('latin1'));
  return `${found.length} bytes, ${expected.length} expected; at ${at} ${text(found)}, expected ${text(expected)}`;
}

/** Writes MiB after MiB until that is refused; answers the errno and how many were taken. */
async function fill(path: string, content: Buffer): Promise<{ taken: number; error: string }> {
  const file = await open(path, 'r+');
  try {
    for (let taken = 0; taken < 1000; taken++) {
      const error = await errnoOf(file.write(content, 0, mib, taken * mib).then(() => 'none'));
      if (error !== 'none') return { taken, error };
    }
    throw new Error('the disk was never full');
  } finally {
    await file.close();
  }
}

t.test('a brick whose disk is full', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { bricks: 2, smallDisk: { brick: full, mib: diskMib } });
  const chunk = randomBytes(mib);
  const placed = async (name: string, content: Buffer | string, brick: BrickName): Promise<void> => {
    await writeFile(cluster.path(0, name), content);
    await cluster.migrate(name, brick);
  };
  const old = randomBytes(4 * mib);
  await placed('old', old, full);
  await placed('big', 'grows', full);
  // More than the disk holds beside what the brick keeps free, however well LevelDB has tidied up.
  const content = randomBytes(diskMib * 0.8 * mib);
  await placed('guest', content, roomy);
  const holder = await cluster.opened(0, 'old');
  t.equal(await holder.tryLock(), 'granted');

  await t.test('the writer is told, nothing is lost, locks go on', async (t) => {
    const { taken, error } = await fill(cluster.path(0, 'big'), chunk);
    t.equal(error, 'ENOSPC', `after ${taken} MiB`);
    t.ok(taken > diskMib / 4, `${taken} MiB fitted`);
    t.equal(await differsAt(cluster.path(1, 'old'), old), undefined, 'what was there is there');
    const big = await readFile(cluster.path(1, 'big'));
    t.equal(big.length, taken * mib, 'what was taken is there, and no part of what was refused');
    t.ok(big.subarray(0, mib).equals(chunk) && big.subarray(big.length - mib).equals(chunk));
    const other = await cluster.opened(1, 'old');
    t.equal(await other.tryLock(), 'refused');
    const wait = other.lock();
    await cluster.untilWaiting(1);
    await holder.unlock();
    await wait.over;
    t.ok(wait.isGranted);
    await other.unlock();
    t.equal(await holder.tryLock(), 'granted');
    // While LevelDB compacts it takes of the room that the brick keeps free for this.
    await until(
      'small files are made',
      async () => (await errnoOf(writeFile(cluster.path(0, 'small'), 'still made'))) === 'undefined',
    );
    t.equal(await readFile(cluster.path(1, 'small'), 'utf8'), 'still made');
  });

  await t.test('a file that was to move there stays, with its locks', async (t) => {
    const guest = await cluster.opened(0, 'guest');
    t.equal(await guest.tryLock(), 'granted');
    const refused = await cluster.migrate('guest', full).then(
      () => 'moved',
      (error: Error) => error.message,
    );
    t.match(refused, /the disk under .* (keeps|is full)/);
    t.match(refused, /It is on brick-1 as before/);
    t.same(await cluster.homesOf('guest'), [roomy]);
    t.equal(await (await cluster.opened(1, 'guest')).tryLock(), 'refused');
    await guest.write(0, 'usable');
    content.write('usable');
    t.equal(await differsAt(cluster.path(1, 'guest'), content), undefined);
    await guest.kill();
  });

  await t.test('deleting makes room', async (t) => {
    await unlink(cluster.path(1, 'big'));
    const again = cluster.path(0, 'again');
    await placed('again', 'x', full);
    let taken = 0;
    await until(
      'room for 30 MiB',
      async () => {
        ({ taken } = await fill(again, chunk));
        return taken >= 30;
      },
      compactingMsMax,
    );
    t.equal((await stat(cluster.path(1, 'again'))).size, taken * mib);
    await unlink(again);
    const other = randomBytes(30 * mib);
    await placed('smaller guest', other, roomy);
    await until(
      'the smaller guest moves in',
      async () => (await errnoOf(cluster.migrate('smaller guest', full).then(() => 'moved'))) === 'moved',
      compactingMsMax,
    );
    t.equal(await differsAt(cluster.path(1, 'smaller guest'), other), undefined);
    t.equal(await differsAt(cluster.path(1, 'old'), old), undefined);
  });

  await t.test('another program takes the last byte of the disk, and gives it back', async (t) => {
    const disk = cluster.dataOf(full);
    const tooMuch = writeFile(join(disk, 'other-program'), Buffer.alloc(256 * mib));
    t.equal(await errnoOf(tooMuch), 'ENOSPC');
    let outcome = '';
    for (let at = 0; at < 2000 && outcome !== 'ENOSPC'; at++) {
      const text = `${at} `.padEnd(2900, 'x');
      outcome = await errnoOf(holder.write(at * text.length, text));
      if (outcome === String(text.length)) old.write(text, at * text.length);
    }
    t.equal(outcome, 'ENOSPC');
    t.equal(await differsAt(cluster.path(1, 'old'), old), undefined);
    t.equal(await (await cluster.opened(1, 'old')).tryLock(), 'refused', 'locks need no disk');
    await unlink(join(disk, 'other-program'));
    await until('writes work again', async () => (await errnoOf(holder.write(0, 'back'))) === '4');
    old.write('back');
    t.equal(await differsAt(cluster.path(1, 'old'), old), undefined);
    await cluster.killBrick(full);
    await cluster.startBricks();
    t.equal(await differsAt(cluster.path(1, 'old'), old), undefined, 'also after the brick was killed');
    t.equal(await (await cluster.opened(1, 'old')).tryLock(), 'refused');
  });
});
