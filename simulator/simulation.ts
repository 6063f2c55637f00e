/**
 * One run from one seed: a cluster, work and faults drawn from the seed; pauses in which nothing may move and all is
 * compared; then calm, in which everything must settle, end and be given back.
 *
 * Called by `lockferry simulate` and by the tests. A run never throws for what it finds: it answers violations.
 */
import { asRefusal } from '../wire/errors.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import { Administrator } from './administrator.js';
import { Content } from './checks/content-history.js';
import { ErrorAnswers } from './checks/error-answers.js';
import { Exclusion } from './checks/exclusion.js';
import { leftoversAt } from './checks/leftovers.js';
import { LockBook } from './checks/lock-book.js';
import { compareLocks, type ListedLock } from './checks/lock-comparison.js';
import { Names } from './checks/name-history.js';
import { NoFault } from './checks/no-fault.js';
import { watchOneHome } from './checks/one-home.js';
import { handoversAt, unsettledAt } from './checks/settled.js';
import { TicketOrder } from './checks/ticket-order.js';
import { type Violation, Violations } from './checks/violation.js';
import type { Defect } from './defects.js';
import { drawFaultRates, FaultInjector, type FaultRates } from './faults.js';
import { Homes } from './homes.js';
import { type MigrationCounts, Operators } from './migrations.js';
import { SeededRandom } from './scheduler.js';
import { SimulatedCluster, type SimulatedTool } from './simulated-cluster.js';
import { watchWaits } from './wire-tap.js';
import { readAllPlaces, Workload, type WorkloadOptions } from './workload.js';

export interface SimulationOptions {
  readonly seed: number;
  readonly keepsLines?: boolean;
  readonly rates?: FaultRates;
  /** Something is wrong on purpose, to see that a check finds it. */
  readonly defect?: Defect;
}

export interface SimulationResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  readonly hash: string;
  readonly lines: readonly string[];
  readonly virtualMs: number;
  readonly events: number;
  readonly migrations: MigrationCounts;
  readonly faults: ReadonlyMap<string, number>;
  readonly calls: ReadonlyMap<string, number>;
  /** Changes of a mount from one graph to the next that came to their end. */
  readonly graphs: number;
}

const settleMsMax = 60_000;
const lookEveryMs = 250;
const runMsMax = 30 * 60_000;

interface Draw {
  readonly graceMs: number;
  readonly mounts: number;
  readonly operators: number;
  readonly moveMsMax: number;
  readonly work: WorkloadOptions;
  readonly volumeChanges: number;
}

