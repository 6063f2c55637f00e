/**
 * SQLite, which trusts fcntl locks with its data: four processes over two mounts insert into one database while the
 * database and whatever lies beside it move from brick to brick without pause. Every insert that was acknowledged is
 * there at the end, and SQLite itself finds nothing wrong. One round for each kind of rollback journal.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { asRefusal } from '../wire/errors.js';
import { Cluster, skipReason, until } from './cluster.js';

const roundMs = 6000;
/** SQLite asks for its locks again and again with pauses up to 100 ms, so it needs luck, and writers that pause. */
const busyMs = 60_000;
const pauseMs = 40;
const insertsMin = 10;
const movesMin = 6;

/** The `sqlite3` of the distribution, one statement after the other over its standard input. */
class Sqlite {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #answers: ((line: string | undefined) => void)[] = [];
  readonly ended: Promise<void>;
  said = '';

  constructor(path: string) {
    this.#child = spawn('sqlite3', ['-batch', '-noheader', path], {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdin.on('error', () => undefined);
    this.#child.stderr.on('data', (text) => {
      this.said += text;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answers.shift()?.(line));
    this.ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        for (const answer of this.#answers.splice(0)) answer(undefined);
        resolve();
      });
    });
  }

  /** The one line that the statements answer. @throws Error with what SQLite said */
  async ask(statements: string): Promise<string> {
    const line = await new Promise<string | undefined>((resolve) => {
      this.#answers.push(resolve);
      this.#child.stdin.write(`${statements}\n`);
    });
    if (line === undefined || this.said !== '') throw new Error(`${statements}: ${this.said || 'it ended'}`);
    return line;
  }

  end(): Promise<void> {
    this.#child.stdin.end();
    return this.ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

t.setTimeout(300_000);

t.test('four sqlite3 over two mounts insert while the database moves', { skip: skipReason }, async (t) => {
  const cluster = await Cluster.start(t, { bricks: 2 });
  for (const journal of ['delete', 'truncate', 'persist']) {
    await t.test(`journal_mode=${journal}`, async (t) => {
      const name = `${journal}.db`;
      const open = async (mount: number): Promise<Sqlite> => {
        const sqlite = new Sqlite(cluster.path(mount, name));
        t.teardown(() => sqlite.kill());
        // A timeout makes SQLite wait for locks; setting it answers a line, the journal mode another.
        await sqlite.ask(`.timeout ${busyMs}\nPRAGMA journal_mode=${journal};`);
        return sqlite;
      };
      const first = await open(0);
      await first.ask('CREATE TABLE done (who INTEGER, at INTEGER, text TEXT); SELECT 1;');
      const writers = [first, await open(0), await open(1), await open(1)];

      let isOver = false;
      const inserted = writers.map(() => 0);
      const inserting = writers.map(async (sqlite, who) => {
        while (!isOver) {
          const at = inserted[who]!;
          await sqlite.ask(
            `INSERT INTO done VALUES (${who}, ${at}, hex(randomblob(${100 + ((at * 37) % 2000)}))); SELECT 'ok';`,
          );
          inserted[who] = at + 1;
          await sleep(pauseMs);
        }
      });
      let moves = 0;
      const moving = (async () => {
        while (!isOver) {
          const target = cluster.bricks[moves % 2]!;
          for (const one of await readdir(`${cluster.mounts[0]!.point}`))
            if (one.startsWith(name)) await moveIfItIsThere(cluster, one, target);
          moves += 1;
        }
      })();
      const started = performance.now();
      const isEnough = (): boolean =>
        performance.now() - started > roundMs && Math.min(...inserted) >= insertsMin && moves >= movesMin;
      try {
        await Promise.race([
          until('enough inserts and moves', isEnough, 60_000),
          Promise.all(inserting).then(() => undefined),
        ]);
      } finally {
        isOver = true;
      }
      await Promise.all([...inserting, moving]);
      t.comment(`${inserted.join(' + ')} inserts, ${moves} moves to and fro`);

      for (const [who, sqlite] of writers.entries()) {
        t.equal(await sqlite.ask('PRAGMA integrity_check;'), 'ok');
        for (const [other, count] of inserted.entries()) {
          const found = `SELECT count(*) || ' ' || count(DISTINCT at) FROM done WHERE who = ${other};`;
          t.equal(
            await sqlite.ask(found),
            `${count} ${count}`,
            `process ${who} sees all that ${other} inserted`,
          );
        }
      }
      for (const sqlite of writers) await sqlite.end();
      const after = await open(1);
      t.equal(await after.ask('PRAGMA integrity_check;'), 'ok', 'also for a process that comes later');
      await after.end();
    });
  }
});

/** A journal lives for one transaction only: it may be gone before its move begins, or while it moves. */
async function moveIfItIsThere(
  cluster: Cluster,
  name: string,
  target: Cluster['bricks'][number],
): Promise<void> {
  try {
    await cluster.migrate(name, target);
  } catch (error) {
    const isGone = name.endsWith('-journal') && (asRefusal(error) !== undefined || error instanceof Error);
    if (!isGone) throw error;
  }
}
