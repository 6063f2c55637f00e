/**
 * A thousand processes wait for one byte, on two mounts. A third of them is killed or interrupted at random while the
 * others are granted, some are interrupted with SA_RESTART, and the file moves twice meanwhile. Whoever is left is
 * granted once, in the order of the tickets, and nobody waits for ever.
 */
import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { LockProcess } from '../conformance/lock-process.js';
import { Cluster, patienceMs, skipReason, until } from './cluster.js';
import { seededRandom } from './seeded-random.js';

const count = 1000;
const seed = Number(process.env.LOCKFERRY_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** How many processes are started at a time. */
const batch = 25;

type Fate = 'granted' | 'killed' | 'interrupted' | 'restarted';
interface Waiter {
  readonly process: LockProcess;
  readonly fate: Fate;
  readonly fd: number;
  readonly outcome: Promise<string>;
}

t.setTimeout(240_000);

t.test('a thousand waiters', { skip: skipReason }, async (t) => {
  t.comment(`seed ${seed}`);
  const random = seededRandom(seed);
  const cluster = await Cluster.start(t, { bricks: 2 });
  await writeFile(cluster.path(0, 'byte'), 'x');
  const holder = await cluster.opened(0, 'byte');
  t.equal(await holder.tryLock(), 'granted');

  const waiters: Waiter[] = [];
  t.teardown(() => Promise.all(waiters.map(({ process }) => process.kill())));
  const granted: number[] = [];
  const start = async (at: number): Promise<void> => {
    const process = LockProcess.start();
    const fate: Fate =
      at % 3 === 0
        ? random(2) === 0
          ? 'killed'
          : 'interrupted'
        : random(10) === 0
          ? 'restarted'
          : 'granted';
    const fd = await process.open(cluster.path(at % 2, 'byte'), 'rw');
    if (fate === 'interrupted') await process.handle('SIGUSR1', 'interrupt');
    if (fate === 'restarted') await process.handle('SIGUSR1', 'restart');
    const outcome = process.lock(fd, 'posix', 'write', 0n, 1n, true).then(
      (answer) => {
        granted.push(process.pid);
        return answer as string;
      },
      (error: { code?: string }) => error.code ?? String(error),
    );
    waiters.push({ process, fate, fd, outcome });
  };
  for (let at = 0; at < count; at += batch)
    await Promise.all(Array.from({ length: batch }, (_, of) => start(at + of)));
  await cluster.untilWaiting(count);

  const order = (await cluster.waiters()).sort((a, b) => a.ticket! - b.ticket!).map(({ pid }) => pid);
  const byPid = new Map(waiters.map((waiter) => [waiter.process.pid, waiter]));
  t.same(new Set(order), new Set(byPid.keys()), 'every process has its ticket');

  const [home] = await cluster.homesOf('byte');
  const away = cluster.bricks.find((brick) => brick !== home)!;
  const moving = cluster.migrate('byte', away).then(() => cluster.migrate('byte', home!));
  const doomed = waiters.filter(({ fate }) => fate !== 'granted');
  /** One more of the doomed gets its signal, if it was not granted before. */
  const disturb = (): void => {
    const waiter = doomed.splice(random(doomed.length || 1), 1)[0];
    if (waiter === undefined || granted.includes(waiter.process.pid)) return;
    waiter.process.signal(waiter.fate === 'killed' ? 'SIGKILL' : 'SIGUSR1');
  };
  for (let at = 0; at < 200; at++) disturb();
  await holder.unlock();

  const ended = new Set<number>();
  const started = performance.now();
  for (let next = 0; ended.size < count; next++) {
    const pid = order.find((one) => !ended.has(one))!;
    const { process, outcome, fate, fd } = byPid.get(pid)!;
    disturb();
    const answer = await outcome;
    ended.add(pid);
    if (answer !== 'granted') {
      const expected = fate === 'killed' ? 'ESRCH' : 'EINTR';
      if (answer !== expected || !(fate === 'killed' || fate === 'interrupted'))
        t.fail(`waiter ${next} (${fate}) was answered ${answer}`);
      continue;
    }
    // One that is killed at this very moment may not get so far; its lock goes with it.
    await process.unlock(fd, 'posix', 0n, 1n).catch((error: { code?: string }) => {
      if (fate !== 'killed' || error.code !== 'ESRCH') throw error;
    });
  }
  t.comment(`${granted.length} granted, ${Math.round(performance.now() - started)} ms`);
  const places = new Map(order.map((pid, place) => [pid, place]));
  t.same(
    granted.map((pid) => places.get(pid)),
    granted.map((pid) => places.get(pid)).sort((a, b) => a! - b!),
    'granted in the order of their tickets',
  );
  t.ok(granted.length >= (count * 2) / 3 - 1, 'all that were left');
  await moving;
  t.same(await cluster.homesOf('byte'), [home]);
  await until('no lock is left', async () => (await cluster.locks()).length === 0, patienceMs);
});
