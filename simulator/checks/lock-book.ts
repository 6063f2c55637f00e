/**
 * What the processes believe: which locks each owner was granted and has not given back, and who waits for what.
 * Written from the answers that kernels gave to processes, never from what bricks say.
 *
 * A lock counts from the answer that granted it to the moment at which the process asks to be rid of it. A fence ends
 * that belief without a word to the process: locks of a client that a brick fenced, in files that are (or were just)
 * at home there, are `doubtful` until their owner closes the file, and no check says anything of them.
 */
import { constants } from 'node:os';
import { inodeNumber } from '../../mount/fuse/reply.js';
import type { BrickName, ClientId, FileId } from '../../wire/ids.js';
import type { LockKind } from '../../wire/lock-types.js';
import type { FactListener, LockAsk, LockFact, OwnerFact } from '../facts.js';
import type { Homes } from '../homes.js';
import type { Said } from '../journal.js';
import { type LockedRange, withoutRange, withRange } from './range-list.js';

const { errno } = constants;

export interface Held {
  readonly owner: OwnerFact;
  readonly kind: LockKind;
  readonly ino: bigint;
  ranges: LockedRange[];
  doubtful: boolean;
}

/** Answers after which an owner's locks are what they were. */
const harmless = new Set<number>([errno.EAGAIN, errno.EINTR, errno.EDEADLK, errno.ENOLCK]);
/** A client that came back after a fence may be taken for fenced by a move that began before. */
const fenceEchoMs = 5000;
/** A file that moved is still cleaned up where it was. */
const homeEchoMs = 5000;

export class LockBook implements FactListener {
  readonly held = new Map<string, Held>();
  readonly waiting = new Set<LockAsk>();
  readonly #homes: Homes;
  readonly #now: () => number;
  /** Until when a client counts as fenced at a brick. */
  readonly #fencedUntil = new Map<string, number>();
  readonly #wasHome = new Map<string, number>();
  readonly #doubtfulOwners = new Set<string>();
  /** Client of a graph > the client by which its mount's processes are known, or one that nobody is. */
  readonly #knownAs = new Map<ClientId, ClientId>();

  constructor(homes: Homes, now: () => number) {
    this.#homes = homes;
    this.#now = now;
    homes.onMove((file, bricks) => this.#moved(file, bricks));
  }

  /** Some brick ended the session of a client that lives on. */
  get wasFenced(): boolean {
    return this.#fencedUntil.size > 0;
  }

  /** A mount that changed its graph is another client for the bricks, and the same for its processes. */
  knownAs(client: ClientId): ClientId {
    return this.#knownAs.get(client) ?? client;
  }

  isDoubtful(lock: { client: string; owner: string; kind: LockKind; ino: bigint }): boolean {
    return this.#doubtfulOwners.has(keyOf(lock, lock.kind, lock.ino));
  }

  lockAsked(ask: LockAsk): void {
    if (ask.wait) this.waiting.add(ask);
    const held = this.held.get(keyOf(ask, ask.kind, ask.ino));
    if (held === undefined) return;
    // From here on a weaker lock may be in place: a flock is dropped before it changes, a write lock turns to read.
    if (ask.kind === 'flock') {
      if (held.ranges[0]?.type !== ask.type) held.ranges = [];
      return;
    }
    if (ask.type === 'write') return;
    const weaker = held.ranges.filter((range) => range.start <= ask.end && range.end >= ask.start);
    for (const range of weaker) {
      const start = range.start > ask.start ? range.start : ask.start;
      const end = range.end < ask.end ? range.end : ask.end;
      held.ranges = withRange(held.ranges, { start, end, type: 'read' });
    }
  }

  lockAnswered(ask: LockAsk, error: number): void {
    this.waiting.delete(ask);
    const key = keyOf(ask, ask.kind, ask.ino);
    if (error === 0) {
      let held = this.held.get(key);
      if (held === undefined) {
        const { mount, client, owner, kind, ino } = ask;
        held = { owner: { mount, client, owner }, kind, ino, ranges: [], doubtful: false };
        this.held.set(key, held);
      }
      held.doubtful = this.#doubtfulOwners.has(key);
      held.ranges = withRange(held.ranges, { start: ask.start, end: ask.end, type: ask.type });
    } else if (!harmless.has(error)) this.#doubt(key);
  }

  unlocking(lock: LockFact): void {
    const held = this.held.get(keyOf(lock, lock.kind, lock.ino));
    if (held !== undefined) held.ranges = withoutRange(held.ranges, lock.start, lock.end);
  }

  closing(owner: OwnerFact, ino: bigint, kinds: readonly LockKind[]): void {
    for (const kind of kinds) {
      const key = keyOf(owner, kind, ino);
      this.held.delete(key);
      this.#doubtfulOwners.delete(key);
    }
  }

  mountGone(_mount: string, client: ClientId): void {
    for (const [key, held] of this.held) if (held.owner.client === client) this.held.delete(key);
    for (const ask of this.waiting) if (ask.client === client) this.waiting.delete(ask);
  }

  graphBegun(_mount: string, client: ClientId, graph: ClientId): void {
    this.#knownAs.set(graph, client);
  }

  graphEnded(graph: ClientId): void {
    this.#knownAs.set(graph, `left:${graph}` as ClientId);
  }

  fenced(brick: BrickName, client: ClientId): void {
    this.#fencedUntil.set(`${brick} ${client}`, Number.POSITIVE_INFINITY);
    for (const file of this.#homes.files()) {
      const wasHere =
        (this.#wasHome.get(`${brick} ${file}`) ?? Number.NEGATIVE_INFINITY) > this.#now() - homeEchoMs;
      if (wasHere || this.#homes.of(file).includes(brick)) this.#doubtClient(client, file);
    }
  }

  said({ party, event, fields }: Said): void {
    if (event !== 'session new') return;
    const key = `${party} ${String(fields.client)}`;
    if (this.#fencedUntil.has(key)) this.#fencedUntil.set(key, this.#now() + fenceEchoMs);
  }

  #moved(file: FileId, bricks: readonly BrickName[]): void {
    for (const brick of bricks) {
      this.#wasHome.set(`${brick} ${file}`, this.#now());
      for (const [key, until] of this.#fencedUntil) {
        const [at, client] = key.split(' ') as [BrickName, ClientId];
        if (at === brick && until > this.#now()) this.#doubtClient(client, file);
      }
    }
  }

  #doubtClient(graph: ClientId, file: FileId): void {
    const client = this.knownAs(graph);
    const ino = inodeNumber(file);
    for (const [key, held] of this.held) {
      if (held.owner.client === client && held.ino === ino) this.#doubt(key);
    }
    for (const ask of this.waiting) {
      if (ask.client === client && ask.ino === ino) this.#doubt(keyOf(ask, ask.kind, ask.ino));
    }
  }

  #doubt(key: string): void {
    this.#doubtfulOwners.add(key);
    const held = this.held.get(key);
    if (held !== undefined) held.doubtful = true;
  }
}

export const keyOf = (of: { client: string; owner: string }, kind: LockKind, ino: bigint): string =>
  `${of.client} ${of.owner} ${kind} ${ino}`;
