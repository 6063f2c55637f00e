/**
 * Where each file is, as far as this client knows: learned from lookups, creates, redirects and `moved` events.
 *
 * Decides only which of two pieces of knowledge is newer. It is a memory, never an authority: the brick that is asked
 * says ESTALE or EREMOTE where this is wrong, and home-calls.ts learns from that. A file that is open or locked is
 * never forgotten, since a reclaim after a restart of its brick must find it.
 */
import type { BrickName, Epoch, FileId } from '../wire/ids.js';
import type { Moved } from '../wire/lock-types.js';
import { RecentMap } from './recent-map.js';

export interface Place {
  readonly brick: BrickName;
  /** Number of moves at the time that this was true; -1 for a hint that no brick vouched for. */
  readonly epoch: Epoch;
}

const hintEpoch = -1 as Epoch;

export class Placement {
  readonly #places: RecentMap<FileId, Place>;

  readonly #onMoved: (file: FileId, moved: Moved) => void;

  /** @param onMoved called when a REPLAY record taught something new, before anything is sent to the target */
  constructor(
    limit: number,
    isInUse: (file: FileId) => boolean,
    onMoved: (file: FileId, moved: Moved) => void = () => undefined,
  ) {
    this.#places = new RecentMap(limit, isInUse);
    this.#onMoved = onMoved;
  }

  of(file: FileId): Place | undefined {
    return this.#places.get(file);
  }

  /** Answers what is believed afterwards: an older epoch never overwrites a newer one. */
  learn(file: FileId, brick: BrickName, epoch: Epoch): Place {
    const known = this.#places.get(file);
    if (known !== undefined && (known.epoch > epoch || (known.epoch === epoch && known.brick === brick))) {
      return known;
    }
    const place = { brick, epoch };
    this.#places.set(file, place);
    return place;
  }

  /** A brick's REPLAY record, from an EREMOTE or an event. */
  moved(file: FileId, moved: Moved): Place {
    const before = this.#places.get(file);
    const place = this.learn(file, moved.target, moved.epoch);
    if (place !== before) this.#onMoved(file, moved);
    return place;
  }

  /** From a directory entry: better than asking every brick, worse than anything that a home answered. */
  hint(file: FileId, brick: BrickName): void {
    if (this.#places.get(file) === undefined) this.#places.set(file, { brick, epoch: hintEpoch });
  }

  /**
   * A brick says that it has the file, without saying at what epoch. The known epoch is kept: were it raised, a true
   * EREMOTE of the next move could look old and be ignored for ever.
   */
  found(file: FileId, brick: BrickName): Place {
    const place = { brick, epoch: this.#places.get(file)?.epoch ?? hintEpoch };
    this.#places.set(file, place);
    return place;
  }

  forget(file: FileId): void {
    this.#places.delete(file);
  }
}
