/**
 * What happens in a run, told to whoever checks it: what processes asked and were answered, what bricks stored and
 * said, who died. The doors tell; the checks of checks/ listen. Neither knows the other, and nobody answers back.
 */
import type { StoreOp } from '../brick-store/store.js';
import type { BrickName, ClientId, FileId, LkOwner, MigrationId } from '../wire/ids.js';
import type { LockKind, LockType } from '../wire/lock-types.js';
import type { Request } from '../wire/messages.js';
import type { SourcePhase, TargetPhase } from '../wire/migration-steps.js';
import type { Said } from './journal.js';

/** The owner of a lock, as a kernel knows it. */
export interface OwnerFact {
  readonly mount: string;
  readonly client: ClientId;
  readonly owner: LkOwner;
}

export interface LockFact extends OwnerFact {
  readonly kind: LockKind;
  readonly ino: bigint;
  readonly start: bigint;
  readonly end: bigint;
}

export interface LockAsk extends LockFact {
  readonly type: LockType;
  readonly wait: boolean;
  readonly pid: number;
}

export interface ContentFact {
  readonly ino: bigint;
  readonly offset: number;
  readonly length: number;
}

export interface WriteFact extends ContentFact {
  readonly data: Uint8Array;
}

export interface TruncateFact {
  readonly ino: bigint;
  readonly size: number;
}

export interface StepFact {
  readonly migration: MigrationId;
  readonly file: FileId;
  readonly source: BrickName;
  readonly target: BrickName;
  /** Whose step it is. */
  readonly side: 'source' | 'target';
  readonly to: SourcePhase | TargetPhase;
}

/** All optional: a check takes what it needs. Errors are positive errno, 0 is success. */
export interface FactListener {
  lockAsked?(ask: LockAsk): void;
  /** A signal came for the process that waits; the answer follows. */
  lockInterrupted?(ask: LockAsk): void;
  lockAnswered?(ask: LockAsk, error: number): void;
  /** From now on the process does not count on these bytes. */
  unlocking?(lock: LockFact): void;
  /** close(2): the owner's posix locks; the end of an open file: all kinds of its own owner. */
  closing?(owner: OwnerFact, ino: bigint, kinds: readonly LockKind[]): void;
  /** An open or a create is on its way, and answered. */
  openBegun?(mount: string): void;
  openEnded?(mount: string): void;
  readBegun?(read: ContentFact): void;
  readEnded?(read: ContentFact, data: Uint8Array | undefined): void;
  writeBegun?(write: WriteFact): void;
  writeEnded?(write: WriteFact, error: number): void;
  syncBegun?(ino: bigint): void;
  syncEnded?(ino: bigint, error: number): void;
  /** On the wire: a brick tells a waiter its place; a mount ends a wait; a brick answers one (not with a redirect). */
  waitQueued?(mount: string, brick: BrickName, wait: Request<'lock'>, ticket: number): void;
  waitCancelled?(mount: string, wait: Request<'lock'>): void;
  /** A mount asks that a wait which only queues may pass the others (docs/LOCKS.md, "Who is next"). */
  waitMayPass?(mount: string, wait: Request<'queueState'>): void;
  waitAnswered?(mount: string, brick: BrickName, wait: Request<'lock'>, outcome: string): void;
  /** ftruncate(2). */
  truncateBegun?(cut: TruncateFact): void;
  truncateEnded?(cut: TruncateFact, error: number): void;
  /** A name was looked up in the root directory, and was there or was not. */
  nameLooked?(mount: string, name: string, isThere: boolean): void;
  /** From now on the name may be there or not; until `nameChanged` tells, or for good where the call failed. */
  nameChanging?(name: string): void;
  nameChanged?(name: string, isThere: boolean): void;
  /** The change was refused, since the name was not there. */
  nameMissed?(mount: string, name: string): void;
  /** A process was told of this error. */
  callFailed?(mount: string, call: string, error: number): void;
  mountBegun?(mount: string, client: ClientId): void;
  mountGone?(mount: string, client: ClientId): void;
  /** From here on the mount has locks as `graph`, too; its processes are still known by the client of `mountBegun`. */
  graphBegun?(mount: string, client: ClientId, graph: ClientId): void;
  /** Nothing is left that this client of some mount could have at a brick. */
  graphEnded?(graph: ClientId): void;
  /** A brick ended the session of a client: what it held there is gone. */
  fenced?(brick: BrickName, client: ClientId): void;
  brickGone?(brick: BrickName): void;
  powerLost?(brick: BrickName): void;
  /** It fails now, or is full from now on. */
  diskTrouble?(brick: BrickName): void;
  stored?(brick: BrickName, ops: readonly StoreOp[]): void;
  storeReopened?(brick: BrickName): void;
  said?(said: Said): void;
  step?(step: StepFact): void;
}

type Fact = keyof FactListener;
type Arguments<F extends Fact> = Parameters<NonNullable<FactListener[F]>>;

export class Facts {
  readonly #listeners: FactListener[] = [];

  listen(listener: FactListener): void {
    this.#listeners.push(listener);
  }

  tell<F extends Fact>(fact: F, ...rest: Arguments<F>): void {
    for (const listener of this.#listeners) {
      const hear = listener[fact] as ((...rest: Arguments<F>) => void) | undefined;
      hear?.apply(listener, rest);
    }
  }
}
