/**
 * The one redirect loop: every operation on an inode goes through `at`, which finds the file's home, calls it there,
 * and follows the file where it moved.
 *
 * Decides what EREMOTE and ESTALE mean: EREMOTE is learned and followed; ESTALE asks every brick, and is final only
 * when all of them say that they do not have the file. It never waits for a brick that is down (ENOTCONN is passed
 * on), and never decides what to send.
 */
import type { Clock } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, FileId } from '../wire/ids.js';
import { redirectsMax } from '../wire/limits.js';
import type { BrickLink } from '../wire/link.js';
import type { Moved } from '../wire/lock-types.js';
import type { Answer } from '../wire/messages.js';
import type { BrickLinks } from './brick-links.js';
import type { Place, Placement } from './placement.js';

/** Sends one request to one brick. May run several times, each time at another brick. */
export type Attempt<T> = (link: BrickLink, brick: BrickName) => Promise<T>;

/** Pause before a brick is asked again that was just said to have the file and denied it: it may be opening it. */
const openingPauseMs = 10;

/** What an application gets where its session was ended: the brick's EFENCED has no errno of its own. */
export const forApplication = (error: unknown): unknown =>
  asRefusal(error)?.code === 'EFENCED' ? new Refusal('EIO', (error as Error).message) : error;

/** EIO: a brick with a full or broken disk, or a redirect loop; both may pass. */
export const mayPass = (error: unknown): boolean => {
  const code = asRefusal(error)?.code;
  return code === 'ENOTCONN' || code === 'EIO' || code === 'ENOSPC' || code === 'ETIMEDOUT';
};

export class HomeCalls {
  readonly #links: BrickLinks;
  readonly #placement: Placement;
  readonly #clock: Clock;
  readonly #trace: Trace;

  constructor(links: BrickLinks, placement: Placement, clock: Clock, trace: Trace) {
    this.#links = links;
    this.#placement = placement;
    this.#clock = clock;
    this.#trace = trace;
  }

  /** @refuses ESTALE where no brick has the file; ENOTCONN; EIO after a fence or a loop of redirects */
  at<T>(file: FileId, attempt: Attempt<T>): Promise<T> {
    return this.#start(file, attempt, forApplication);
  }

  /** As `at`, with EFENCED left as it is, for callers to whom the end of the session is no failure. */
  atRaw<T>(file: FileId, attempt: Attempt<T>): Promise<T> {
    return this.#start(file, attempt, (error) => error);
  }

  #start<T>(file: FileId, attempt: Attempt<T>, final: (error: unknown) => unknown): Promise<T> {
    const place = this.#placement.of(file);
    return place === undefined
      ? this.find(file).then((found) => this.#go(file, found, attempt, final))
      : this.#go(file, place, attempt, final);
  }

  #go<T>(file: FileId, place: Place, attempt: Attempt<T>, final: (error: unknown) => unknown): Promise<T> {
    const unknown = this.#links.whenKnown(place.brick);
    if (unknown !== undefined) return unknown.then(() => this.#goTo(file, place, attempt, final));
    return this.#goTo(file, place, attempt, final);
  }

