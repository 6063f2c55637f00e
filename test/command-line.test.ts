/** The command line as a user meets it: what it says, how it exits, what it leaves. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { cliPath } from '../bin/brick-processes.js';
import { Cluster, skipReason, until } from './cluster.js';
import { lockferry } from './command.js';
import { startLockferry } from './running-command.js';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'cli-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

const oneLine = /^lockferry: [^\n]+\n$/;

const listed = async (...args: readonly string[]) => {
  const { code, stdout, stderr } = await lockferry(...args, '--json');
  if (code !== 0) throw new Error(`lockferry ${args.join(' ')}: exit ${code}\n${stderr}`);
  return JSON.parse(stdout);
};

t.test('every command explains itself', async (t) => {
  const help = await lockferry('--help');
  t.equal(help.code, 0);
  for (const name of [
    'volume',
    'mount',
    'umount',
    'brick',
    'migrate',
    'locks',
    'status',
    'hold',
    'check',
    'simulate',
  ]) {
    t.match(help.stdout, new RegExp(`\\n  ${name} `), `--help names ${name}`);
    const own = await lockferry(name, '--help');
    t.equal(own.code, 0, `${name} --help`);
  }
  t.match((await lockferry('volume', 'create', '--help')).stdout, /Example:/);
});

t.test('a reader that is slow gets all of it, one that went away gets none of the blame', async (t) => {
  const file = join(folder, 'trace');
  const through = (pipe: string) =>
    run('sh', ['-c', `"$0" "$1" simulate --seed 64 --trace ${pipe}`, process.execPath, cliPath]);
  await through(`>'${file}'`);
  const { size } = statSync(file);
  t.ok(size > 128 * 1024, 'more than a pipe holds');
  // The pipe is full, and the command at its end, long before it is read.
  const slow = await through(`| { sleep 5; wc -c; }`);
  t.equal(Number(slow.stdout), size);
  const gone = await through('| head -1');
  t.match(gone.stdout, /starts/);
  t.equal(gone.stderr, '');
});

t.test('wrong usage exits with 2', async (t) => {
  const place = join(folder, 'usage');
  for (const args of [
    [],
    ['nonsense'],
    ['volume', 'create', place],
    ['volume', 'create', place, '--bricks', '0'],
    ['volume', 'create', place, '--bricks', 'three'],
    ['hold', place, '--type', 'append'],
    ['hold', place, '--type', 'read', '--start', '-1'],
    ['hold', place, '--type', 'read', '--kind', 'flock', '--length', '1'],
  ])
    t.equal((await lockferry(...args)).code, 2, `lockferry ${args.join(' ')}`);
});

t.test('what is not there exits with 3 and one line', async (t) => {
  const nowhere = join(folder, 'nowhere');
  for (const args of [
    ['volume', 'start', nowhere],
    ['volume', 'stop', nowhere],
    ['locks', nowhere],
    ['status', nowhere],
    ['mount', nowhere, folder],
    ['migrate', nowhere, 'file', '--to', 'brick-1'],
    ['brick', '--volume', nowhere, '--name', 'brick-1'],
    ['hold', nowhere, '--type', 'read'],
  ]) {
    const { code, stderr } = await lockferry(...args);
    t.equal(code, 3, `lockferry ${args.join(' ')}`);
    t.match(stderr, oneLine);
  }
});

t.test('a volume is made once, privately, and only in a new or empty folder', async (t) => {
  const place = join(folder, 'made');
  t.equal((await lockferry('volume', 'create', place, '--bricks', '2', '--name', 'my volume')).code, 0);
  t.equal(statSync(join(place, 'volume.json')).mode & 0o777, 0o600, 'the secret is for its owner only');
  t.equal(statSync(place).mode & 0o777, 0o700);
  const again = await lockferry('volume', 'create', place, '--bricks', '2');
  t.equal(again.code, 1);
  t.match(again.stderr, /already holds a volume/);
  const full = join(folder, 'full');
  mkdirSync(full);
  writeFileSync(join(full, 'mine'), 'mine');
  const refused = await lockferry('volume', 'create', full, '--bricks', '2');
  t.equal(refused.code, 1);
  t.match(refused.stderr, oneLine);
  t.equal(readFileSync(join(full, 'mine'), 'utf8'), 'mine');
});

t.test('a damaged volume.json is named with its field', async (t) => {
  const place = join(folder, 'damaged');
  await lockferry('volume', 'create', place, '--bricks', '1');
  const file = join(place, 'volume.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), graceMs: 'long' }));
  const { code, stderr } = await lockferry('status', place);
  t.equal(code, 1);
  t.match(stderr, /volume\.json: "graceMs" must be/);
});

t.test('a volume that does not run exits with 4 and says how to start it', async (t) => {
  const place = join(folder, 'stopped');
  await lockferry('volume', 'create', place, '--bricks', '2');
  for (const args of [
    ['locks', place],
    ['mount', place, folder],
    ['migrate', place, 'file', '--to', 'brick-1'],
  ]) {
    const { code, stderr } = await lockferry(...args);
    t.equal(code, skipReason && args[0] === 'mount' ? 5 : 4, `lockferry ${args[0]}`);
    t.match(stderr, oneLine);
  }
  const status = await lockferry('status', place, '--json');
  t.equal(status.code, 4);
  t.match(JSON.parse(status.stdout).bricks, [{ state: 'down' }, { state: 'down' }]);
});

for (const [how, ...options] of [['unix sockets'], ['TCP', '--tcp']] as const)
  t.test(`bricks start once, answer and stop (${how})`, async (t) => {
    const place = join(folder, how);
    await lockferry('volume', 'create', place, '--bricks', '3', ...options);
    t.teardown(() => lockferry('volume', 'stop', place));
    const states = async (...args: readonly string[]) =>
      (await listed('volume', ...args, place)).map(({ state }: { state: string }) => state);
    t.same(await states('start'), ['started', 'started', 'started']);
    t.same(await states('start'), ['was running', 'was running', 'was running']);
    const { bricks } = await listed('status', place);
    t.match(bricks, [{ brick: 'brick-1', state: 'open' }, { state: 'open' }, { state: 'open' }]);
    t.same(await listed('locks', place), []);
    process.kill(bricks[1].pid, 'SIGKILL');
    await until('a brick is seen as down', async () => (await lockferry('status', place)).code === 4);
    t.same(await states('start'), ['was running', 'started', 'was running']);
    t.same(await states('stop'), ['stopped', 'stopped', 'stopped']);
    t.same(await states('stop'), ['was not running', 'was not running', 'was not running']);
  });

t.test('a brick that cannot start is named with the end of its log', async (t) => {
  const place = join(folder, 'broken');
  await lockferry('volume', 'create', place, '--bricks', '2');
  t.teardown(() => lockferry('volume', 'stop', place));
  rmSync(join(place, 'bricks', 'brick-2'), { recursive: true });
  writeFileSync(join(place, 'bricks', 'brick-2'), 'not a folder');
  const { code, stderr } = await lockferry('volume', 'start', place);
  t.equal(code, 4);
  t.match(stderr, /brick-2 did not start \(exit code 1\)/);
  t.match(stderr, /the store in .* cannot be opened/);
  t.notMatch(stderr, /brick-1 did not/);
});

t.test('a volume deep in the file system works although its sockets would not fit', async (t) => {
  const place = join(folder, 'd'.repeat(90), 'e'.repeat(90));
  t.equal((await lockferry('volume', 'create', place, '--bricks', '2')).code, 0);
  t.teardown(() => lockferry('volume', 'stop', place));
  t.equal((await lockferry('volume', 'start', place)).code, 0);
  t.equal((await lockferry('status', place)).code, 0);
});

t.test('hold takes, refuses and waits on any filesystem', async (t) => {
  const file = join(folder, 'held');
  writeFileSync(file, '');
  for (const kind of ['posix', 'flock']) {
    const holder = startLockferry(t, 'hold', file, '--type', 'write', '--kind', kind);
    await holder.line(/^held: /);
    const refused = await lockferry('hold', file, '--type', 'read', '--kind', kind);
    t.equal(refused.code, 1, `${kind}: refused`);
    t.match(refused.stderr, /^lockferry: Refused: [^\n]+\n$/);
    const waiter = startLockferry(t, 'hold', file, '--type', 'read', '--kind', kind, '--wait');
    holder.kill('SIGINT');
    t.equal(await holder.ended, 0, `${kind}: the holder ends with 0`);
    await waiter.line(/^held: /);
    waiter.kill('SIGTERM');
    t.equal(await waiter.ended, 0);
  }
  const range = startLockferry(t, 'hold', file, '--type', 'write', '--start', '10', '--length', '5');
  await range.line(/bytes 10\.\.14/);
  t.equal((await lockferry('hold', file, '--type', 'read', '--start', '14', '--length', '1')).code, 1);
  range.kill('SIGINT');
  t.equal(await range.ended, 0);
});

t.test('a mountpoint must be a free folder', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { bricks: 1, mounts: 1 });
  const { point } = cluster.mounts[0]!;
  const file = join(cluster.folder, 'file');
  writeFileSync(file, '');
  for (const [place, code] of [
    [point, 5],
    [file, 5],
    [join(cluster.folder, 'missing'), 3],
  ] as const) {
    const refused = await lockferry('mount', cluster.place.folder, place);
    t.equal(refused.code, code, `mount on ${place}`);
    t.match(refused.stderr, oneLine);
  }
  t.equal((await lockferry('umount', point)).code, 0);
  const again = await lockferry('umount', point);
  t.equal(again.code, 5);
  t.match(again.stderr, /Nothing is mounted/);
});

t.test('a mount in the foreground unmounts on a signal', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { bricks: 1, mounts: 0 });
  const point = join(cluster.folder, 'front');
  mkdirSync(point);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const mount = startLockferry(t, 'mount', cluster.place.folder, point);
    await mount.line(/is mounted on/);
    writeFileSync(join(point, signal), signal);
    mount.kill(signal);
    t.equal(await mount.ended, 0, signal);
    t.notOk(readFileSync('/proc/mounts', 'utf8').includes(point));
  }
});

t.test('umount takes away a mount whose process was killed', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { bricks: 1, mounts: 0 });
  const point = join(cluster.folder, 'dead');
  mkdirSync(point);
  const mount = startLockferry(t, 'mount', cluster.place.folder, point);
  await mount.line(/is mounted on/);
  mount.kill('SIGKILL');
  await mount.ended;
  t.throws(() => readdirSync(point), { code: 'ENOTCONN' });
  const refused = await lockferry('mount', cluster.place.folder, point);
  t.equal(refused.code, 5);
  t.equal((await lockferry('umount', point)).code, 0);
  t.ok(statSync(point).isDirectory());
});

t.test('a lock is refused, listed, moved and gone with its holder', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = [cluster.path(0, 'file'), cluster.path(1, 'file')];
  const locks = () => listed('locks', cluster.place.folder, '/file');
  writeFileSync(a, 'content');
  const holder = startLockferry(t, 'hold', a, '--type', 'write');
  await holder.line(/^held: /);
  const waiter = startLockferry(t, 'hold', b, '--type', 'read', '--wait');
  await until('the waiter is listed', async () => (await locks()).length === 2);
  const before = await locks();
  t.match(before, [
    { state: 'held', kind: 'posix', type: 'write', start: '0', pid: holder.pid, path: '/file', ticket: null },
    { state: 'waiting', kind: 'posix', type: 'read', pid: waiter.pid, path: '/file', ticket: Number },
  ]);
  for (const brick of ['brick-1', 'brick-2', 'brick-3', 'brick-1']) {
    const moved = await lockferry('migrate', cluster.place.folder, 'file', '--to', brick, '--json');
    t.equal(moved.code, 0, `moved to ${brick}`);
    t.equal(JSON.parse(moved.stdout).to, brick);
    const after = await locks();
    t.same(
      after,
      before.map((lock: object) => ({ ...lock, brick })),
      'the same locks, there',
    );
    t.equal((await lockferry('hold', b, '--type', 'read')).code, 1, 'still refused');
  }
  const there = await lockferry('migrate', cluster.place.folder, 'file', '--to', 'brick-1');
  t.equal(there.code, 0);
  t.match(there.stdout, /already/);
  holder.kill('SIGKILL');
  const since = performance.now();
  await waiter.line(/^held: /);
  t.ok(performance.now() - since < 1000, 'the waiter is granted within a second');
  waiter.kill('SIGKILL');
  await until('no lock is left', async () => (await locks()).length === 0, 1000);
  t.equal(readFileSync(b, 'utf8'), 'content');
});

t.test('what cannot move says why', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { mounts: 1 });
  mkdirSync(cluster.path(0, 'dir'));
  writeFileSync(cluster.path(0, 'dir/file'), '');
  const wrong = async (path: string, brick: string) =>
    lockferry('migrate', cluster.place.folder, path, '--to', brick);
  t.equal((await wrong('dir/file', 'brick-9')).code, 3);
  t.equal((await wrong('dir/file', 'Brick 1')).code, 2);
  t.equal((await wrong('dir/none', 'brick-1')).code, 3);
  t.equal((await wrong('dir', 'brick-1')).code, 1);
  t.equal((await wrong('../file', 'brick-1')).code, 2);
  const { stderr } = await wrong('dir/none', 'brick-1');
  t.match(stderr, /no "none" in \/dir/);
  t.match(stderr, oneLine);
});
