/**
 * A small language for one hard case of a migration, on a simulated cluster: a file on brick-1 with a holder (mount-1)
 * and a waiter (mount-2), and words for what happens to whom, when. No faults but those that the case asks for.
 */
import { constants } from 'node:os';
import type { Test } from 'tap';
import t from 'tap';
import { unsettledAt } from '../../simulator/checks/settled.js';
import type { StepFact } from '../../simulator/facts.js';
import { Homes } from '../../simulator/homes.js';
import {
  SimulatedCluster,
  type SimulatedMount,
  type SimulatedTool,
} from '../../simulator/simulated-cluster.js';
import { type SimulatedProcess, SystemCallError } from '../../simulator/simulated-process.js';
import { changeAnswers, headOf, inTurn } from '../../simulator/wire-tap.js';
import { asRefusal } from '../../wire/errors.js';
import type { BrickName, ByteText, ClientId, FileId } from '../../wire/ids.js';
import { rootFileId } from '../../wire/ids.js';
import { type LockRow, type MigrationReport, messages, type Op } from '../../wire/messages.js';

export type Step = StepFact['to'];

/** The write lock that most cases are about. */
const range = { flavour: 'posix', type: 'write', start: 0n, end: 99n } as const;

export class Actor {
  constructor(
    readonly process: SimulatedProcess,
    readonly fd: number,
  ) {}

  /** F_SETLKW. */
  waitForLock(): Promise<void> {
    return this.process.lock(this.fd, { ...range, wait: true });
  }

  /** F_SETLK. @returns whether it was granted */
  async tryLock(start: bigint = range.start, end: bigint = range.end): Promise<boolean> {
    try {
      await this.process.lock(this.fd, { ...range, start, end, wait: false });
      return true;
    } catch (error) {
      if (error instanceof SystemCallError && error.errno === constants.errno.EAGAIN) return false;
      throw error;
    }
  }

  unlock(): Promise<void> {
    return this.process.unlock(this.fd, range);
  }

  /** F_GETLK. */
  seesItFree(): Promise<boolean> {
    return this.process.isFree(this.fd, range);
  }

  close(): Promise<void> {
    return this.process.close(this.fd);
  }

  /** close(2) may tell that a brick was out of reach; the descriptor is gone all the same. */
  async closeAnyway(): Promise<void> {
    try {
      await this.close();
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
    }
  }
}

/** A request of which the first is held up on its way, with all that its connection brings after it. */
export interface HeldBack {
  readonly sent: Promise<void>;
  letPass(): void;
  /** Who was asked, time after time. */
  readonly askedOf: readonly string[];
}

export class Scenario {
  readonly source = 'brick-1' as BrickName;
  readonly target = 'brick-2' as BrickName;
  readonly cluster: SimulatedCluster;
  readonly homes: Homes;
  file!: FileId;
  holder!: Actor;
  waiter!: Actor;
  /** Resolves when the waiter was granted. */
  granted!: Promise<void>;
  tool!: SimulatedTool;
  isGranted = false;

  constructor(seed: number, graceMs: number) {
    this.cluster = new SimulatedCluster({ seed, bricks: 3, graceMs, freezeMs: 250, keepsLines: false });
    const { facts } = this.cluster;
    this.homes = new Homes(this.cluster.disks);
    facts.listen(this.homes);
  }

  async setUp(): Promise<void> {
    for (const brick of this.cluster.bricks.keys()) await this.cluster.startBrick(brick);
    await this.cluster.startMount('mount-1');
    await this.cluster.startMount('mount-2');
    await this.cluster.startMount('mount-3');
    await this.#makeFile();
    this.holder = await this.actorOn('mount-1');
    this.waiter = await this.actorOn('mount-2');
    await this.holder.waitForLock();
    await this.holder.process.write(this.holder.fd, 0, Buffer.from('the content'));
    this.granted = this.waiter.waitForLock().then(() => {
      this.isGranted = true;
    });
    this.granted.catch(() => undefined);
    this.tool = await this.cluster.startTool('tool');
    await this.pass(5);
  }

  mount(name: string): SimulatedMount {
    return this.cluster.mounts.get(name)!;
  }

  async actorOn(mount: string): Promise<Actor> {
    const process = this.mount(mount).kernel.startProcess();
    return new Actor(process, await process.open(this.name));
  }

  // ---- what happens -------------------------------------------------------------------------------------------------

  pass(ms: number): Promise<void> {
    return this.cluster.scheduler.sleep(ms);
  }

  /** Once, in the very turn in which the source (or the target) takes this step. */
  at(side: 'source' | 'target', step: Step, run: () => void): void {
    let isDone = false;
    this.cluster.facts.listen({
      step: (fact) => {
        if (isDone || fact.side !== side || fact.to !== step) return;
        isDone = true;
        run();
      },
    });
  }

