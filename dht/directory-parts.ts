/**
 * What the bricks said last of directories. A directory is on every brick, and its times are the newest of all of
 * them; the kernel asks for them after every name that this mount made or removed. The brick that made it says with
 * its answer how its part of the directory looks now, and of the others something a little older will do.
 *
 * Decides which of two answers is newer, and never what is too old: that is the caller's. Own changes that do not
 * come with such an answer must be followed by `forgetAll`. Used by the operations of one graph.
 */
import type { Clock } from '../host/clock.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { Attributes } from '../wire/messages.js';
import { RecentMap } from './recent-map.js';

const directoriesMax = 4096;
/** Answers may overtake each other by no more than this; after it the newer one counts, whatever its counter. */
const overtakingMsMax = 1000;

interface Part {
  readonly attributes: Attributes;
  /** When it was asked for: the brick said it later. */
  readonly askedAt: number;
}

/** A question to a brick, made before it is sent. */
export interface Asked {
  readonly dir: FileId;
  readonly at: number;
  readonly generation: number;
}

export class DirectoryParts {
  readonly #clock: Clock;
  #known = new RecentMap<FileId, Map<BrickName, Part>>(directoriesMax);
  #generation = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  asks(dir: FileId): Asked {
    return { dir, at: this.#clock.now(), generation: this.#generation };
  }

  /** Takes note of an answer, unless it may be from before a change that was forgotten since. */
  note({ dir, at, generation }: Asked, brick: BrickName, attributes: Attributes): void {
    if (generation !== this.#generation) return;
    let parts = this.#known.get(dir);
    if (parts === undefined) {
      parts = new Map();
      this.#known.set(dir, parts);
    }
    const before = parts.get(brick);
    const isOvertaken =
      before !== undefined &&
      before.attributes.change > attributes.change &&
      at - before.askedAt < overtakingMsMax;
    if (!isOvertaken) parts.set(brick, { attributes, askedAt: at });
  }

  /** At most `ageMsMax` old; 0: nothing is young enough. */
  part(dir: FileId, brick: BrickName, ageMsMax: number): Attributes | undefined {
    if (ageMsMax <= 0) return undefined;
    const part = this.#known.get(dir)?.get(brick);
    return part !== undefined && this.#clock.now() - part.askedAt <= ageMsMax ? part.attributes : undefined;
  }

  /** Something changed, and what is known does not show it; nor will what was asked before. */
  forgetAll(): void {
    this.#generation += 1;
    this.#known = new RecentMap(directoriesMax);
  }
}
