/** The order of tasks on one file: at once, after the holder, and never out of turn. */
import t from 'tap';
import type { FileId } from '../wire/ids.js';
import { FileQueue } from './file-queue.js';

const file = '1'.repeat(32) as FileId;
const other = '2'.repeat(32) as FileId;

t.test('a task on a free file runs at once and hands back its value', async (t) => {
  const queue = new FileQueue();
  t.equal(
    queue.run(file, () => 7),
    7,
  );
  t.equal(queue.isHeld(file), false);
});

t.test('tasks wait for the holder and then run in arrival order; another file goes on', async (t) => {
  const queue = new FileQueue();
  const seen: string[] = [];
  const release = queue.hold(file);
  const first = queue.run(file, () => seen.push('first'));
  const second = queue.run(file, () => seen.push('second'));
  queue.run(other, () => seen.push('other'));
  t.strictSame(seen, ['other']);
  t.equal(queue.waitingCount(file), 2);
  release();
  t.strictSame(seen, ['other', 'first', 'second']);
  await Promise.all([first, second]);
  t.throws(release, /twice/);
});

t.test('a waiting task that holds the file keeps the later ones behind it', async (t) => {
  const queue = new FileQueue();
  const seen: string[] = [];
  const release = queue.hold(file);
  let releaseAgain = (): void => undefined;
  queue.run(file, () => {
    seen.push('holder');
    releaseAgain = queue.hold(file);
  });
  queue.run(file, () => seen.push('last'));
  release();
  queue.run(file, () => seen.push('newcomer'));
  t.strictSame(seen, ['holder']);
  releaseAgain();
  t.strictSame(seen, ['holder', 'last', 'newcomer']);
});

t.test('a task that throws rejects its own promise and stops nobody', async (t) => {
  const queue = new FileQueue();
  const release = queue.hold(file);
  const bad = queue.run(file, () => {
    throw new Error('no');
  });
  const good = queue.run(file, () => 1);
  release();
  await t.rejects(Promise.resolve(bad), /no/);
  t.equal(await good, 1);
});