  /** As `at`, for what a process does: it begins at the step, and its end is the promise. */
  from<T>(side: 'source' | 'target', step: Step, run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.at(side, step, () => void this.cluster.scheduler.after(0, () => run().then(resolve, reject)));
    });
  }

  crash(brick: BrickName, restartAfterMs?: number): void {
    this.cluster.crashBrick(brick);
    if (restartAfterMs !== undefined)
      this.cluster.scheduler.after(restartAfterMs, () => void this.cluster.startBrick(brick));
  }

  /** An option of the volume is another, and the mount is told. Resolves when its old graph is done with. */
  changeGraph(mount = 'mount-1'): Promise<void> {
    this.cluster.changeVolume({ attrTimeoutMs: this.cluster.volumeFile.attrTimeoutMs + 1 });
    return this.cluster.changeGraph(this.mount(mount));
  }

  holdBack(op: Op, party = 'mount-1'): HeldBack {
    const { network } = this.cluster;
    const askedOf: string[] = [];
    let held: number | undefined;
    const sent = new Promise<void>((resolve) => {
      network.filter = inTurn(network.filter, (from, to, frame, connection) => {
        const head = headOf(frame);
        if (from.name !== party || head.kind !== 'request' || head.number !== messages[op].op) return frame;
        askedOf.push(to.name);
        if (held === undefined) {
          held = connection;
          network.hold(connection);
          resolve();
        }
        return frame;
      });
    });
    return { sent, askedOf, letPass: () => network.letGo(held!) };
  }

  /** Once, in the turn in which a brick tells the mount something unasked, for example the place of a wait. */
  onEvent(mount: string, run: () => void): void {
    const { network } = this.cluster;
    let isDone = false;
    network.filter = inTurn(network.filter, (_from, to, frame) => {
      if (!isDone && to.name === mount && headOf(frame).kind === 'event') {
        isDone = true;
        run();
      }
      return frame;
    });
  }

  /** From here on nothing that a brick tells the mount unasked arrives. */
  dropEvents(mount: string): void {
    const { network } = this.cluster;
    network.filter = inTurn(network.filter, (_from, to, frame) =>
      to.name === mount && headOf(frame).kind === 'event' ? undefined : frame,
    );
  }

  /** In the turn in which a brick answers such a request; where `run` crashes it, the answer is not sent. */
  onAnswer(op: Op, run: () => void): void {
    const { network } = this.cluster;
    network.filter = inTurn(
      network.filter,
      changeAnswers(op, (answer, from) => {
        run();
        return from.isAlive ? answer : undefined;
      }),
    );
  }

  /** @returns how it ended; undefined where the migrator could not see that */
  async move(target: BrickName = this.target): Promise<MigrationReport | undefined> {
    const { tool } = this;
    const moving = this.cluster.migrate(tool, this.file, target).catch((error: unknown) => {
      if (asRefusal(error) === undefined) throw error;
      return undefined;
    });
    return await Promise.race([moving, tool.party.crashed.then(() => undefined)]);
  }

  // ---- what is the case ---------------------------------------------------------------------------------------------

  get home(): readonly BrickName[] {
    return this.homes.of(this.file);
  }

  async locks(): Promise<(LockRow & { brick: BrickName })[]> {
    const tool = await this.cluster.startTool('inspector');
    const all: (LockRow & { brick: BrickName })[] = [];
    for (const [brick, link] of tool.links) {
      const { locks } = await link.call('listLocks', { file: this.file, skip: 0, limit: 100 });
      for (const lock of locks) all.push({ ...lock, brick });
    }
    return all;
  }

  /** `held by mount-1 at brick-2` and the like, in order; by whichever graph of the mount. */
  async table(): Promise<string[]> {
    const mounts = new Map<ClientId, string>();
    for (const [name, { kernel, volume }] of this.cluster.mounts)
      mounts.set(kernel.client, name).set(volume.client, name);
    return (await this.locks()).map(
      ({ state, client, brick }) => `${state} by ${mounts.get(client) ?? 'a client that left'} at ${brick}`,
    );
  }

  /** The clients of all rows of the table. */
  async clients(): Promise<ClientId[]> {
    return (await this.locks()).map(({ client }) => client);
  }

  /** Waits until no brick has anything under way. */
  async settle(): Promise<void> {
    const tool = await this.cluster.startTool('judge');
    for (let left = ['?']; left.length > 0; ) {
      await this.pass(200);
      left = [];
      for (const [brick, link] of tool.links)
        left.push(...unsettledAt(brick, await link.call('status', {}), this.cluster.brick(brick).disk));
    }
  }

  /** The usual end: all settled, one home, holder and waiter where it is; the release lets the waiter go on. */
  async endsWell(t: Test, homes: readonly BrickName[]): Promise<void> {
    await this.settle();
    t.equal(this.home.length, 1, 'one brick answers for the file');
    t.ok(homes.includes(this.home[0]!), `it is ${homes.join(' or ')}`);
    t.same(await this.table(), [
      `held by mount-1 at ${this.home[0]}`,
      `waiting by mount-2 at ${this.home[0]}`,
    ]);
    t.notOk(this.isGranted, 'the waiter waits');
    await this.holder.unlock();
    await this.granted;
    t.equal(Buffer.from(await this.waiter.process.read(this.waiter.fd, 0, 11)).toString(), 'the content');
  }

  readonly name = 'file';

  async #makeFile(): Promise<void> {
    const process = this.mount('mount-1').kernel.startProcess();
    ({ file: this.file } = await this.makeFileAt(this.source, process, this.name));
    await process.kill();
  }

  /** A new file, moved to `brick` if need be. */
  async makeFileAt(
    brick: BrickName,
    process: SimulatedProcess,
    name: string,
  ): Promise<{ file: FileId; fd: number }> {
    const fd = await process.open(name, true);
    const { volume } = this.mount('mount-1');
    const { file } = await volume.lookup(rootFileId, name as ByteText);
    if (this.homes.of(file)[0] !== brick) {
      const tool = await this.cluster.startTool(`placing ${name}`);
      await this.cluster.migrate(tool, file, brick);
    }
    return { file, fd };
  }
}

/** Runs the case to its end in virtual time. An hour is enough for anything that ends. */
export function scenario(
  title: string,
  play: (s: Scenario, t: Test) => Promise<void>,
  { seed = 1, graceMs = 10_000 }: { seed?: number; graceMs?: number } = {},
): void {
  t.test(title, async (t) => {
    const s = new Scenario(seed, graceMs);
    await s.cluster.run(async () => {
      await s.setUp();
      await play(s, t);
    }, 3_600_000);
    t.same(s.cluster.faults, [], 'nothing threw');
  });
}
