/**
 * The administrator of a run: sets an option of the volume or adds a brick, some times, while everything else goes on.
 * Each mount reads the new volume.json at a time of its own, and changes its graph. Knows nothing of what is locked.
 */
import { asRefusal } from '../wire/errors.js';
import type { SeededRandom } from './scheduler.js';
import type { SimulatedCluster, SimulatedMount } from './simulated-cluster.js';

/** Longest pause between two changes of the volume; one of these. */
const pausesMsMax = [50, 500, 3000];
/** Longest time until a mount has noticed; mounts change at about the same time, or one after the other. */
const noticeMsMax = 500;
/** Bricks of a volume, with those that were added. */
const bricksMax = 5;
const brickChance = 0.3;

export class Administrator {
  readonly #cluster: SimulatedCluster;
  readonly #random: SeededRandom;
  #isStopped = false;
  #running = 0;

  constructor(cluster: SimulatedCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  start(changes: number): void {
    this.#during(this.#work(changes));
  }

  /** What was changed is still noticed. */
  stop(): void {
    this.#isStopped = true;
  }

  get isOver(): boolean {
    return this.#running === 0;
  }

  async #work(changes: number): Promise<void> {
    const pauseMsMax = this.#random.pick(pausesMsMax);
    for (let left = changes; left > 0; left--) {
      await this.#cluster.scheduler.sleep(this.#random.between(0, pauseMsMax));
      if (this.#isStopped) return;
      if (await this.#change())
        for (const mounted of this.#cluster.mounts.values()) this.#during(this.#notice(mounted));
    }
  }

  /** @returns false where the command failed, as it does while a brick is away */
  async #change(): Promise<boolean> {
    const cluster = this.#cluster;
    if (cluster.bricks.size >= bricksMax || !this.#random.chance(brickChance)) {
      cluster.changeVolume({ attrTimeoutMs: cluster.volumeFile.attrTimeoutMs + 1 });
      return true;
    }
    try {
      await cluster.addBrick();
      return true;
    } catch (error) {
      if (asRefusal(error) === undefined) throw error;
      return false;
    }
  }

  async #notice(mounted: SimulatedMount): Promise<void> {
    await this.#cluster.scheduler.sleep(this.#random.between(0, noticeMsMax));
    if (mounted.party.isAlive) void this.#cluster.changeGraph(mounted);
  }

  #during(work: Promise<void>): void {
    this.#running += 1;
    work
      .catch((error: unknown) => this.#cluster.fault(error))
      .finally(() => {
        this.#running -= 1;
      });
  }
}
