/**
 * The change of one mount from an old graph to the next, file by file, while its processes go on (fd migration).
 *
 * Decides which graph serves a file, and when it changes. A file that was in use stays with the old graph until all
 * that its processes have there (holders, waiters, handles) is the next one's: for that time its lock requests, opens
 * and closes wait at a gate, what is under way is let finish, the old session reads a token and the new one shows it.
 * Reads and writes are never held up. It must never believe less than a brick confirmed: where the new session has
 * fewer locks than the processes were granted, the file is lost until it is closed (file-uses.ts), as after a fence;
 * and where no brick has the file at all.
 *
 * Where the two sides of an exchange are out of reach it is tried again; until then the old graph serves the file.
 * Called by distributed-volume.ts.
 */
import type { Clock } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import { asRefusal } from '../wire/errors.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { Answer } from '../wire/messages.js';
import type { Graph } from './graph.js';
import type { Placement } from './placement.js';

/** Files that change at the same time. */
const filesAtOnce = 64;
/** What is under way in a file may take so long to finish; then the gate opens, and it is tried again. */
const quietMsMax = 1000;
const retryMs = 20;
const retryMsMax = 500;
const verifyTries = 3;

/** What the old session was told of a file, by which brick. */
interface Lockinfo extends Answer<'readLockinfo'> {
  readonly brick: BrickName;
  readonly believed: number;
}

/** The brick may have carried it out, or not. */
class Uncertain extends Error {}

export class GraphSwitch {
  readonly #old: Graph;
  readonly #next: Graph;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #staying: Set<FileId>;
  readonly #gates = new Map<FileId, Promise<void>>();
  #closed = false;

  constructor(old: Graph, next: Graph, clock: Clock, trace: Trace) {
    this.#old = old;
    this.#next = next;
    this.#clock = clock;
    this.#trace = trace;
    this.#staying = old.filesInUse();
    for (const file of this.#staying) teach(old.lockContext.placement, next.lockContext.placement, file);
  }

  graphOf(file: FileId): Graph {
    return this.#staying.has(file) ? this.#old : this.#next;
  }

  /** Set while the file changes: what concerns its locks and handles waits for this. */
  gate(file: FileId): Promise<void> | undefined {
    return this.#gates.size === 0 ? undefined : this.#gates.get(file);
  }

  /** Resolves when the old graph has nothing left to do, or after `close`. */
  async run(): Promise<void> {
    this.#trace.info('graph switch begins', { from: this.#old.client, to: this.#next.client });
    for (let waitMs = retryMs; !this.#closed; waitMs = Math.min(waitMs * 2, retryMsMax)) {
      await this.#tryAll();
      if (this.#staying.size === 0 && this.#old.isIdle) break;
      await this.#clock.sleep(waitMs);
    }
    this.#trace.info('graph switch ends', { from: this.#old.client, to: this.#next.client });
  }

  /** What has not changed stays as it is: the caller closes both graphs. */
  close(): void {
    this.#closed = true;
  }

  async #tryAll(): Promise<void> {
    const files = [...this.#staying];
    const worker = async (): Promise<void> => {
      for (let file = files.pop(); file !== undefined && !this.#closed; file = files.pop())
        await this.#try(file);
    };
    await Promise.all(Array.from({ length: Math.min(filesAtOnce, files.length) }, worker));
  }

  async #try(file: FileId): Promise<void> {
    if (!this.#old.isInUse(file)) {
      this.#staying.delete(file);
      return;
    }
    const { lanes, placement } = this.#old.lockContext;
    const home = placement.of(file)?.brick;
    const isUp = home === undefined || (this.#old.links.isUp(home) && this.#next.links.isUp(home));
    if (!isUp || lanes.isFileBusy(file)) return;
    const open = this.#closeGate(file);
    try {
      if (await this.#isQuiet(file)) await this.#change(file);
    } catch (error) {
      // Refused by a brick: it may be out of reach, or have restarted. Everything is as it was.
      if (asRefusal(error) === undefined) throw error;
      this.#trace.warn('file not changed to the new graph yet', { file, error: (error as Error).message });
    } finally {
      open();
    }
  }

  #closeGate(file: FileId): () => void {
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#gates.set(file, gate);
    return () => {
      this.#gates.delete(file);
      open();
    };
  }

  /** With the gate closed nothing new begins. */
  async #isQuiet(file: FileId): Promise<boolean> {
    const { lanes, traffic } = this.#old.lockContext;
    if (!traffic.isQuiet(file)) {
      let timer: { stop(): void } | undefined;
      const late = new Promise<void>((resolve) => {
        timer = this.#clock.after(quietMsMax, resolve);
      });
      await Promise.race([traffic.whenQuiet(file), late]);
      timer?.stop();
    }
    return traffic.isQuiet(file) && !lanes.isFileBusy(file) && !this.#closed;
  }

  async #change(file: FileId): Promise<void> {
    const { traffic, uses } = this.#old.lockContext;
    const goOn = traffic.pause(file);
    try {
      // A wait that was just redirected is on its way to another brick.
      if (!traffic.isQuiet(file)) return;
      let isUncertain = false;
      for (let waitMs = retryMs; !this.#closed; waitMs = Math.min(waitMs * 2, retryMsMax)) {
        if (uses.isLost(file)) {
          this.#adopt(file);
          return;
        }
        try {
          await this.#exchange(file, isUncertain);
          return;
        } catch (error) {
          // The gate stays closed until it is known whose the locks are: an unlock must not go to the wrong one.
          if (error instanceof Uncertain) isUncertain = true;
          else if (!isUncertain) throw error;
          this.#trace.warn('fd migration is repeated', { file, error: (error as Error).message });
        }
        await this.#clock.sleep(waitMs);
      }
    } finally {
      goOn();
    }
  }

  async #exchange(file: FileId, isUncertain: boolean): Promise<void> {
    const read = await this.#readOld(file);
    if (read === undefined) {
      this.#adoptGone(file);
      return;
    }
    const opens = this.#old.lockContext.uses.opens(file);
    // Handles go with the locks: an old session without any has given them away in an earlier try.
    if (isUncertain && opens > 0 && read.opens === 0 && read.count === 0) {
      this.#adopt(file);
      await this.#verify(file);
      return;
    }
    const written = await this.#write(file, read);
    if (written.opens < opens) await this.#openMissing(file, opens - written.opens);
    if (isUncertain || written.count < Math.max(read.count, read.believed)) await this.#verify(file);
    this.#trace.debug('file changed to the new graph', { file, locks: written.count, opens });
  }

