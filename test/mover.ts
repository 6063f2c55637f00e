/**
 * Moves every file of a volume from brick to brick, round after round, until it is told to stop: those in a folder,
 * and those that are locked, whether they still have a name or not. A move that is refused because its file is just
 * deleted, or aborted, is counted and tried again in the next round.
 */

import { toolOptions } from '../bin/tool-links.js';
import { connectBricks } from '../dht/brick-links.js';
import { type DistributedVolume, openVolume } from '../dht/distributed-volume.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { migrateFile, sourceOf } from '../migrator/migrator.js';
import { asRefusal } from '../wire/errors.js';
import { type BrickName, type FileId, rootFileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { Cluster } from './cluster.js';

const inParallel = 2;

export class Mover {
  moves = 0;
  aborted = 0;
  readonly #cluster: Cluster;
  readonly #volume: DistributedVolume;
  readonly #links: ReadonlyMap<BrickName, BrickLink>;
  #isOver = false;
  #loop: Promise<void> = Promise.resolve();

  private constructor(cluster: Cluster, volume: DistributedVolume, links: ReadonlyMap<BrickName, BrickLink>) {
    this.#cluster = cluster;
    this.#volume = volume;
    this.#links = links;
  }

  static async start(cluster: Cluster): Promise<Mover> {
    const options = toolOptions(cluster.place, 'mover', 5000);
    const mover = new Mover(cluster, await openVolume(options), await connectBricks(options));
    mover.#loop = mover.#run();
    // Told by `stop`; a rejection that nobody has looked at yet must not end the process.
    mover.#loop.catch(() => undefined);
    return mover;
  }

  /** @throws what a move failed with that was neither refused nor aborted */
  async stop(): Promise<void> {
    this.#isOver = true;
    try {
      await this.#loop;
    } finally {
      for (const link of this.#links.values()) await link.close();
      await this.#volume.close();
    }
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const files = [...(await this.#files())];
      const lane = async (): Promise<void> => {
        for (let file = files.pop(); file !== undefined && !this.#isOver; file = files.pop())
          await this.#move(file);
      };
      await Promise.all(Array.from({ length: inParallel }, lane));
      if (files.length === 0) await systemClock.sleep(5);
    }
  }

  async #files(): Promise<Set<FileId>> {
    const files = new Set<FileId>();
    const below = async (folder: FileId): Promise<void> => {
      for (const entry of await this.#ifItIsThere(this.#volume.listDirectory(folder), []))
        if (entry.type === 'dir') await below(entry.file);
        else files.add(entry.file);
    };
    await below(rootFileId);
    for (const link of this.#links.values()) {
      const { locks } = await link.call('listLocks', { file: undefined, skip: 0, limit: 1000 });
      for (const lock of locks) files.add(lock.file);
    }
    return files;
  }

  async #move(file: FileId): Promise<void> {
    const source = await this.#ifItIsThere(sourceOf(this.#links, file), undefined);
    if (source === undefined) return;
    const bricks = this.#cluster.bricks;
    const report = await this.#ifItIsThere(
      migrateFile({
        links: this.#links,
        volume: this.#volume,
        file,
        target: bricks[(bricks.indexOf(source) + 1) % bricks.length]!,
        freezeMs: this.#cluster.place.volume.freezeMs,
        clock: systemClock,
        random: systemRandom,
      }),
      undefined,
    );
    if (report?.phase === 'aborted') this.aborted++;
    else if (report !== undefined) this.moves++;
  }

  async #ifItIsThere<T>(work: Promise<T>, otherwise: T): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (asRefusal(error) === undefined) throw error;
      return otherwise;
    }
  }
}
