/**
 * The operators of a run: tools that move files from brick to brick, one after the other, and are started again when
 * they crash. Knows nothing of what moves with a file.
 */
import { asRefusal } from '../wire/errors.js';
import type { FileId } from '../wire/ids.js';
import type { MigrationReport } from '../wire/messages.js';
import type { SeededRandom } from './scheduler.js';
import type { SimulatedCluster, SimulatedTool } from './simulated-cluster.js';

export interface MigrationCounts {
  committed: number;
  aborted: number;
  refused: number;
  holders: number;
  waiters: number;
  freezeMsMax: number;
}

export class Operators {
  readonly counts: MigrationCounts = {
    committed: 0,
    aborted: 0,
    refused: 0,
    holders: 0,
    waiters: 0,
    freezeMsMax: 0,
  };
  readonly tools: (SimulatedTool | undefined)[] = [];
  readonly #moving = new Map<SimulatedTool, FileId>();
  readonly #cluster: SimulatedCluster;
  readonly #random: SeededRandom;
  readonly #files: () => readonly FileId[];
  readonly #pauseMsMax: number;
  #isStopped = false;
  #running = 0;
  #started = 0;

  constructor(options: {
    cluster: SimulatedCluster;
    random: SeededRandom;
    files: () => readonly FileId[];
    pauseMsMax: number;
  }) {
    this.#cluster = options.cluster;
    this.#random = options.random;
    this.#files = options.files;
    this.#pauseMsMax = options.pauseMsMax;
  }

  start(operators: number): void {
    for (let at = 0; at < operators; at++) {
      this.tools.push(undefined);
      this.#running += 1;
      this.#operate(at)
        .catch((error: unknown) => this.#cluster.fault(error))
        .finally(() => {
          this.#running -= 1;
        });
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  get isOver(): boolean {
    return this.#running === 0;
  }

  /** Any of them, or the one that moves this file. @returns whether there was one */
  crashOne(moves?: FileId): boolean {
    const tool = this.tools.find(
      (one) => one?.party.isAlive === true && (moves === undefined || this.#moving.get(one) === moves),
    );
    if (tool === undefined) return false;
    this.#cluster.crashTool(tool);
    return true;
  }

  async #operate(at: number): Promise<void> {
    const { scheduler } = this.#cluster;
    while (!this.#isStopped) {
      const name = `tool-${at + 1}.${++this.#started}`;
      const tool = await this.#cluster.startTool(name);
      this.tools[at] = tool;
      while (!this.#isStopped && tool.party.isAlive && tool.version === this.#cluster.volumeFile.version) {
        await Promise.race([scheduler.sleep(this.#random.between(0, this.#pauseMsMax)), tool.party.crashed]);
        if (this.#isStopped || !tool.party.isAlive) break;
        await Promise.race([this.#moveOne(tool), tool.party.crashed]);
      }
      // Every command reads volume.json when it begins: one that does not know the newest is over.
      if (!this.#isStopped) this.#cluster.crashTool(tool);
      await scheduler.sleep(this.#random.between(1, 200));
    }
  }

  async #moveOne(tool: SimulatedTool): Promise<void> {
    const file = this.#random.pick(this.#files());
    const target = this.#random.pick([...tool.links.keys()]);
    // Some moves end without a commit: their freeze is too short, or their operator thinks better of it.
    const freezeMs = this.#random.chance(0.15)
      ? this.#random.pick([1, 3, 10])
      : this.#cluster.options.freezeMs;
    const isCancelled = this.#random.chance(0.1);
    this.#moving.set(tool, file);
    try {
      const options = { freezeMs, isCancelled: () => isCancelled };
      this.#count(await this.#cluster.migrate(tool, file, target, options));
    } catch (error) {
      if (asRefusal(error) === undefined) throw error;
      this.counts.refused += 1;
    } finally {
      this.#moving.delete(tool);
    }
  }

  #count(report: MigrationReport): void {
    if (report.phase === 'aborted') {
      this.counts.aborted += 1;
      return;
    }
    this.counts.committed += 1;
    this.counts.holders += report.holders;
    this.counts.waiters += report.waiters;
    this.counts.freezeMsMax = Math.max(this.counts.freezeMsMax, report.freezeUs / 1000);
  }
}
