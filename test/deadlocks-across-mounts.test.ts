/**
 * Deadlocks of real processes over two mounts and three bricks: F_SETLKW of one of them fails with EDEADLK, within a
 * second, as on a local file; F_OFD_SETLKW and flock wait, as there; and nothing else fails, also while files move.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Kind, LockProcess, Type } from '../conformance/lock-process.js';
import { Cluster, skipReason } from './cluster.js';

const secondMs = 1000;

/** What became of calls that wait, by number; those that still wait are not in it. */
class Calls {
  readonly over = new Map<number, string>();
  readonly #first: Promise<void>;
  #resolve: () => void = () => undefined;

  constructor() {
    this.#first = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  add(number: number, call: Promise<string>): void {
    const done = (outcome: string): void => {
      this.over.set(number, outcome);
      this.#resolve();
    };
    call.then(done, (error: { code?: string }) => done(error.code ?? String(error)));
  }

  /** Resolves some time after the first call is over, so that a second one would be seen; or in vain after `ms`. */
  async settle(ms: number): Promise<number> {
    const began = performance.now();
    const late = new AbortController();
    await Promise.race([this.#first, sleep(ms, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
    const tookMs = performance.now() - began;
    await sleep(500);
    return tookMs;
  }
}

interface Party {
  readonly process: LockProcess;
  readonly own: number;
  readonly next: number;
}

/** Three processes at two mounts; each holds a file of its own, on a brick of its own, and has the next one's open. */
async function parties(cluster: Cluster, kind: Kind, tag: string): Promise<Party[]> {
  const files = cluster.bricks.map((brick) => `${tag}-${kind}-${brick}`);
  const found: Party[] = [];
  for (const [at, file] of files.entries()) {
    writeFileSync(cluster.path(0, file), file);
    const brick = cluster.bricks[at]!;
    if ((await cluster.homesOf(file))[0] !== brick) await cluster.migrate(file, brick);
  }
  for (const [at, file] of files.entries()) {
    const process = cluster.process();
    const own = await process.open(cluster.path(at % 2, file), 'rw');
    const next = await process.open(cluster.path(at % 2, files[(at + 1) % files.length]!), 'rw');
    await process.lock(own, kind, 'write', 0n, 0n);
    found.push({ process, own, next });
  }
  return found;
}

const waits = (calls: Calls, number: number, party: Party, kind: Kind): void =>
  calls.add(number, party.process.lock(party.next, kind, 'write', 0n, 0n, true));

t.test('deadlocks of processes over mounts and bricks', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);

  /** Closes a ring of three; answers the calls and how long the last one took. */
  const ring = async (kind: Kind, tag: string, ms: number) => {
    const three = await parties(cluster, kind, tag);
    const calls = new Calls();
    for (const at of [0, 1]) waits(calls, at, three[at]!, kind);
    await cluster.untilWaiting(2);
    waits(calls, 2, three[2]!, kind);
    return { three, calls, tookMs: await calls.settle(ms) };
  };

  await t.test('posix: the last of three to wait, and nobody else', async (t) => {
    const { three, calls, tookMs } = await ring('posix', 'ring', 10_000);
    t.same([...calls.over], [[2, 'EDEADLK']]);
    t.ok(tookMs < secondMs, `after ${Math.round(tookMs)} ms`);
    await three[2]!.process.unlock(three[2]!.own, 'posix', 0n, 0n);
    await calls.settle(secondMs);
    t.equal(calls.over.get(1), 'granted', 'the others go on');
    for (const { process } of three) await process.kill();
  });

  for (const kind of ['ofd', 'flock'] as const) {
    await t.test(`${kind}: never`, async (t) => {
      const { three, calls } = await ring(kind, 'ring', 1500);
      t.same([...calls.over], []);
      await three[0]!.process.kill();
      await calls.settle(5000);
      t.equal(calls.over.get(2), 'granted');
      for (const { process } of three) await process.kill();
    });
  }

  for (const kind of ['posix', 'ofd'] as const) {
    await t.test(`two readers of one file that both want to write, ${kind}`, async (t) => {
      const name = `upgrade-${kind}`;
      writeFileSync(cluster.path(0, name), '');
      const calls = new Calls();
      const two = [await cluster.opened(0, name), await cluster.opened(1, name)];
      for (const one of two) await one.tryLock(kind, 'read' satisfies Type);
      for (const [at, one] of two.entries()) {
        const wait = one.lock(kind);
        calls.add(
          at,
          wait.over.then(() => wait.error ?? 'granted'),
        );
        if (at === 0) await cluster.untilWaiting(1);
      }
      const tookMs = await calls.settle(1500);
      t.same([...calls.over], kind === 'posix' ? [[1, 'EDEADLK']] : []);
      if (kind === 'posix') t.ok(tookMs < secondMs, `after ${Math.round(tookMs)} ms`);
      t.equal((await cluster.locks()).filter(({ state }) => state === 'held').length, 2, 'both still read');
      await two[1]!.kill();
      await calls.settle(5000);
      t.equal(calls.over.get(0), 'granted');
      await two[0]!.kill();
    });
  }

  await t.test('a process whose one thread waits while another holds', async (t) => {
    const [first, second] = await parties(cluster, 'posix', 'threads');
    const calls = new Calls();
    const thread = await first!.process.lockInThread(first!.next, 'posix', 'write', 0n, 0n);
    await cluster.untilWaiting(1);
    const back = await second!.process.open(cluster.path(1, `threads-posix-${cluster.bricks[0]}`), 'rw');
    calls.add(2, second!.process.lock(back, 'posix', 'write', 0n, 0n, true));
    t.ok((await calls.settle(10_000)) < secondMs);
    t.same([...calls.over], [[2, 'EDEADLK']]);
    await second!.process.kill();
    t.equal(await first!.process.join(thread), 'granted');
    await first!.process.kill();
  });

  await t.test('a ring of files that move all the while', async (t) => {
    let isOver = false;
    const move = async (): Promise<number> => {
      let moves = 0;
      for (; !isOver; moves++) {
        const name = `moving-posix-${cluster.bricks[moves % 3]}`;
        const [home] = await cluster.homesOf(name);
        await cluster.migrate(name, cluster.bricks[(cluster.bricks.indexOf(home!) + 1) % 3]!);
      }
      return moves;
    };
    const three = await parties(cluster, 'posix', 'moving');
    const calls = new Calls();
    const moving = move();
    for (const at of [0, 1]) waits(calls, at, three[at]!, 'posix');
    await sleep(1500);
    t.same([...calls.over], [], 'no deadlock yet');
    waits(calls, 2, three[2]!, 'posix');
    const tookMs = await calls.settle(10_000);
    isOver = true;
    t.comment(`${await moving} moves, EDEADLK after ${Math.round(tookMs)} ms`);
    t.same([...calls.over], [[2, 'EDEADLK']]);
    for (const { process } of three) await process.kill();
  });
});
