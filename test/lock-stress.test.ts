/**
 * Other people's lock programs on real mounts, for a few seconds each: stress-ng, which verifies what it does, and
 * ping_pong of Samba's ctdb, which counts a byte under locks in several processes: each must see all that the others
 * counted, whether it reads and writes or maps the file.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Cluster, skipReason, until } from './cluster.js';
import { Mover } from './mover.js';

const seconds = 4;
/** ping_pong wants one lock more than there are processes. */
const players = 4;

interface Game {
  /** The `data increment` of each player when all had joined. */
  readonly settled: readonly (number | undefined)[];
  /** What they printed of it from then on: nothing, as long as it stays what it is. */
  readonly later: readonly number[];
  readonly locksPerSecond: number;
  readonly said: string;
}

const numbersIn = (text: string, pattern: RegExp): number[] =>
  [...text.matchAll(pattern)].map((match) => Number(match[1]));
const increments = (text: string): number[] => numbersIn(text, /data increment = (\d+)/g);

/** Processes on both mounts play with one file. */
async function pingPong(t: Test, cluster: Cluster, name: string, flags: readonly string[]): Promise<Game> {
  const outputs = new Array<string>(players).fill('');
  const children = Array.from({ length: players }, (_, at) => {
    const args = [...flags, cluster.path(at % 2, name), String(players + 1)];
    // It prints carriage returns without a flush unless it is a terminal or unbuffered.
    const child = spawn('stdbuf', ['-o0', 'ping_pong', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    t.teardown(() => child.kill('SIGKILL'));
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        outputs[at] += text;
      });
    return child;
  });
  const counts = flags.length > 0;
  // While players join, the increment grows.
  const hasJoined = (text: string): boolean =>
    counts ? increments(text).at(-1) === players : text.includes('locks/sec');
  const joined = await until('all players', () => outputs.every(hasJoined)).then(
    () => [...outputs],
    () => undefined,
  );
  const settled = (joined ?? outputs).map((text) => increments(text).at(-1));
  if (joined !== undefined) await sleep(seconds * 1000);
  // From here on fewer play, and the increment falls.
  const said = [...outputs];
  const ended = children.map((child) => new Promise((resolve) => child.once('close', resolve)));
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(ended);
  return {
    settled,
    later: said.flatMap((text, at) => increments(text.slice(joined?.[at]?.length))),
    locksPerSecond: Math.max(0, ...said.flatMap((text) => numbersIn(text, /(\d+) locks\/sec/g))),
    said: said.join('\n').replaceAll('\r', '\n'),
  };
}

t.setTimeout(240_000);

t.test('lock programs of others', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t);

  await t.test('stress-ng', async (t) => {
    const folder = cluster.path(0, 'stress');
    mkdirSync(folder);
    const kinds = ['fcntl', 'flock', 'lockf', 'lockofd'].flatMap((kind) => [`--${kind}`, '2']);
    const args = ['--temp-path', folder, ...kinds, '--verify', '--timeout', `${seconds}s`];
    const { stderr, stdout } = await promisify(execFile)('stress-ng', args, { cwd: '/', timeout: 60_000 });
    t.match(stdout + stderr, /successful run completed/);
    t.notMatch(stdout + stderr, /fail:/);
  });

  for (const flags of [[], ['-rw'], ['-rw', '-m']]) {
    const title = ['ping_pong', ...flags].join(' ');
    await t.test(title, async (t) => {
      const { settled, later, locksPerSecond, said } = await pingPong(
        t,
        cluster,
        `file${flags.join('')}`,
        flags,
      );
      t.comment(`${locksPerSecond} locks a second`);
      t.ok(locksPerSecond > 0, 'it goes on', { said });
      if (flags.length > 0) {
        t.same(settled, new Array(players).fill(players), 'each sees what all counted', { said });
        t.same(later, [], 'in every round', { said });
      }
      t.notMatch(said, /failed|error/i);
    });
  }

  await t.test('ping_pong -rw while its file moves', async (t) => {
    const mover = await Mover.start(cluster);
    const { settled, later, said } = await pingPong(t, cluster, 'moving', ['-rw']);
    await mover.stop();
    t.ok(mover.moves > 10, `${mover.moves} moves`);
    t.same(settled, new Array(players).fill(players), 'each sees what all counted', { said });
    t.same(later, [], 'in every round', { said });
  });
});
