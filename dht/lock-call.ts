/**
 * One lock request from the application's call to its outcome: over redirects, waiting, cancelling, lost links.
 *
 * Decides when the process is told and what must be taken back when it was told too early. The rules of locks are
 * the brick's. Three promises that it keeps:
 *   - a grant that the process was told of is in HeldLocks from the moment its answer is read;
 *   - a cancelled wait ends for the process within `cancelPatienceMs`, whatever the link does; if the brick granted it
 *     after all, the grant is taken back (leftover-locks.ts);
 *   - a request given up because its brick is out of reach leaves neither a lock nor a waiter behind.
 * A wait may change to a new graph on its way (`rehome`): what is still said of it over the old one is not heard.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, Ticket } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { Answer } from '../wire/messages.js';
import type { FileTraffic } from './file-traffic.js';
import { forApplication, type HomeCalls } from './home-calls.js';
import type { LockContext } from './lock-context.js';
import type { LockOutcome, LockRequest, PendingLock } from './volume.js';
import { type Sent, WaitCancels } from './wait-cancels.js';

/** A brick that is alive answers a cancel in one round trip, or after a freeze: this is many of both. */
const cancelPatienceMs = 1000;

/** Refusals after which a brick may have the request, or a place that came with its file. The last two: its disk. */
const leavesDoubt = (code: string | undefined): boolean =>
  code === 'ENOTCONN' || code === 'EFENCED' || code === 'EIO' || code === 'ENOSPC';

const neverSent: Answer<'lock'> = { outcome: 'cancelled', change: 0 };
/** Not an answer: the request waits on, where its file is now. */
const movedOn: Answer<'lock'> = { outcome: 'cancelled', change: 0 };

export class LockCall implements PendingLock {
  outcome!: Promise<LockOutcome>;
  request: LockRequest;
  #ticket: Ticket | undefined;
  #sent: Sent | undefined;
  /** The brick that it was sent to last said that it waits there. */
  #hasPlace = false;
  /** As `hasPlace`, and the brick did not restart since. */
  #isQueued = false;
  #wasRedirected = false;
  #cancelled = false;
  /** The process has its outcome. */
  #told = false;
  /** It was told that its wait ended before the brick said so. */
  #isToldEarly = false;
  /** Its process waits again since then; an end that it asked for before is not heard. */
  #isResumed = false;
  readonly #cancels = new WaitCancels();
  #over: Promise<void> | undefined;
  #finish: () => void = () => undefined;
  /** Counts the graphs that the request was given to: what was sent over an earlier one is not heard. */
  #graphs = 0;
  /** Where the request counts as under way: from its sending until it waits or is over. */
  #busyIn: FileTraffic | undefined;
  #context: LockContext;
  #resolve!: (outcome: LockOutcome) => void;
  #reject!: (error: unknown) => void;

  constructor(context: LockContext, request: LockRequest, ticket: Ticket | undefined) {
    this.#context = context;
    this.request = request;
    this.#ticket = ticket;
    this.#newOutcome();
  }

  #newOutcome(): void {
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Known once the brick said that the request waits. */
  get ticket(): Ticket | undefined {
    return this.#ticket;
  }

  get waitsAt(): BrickName | undefined {
    return this.#sent?.brick;
  }

  get isCancelled(): boolean {
    return this.#cancelled;
  }

  start(): this {
    const { lanes } = this.#context;
    this.#setBusy();
    if (lanes.isBusy(this.request)) {
      lanes.whenFree(this.request).then(
        () => this.#run(),
        (error: unknown) => this.#tellError(error),
      );
    } else {
      this.#run();
    }
    return this;
  }