  #goTo<T>(file: FileId, place: Place, attempt: Attempt<T>, final: (error: unknown) => unknown): Promise<T> {
    let link: BrickLink;
    try {
      link = this.#links.at(place.brick);
    } catch (error) {
      return Promise.reject(error);
    }
    return attempt(link, place.brick).catch((error: unknown) =>
      this.#follow(file, place.brick, error, attempt, final),
    );
  }

  async #follow<T>(
    file: FileId,
    firstAsked: BrickName,
    firstError: unknown,
    attempt: Attempt<T>,
    final: (error: unknown) => unknown,
  ): Promise<T> {
    let asked = firstAsked;
    let error = firstError;
    const path: BrickName[] = [asked];
    for (let redirects = 1; redirects <= redirectsMax; redirects++) {
      const place = await this.#next(file, path, error, final);
      asked = place.brick;
      path.push(asked);
      await this.#links.whenKnown(asked);
      try {
        return await attempt(this.#links.at(asked), asked);
      } catch (caught) {
        error = caught;
      }
    }
    const code = asRefusal(error)?.code;
    if (code !== 'EREMOTE' && code !== 'ESTALE') throw final(error);
    this.#trace.warn('redirect loop', { file, path: path.join(' ') });
    throw new Refusal(
      'EIO',
      `file ${file} was sent from brick to brick ${redirectsMax} times: ${path.join(', ')}`,
    );
  }

  /** Where to ask next, after the last brick of `path` refused with `error`. */
  async #next(
    file: FileId,
    path: readonly BrickName[],
    error: unknown,
    final: (error: unknown) => unknown,
  ): Promise<Place> {
    const asked = path.at(-1)!;
    const refusal = asRefusal(error);
    if (refusal?.code === 'EREMOTE' && refusal.moved !== undefined) {
      const place = this.#placement.moved(file, refusal.moved);
      if (place.brick !== asked) return place;
      // The brick denies what is known with a newer epoch than the one it speaks of: only asking all can tell.
    } else if (refusal?.code !== 'ESTALE') {
      throw final(error);
    }
    const place = await this.find(file, path.at(-2) === asked ? asked : undefined);
    if (place.brick === asked) await this.#clock.sleep(openingPauseMs * path.length);
    return place;
  }

  /**
   * Asks every brick where the file is. `here` wins; else the newest `moved`, whose target may not have opened yet.
   * Bricks whose link is down are waited for only where the others do not know.
   * @param deniedBy a brick that has said twice that the file is not there: that another remembers having sent it
   *   there means that it was deleted since (a REPLAY record outlives the file)
   * @refuses ESTALE where all bricks say that they do not have it, ENOTCONN where one that might could not be asked
   */
  async find(file: FileId, deniedBy?: BrickName): Promise<Place> {
    const found = await this.#ask(file);
    if (found.here !== undefined) return this.#placement.found(file, found.here);
    if (found.moved !== undefined && found.moved.target !== deniedBy) {
      const { target } = found.moved;
      const place = this.#placement.moved(file, found.moved);
      // A newer belief that no brick confirms is worth less than what a brick remembers.
      return place.brick === target ? place : this.#placement.found(file, target);
    }
    if (found.unreachable.length > 0) {
      throw new Refusal(
        'ENOTCONN',
        `file ${file} is on none of the bricks that answer, and these do not: ${found.unreachable.join(', ')}`,
      );
    }
    this.#placement.forget(file);
    throw new Refusal('ESTALE', `no brick has file ${file}`);
  }

  #ask(file: FileId): Promise<Sightings> {
    return new Promise((resolve) => {
      const sightings: Sightings = { here: undefined, moved: undefined, unreachable: [] };
      let waitingFor = this.#links.names.length;
      let waitingForUp = this.#links.names.filter((brick) => this.#links.isUp(brick)).length;
      for (const brick of this.#links.names) {
        const wasUp = this.#links.isUp(brick);
        const settled = (): void => {
          waitingFor -= 1;
          if (wasUp) waitingForUp -= 1;
          const enough = sightings.moved !== undefined && waitingForUp === 0;
          if (sightings.here !== undefined || enough || waitingFor === 0) resolve(sightings);
        };
        this.#links
          .at(brick)
          .call('locate', { file })
          .then((answer) => see(sightings, brick, answer))
          .catch(() => sightings.unreachable.push(brick))
          .finally(settled);
      }
    });
  }
}

interface Sightings {
  here: BrickName | undefined;
  moved: Moved | undefined;
  readonly unreachable: BrickName[];
}

function see(sightings: Sightings, brick: BrickName, answer: Answer<'locate'>): void {
  if (answer.place === 'here') sightings.here = brick;
  else if (answer.place === 'moved' && answer.moved !== undefined) {
    if (sightings.moved === undefined || sightings.moved.epoch < answer.moved.epoch) {
      sightings.moved = answer.moved;
    }
  }
}