function draw(random: SeededRandom): Draw {
  return {
    graceMs: random.pick([1000, 3000, 10_000]),
    mounts: 2 + random.below(2),
    operators: 1 + random.below(2),
    moveMsMax: random.pick([50, 500, 2000]),
    work: {
      files: ['alpha', 'beta', 'gamma'].slice(0, 1 + random.below(3)),
      processes: 3 + random.below(6),
      operations: 80 + random.below(120),
      thinkMsMax: random.pick([5, 50, 400]),
      holdMsMax: random.pick([2, 40, 400]),
      killChance: random.pick([0, 0.02, 0.1]),
    },
    volumeChanges: random.chance(0.15) ? 1 + random.below(4) : 0,
  };
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const run = new Simulation(options);
  return await run.run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #draw: Draw;
  readonly #cluster: SimulatedCluster;
  readonly #violations: Violations;
  readonly #homes: Homes;
  readonly #book: LockBook;
  readonly #errors: ErrorAnswers;
  #workload!: Workload;
  #operators!: Operators;
  #faults!: FaultInjector;
  #administrator!: Administrator;
  #graphs = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#draw = draw(new SeededRandom(options.seed, 'draw'));
    const cluster = new SimulatedCluster({
      seed: options.seed,
      bricks: 3,
      graceMs: this.#draw.graceMs,
      freezeMs: 250,
      keepsLines: options.keepsLines ?? false,
    });
    this.#cluster = cluster;
    const { scheduler, facts, journal } = cluster;
    const now = (): number => scheduler.now;
    this.#violations = new Violations(now, ({ check, text }) => {
      journal.mark(check);
      journal.line('CHECK', () => `${check}: ${text}`);
    });
    this.#homes = new Homes(cluster.disks);
    this.#errors = new ErrorAnswers(this.#violations);
    this.#book = new LockBook(this.#homes, now);
    for (const listener of [
      this.#homes,
      this.#book,
      new Exclusion(this.#book, this.#violations),
      new TicketOrder(this.#book, this.#violations, () => scheduler.eventCount),
      new Content(this.#violations),
      new Names(this.#violations),
      this.#errors,
      new NoFault(this.#violations),
      {
        graphEnded: () => {
          this.#graphs += 1;
        },
      },
    ])
      facts.listen(listener);
    watchOneHome(this.#homes, this.#violations);
    cluster.network.filter = watchWaits(facts);
    options.defect?.(cluster);
  }

  async run(): Promise<SimulationResult> {
    const cluster = this.#cluster;
    const { journal, scheduler } = cluster;
    try {
      await cluster.run(() => this.#course(), runMsMax);
    } catch (error) {
      this.#violations.add('everything settles', `the run did not end: ${textOf(error)}`);
      journal.line('STUCK', () => this.#workload?.describe().join('; ') ?? '');
    }
    for (const fault of cluster.faults) this.#violations.add('no fault', fault);
    return {
      seed: this.#options.seed,
      violations: this.#violations.all,
      hash: journal.hash,
      lines: journal.lines,
      virtualMs: scheduler.now,
      events: scheduler.eventCount,
      migrations: this.#operators?.counts,
      faults: this.#faults?.counts ?? new Map(),
      calls: this.#workload?.counts ?? new Map(),
      graphs: this.#graphs,
    };
  }

  async #course(): Promise<void> {
    const cluster = this.#cluster;
    const random = cluster.random('course');
    const files = await this.#setUp();
    this.#workload = new Workload({
      workload: this.#draw.work,
      random: cluster.random('workload'),
      scheduler: cluster.scheduler,
      kernels: () => [...cluster.mounts.values()].map(({ kernel }) => kernel),
      onFault: (error) => cluster.fault(error),
    });
    this.#operators = new Operators({
      cluster,
      random: cluster.random('operators'),
      files: () => [...files, ...this.#homes.files().filter((file) => this.#isScratch(file, files))],
      pauseMsMax: this.#draw.moveMsMax,
    });
    const rates = this.#options.rates ?? drawFaultRates(cluster.random('faults'));
    this.#faults = new FaultInjector({
      cluster,
      random: cluster.random('faults run'),
      rates,
      operators: this.#operators,
    });
    cluster.facts.listen(this.#faults);
    this.#workload.start();
    this.#operators.start(this.#draw.operators);
    this.#administrator = new Administrator(cluster, cluster.random('administrator'));
    this.#administrator.start(this.#draw.volumeChanges);
    this.#faults.start();
    const half = this.#workload.operationsLeft * random.between(0.2, 0.8);
    await this.#until(() => this.#workload.operationsLeft <= half, 20_000);
    await this.#faults.calm();
    this.#operators.stop();
    this.#administrator.stop();
    this.#workload.pause();
    await this.#compareAtRest();
    await this.#end(files);
  }

  /** Bricks, mounts, and files that survive everything from here on. */
  async #setUp(): Promise<FileId[]> {
    const cluster = this.#cluster;
    for (const name of cluster.bricks.keys()) await cluster.startBrick(name);
    for (let at = 1; at <= this.#draw.mounts; at++) await cluster.startMount(`mount-${at}`);
    const [first] = cluster.mounts.values();
    const process = first!.kernel.startProcess();
    const files: FileId[] = [];
    for (const name of this.#draw.work.files) {
      await process.close(await process.open(name, true));
      const { file } = await first!.volume.lookup(rootFileId, name as ByteText);
      files.push(file);
    }
    await process.kill();
    await cluster.scheduler.sleep(20);
    for (const { disk } of cluster.bricks.values()) disk.syncAll();
    return files;
  }

  /** Everything holds still: bricks and processes must agree. */
  async #compareAtRest(): Promise<void> {
    const tool = await this.#cluster.startTool('inspector');
    let unsettled: string[] = [];
    const settled = await this.#until(async () => {
      unsettled = await this.#unsettled(tool);
      return unsettled.length === 0;
    }, settleMsMax + this.#draw.graceMs);
    if (!settled) this.#violations.add('everything settles', unsettled.join('; '));
    else {
      // What was on its way when the last look began has arrived by now.
      await this.#cluster.scheduler.sleep(3000);
      compareLocks(this.#book, await this.#listLocks(tool), this.#violations);
    }
    await closeTool(tool);
  }

  /** All is given back: no process waits for ever, and nothing is left at any brick. */
  async #end(files: readonly FileId[]): Promise<void> {
    const cluster = this.#cluster;
    this.#workload.finish();
    if (!(await this.#until(() => this.#workload.isOver, settleMsMax)))
      this.#violations.add('no waiter forgotten', this.#workload.describe().join('; '));
    await this.#removeScratchFiles();
    const tool = await cluster.startTool('last inspector');
    let left: string[] = [];
    const isClean = await this.#until(async () => {
      left = [...(await this.#unsettled(tool)), ...(await this.#leftAtBricks(tool, files))];
      return left.length === 0;
    }, settleMsMax);
    if (!isClean) this.#violations.add('everything settles', left.join('; '));
    await this.#readEverything(files);
    await closeTool(tool);
  }

  #isScratch(file: FileId, files: readonly FileId[]): boolean {
    return !files.includes(file) && this.#homes.of(file).length > 0;
  }

  async #removeScratchFiles(): Promise<void> {
    const { kernel } = await this.#cluster.startMount('mount-cleaner');
    const process = kernel.startProcess();
    await this.#workload.scratch.removeLeft(process);
    await process.kill();
  }

  async #readEverything(files: readonly FileId[]): Promise<void> {
    const mounted = await this.#cluster.startMount('mount-last');
    const process = mounted.kernel.startProcess();
    for (const name of this.#draw.work.files) await readAllPlaces(process, name);
    await process.kill();
    for (const file of files) {
      if (this.#homes.of(file).length !== 1)
        this.#violations.add(
          'one home',
          `file ${file} is at ${this.#homes.of(file).join(' and ') || 'no brick'}`,
        );
    }
  }

  async #unsettled(tool: SimulatedTool): Promise<string[]> {
    const left: string[] = [];
    for (const [brick, link] of tool.links) {
      try {
        left.push(...unsettledAt(brick, await link.call('status', {}), this.#cluster.brick(brick).disk));
      } catch (error) {
        if (asRefusal(error) === undefined) throw error;
        left.push(`${brick}: ${textOf(error)}`);
      }
    }
    if (!this.#workload.isStill) left.push(...this.#workload.describe());
    if (!this.#operators.isOver) left.push('an operator is not done');
    if (!this.#administrator.isOver) left.push('the administrator is not done');
    for (const { name, kernel, graphChanges } of this.#cluster.mounts.values()) {
      if (graphChanges > 0) left.push(`${name} changes its graph`);
      for (const complaint of kernel.complaints.splice(0))
        this.#violations.add('no fault', `${name}: ${complaint}`);
      const waiting = [...kernel.processes].filter((process) => process.isBlocked).length;
      if (kernel.inFlightCount > waiting)
        left.push(`${name}: ${kernel.inFlightCount - waiting} requests are unanswered`);
    }
    return left;
  }

  async #leftAtBricks(tool: SimulatedTool, files: readonly FileId[]): Promise<string[]> {
    const { mayHaveLeftNames } = this.#errors;
    const expected = { names: new Set(this.#draw.work.files), files: new Set(files), mayHaveLeftNames };
    const left = (await this.#listLocks(tool)).map(
      ({ brick, state, kind, client, owner }) => `${brick}: ${state} ${kind} of ${client} ${owner}`,
    );
    // After a fence a client opens again what it has open, also where a move has brought its handles already.
    const countsOpens = !this.#book.wasFenced && !this.#errors.mayHaveLeftOpens;
    for (const [brick, link] of tool.links) {
      for (const { title, opens } of (await link.call('status', {})).clients)
        if (opens > 0 && countsOpens) left.push(`${brick}: ${opens} open handles of ${title}`);
      const { disk } = this.#cluster.brick(brick);
      left.push(...handoversAt(brick, disk, countsOpens), ...leftoversAt(brick, disk, expected));
    }
    return left;
  }

  async #listLocks(tool: SimulatedTool): Promise<ListedLock[]> {
    const all: ListedLock[] = [];
    for (const [brick, link] of tool.links) {
      const { locks } = await link.call('listLocks', { file: undefined, skip: 0, limit: 2000 });
      for (const lock of locks) all.push({ ...lock, brick: brick as BrickName });
    }
    return all;
  }

  /** @returns false where the time was over first */
  async #until(isTrue: () => boolean | Promise<boolean>, msMax: number): Promise<boolean> {
    const { scheduler } = this.#cluster;
    const deadline = scheduler.now + msMax;
    for (;;) {
      if (await isTrue()) return true;
      if (scheduler.now >= deadline) return false;
      await scheduler.sleep(lookEveryMs);
    }
  }
}

const closeTool = async (tool: SimulatedTool): Promise<void> => {
  await tool.volume.close();
  await Promise.all([...tool.links.values()].map((link) => link.close()));
};

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
