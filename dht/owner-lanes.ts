/**
 * Work on the locks of one owner in one file that goes on in the background, in order, and calls that are never
 * lost: an unlock, a flush or a release that no brick acknowledged is repeated until one does, or until the session
 * that held the locks is ended. A lock request of the same owner waits for its lane, so that a late unlock can never
 * take away what was granted after it.
 *
 * A lane exists only after a failure or a cancelled wait: the common path finds none.
 */
import type { Clock } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import type { FileId } from '../wire/ids.js';
import type { BrickLinks } from './brick-links.js';
import { type OwnerKey, ownerKeyOf } from './held-locks.js';
import { type Attempt, type HomeCalls, mayPass } from './home-calls.js';

/** Between two tries of a call that must not be lost. */
const retryMs = 500;

/** The file is gone from every brick, and every lock with it: nothing is left to be undone. */
const isGone = (error: unknown): boolean => asRefusal(error)?.code === 'ESTALE';

/**
 * The session ended before this was carried out. Its locks at that brick are gone; but the file may have moved on with
 * them before, to a brick where this client is well. Only asking again, under the new session, tells.
 */
const isFenced = (error: unknown): boolean => asRefusal(error)?.code === 'EFENCED';

const listOf = (of: OwnerKey | readonly OwnerKey[]): readonly OwnerKey[] => ('file' in of ? [of] : of);

export class OwnerLanes {
  readonly #tails = new Map<string, Promise<void>>();
  readonly #homes: HomeCalls;
  readonly #links: BrickLinks;
  readonly #clock: Clock;
  readonly #trace: Trace;
  #closed = false;

  constructor(homes: HomeCalls, links: BrickLinks, clock: Clock, trace: Trace) {
    this.#homes = homes;
    this.#links = links;
    this.#clock = clock;
    this.#trace = trace;
  }

  isBusy(of: OwnerKey): boolean {
    return this.#tails.size > 0 && this.#tails.has(ownerKeyOf(of));
  }

  get isIdle(): boolean {
    return this.#tails.size === 0;
  }

  isFileBusy(file: FileId): boolean {
    for (const key of this.#tails.keys()) if (key.startsWith(file)) return true;
    return false;
  }

  /** Behind all that is in the lanes of these owners, and in all of them at once. A failure is traced, never thrown. */
  add(of: OwnerKey | readonly OwnerKey[], work: () => Promise<void>): Promise<void> {
    const all = listOf(of);
    const keys = all.map(ownerKeyOf);
    const before = Promise.all(keys.map((key) => this.#tails.get(key)));
    const tail = before.then(work).catch((error: unknown) => {
      if (!this.#closed) {
        const [{ file, owner } = { file: '', owner: '' }] = all;
        this.#trace.warn('lock work failed', { file, owner, error: String(error) });
      }
    });
    for (const key of keys) this.#tails.set(key, tail);
    return tail.then(() => {
      for (const key of keys) if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
  }

  /** @refuses ENOTCONN where the lane is still busy when an operation gives up */
  whenFree(of: OwnerKey): Promise<void> {
    return this.#bounded(this.#untilFree(ownerKeyOf(of)));
  }

  /** Also behind what joins the lane meanwhile: the end of a wait may leave a grant to be taken back. */
  async #untilFree(key: string): Promise<void> {
    for (let tail = this.#tails.get(key); tail !== undefined; tail = this.#tails.get(key)) await tail;
  }

  /**
   * Resolves when a brick acknowledged the call, or nothing is left that it could apply to (`gone` was called then).
   * @refuses ENOTCONN at the end of the time that an operation waits; the call is then repeated in the background
   */
  run(of: OwnerKey | readonly OwnerKey[], attempt: Attempt<unknown>, gone: () => void): Promise<void> {
    const all = listOf(of);
    const { file } = all[0]!;
    const later = (): Promise<void> => this.add(all, () => this.untilAnswered(file, attempt, gone));
    if (all.some((one) => this.isBusy(one))) return this.#bounded(later());
    return this.#homes.atRaw(file, attempt).then(
      () => undefined,
      (error: unknown) => {
        if (isGone(error)) return gone();
        if (isFenced(error)) return this.#bounded(later());
        if (mayPass(error)) void later();
        throw error;
      },
    );
  }

  /** Repeats the call until it is acknowledged or without an object. The file may have moved from a dead brick. */
  async untilAnswered(file: FileId, attempt: Attempt<unknown>, gone: () => void): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#homes.atRaw(file, attempt);
        return;
      } catch (error) {
        if (isGone(error)) return gone();
        if (!mayPass(error) && !isFenced(error)) throw error;
      }
      await this.pause();
      await this.#homes.find(file).catch((error: unknown) => {
        if (asRefusal(error) === undefined) throw error;
      });
    }
  }

  pause(): Promise<void> {
    return this.#clock.sleep(retryMs);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
  }

  #bounded(work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(this.#links.giveUpMs, () => {
        reject(
          new Refusal(
            'ENOTCONN',
            'an earlier lock operation of this process is not acknowledged by its brick yet',
          ),
        );
      });
      work.then(resolve, reject).finally(() => timer.stop());
    });
  }
}