  cancel(): void {
    if (this.#cancelled || this.#told) return;
    this.#cancelled = true;
    // Before it waits there is nothing to end; and where it is held back at the brick, so would its end be, of which the
    // process may think better (`resume`).
    if (this.#isQueued && this.#sent !== undefined) this.#sendCancel(this.#sent);
    const timer = this.#context.clock.after(cancelPatienceMs, () => {
      if (this.#told) return;
      this.#isToldEarly = true;
      this.#tell({ outcome: 'cancelled', ticket: this.#ticket });
      const { over } = this;
      if (over !== undefined) void this.#context.lanes.add(this.request, () => over);
    });
    const stop = (): void => timer.stop();
    this.outcome.then(stop, stop);
  }

  /** A brick works on a wait whose process was told that it ended. */
  get isResumable(): boolean {
    return this.#isToldEarly && this.#sent !== undefined;
  }

  /**
   * The process waits again (SA_RESTART), and its brick was not heard of since it was told that its wait ended. Sent
   * anew behind the end of this one the wait could lose its place: a brick that restarts meanwhile is not told of it.
   */
  resume(request: LockRequest): this {
    this.request = request;
    this.#isToldEarly = false;
    this.#told = false;
    this.#cancelled = false;
    this.#isResumed = true;
    this.#newOutcome();
    this.#cancels.takeBack();
    // Its owner's lane waits for an end that does not come now.
    this.#finish();
    this.#newOver();
    return this;
  }

  /** The brick says under which ticket the request `seq` waits. */
  queued(ticket: Ticket): void {
    this.#ticket = ticket;
    this.#hasPlace = true;
    this.#isQueued = true;
    this.#setQuiet();
    if (this.request.kind === 'flock') this.#context.held.ownerDropped(this.request);
    if (this.#cancelled && this.#sent !== undefined) this.#sendCancel(this.#sent);
  }

  /** The request is sent again behind the reclaim, and waits where it is told so. */
  brickRestarted(): void {
    this.#isQueued = false;
  }

  /** Resolves when no brick works on the request any more; undefined where it was never sent. */
  get over(): Promise<void> | undefined {
    return this.#over;
  }

  /** Brings a wait that moved with its file to its end; nobody is told. */
  endMovedWait(): Promise<void> {
    this.#told = true;
    this.#cancelled = true;
    return this.#send();
  }

  #run(): void {
    const { uses } = this.#context;
    if (this.#cancelled) {
      this.#tell({ outcome: 'cancelled', ticket: this.#ticket });
    } else if (uses.isLost(this.request.file)) {
      try {
        uses.refuseIfLost(this.request.file);
      } catch (error) {
        this.#tellError(error);
      }
    } else {
      void this.#send();
    }
  }

  /**
   * The wait belongs to the client of another graph now, under the ticket that it has (fd migration): it is asked for
   * there, whatever became of it meanwhile. A grant that the old graph did not bring any more is granted again.
   */
  rehome(next: LockContext): void {
    const { calls, probes } = this.#context;
    const sent = this.#sent;
    this.#graphs += 1;
    if (sent !== undefined) {
      calls.waitEnded(sent.brick, sent.seq);
      sent.link.forget(sent.seq);
    }
    calls.ended(this);
    probes.ended(this);
    this.#setQuiet();
    this.#sent = undefined;
    this.#context = next;
    void this.#send();
  }

  #send(): Promise<void> {
    const { calls, homes } = this.#context;
    const graphs = this.#graphs;
    calls.began(this);
    if (this.#over === undefined) this.#newOver();
    this.#ask(homes, graphs).then(
      (answer) => {
        if (graphs === this.#graphs) this.#answered(answer);
      },
      (error: unknown) => {
        if (graphs === this.#graphs) this.#failed(error);
      },
    );
    return this.#over!;
  }

  #newOver(): void {
    this.#over = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** A wait may last for hours and move any number of times: only redirects without a place in between are counted. */
  #ask(homes: HomeCalls, graphs: number): Promise<Answer<'lock'>> {
    return homes
      .atRaw(this.request.file, (link, brick) => this.#attempt(link, brick, graphs))
      .then((answer) => (answer === movedOn ? this.#ask(homes, graphs) : answer));
  }

  #attempt(link: BrickLink, brick: BrickName, graphs: number): Promise<Answer<'lock'>> {
    const { calls, traffic } = this.#context;
    const { file, owner, kind, type, start, end, pid, wait } = this.request;
    if (graphs !== this.#graphs) return Promise.resolve(neverSent);
    const paused = traffic.paused(file);
    if (paused !== undefined) return paused.then(() => this.#attempt(link, brick, graphs));
    if (this.#cancelled && this.#sent === undefined && !this.#told && !this.#isRehomed)
      return Promise.resolve(neverSent);
    this.#setBusy();
    this.#weaken();
    const { seq, answer } = link.callNumbered('lock', {
      file,
      owner,
      kind,
      type,
      start,
      end,
      pid,
      wait,
      ticket: this.#ticket,
    });
    // Number 0: the link refused it at once, no brick will ever see it.
    this.#sent = seq === 0 ? undefined : { brick, link, seq };
    this.#hasPlace = false;
    this.#isQueued = false;
    if (wait) calls.waitsAs(brick, seq, this);
    return answer.then(
      (body) => {
        if (wait) calls.waitEnded(brick, seq);
        if (graphs === this.#graphs) this.#note(body);
        return this.#endedBeforeResume(body) ? movedOn : body;
      },
      (error: unknown) => {
        if (wait) calls.waitEnded(brick, seq);
        const moved = asRefusal(error)?.moved;
        if (moved !== undefined) this.#wasRedirected = true;
        if (moved === undefined || !this.#hasPlace || graphs !== this.#graphs) throw error;
        this.#context.placement.moved(file, moved);
        return movedOn;
      },
    );
  }

  #endedBeforeResume({ outcome }: Answer<'lock'>): boolean {
    const isResumed = this.#isResumed && !this.#cancelled;
    this.#isResumed = false;
    return isResumed && outcome === 'cancelled';
  }

  /** A write lock that this request turns into a read lock may be one already, and a flock that it changes gone. */
  #weaken(): void {
    const { held } = this.#context;
    const { kind, type } = this.request;
    if (kind === 'posix') {
      if (type === 'read') held.weakening(this.request, this.request, 'read');
    } else if (
      held.pieces(this.request, this.request).some((one) => one.type !== undefined && one.type !== type)
    )
      held.weakening(this.request, this.request, 'none');
  }

  /** In the first callback on the answer, so that HeldLocks changes in the order in which the brick decided. */
  #note(answer: Answer<'lock'>): void {
    const { held, leftovers } = this.#context;
    if (answer.outcome === 'granted') {
      if (this.#told) leftovers.mark(this.request);
      else held.granted(this.request, this.request, this.request.type, this.request.pid);
    } else if (this.request.kind === 'flock') {
      // A conversion gives up the old lock before it looks for conflicts (fs/locks.c, flock_lock_inode).
      held.ownerDropped(this.request);
    } else held.notWeakened(this.request, this.request);
  }

  #answered(answer: Answer<'lock'>): void {
    if (answer.outcome === 'rebound') {
      // The graph switch that asked for it gives the request to the new graph as soon as it has its own answer.
      if (this.#context.traffic.paused(this.request.file) !== undefined) return;
      this.#failed(new Refusal('EIO', 'another client took over this wait'));
      return;
    }
    this.#ended();
    switch (answer.outcome) {
      case 'granted':
        this.#tell({ outcome: 'granted', change: answer.change });
        break;
      case 'cancelled':
        this.#tell({ outcome: 'cancelled', ticket: this.#ticket });
        break;
      default:
        this.#tell({ outcome: answer.outcome });
    }
  }

  #failed(error: unknown): void {
    const { lanes, leftovers } = this.#context;
    const code = asRefusal(error)?.code;
    const sent = this.#sent;
    if (sent !== undefined && leavesDoubt(code)) {
      // Whether the brick has a lock or a waiter of this request is unknown until it answers again.
      void lanes.add(this.request, () => this.#abandon(sent));
      leftovers.mark(this.request);
    } else if (sent === undefined && this.#isRehomed && code === 'ENOTCONN') {
      void lanes.add(this.request, () => this.#abandonRehomed());
      leftovers.mark(this.request);
    }
    this.#ended();
    this.#tellError(forApplication(error));
  }

  /**
   * Ends the request at the brick that it was sent to, or where its file went since. A wait that came to the brick with
   * its file may be in the queue without this request, which never arrived or was refused: then it is ended by its
   * ticket, since a brick knows nothing of the number. Where the ticket was never heard of, the brick knows the wait by
   * what it asks for.
   */
  async #abandon(sent: Sent): Promise<void> {
    const { lanes, homes, placement } = this.#context;
    const { file, wait } = this.request;
    let elsewhere = false;
    while (!lanes.isClosed) {
      try {
        await sent.link.call('cancelLock', { file, seq: sent.seq });
        break;
      } catch (error) {
        const refusal = asRefusal(error);
        if (refusal === undefined) throw error;
        if (refusal.moved !== undefined) placement.moved(file, refusal.moved);
        elsewhere = !leavesDoubt(refusal.code) || refusal.code === 'EFENCED';
        if (elsewhere) break;
      }
      await lanes.pause();
    }
    const cameWithFile = !elsewhere && !this.#hasPlace;
    if (!(elsewhere || cameWithFile) || !wait || lanes.isClosed) return;
    if (this.#ticket === undefined && !elsewhere && !this.#wasRedirected) return;
    const place = await homes.find(file).catch((error: unknown) => {
      if (asRefusal(error) === undefined) throw error;
      return undefined;
    });
    // Fenced where it waited, and the file still there: the wait went with the session.
    if (place === undefined || (place.brick === sent.brick && !cameWithFile)) return;
    await new LockCall(this.#context, this.request, this.#ticket).endMovedWait();
  }

  /** It waits at a brick that could not be told of it over the new graph. */
  async #abandonRehomed(): Promise<void> {
    const { lanes, homes } = this.#context;
    const { file } = this.request;
    const isThere = (): Promise<boolean> =>
      homes.find(file).then(
        () => true,
        (error: unknown) => {
          const code = asRefusal(error)?.code;
          if (code === undefined) throw error;
          return code !== 'ENOTCONN';
        },
      );
    while (!lanes.isClosed && !(await isThere())) await lanes.pause();
    if (!lanes.isClosed) await new LockCall(this.#context, this.request, this.#ticket).endMovedWait();
  }

  get #isRehomed(): boolean {
    return this.#graphs > 0;
  }

  #setBusy(): void {
    if (this.#busyIn !== undefined) return;
    this.#busyIn = this.#context.traffic;
    this.#busyIn.began(this.request.file);
  }

  #setQuiet(): void {
    const busyIn = this.#busyIn;
    this.#busyIn = undefined;
    busyIn?.ended(this.request.file);
  }

  #sendCancel(sent: Sent): void {
    this.#cancels.send(sent, this.request.file, this.#context.trace);
  }

  #ended(): void {
    this.#context.calls.ended(this);
    this.#context.probes.ended(this);
    this.#context.leftovers.settle(this.request);
    this.#setQuiet();
    this.#finish();
  }

  #tell(outcome: LockOutcome): void {
    this.#told = true;
    if (this.#sent === undefined) this.#setQuiet();
    this.#resolve(outcome);
  }

  #tellError(error: unknown): void {
    if (this.#told) return;
    this.#told = true;
    this.#setQuiet();
    this.#reject(error instanceof Error ? error : new Refusal('EIO', String(error)));
  }
}
