/**
 * Deadlocks over real bricks and several clients: one wait of each ring gets `deadlock`, within a second, whatever
 * moves or restarts meanwhile; open files (OFD) never do; and rings that only the queue makes end with a grant.
 */
import t from 'tap';
import type { DistributedVolume } from '../dht/distributed-volume.js';
import type { LockOutcome, LockRequest } from '../dht/volume.js';
import { systemClock } from '../host/clock.js';
import { type FileId, rootFileId } from '../wire/ids.js';
import { lockOf, owner } from './fake-volume.js';
import { make, nameOn, names, RealVolume } from './real-volume.js';

const secondMs = 1000;

interface Watched {
  now: LockOutcome['outcome'] | `failed: ${string}` | undefined;
  readonly over: Promise<unknown>;
  cancel(): void;
}

/** A process unless `isOpenFile`. */
const ask = (
  volume: DistributedVolume,
  file: FileId,
  number: number,
  change: Partial<LockRequest> & { isOpenFile?: boolean } = {},
): Watched => {
  const { isOpenFile = false, ...fields } = change;
  const request = lockOf(file, {
    owner: owner(number),
    pid: number,
    isProcessOwner: async () => !isOpenFile,
    ...fields,
  });
  const asked = volume.lock(request);
  const watched: Watched = {
    now: undefined,
    cancel: () => asked.cancel(),
    over: asked.outcome.then(
      ({ outcome }) => {
        watched.now = outcome;
      },
      (error: unknown) => {
        watched.now = `failed: ${error}`;
      },
    ),
  };
  return watched;
};

const grantedNow = async (watched: Watched): Promise<void> => {
  await watched.over;
  if (watched.now !== 'granted') throw new Error(`granted is expected, not ${watched.now}`);
};

/** Resolves with the waits that are over, as soon as one is, and a moment later, so that a second one is seen. */
const settled = async (waits: readonly Watched[], ms: number): Promise<(string | undefined)[]> => {
  await Promise.race([...waits.map(({ over }) => over), systemClock.sleep(ms)]);
  await systemClock.sleep(400);
  return waits.map(({ now }) => now);
};

const outcomes = (found: (string | undefined)[]) => ({
  deadlock: found.filter((one) => one === 'deadlock').length,
  waiting: found.filter((one) => one === undefined).length,
});

/** Owners 1, 2, 3 at two clients hold one file each, of three bricks, and 1 and 2 wait for the next one's. */
async function almostRing(t: Parameters<typeof RealVolume.start>[0], isOpenFile = false) {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const files: FileId[] = [];
  for (const [at, brick] of names.entries())
    files.push(await make(one, nameOn(brick, rootFileId, at + 1), true));
  for (const file of files) await two.open(file, false);
  const at = (number: number): DistributedVolume => (number === 2 ? two : one);
  for (const number of [1, 2, 3]) await grantedNow(ask(at(number), files[number - 1]!, number));
  const waits = [1, 2].map((number) => ask(at(number), files[number]!, number, { isOpenFile }));
  await real.untilWaiting(files[1]!, 1);
  await real.untilWaiting(files[2]!, 1);
  const close = (): Watched => ask(one, files[0]!, 3, { isOpenFile });
  return { real, one, two, files, waits, close };
}

t.test(
  'three owners, three files on three bricks, two clients: the last to wait gets the deadlock',
  async (t) => {
    const { waits, close, one, files } = await almostRing(t);
    const began = systemClock.now();
    const last = close();
    await Promise.race([last.over, systemClock.sleep(5000)]);
    t.equal(last.now, 'deadlock');
    t.ok(systemClock.now() - began < secondMs, `after ${Math.round(systemClock.now() - began)} ms`);
    await systemClock.sleep(400);
    t.same(
      waits.map(({ now }) => now),
      [undefined, undefined],
      'nobody else',
    );
    await one.unlock(files[2]!, owner(3), 'posix', 0n, 9n);
    await grantedNow(waits[1]!);
  },
);

t.test('graphs that change before and while the ring is closed: one gets the deadlock', async (t) => {
  const { real, one, two, waits, close } = await almostRing(t);
  await one.switchTo(real.change());
  const last = close();
  await Promise.all([one.switchTo(real.change()), two.switchTo(real.volumeFile)]);
  t.same(outcomes(await settled([...waits, last], 5000)), { deadlock: 1, waiting: 2 });
});

