/**
 * The story itself, act by act: locks are taken, waiters queue, the file moves with all of them from brick to brick
 * and back while it is written to, and then everybody checks what they have.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { BrickName } from '../../wire/ids.js';
import { type ListedLock, listLocks } from '../locks-command.js';
import { describeMove, moveFile } from '../migrate-command.js';
import { openCopyProgress } from '../progress-bar.js';
import { formatBytes, formatMs } from '../table.js';
import { reachAllBricks } from '../tool-links.js';
import { type Actor, becomes, type Cast, type Claim, Ledger, recordBytes, recordSlots } from './cast.js';
import type { Narrator } from './narrator.js';
import type { Stage } from './stage.js';

const fileName = 'ledger.dat';
const fileBytes = 6 * 1024 * 1024;
const mebi = 1024n * 1024n;
const patienceMs = 10_000;

const posix = (type: 'read' | 'write', start: bigint, length: bigint): Claim => ({
  kind: 'posix',
  type,
  start,
  length,
});
const written = posix('write', 0n, BigInt(recordBytes * recordSlots));
const shared = posix('read', 2n * mebi, 65536n);
const kept = posix('write', 4n * mebi, 4096n);
const whole: Claim = { kind: 'flock', type: 'write', start: 0n, length: 0n };

const describe = ({ kind, type, start, length }: Claim): string =>
  kind === 'flock' ? `an exclusive flock` : `a ${type} lock on bytes ${start}..${start + length - 1n}`;

/** The people of the story by their part in it. */
interface Roles {
  readonly writer: Actor;
  readonly readers: readonly [Actor, Actor];
  readonly keeper: Actor;
  readonly guard: Actor;
  /** They wait for the keeper's bytes, in this order. */
  readonly queue: readonly Actor[];
  readonly afterReaders: Actor;
  readonly afterGuard: Actor;
}

export class Plot {
  readonly #stage: Stage;
  readonly #cast: Cast;
  readonly #tell: Narrator;
  readonly #ledger = new Ledger(fileBytes);
  /** The file through either mount. */
  readonly #paths: readonly [string, string];
  readonly #grants: Actor[] = [];

  constructor(stage: Stage, cast: Cast, tell: Narrator, points: readonly [string, string]) {
    this.#stage = stage;
    this.#cast = cast;
    this.#tell = tell;
    this.#paths = [`${points[0]}/${fileName}`, `${points[1]}/${fileName}`];
  }

  async play(): Promise<void> {
    await writeFile(this.#paths[0], this.#ledger.expected);
    this.#tell.say(
      `${fileName}: ${formatBytes(fileBytes)} of random bytes, written through ${this.#mountName(0)}`,
    );
    const roles = await this.#everybodyLocks();
    await this.#theFileMoves(roles);
    await this.#everyHolderStillHolds(roles);
    await this.#waitersAreGranted(roles);
    await this.#theContentIsWhatWasWritten(roles);
  }

  #mountName(at: 0 | 1): string {
    return basename(this.#paths[at].slice(0, -fileName.length - 1));
  }

  // ---- act 1 ------------------------------------------------------------------------------------------------------

