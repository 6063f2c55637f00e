/**
 * A busy file for tests that kill things: processes on two mounts hold, wait for and write under locks on it. What
 * each was promised is remembered, so that `isIntact` and `finish` can compare the file with it, whatever happened
 * in between. It kills nothing itself.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import type { Test } from 'tap';
import type { ListedLock } from '../bin/locks-command.js';
import { type Cluster, patienceMs, until } from './cluster.js';
import type { OpenedFile, Wait } from './opened-file.js';

const recordBytes = 64;
const recordSlots = 256;
/** The writer's records; the waiters want these bytes. */
const written = { start: 0n, length: BigInt(recordBytes * recordSlots) };
const tail = { start: written.length, length: 10n };

const identity = ({ kind, type, start, end, pid, state, ticket }: ListedLock): string =>
  [state, kind, type, `${start}..${end}`, pid, ticket ?? ''].join(' ');

export class Scene {
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #expected: Buffer;
  #writer!: OpenedFile;
  #others!: OpenedFile[];
  #waiters: { file: OpenedFile; wait: Wait }[] = [];
  #locks: string[] = [];
  #isWriting = true;
  #writing: Promise<void> = Promise.resolve();
  #writeError: Error | undefined;
  records = 0;

  private constructor(cluster: Cluster, name: string, bytes: number) {
    this.#cluster = cluster;
    this.name = name;
    this.#expected = randomBytes(bytes);
  }

  /** A writer that holds and writes, a sharer, a flock; and waiters for the writer's bytes, on both mounts. */
  static async start(cluster: Cluster, name: string, bytes: number, waiters = 3): Promise<Scene> {
    const scene = new Scene(cluster, name, bytes);
    await writeFile(cluster.path(0, name), scene.#expected);
    scene.#writer = await scene.#hold(0, 'posix', written);
    scene.#others = [await scene.#hold(1, 'ofd', tail), await scene.#hold(1, 'flock', {})];
    for (let at = 0; at < waiters; at++) {
      const file = await cluster.opened((at + 1) % 2, name);
      scene.#waiters.push({ file, wait: file.lock('posix', 'write', written) });
      await until('the next waiter', async () => (await scene.#waiting()) === at + 1);
    }
    scene.#locks = await scene.#list();
    scene.#writing = scene.#write();
    return scene;
  }

  async #hold(mount: number, kind: 'posix' | 'ofd' | 'flock', range: { start?: bigint; length?: bigint }) {
    const file = await this.#cluster.opened(mount, this.name);
    if ((await file.tryLock(kind, 'write', range)) !== 'granted')
      throw new Error(`no ${kind} lock on ${this.name}`);
    return file;
  }

  async #list(): Promise<string[]> {
    const locks = await this.#cluster.locks();
    return locks
      .filter((lock) => lock.path === `/${this.name}`)
      .map(identity)
      .sort();
  }

  async #waiting(): Promise<number> {
    return (await this.#list()).filter((lock) => lock.startsWith('waiting')).length;
  }

  /** One record after the other, until `finish`; each is expected from the moment in which it was acknowledged. */
  async #write(): Promise<void> {
    try {
      while (this.#isWriting) {
        const offset = (this.records % recordSlots) * recordBytes;
        const record = `record ${this.records} written under the lock `.padEnd(recordBytes, '.');
        await this.#writer.write(offset, record);
        this.#expected.write(record, offset, 'latin1');
        this.records += 1;
      }
    } catch (error) {
      this.#writeError = error as Error;
    }
  }

  /** Resolves when the writer has written some more: it is not stuck. */
  async writesOn(): Promise<void> {
    const before = this.records;
    await until('the writer writes on', () => this.records > before + 2 || this.#writeError !== undefined);
    if (this.#writeError !== undefined) throw this.#writeError;
  }

  /** Same holders, same waiters with the same tickets, one home; and the processes see it so. */
  async isIntact(t: Test, when: string): Promise<void> {
    await this.writesOn();
    await until(`one home ${when}`, async () => (await this.#cluster.homesOf(this.name)).length === 1);
    let now: string[] = [];
    await until(
      `the locks ${when}`,
      async () => {
        now = await this.#list();
        return now.join() === this.#locks.join();
      },
      patienceMs / 2,
    ).catch(() => undefined);
    t.same(now, this.#locks, `holders and waiters ${when}`);
    const prober = await this.#cluster.opened(1, this.name);
    t.equal(await prober.tryLock('posix', 'write', written), 'refused', `the writer holds ${when}`);
    t.equal(await prober.tryLock('posix', 'read', tail), 'refused', `the OFD lock holds ${when}`);
    t.equal(await prober.tryLock('flock'), 'refused', `the flock holds ${when}`);
    await prober.kill();
    t.notOk(
      this.#waiters.some(({ wait }) => wait.isGranted || wait.error !== undefined),
      `the waiters wait ${when}`,
    );
  }

  /** Holders go one by one, waiters are granted in order, the content is what was acknowledged, no lock is left. */
  async finish(t: Test): Promise<void> {
    this.#isWriting = false;
    await this.#writing;
    t.equal(this.#writeError, undefined, 'no write failed');
    let holder = this.#writer;
    for (const [at, { file, wait }] of this.#waiters.entries()) {
      await holder.kill();
      await until(`waiter ${at + 1} is granted`, () => wait.isGranted || wait.error !== undefined);
      t.equal(wait.error, undefined);
      const tooEarly = this.#waiters.slice(at + 1).filter((later) => later.wait.isGranted);
      t.equal(tooEarly.length, 0, `waiter ${at + 1} is granted, and nobody behind it`);
      holder = file;
    }
    for (const other of [holder, ...this.#others]) await other.kill();
    await until('no lock is left', async () => (await this.#list()).length === 0);
    for (const mount of [0, 1])
      t.equal(
        digest(await readFile(this.#cluster.path(mount, this.name))),
        digest(this.#expected),
        `content with ${this.records} acknowledged records through mount ${mount + 1}`,
      );
  }
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
