/**
 * The lock part of a volume: what a mount may ask about locks, and the closing of files.
 *
 * Decides nothing about conflicts; keeps HeldLocks and FileUses true to what bricks answered. A wait is one
 * unanswered request (lock-call.ts). Nothing that frees a lock is ever lost (owner-lanes.ts); a file that no brick has
 * any more, since a loss of power took it, is let go as if a brick had answered.
 */
import type { FileId, LkOwner, Ticket } from '../wire/ids.js';
import { type ByteRange, type HeldLock, type LockKind, rangeEnd } from '../wire/lock-types.js';
import { LockCall } from './lock-call.js';
import type { LockContext } from './lock-context.js';
import type { LockRequest, PendingLock } from './volume.js';

const wholeFile: ByteRange = { start: 0n, end: rangeEnd };

/** Not a real owner: the lane in which lost closes of a file are repeated that no owner has to wait for. */
const closing = (file: FileId) => ({ file, kind: 'flock' as const, owner: '' as LkOwner });

export class LockOperations {
  readonly #context: LockContext;

  constructor(context: LockContext) {
    this.#context = context;
  }

  lock(request: LockRequest, ticket?: Ticket): PendingLock {
    const before = ticket === undefined ? undefined : this.#context.calls.resumable(request);
    return before?.resume(request) ?? new LockCall(this.#context, request, ticket).start();
  }

  async unlock(file: FileId, owner: LkOwner, kind: LockKind, start: bigint, end: bigint): Promise<void> {
    const { held, lanes, traffic } = this.#context;
    const of = { file, owner, kind };
    const range: ByteRange = { start, end };
    const unlocked = (): void => held.unlocked(of, range);
    this.#context.uses.refuseIfLost(file);
    await traffic.during(
      file,
      lanes.run(
        of,
        (link) => {
          held.weakening(of, kind === 'flock' ? wholeFile : range, 'none');
          return link.call('unlock', { file, owner, kind, start, end }).then(unlocked);
        },
        unlocked,
      ),
    );
  }

  async testLock(request: LockRequest): Promise<HeldLock | undefined> {
    const { file, owner, kind, type, start, end } = request;
    this.#context.uses.refuseIfLost(file);
    const answer = await this.#context.homes.at(file, (link) =>
      link.call('testLock', { file, owner, kind, type, start, end }),
    );
    return answer.conflict;
  }

  async flushOwner(file: FileId, owner: LkOwner): Promise<void> {
    const { held, lanes, leftovers, traffic } = this.#context;
    const of = { file, owner, kind: 'posix' as const };
    const dropped = (): void => {
      held.ownerDropped(of);
      leftovers.forget(of);
    };
    await traffic.during(
      file,
      lanes.run(
        of,
        (link) => {
          held.weakening(of, wholeFile, 'none');
          return link.call('flushOwner', { file, owner }).then(dropped);
        },
        dropped,
      ),
    );
  }

  /** One open handle less. A lost file was never open at the brick's new session: only locks may be left there. */
  async release(file: FileId, owners: readonly LkOwner[]): Promise<void> {
    const { held, lanes, leftovers, traffic, uses } = this.#context;
    const opens = uses.isLost(file) ? 0 : 1;
    let counted = false;
    const closed = (): void => {
      if (!counted) uses.closed(file);
      counted = true;
    };
    const owned = owners.flatMap((owner) => [
      { file, owner, kind: 'posix' as const },
      { file, owner, kind: 'flock' as const },
    ]);
    const dropped = (): void => {
      closed();
      for (const of of owned) {
        held.ownerDropped(of);
        leftovers.forget(of);
      }
    };
    try {
      await traffic.during(
        file,
        lanes.run(
          owned.length > 0 ? owned : closing(file),
          (link) => {
            for (const of of owned) held.weakening(of, wholeFile, 'none');
            return link.call('release', { file, opens, owners }).then(dropped);
          },
          dropped,
        ),
      );
    } finally {
      // A brick that is out of reach learns of it later; a lost file must not stay lost for its next opener.
      if (opens === 0) closed();
    }
  }
}
