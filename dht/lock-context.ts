/**
 * What the parts of this client's locking share, and the register of its requests that bricks work on.
 * No message is sent from here.
 */
import type { Clock } from '../host/clock.js';
import type { Trace } from '../host/trace.js';
import type { BrickName, FileId, Ticket } from '../wire/ids.js';
import type { FileTraffic } from './file-traffic.js';
import type { FileUses } from './file-uses.js';
import { type HeldLocks, type OwnerKey, ownerKeyOf } from './held-locks.js';
import type { HomeCalls } from './home-calls.js';
import type { LeftoverLocks } from './leftover-locks.js';
import type { LockCall } from './lock-call.js';
import type { OwnerLanes } from './owner-lanes.js';
import type { Placement } from './placement.js';
import type { LockRequest } from './volume.js';
import type { WaitProbes } from './wait-probes.js';

export interface LockContext {
  readonly homes: HomeCalls;
  readonly placement: Placement;
  readonly held: HeldLocks;
  readonly uses: FileUses;
  readonly lanes: OwnerLanes;
  readonly leftovers: LeftoverLocks;
  readonly calls: LockCalls;
  readonly traffic: FileTraffic;
  readonly probes: WaitProbes;
  readonly clock: Clock;
  readonly trace: Trace;
}

/** Lock requests that are not answered yet: by owner, and those that wait by brick and number. */
export class LockCalls {
  readonly #byOwner = new Map<string, Set<LockCall>>();
  readonly #bySeq = new Map<BrickName, Map<number, LockCall>>();
  readonly #waitsOfFile = new Map<FileId, Set<LockCall>>();
  readonly #reclaims = new Map<BrickName, number>();

  began(call: LockCall): void {
    const key = ownerKeyOf(call.request);
    const calls = this.#byOwner.get(key);
    if (calls === undefined) this.#byOwner.set(key, new Set([call]));
    else calls.add(call);
    if (!call.request.wait) return;
    const waits = this.#waitsOfFile.get(call.request.file);
    if (waits === undefined) this.#waitsOfFile.set(call.request.file, new Set([call]));
    else waits.add(call);
  }

  ended(call: LockCall): void {
    remove(this.#byOwner, ownerKeyOf(call.request), call);
    remove(this.#waitsOfFile, call.request.file, call);
  }

  waitsAs(brick: BrickName, seq: number, call: LockCall): void {
    let calls = this.#bySeq.get(brick);
    if (calls === undefined) {
      calls = new Map();
      this.#bySeq.set(brick, calls);
    }
    calls.set(seq, call);
  }

  waitEnded(brick: BrickName, seq: number): void {
    this.#bySeq.get(brick)?.delete(seq);
  }

  /** @returns the request, unless it was answered meanwhile */
  queued(brick: BrickName, seq: number, ticket: Ticket): LockCall | undefined {
    const call = this.#bySeq.get(brick)?.get(seq);
    call?.queued(ticket);
    return call;
  }

  /** The brick restarted: what it carried out before is gone where it is not told of it now. */
  reclaimed(brick: BrickName): void {
    this.#reclaims.set(brick, this.reclaims(brick) + 1);
  }

  /** How often the brick was told what this client has there. */
  reclaims(brick: BrickName): number {
    return this.#reclaims.get(brick) ?? 0;
  }

  get size(): number {
    return this.#byOwner.size;
  }

  hasWaits(file: FileId): boolean {
    return this.#waitsOfFile.has(file);
  }

  filesWithWaits(): FileId[] {
    return [...this.#waitsOfFile.keys()];
  }

  waitsOf(file: FileId): Iterable<LockCall> {
    return this.#waitsOfFile.get(file) ?? [];
  }

  /** The wait that this request goes on with, though its process was told that it ended. */
  resumable(request: LockRequest): LockCall | undefined {
    const { type, start, end, pid } = request;
    for (const call of this.ofOwner(request)) {
      const before = call.request;
      const isSame =
        before.type === type && before.start === start && before.end === end && before.pid === pid;
      if (isSame && call.isResumable) return call;
    }
    return undefined;
  }

  ofOwner(of: OwnerKey): Iterable<LockCall> {
    return this.#byOwner.get(ownerKeyOf(of)) ?? [];
  }
}

function remove<K>(map: Map<K, Set<LockCall>>, key: K, call: LockCall): void {
  const calls = map.get(key);
  if (calls?.delete(call) && calls.size === 0) map.delete(key);
}