  async #everybodyLocks(): Promise<Roles> {
    this.#tell.heading('Processes take locks and queue for locks');
    const roles: Roles = {
      writer: await this.#hold('writer', 0, written),
      readers: [await this.#hold('reader 1', 0, shared), await this.#hold('reader 2', 1, shared)],
      keeper: await this.#hold('keeper', 0, kept),
      guard: await this.#hold('guard', 1, whole),
      queue: [
        await this.#wait('waiter 1', 1, kept, 1),
        await this.#wait('waiter 2', 0, kept, 2),
        await this.#wait('waiter 3', 1, kept, 3),
      ],
      afterReaders: await this.#wait(
        'waiter 4',
        0,
        shared.type === 'read' ? { ...shared, type: 'write' } : shared,
        4,
      ),
      afterGuard: await this.#wait('waiter 5', 0, whole, 5),
    };
    this.#ledger.start(roles.writer);
    this.#tell.say(
      `writer (${roles.writer.pid}) now writes records of ${recordBytes} bytes under its lock, all the time`,
    );
    return roles;
  }

  async #hold(name: string, mount: 0 | 1, claim: Claim): Promise<Actor> {
    const actor = await this.#cast.enter(name, this.#paths[mount], claim);
    const outcome = await actor.lock(false);
    const text = `${name} (${actor.pid}, ${this.#mountName(mount)}) holds ${describe(claim)}`;
    this.#tell.check(outcome === 'granted', text, outcome);
    return actor;
  }

  async #wait(name: string, mount: 0 | 1, claim: Claim, place: number): Promise<Actor> {
    const actor = await this.#cast.enter(name, this.#paths[mount], claim);
    actor.lock(true).then(
      () => {
        actor.grantedAtMs = this.#tell.now();
        this.#grants.push(actor);
        this.#tell.say(`${name} (${actor.pid}) was granted ${describe(claim)}`);
      },
      (error: Error) => {
        if (!actor.hasEnded) this.#tell.check(false, `${name} waits`, error.message);
      },
    );
    const isQueued = await becomes(
      async () => (await this.#locks()).filter(isWaiting).length === place,
      patienceMs,
    );
    this.#tell.check(
      isQueued,
      `${name} (${actor.pid}, ${this.#mountName(mount)}) waits for ${describe(claim)}`,
    );
    return actor;
  }

  async #locks(): Promise<ListedLock[]> {
    const reached = await reachAllBricks(this.#stage.place, 'story');
    try {
      return await listLocks(reached.links, undefined);
    } finally {
      await reached.close();
    }
  }

  // ---- act 2 ------------------------------------------------------------------------------------------------------

  async #theFileMoves(roles: Roles): Promise<void> {
    const before = await this.#locks();
    const home = before[0]?.brick;
    this.#tell.check(home !== undefined, `the bricks know ${before.length} locks and waiters of ${fileName}`);
    if (!home) return;
    const names = this.#stage.place.volume.bricks.map((brick) => brick.name);
    const at = names.indexOf(home);
    for (let step = 1; step <= names.length; step++)
      await this.#move(names[(at + step) % names.length]!, before);
    this.#tell.check(
      this.#grants.length === 0 && this.#cast.actors.every((actor) => !actor.hasEnded),
      `the file is back on ${home}; all ${this.#cast.actors.length} processes live and noticed nothing`,
      `granted meanwhile: ${this.#grants.map((actor) => actor.name).join(', ')}`,
    );
    this.#tell.say(
      `writer wrote ${this.#ledger.records} records so far; the slowest took ${formatMs(this.#ledger.slowestMs)}`,
    );
    this.#tell.check(this.#ledger.records > 0 && !roles.writer.hasEnded, 'the writer never stopped');
  }

  async #move(target: BrickName, before: readonly ListedLock[]): Promise<void> {
    this.#tell.heading(`The file moves to ${target}`);
    const recordsBefore = this.#ledger.records;
    const { from, report } = await moveFile(
      this.#stage.place,
      fileName,
      target,
      openCopyProgress(' '.repeat(11)),
    );
    if (!report) return this.#tell.check(false, `the file moves to ${target}`, 'it was there already');
    this.#tell.say(`${from} > ${target}: ${describeMove(report)}`);
    this.#tell.say(`${this.#ledger.records - recordsBefore} records were written meanwhile`);
    const after = await this.#locks();
    const elsewhere = after.filter((lock) => lock.brick !== target);
    this.#tell.check(elsewhere.length === 0, `every lock is on ${target} now`, `${elsewhere.length} are not`);
    this.#tell.check(
      sameLocks(before, after),
      `${after.filter((lock) => !isWaiting(lock)).length} holders and ${after.filter(isWaiting).length} waiters are the same, tickets too`,
      'lockferry locks shows others',
    );
  }

  // ---- act 3 ------------------------------------------------------------------------------------------------------

  async #everyHolderStillHolds(roles: Roles): Promise<void> {
    this.#tell.heading('Another process asks for every lock that is held');
    const any = posix('write', 0n, 0n);
    for (const holder of [roles.writer, ...roles.readers, roles.keeper]) {
      // From the mount that the holder is not on, so that the answer can only come from the brick.
      const path = this.#cast.actors.indexOf(holder) === 2 ? this.#paths[0] : this.#paths[1];
      const prober = await this.#cast.enter('prober', path, {
        ...any,
        start: holder.claim.start,
        length: holder.claim.length,
      });
      const outcome = await prober.lock(false);
      const { start, length } = prober.claim;
      const seen = await prober.process.test(prober.fd, 'posix', 'write', start, length);
      const holders = roles.readers.includes(holder) ? roles.readers.map(({ pid }) => pid) : [holder.pid];
      this.#tell.check(
        outcome === 'refused' && seen !== undefined && holders.includes(seen.pid),
        `${holder.name} still holds: F_SETLK is refused, F_GETLK names process ${seen?.pid}`,
        `${outcome}, ${seen ? `held by ${seen.pid}` : 'free'}`,
      );
      await prober.end();
    }
    const prober = await this.#cast.enter('prober', this.#paths[0], whole);
    this.#tell.check((await prober.lock(false)) === 'refused', 'guard still holds: LOCK_NB is refused');
    await prober.end();
  }

  // ---- act 4 ------------------------------------------------------------------------------------------------------

  async #waitersAreGranted(roles: Roles): Promise<void> {
    this.#tell.heading('Holders let go, waiters are granted in order');
    let holder = roles.keeper;
    for (const [at, waiter] of roles.queue.entries()) {
      const how = at === 1 ? 'is killed with SIGKILL' : 'ends';
      this.#tell.say(`${holder.name} (${holder.pid}) ${how}`);
      await holder.end(at === 1 ? 'SIGKILL' : 'SIGTERM');
      const isGranted = await becomes(() => waiter.grantedAtMs !== undefined, patienceMs);
      const others = roles.queue.slice(at + 1).filter((other) => other.grantedAtMs !== undefined);
      this.#tell.check(isGranted && others.length === 0, `${waiter.name} has it, and nobody behind it`);
      holder = waiter;
    }
    const [first, second] = roles.readers;
    await first.end('SIGTERM');
    this.#tell.say(`${first.name} ends; ${second.name} still shares the lock`);
    const tooSoon = await becomes(() => roles.afterReaders.grantedAtMs !== undefined, 200);
    this.#tell.check(!tooSoon, `${roles.afterReaders.name} goes on waiting`);
    await second.end('SIGTERM');
    this.#tell.say(`${second.name} ends`);
    await this.#isGranted(roles.afterReaders);
    await roles.guard.end('SIGTERM');
    this.#tell.say('guard ends');
    await this.#isGranted(roles.afterGuard);
    const order = this.#grants.map((actor) => actor.name).join(', ');
    const expected = [...roles.queue, roles.afterReaders, roles.afterGuard]
      .map((actor) => actor.name)
      .join(', ');
    this.#tell.check(order === expected, `granted in order: ${order}`, `expected ${expected}`);
  }

  async #isGranted(waiter: Actor): Promise<void> {
    this.#tell.check(
      await becomes(() => waiter.grantedAtMs !== undefined, patienceMs),
      `${waiter.name} has it`,
    );
  }

  // ---- act 5 ------------------------------------------------------------------------------------------------------

  async #theContentIsWhatWasWritten(roles: Roles): Promise<void> {
    this.#tell.heading('The content is compared');
    await this.#ledger.stop();
    await roles.writer.end('SIGTERM');
    const reader = await this.#cast.enter('last reader', this.#paths[1], posix('read', 0n, 0n));
    for (const waiter of [...roles.queue, roles.afterReaders, roles.afterGuard]) await waiter.end();
    this.#tell.check(
      (await reader.lock(true)) === 'granted',
      'everybody left; a read lock on the whole file is granted',
    );
    const digest = createHash('sha256')
      .update(await readFile(this.#paths[1]))
      .digest('hex');
    this.#tell.check(
      digest === this.#ledger.digest,
      `${formatBytes(fileBytes)} with ${this.#ledger.records} records, read through ${this.#mountName(1)}: sha256 ${digest.slice(0, 16)}… is as written`,
      `expected ${this.#ledger.digest.slice(0, 16)}…`,
    );
    await reader.end();
    const isEmpty = await becomes(async () => (await this.#locks()).length === 0, patienceMs);
    this.#tell.check(isEmpty, 'no brick knows any lock any more');
  }
}

const isWaiting = (lock: ListedLock): boolean => lock.state === 'waiting';

/** The same locks of the same owners, wherever they are. */
function sameLocks(before: readonly ListedLock[], after: readonly ListedLock[]): boolean {
  const keys = (locks: readonly ListedLock[]): string[] =>
    locks
      .map(({ kind, type, start, end, client, owner, pid, state, ticket }) =>
        [kind, type, start, end, client, owner, pid, state, ticket].join(' '),
      )
      .sort();
  return keys(before).join('\n') === keys(after).join('\n');
}