t.test('the same ring of open files is none of our business', async (t) => {
  const { waits, close } = await almostRing(t, true);
  t.same(outcomes(await settled([...waits, close()], 1500)), { deadlock: 0, waiting: 3 });
});

t.test('one open file in the ring is enough', async (t) => {
  const { waits, one, files } = await almostRing(t);
  t.same(outcomes(await settled([...waits, ask(one, files[0]!, 3, { isOpenFile: true })], 1500)), {
    deadlock: 0,
    waiting: 3,
  });
});

t.test('two readers of one file that both want to write', async (t) => {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const file = await make(one, nameOn(names[0]!, rootFileId, 1), true);
  await grantedNow(ask(one, file, 1, { type: 'read' }));
  await grantedNow(ask(two, file, 2, { type: 'read' }));
  const first = ask(one, file, 1);
  await real.untilWaiting(file, 1);
  const second = ask(two, file, 2);
  t.same(await settled([first, second], secondMs), [undefined, 'deadlock']);
  await two.flushOwner(file, owner(2));
  await grantedNow(first);
});

t.test('threads: a process that waits in one and is waited for because of the other', async (t) => {
  const real = await RealVolume.start(t);
  const volume = await real.mount();
  const [a, b, c] = [
    await make(volume, nameOn(names[0]!, rootFileId, 1), true),
    await make(volume, nameOn(names[1]!, rootFileId, 2), true),
    await make(volume, nameOn(names[2]!, rootFileId, 3), true),
  ];
  await grantedNow(ask(volume, a, 1));
  await grantedNow(ask(volume, b, 2));
  await grantedNow(ask(volume, c, 3));
  const harmless = ask(volume, c, 1);
  const thread = ask(volume, b, 1);
  await real.untilWaiting(b, 1);
  const last = ask(volume, a, 2);
  t.same(await settled([harmless, thread, last], secondMs), [undefined, undefined, 'deadlock']);
});

t.test('files that move all the while: one deadlock, and not before there is one', async (t) => {
  const { real, one, files, waits, close } = await almostRing(t);
  let isOver = false;
  const moving = (async () => {
    for (let round = 0; !isOver; round++) {
      for (const [at, file] of files.entries())
        await real.move(one, file, names[(at + round) % names.length]!).catch((error: { code?: string }) => {
          if (error.code !== 'EINVAL') throw error;
        });
    }
  })();
  await systemClock.sleep(700);
  t.same(
    waits.map(({ now }) => now),
    [undefined, undefined],
  );
  const began = systemClock.now();
  const last = close();
  await Promise.race([last.over, ...waits.map(({ over }) => over), systemClock.sleep(8000)]);
  t.comment(`after ${Math.round(systemClock.now() - began)} ms`);
  await systemClock.sleep(400);
  isOver = true;
  await moving;
  t.same(
    [...waits, last].map(({ now }) => now),
    [undefined, undefined, 'deadlock'],
  );
});

t.test('bricks that restart while the ring is closed', async (t) => {
  const { real, waits, close } = await almostRing(t);
  const restarts = real.restart(names[1]!);
  const last = close();
  await restarts;
  await real.restart(names[0]!);
  t.same(outcomes(await settled([...waits, last], 5000)), { deadlock: 1, waiting: 2 });
});

t.test('a ring that only the queue makes: the wait passes, nobody gets a deadlock', async (t) => {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const a = await make(one, nameOn(names[0]!, rootFileId, 1), true);
  const b = await make(one, nameOn(names[1]!, rootFileId, 2), true);
  await grantedNow(ask(one, a, 1, { type: 'read' }));
  await grantedNow(ask(two, b, 3));
  const writer = ask(two, a, 2);
  await real.untilWaiting(a, 1);
  const first = ask(one, b, 1);
  await real.untilWaiting(b, 1);
  // In its way is only that the writer came first; and the writer waits for 1, who waits for 3.
  const last = ask(two, a, 3, { type: 'read' });
  t.same(await settled([last, first, writer], secondMs), ['granted', undefined, undefined]);
  await two.flushOwner(b, owner(3));
  await grantedNow(first);
});
