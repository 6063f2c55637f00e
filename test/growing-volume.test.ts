/**
 * A volume grows and its options change under real processes that hold and wait for locks through two mounts, while
 * their files move: no process notices.
 */
import { mkdir, readdir, readFile, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { openVolumeFolder } from '../bin/volume-folder.js';
import type { BrickName } from '../wire/ids.js';
import { Cluster, skipReason, until } from './cluster.js';
import { lockferry } from './command.js';
import type { OpenedFile, Wait } from './opened-file.js';

t.setTimeout(240_000);

const clientsOf = async (cluster: Cluster): Promise<Set<string>> => {
  const mounts = (await cluster.status()).flatMap(({ clients }) =>
    clients.filter(({ role }) => role === 'mount'),
  );
  return new Set(mounts.map(({ client }) => client));
};

/** Both mounts have changed to a new graph, and said goodbye to the old one everywhere. */
async function changed(cluster: Cluster, before: ReadonlySet<string>): Promise<void> {
  await until('both mounts changed', async () => {
    const now = await clientsOf(cluster);
    return now.size === 2 && [...now].every((client) => !before.has(client));
  });
}

t.test(
  'add-brick and options, again and again, under holders and waiters',
  { skip: skipReason },
  async (t) => {
    const cluster = await Cluster.start(t);
    const volume = join(cluster.folder, 'vol');
    const names = ['file', 'other'];
    for (const name of names) await writeFile(cluster.path(0, name), 'content\n');
    const holders: OpenedFile[] = [];
    const queues = new Map<string, { file: OpenedFile; wait: Wait }[]>();
    for (const [at, name] of names.entries()) {
      const holder = await cluster.opened(at, name);
      await holder.tryLock();
      await holder.tryLock('flock');
      holders.push(holder);
      const queue: { file: OpenedFile; wait: Wait }[] = [];
      for (let number = 0; number < 6; number++) {
        const file = await cluster.opened(number % 2, name);
        queue.push({ file, wait: file.lock(number % 3 === 2 ? 'ofd' : 'posix') });
        await cluster.untilWaiting(at * 6 + number + 1);
      }
      queues.set(name, queue);
    }

    let bricks: BrickName[] = [];
    for (const change of ['set', 'add-brick', 'set', 'add-brick', 'set']) {
      const before = await clientsOf(cluster);
      const written = holders[0]!.write(100, change.padEnd(9));
      const args = change === 'set' ? ['attr-timeout-ms', String(before.size * 100)] : [];
      const done = await lockferry('volume', change, volume, ...args);
      t.equal(done.code, 0, done.stderr);
      cluster.place = openVolumeFolder(volume);
      bricks = cluster.place.volume.bricks.map(({ name }) => name);
      // Without waiting for the mounts: the file may be at the new brick before they know of it.
      const target = bricks.at(-1)!;
      const home = (await cluster.homesOf('file'))[0]!;
      await cluster.migrate('file', home === target ? bricks[0]! : target);
      await written;
      await changed(cluster, before);
      await cluster.untilWaiting(12);
      for (const name of names) t.notOk(queues.get(name)!.some(({ wait }) => wait.isGranted || wait.error));
    }
    t.equal(bricks.length, 5);
    t.same(
      cluster.mounts.map((mount) => mount.hasEnded),
      [false, false],
    );

    for (const [at, name] of names.entries()) {
      let previous = holders[at]!;
      for (const { file, wait } of queues.get(name)!) {
        t.notOk(wait.isGranted);
        if (previous === holders[at]) await previous.unlock();
        else await previous.process.kill();
        await wait.over;
        t.equal(wait.error, undefined);
        previous = file;
      }
    }
    t.equal(String(await readFile(cluster.path(1, 'file'))).slice(100), 'set      ');
  },
);

t.test('what was there before a brick was added, and what comes after', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const volume = join(cluster.folder, 'vol');
  await mkdir(cluster.path(0, 'a/b/c'), { recursive: true });
  for (let at = 0; at < 20; at++) await writeFile(cluster.path(0, `a/b/c/${at}`), String(at));
  const before = await clientsOf(cluster);
  const added = await lockferry('volume', 'add-brick', volume, '--json');
  t.match(JSON.parse(added.stdout), { brick: 'brick-4', state: 'started', directories: 3 });
  cluster.place = openVolumeFolder(volume);
  await changed(cluster, before);
  for (let at = 0; at < 20; at++) t.equal(String(await readFile(cluster.path(1, `a/b/c/${at}`))), String(at));
  await t.rejects(stat(cluster.path(1, 'a/b/c/none')), { code: 'ENOENT' });
  await mkdir(cluster.path(1, 'a/b/new'));
  for (let at = 0; at < 20; at++) await writeFile(cluster.path(0, `a/b/new/${at}`), 'new');
  t.equal((await readdir(cluster.path(1, 'a/b/new'))).length, 20);
  t.ok(
    (await cluster.status()).find(({ brick }) => brick === 'brick-4')!.files > 6,
    'the new brick has some of them',
  );
  await rename(cluster.path(0, 'a/b/c/7'), cluster.path(0, 'a/b/new/seven'));
  t.equal(String(await readFile(cluster.path(1, 'a/b/new/seven'))), '7');
  for (let at = 0; at < 20; at++) await unlink(cluster.path(1, `a/b/new/${at}`));
  await unlink(cluster.path(1, 'a/b/new/seven'));
  await rmdir(cluster.path(0, 'a/b/new'));
  t.same(await readdir(cluster.path(1, 'a/b')), ['c']);
});

t.test('changes that cannot be are refused in one line', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { mounts: 0 });
  const volume = join(cluster.folder, 'vol');
  const unknown = await lockferry('volume', 'set', volume, 'colour', '1');
  t.match(unknown, { code: 2, stderr: /graceMs, freezeMs, attrTimeoutMs/ });
  t.match(await lockferry('volume', 'set', volume, 'freeze-ms', '0'), { code: 1, stderr: /freezeMs/ });
  t.equal(openVolumeFolder(volume).volume.version, 1, 'nothing was changed');
  await writeFile(join(volume, 'volume.json.new'), '');
  t.match(await lockferry('volume', 'set', volume, 'freeze-ms', '10'), {
    code: 1,
    stderr: /remove .*volume\.json\.new/,
  });
  await cluster.killBrick('brick-2' as BrickName);
  t.match(await lockferry('volume', 'add-brick', volume), { code: 4, stderr: /brick-2/ });
});
