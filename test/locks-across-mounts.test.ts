/**
 * What a user sees who has two mounts of one volume: a lock taken in one counts in the other, goes with its file from
 * brick to brick, and dies with its process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { cliPath } from '../bin/brick-processes.js';
import type { Kind, Type } from '../conformance/lock-process.js';
import { Cluster, skipReason, until } from './cluster.js';
import { lockferry } from './command.js';

/** `lockferry hold` in the background. */
class Hold {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  isHeld = false;

  constructor(t: Test, file: string, kind: string, type: string, ...options: readonly string[]) {
    const args = ['hold', file, '--kind', kind, '--type', type, ...options];
    this.child = spawn(process.execPath, [cliPath, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    t.teardown(() => this.child.kill('SIGKILL'));
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      if (line.startsWith('held: ')) this.isHeld = true;
    });
  }
}

const refusedExit = 1;

t.setTimeout(300_000);

t.test('a lock of one mount in the eyes of the other', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  for (const kind of ['posix', 'flock']) {
    await t.test(`${kind}: held with lockferry hold, moved to each brick, dropped by SIGKILL`, async (t) => {
      const name = `held-${kind}`;
      await writeFile(cluster.path(0, name), 'content of a file that will be locked\n');
      const holder = new Hold(t, cluster.path(0, name), kind, 'write');
      await until('hold', () => holder.isHeld);

      t.equal(
        (await lockferry('hold', cluster.path(1, name), '--kind', kind, '--type', 'write')).code,
        refusedExit,
      );
      const listed = JSON.parse((await lockferry('locks', cluster.place.folder, name, '--json')).stdout);
      t.match(listed, [{ state: 'held', kind, type: 'write', pid: holder.child.pid, path: `/${name}` }]);
      t.equal(listed.length, 1);

      const waiter = new Hold(t, cluster.path(1, name), kind, 'write', '--wait');
      await cluster.untilWaiting(1);
      const [home] = await cluster.homesOf(name);
      const others = cluster.bricks.filter((brick) => brick !== home);
      for (const target of [...others, home!]) {
        const moved = await lockferry('migrate', cluster.place.folder, name, '--to', target);
        t.equal(moved.code, 0, moved.stderr);
        const refused = await lockferry('hold', cluster.path(1, name), '--kind', kind, '--type', 'write');
        t.equal(refused.code, refusedExit, `refused while the file is on ${target}`);
        t.same(await cluster.homesOf(name), [target]);
        t.notOk(waiter.isHeld);
      }

      const killedAt = performance.now();
      holder.child.kill('SIGKILL');
      await until('the waiter of the other mount holds', () => waiter.isHeld);
      t.ok(
        performance.now() - killedAt < 1000,
        `granted after ${Math.round(performance.now() - killedAt)} ms`,
      );
      t.match(await cluster.locks(), [{ state: 'held', pid: waiter.child.pid }]);
      waiter.child.kill('SIGKILL');
      await until('nobody holds', async () => (await cluster.locks()).length === 0, 1000);
    });
  }

  await t.test(
    'read locks are shared between mounts and while they move; a writer waits for the last',
    async (t) => {
      const kinds: [Kind, Kind][] = [
        ['posix', 'posix'],
        ['posix', 'ofd'],
        ['flock', 'flock'],
      ];
      for (const [first, second] of kinds) {
        const name = `shared-${first}-${second}`;
        await writeFile(cluster.path(0, name), 'x');
        const readers = [await cluster.opened(0, name), await cluster.opened(1, name)] as const;
        const writer = await cluster.opened(1, name);
        const read: Type = 'read';
        t.equal(await readers[0].tryLock(first, read), 'granted');
        t.equal(await readers[1].tryLock(second, read), 'granted');
        t.equal(await writer.tryLock(first), 'refused');
        const wait = writer.lock(first);
        await cluster.untilWaiting(1);
        const [home] = await cluster.homesOf(name);
        await cluster.migrate(name, cluster.bricks.find((brick) => brick !== home)!);
        await readers[0].kill();
        await until('one reader left', async () => (await cluster.locks()).length === 2);
        t.notOk(wait.isGranted);
        await readers[1].kill();
        await wait.over;
        t.ok(wait.isGranted);
        await writer.kill();
      }
      await until('nobody holds', async () => (await cluster.locks()).length === 0);
    },
  );
});