  /**
   * `believed`: what this client knew of at that moment; the answers of one connection come in order. Undefined where
   * every brick says that it does not have the file.
   */
  #readOld(file: FileId): Promise<Lockinfo | undefined> {
    const { homes } = this.#old.lockContext;
    const read: Promise<Lockinfo | undefined> = homes.atRaw(file, (link, brick) =>
      link
        .call('readLockinfo', { file })
        .then((answer) => ({ ...answer, brick, believed: believedLocks(this.#old, file) })),
    );
    return read.catch((error: unknown) => {
      if (asRefusal(error)?.code === 'ESTALE') return undefined;
      throw error;
    });
  }

  /** A loss of power took it, which nobody had synced: there is nothing to wait for, however long it stays open. */
  #adoptGone(file: FileId): void {
    this.#trace.warn('no brick has a file that is in use', { file });
    this.#adopt(file);
    this.#next.lockContext.uses.lose(file, undefined);
  }

  async #write(file: FileId, { brick, token }: Lockinfo): Promise<Answer<'writeLockinfo'>> {
    const { calls, placement: was } = this.#old.lockContext;
    const { homes, placement } = this.#next.lockContext;
    // To where the token was read, not to an older place that the next graph knows and that may be down.
    teach(was, placement, file);
    if (placement.of(file)?.brick !== brick) placement.found(file, brick);
    try {
      return await homes.atRaw(file, (link, at) => {
        const reclaims = calls.reclaims(at);
        // Were the brick to restart now, the old session has to reclaim the locks there.
        teach(placement, was, file);
        return link.call('writeLockinfo', { file, token }).then((answer) => {
          // A late answer of the time before a restart, of which the brick heard over the old connection first.
          if (calls.reclaims(at) !== reclaims) throw new Uncertain('the old session reclaimed meanwhile');
          this.#adopt(file);
          return answer;
        });
      });
    } catch (error) {
      const code = asRefusal(error)?.code;
      // EPERM: the brick restarted, or the old session ended; nothing was changed.
      if (code === undefined || code === 'EPERM' || code === 'ESTALE') throw error;
      throw new Uncertain((error as Error).message);
    }
  }

  /** From this turn on the next graph answers for the file, also to a brick that restarts. */
  #adopt(file: FileId): void {
    const from = this.#old.lockContext;
    const to = this.#next.lockContext;
    teach(from.placement, to.placement, file);
    to.held.adopt(file, from.held.take(file));
    to.uses.adopt(file, from.uses.take(file));
    for (const leftover of from.leftovers.take(file)) to.leftovers.mark(leftover);
    this.#staying.delete(file);
    for (const call of [...from.calls.waitsOf(file)]) call.rehome(to);
  }

  /** Handles that the old session had lost: an inode without names lives only while a session has it open. */
  async #openMissing(file: FileId, missing: number): Promise<void> {
    const { homes } = this.#next.lockContext;
    for (let left = missing; left > 0; left--) {
      await homes.atRaw(file, (link) => link.call('open', { file, truncate: false }));
    }
  }

  /**
   * Waits that are granted meanwhile may join other locks, so a smaller number alone proves nothing. On one connection
   * behind all that was asked, what the brick has and what this client was told must agree.
   */
  async #verify(file: FileId): Promise<void> {
    const { homes, uses } = this.#next.lockContext;
    const look = (link: BrickLink) =>
      link
        .call('readLockinfo', { file })
        .then(({ count }) => ({ count, believed: believedLocks(this.#next, file) }));
    let { count, believed } = await homes.atRaw(file, look);
    // A move in between may bring answers out of their order; that passes.
    for (let tries = 1; count < believed && tries < verifyTries; tries++) {
      await this.#clock.sleep(retryMs);
      ({ count, believed } = await homes.atRaw(file, look));
    }
    if (count >= believed) return;
    const brick = this.#next.lockContext.placement.of(file)?.brick;
    this.#trace.error('locks lost in a graph switch', { file, brick, expected: believed, found: count });
    if (brick !== undefined) uses.lose(file, brick);
  }
}

const teach = (from: Placement, to: Placement, file: FileId): void => {
  const place = from.of(file);
  if (place !== undefined) to.learn(file, place.brick, place.epoch);
};

/** Granted locks and waits of one client in a file, as it was told by bricks. */
const believedLocks = ({ lockContext, client }: Graph, file: FileId): number => {
  let waits = 0;
  for (const call of lockContext.calls.waitsOf(file)) if (call.ticket !== undefined) waits += 1;
  return lockContext.held.ofFile(file, client).length + waits;
};
