/**
 * Invariant 4: waiters are granted in ticket order among those that conflict, also across moves and restarts. Seen on
 * the wire, where a brick tells a waiter its ticket and its grant.
 *
 * The exceptions are the product's (docs/LOCKS.md, "Who is next"): an owner that holds a lock of the kind in the file
 * may overtake, and so may a wait that was let past because it only queued. Who asked to end its wait, or lost its session or its mount, is in nobody's way.
 */
import { inodeNumber } from '../../mount/fuse/reply.js';
import type { BrickName, ClientId, FileId } from '../../wire/ids.js';
import type { Request } from '../../wire/messages.js';
import type { FactListener, LockAsk } from '../facts.js';
import type { Said } from '../journal.js';
import type { LockBook } from './lock-book.js';
import { isConflict } from './range-list.js';
import type { Violations } from './violation.js';

type Wait = Request<'lock'>;

interface Queued {
  readonly mount: string;
  readonly brick: BrickName;
  readonly wait: Wait;
  readonly ticket: number;
  /** In which turn it was told. A grant that was decided before leaves the brick later in the same turn. */
  readonly turn: number;
}

export class TicketOrder implements FactListener {
  readonly #turn: () => number;
  readonly #book: LockBook;
  readonly #violations: Violations;
  /** One wait an owner, file and kind: threads that wait at once are not simulated. */
  readonly #queued = new Map<string, Queued>();
  readonly #mounts = new Map<ClientId, string>();
  readonly #clients = new Map<string, ClientId>();
  /** Their end is asked for; on the way to it they may follow a moved file and be queued once more. */
  readonly #cancelled = new Set<string>();
  readonly #mayPass = new Set<string>();

  constructor(book: LockBook, violations: Violations, turn: () => number) {
    this.#turn = turn;
    this.#book = book;
    this.#violations = violations;
  }

  waitMayPass(mount: string, { owner, file }: Request<'queueState'>): void {
    this.#mayPass.add(`${mount} ${owner} ${inodeNumber(file)}`);
  }

  /** A ring that leads through a queue is no deadlock: the brick let one of it pass. */
  said({ event, fields }: Said): void {
    if (event !== 'wait let past others') return;
    const mount = this.#mounts.get(String(fields.client) as ClientId);
    this.#mayPass.add(`${mount} ${String(fields.owner)} ${inodeNumber(String(fields.file) as FileId)}`);
  }

  mountBegun(mount: string, client: ClientId): void {
    this.#mounts.set(client, mount);
    this.#clients.set(mount, client);
  }

  graphBegun(mount: string, _client: ClientId, graph: ClientId): void {
    this.#mounts.set(graph, mount);
  }

  /** However it ended for the process, also where its mount gave up on the brick: it waits no more. */
  lockAnswered(ask: LockAsk): void {
    this.#queued.delete(keyOfAsk(ask));
    this.#cancelled.delete(keyOfAsk(ask));
  }

  /** Its mount may know while the brick is out of reach, and does not claim the place again. */
  lockInterrupted(ask: LockAsk): void {
    this.#queued.delete(keyOfAsk(ask));
    this.#cancelled.add(keyOfAsk(ask));
  }

  mountGone(mount: string): void {
    this.#forget((one) => one.mount === mount);
  }

  fenced(_brick: BrickName, client: ClientId): void {
    const mount = this.#mounts.get(client);
    this.#forget((one) => one.mount === mount);
  }

  waitQueued(mount: string, brick: BrickName, wait: Wait, ticket: number): void {
    const key = keyOf(mount, wait);
    if (!this.#cancelled.has(key)) this.#queued.set(key, { mount, brick, wait, ticket, turn: this.#turn() });
  }

  waitCancelled(mount: string, wait: Wait): void {
    const key = keyOf(mount, wait);
    this.#queued.delete(key);
    this.#cancelled.add(key);
  }

  waitAnswered(mount: string, brick: BrickName, wait: Wait, outcome: string): void {
    const key = keyOf(mount, wait);
    const mine = this.#queued.get(key);
    this.#queued.delete(key);
    this.#cancelled.delete(key);
    if (this.#mayPass.delete(`${mount} ${wait.owner} ${inodeNumber(wait.file)}`)) return;
    if (mine === undefined || outcome !== 'granted' || this.#holdsSome(mount, wait)) return;
    // Granted in the queue that came with the file, before its client asked for it here: nobody knows when.
    if (mine.brick !== brick) return;
    for (const other of this.#queued.values()) {
      if (other.wait.file !== wait.file || other.wait.kind !== wait.kind) continue;
      if (
        other.turn === this.#turn() ||
        this.#isDoubtful(other) ||
        other.ticket >= mine.ticket ||
        !isConflict(other.wait, wait)
      )
        continue;
      this.#violations.add(
        'ticket order',
        `${mount} owner ${wait.owner} was granted ${wait.type} ${wait.start}..${wait.end} of ${wait.file} with ticket ` +
          `${mine.ticket} while ${other.mount} owner ${other.wait.owner} waits with ticket ${other.ticket}`,
      );
    }
  }

  /** Its client was fenced where the file went: it lost its place, and learns of it later. */
  #isDoubtful({ mount, wait }: Queued): boolean {
    const client = this.#clients.get(mount) ?? '';
    return this.#book.isDoubtful({ client, owner: wait.owner, kind: wait.kind, ino: inodeNumber(wait.file) });
  }

  #holdsSome(mount: string, wait: Wait): boolean {
    const ino = inodeNumber(wait.file);
    for (const held of this.#book.held.values()) {
      const { owner, kind } = held;
      if (owner.mount === mount && owner.owner === wait.owner && kind === wait.kind && held.ino === ino)
        return true;
    }
    return false;
  }

  #forget(isGone: (one: Queued) => boolean): void {
    for (const [key, one] of this.#queued) if (isGone(one)) this.#queued.delete(key);
  }
}

const keyOfAsk = ({ mount, owner, kind, ino }: LockAsk): string => `${mount} ${owner} ${kind} ${ino}`;
const keyOf = (mount: string, wait: Wait): string =>
  `${mount} ${wait.owner} ${wait.kind} ${inodeNumber(wait.file)}`;
