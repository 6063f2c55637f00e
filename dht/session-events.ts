/**
 * What this client does when something happens to its session at a brick.
 *
 *   reclaim   the brick restarted and forgot: it is told what this client holds, waits for and has open in each file
 *             that is placed there
 *   fenced    the brick ended the session: the locks there are gone. Files in which this client held some are lost
 *             until they are closed; the others are opened again under the new session
 *   event     `queued`: the ticket of a wait; `moved`: a file went, which saves its next operation a redirect;
 *             `probe`, `confirmCycle`: a search for a deadlock comes by (wait-probes.ts)
 */
import { asRefusal } from '../wire/errors.js';
import type { BrickName, ClientId, FileId } from '../wire/ids.js';
import type { HeldLock, WaitingLock } from '../wire/lock-types.js';
import type { EventBody, EventName } from '../wire/messages.js';
import type { LinkEvents, ReclaimSend } from './brick-links.js';
import type { LockContext } from './lock-context.js';

/** Keeps a part of a reclaim well within a frame: a lock takes about 100 bytes. */
const locksPerPart = 4000;

export class SessionEvents implements LinkEvents {
  readonly #context: LockContext;
  readonly #client: ClientId;

  constructor(context: LockContext, client: ClientId) {
    this.#context = context;
    this.#client = client;
  }

  event<E extends EventName>(brick: BrickName, name: E, body: EventBody<E>): void {
    const { calls, placement, probes, trace } = this.#context;
    if (name === 'queued') {
      const { seq, ticket } = body as EventBody<'queued'>;
      const call = calls.queued(brick, seq, ticket);
      if (call !== undefined) probes.queued(call);
    } else if (name === 'moved') {
      const { file, ...moved } = body as EventBody<'moved'>;
      placement.moved(file, moved);
    } else if (name === 'probe') {
      probes.carryOn(body as EventBody<'probe'>);
    } else {
      probes
        .confirm(body as EventBody<'confirmCycle'>)
        .catch((error: unknown) => trace.error('deadlock not confirmed', { brick, error: String(error) }));
    }
  }

  async reclaim(brick: BrickName, send: ReclaimSend): Promise<void> {
    const { calls, trace } = this.#context;
    calls.reclaimed(brick);
    const files = this.#filesAt(brick);
    for (const file of files) await this.#reclaimFile(brick, file, send);
    trace.info('reclaimed', { brick, files: files.length });
  }

  async #reclaimFile(brick: BrickName, file: FileId, send: ReclaimSend): Promise<void> {
    const { held, placement, trace, uses } = this.#context;
    const locks = held.toReclaim(file, this.#client);
    const waiting = this.#waitsAt(brick, file);
    try {
      for (const part of partsOf(locks, waiting))
        await send('reclaim', { file, opens: uses.opens(file), ...part });
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal?.moved !== undefined) {
        // Its locks went with it.
        placement.moved(file, refusal.moved);
      } else if (refusal?.code === 'ESTALE') {
        trace.warn('nothing to reclaim', { brick, file, locks: locks.length });
      } else {
        throw error;
      }
    }
  }

  /** A cancelled wait is not reclaimed: sent again behind the reclaim, its request ends like any other. */
  #waitsAt(brick: BrickName, file: FileId): WaitingLock[] {
    const waits: WaitingLock[] = [];
    for (const call of this.#context.calls.waitsOf(file)) {
      if (call.waitsAt !== brick) continue;
      call.brickRestarted();
      if (call.ticket === undefined || call.isCancelled) continue;
      const { kind, type, start, end, owner, pid } = call.request;
      waits.push({ kind, type, start, end, client: this.#client, owner, pid, ticket: call.ticket });
    }
    return waits.sort((a, b) => a.ticket - b.ticket);
  }

  fenced(brick: BrickName): void {
    const { held, leftovers, placement, trace, uses } = this.#context;
    for (const file of held.files()) {
      if (placement.of(file)?.brick !== brick) continue;
      const locks = held.ofFile(file, this.#client);
      trace.warn('locks lost', { brick, file, locks: locks.length });
      held.fileDropped(file);
      for (const lock of locks) leftovers.forget({ file, ...lock });
      uses.lose(file, brick);
    }
    for (const file of uses.files()) {
      if (placement.of(file)?.brick === brick && !uses.isLost(file)) this.#openAgain(file, brick);
    }
  }

  /** So that a file without names stays while this client has it open. */
  #openAgain(file: FileId, brick: BrickName): void {
    const { homes, trace, uses } = this.#context;
    for (let left = uses.opens(file); left > 0; left--) {
      // Not in this turn: what is called while the link ends the old session is refused with it.
      Promise.resolve()
        .then(() => homes.at(file, (link) => link.call('open', { file, truncate: false })))
        .catch((error: unknown) => trace.warn('not opened again', { brick, file, error: String(error) }));
    }
  }

  #filesAt(brick: BrickName): FileId[] {
    const { calls, held, placement, uses } = this.#context;
    const files = new Set([...uses.files(), ...held.files(), ...calls.filesWithWaits()]);
    return [...files].filter((file) => placement.of(file)?.brick === brick && !uses.isLost(file));
  }
}

interface Part {
  readonly held: readonly HeldLock[];
  readonly waiting: readonly WaitingLock[];
}

function partsOf(held: readonly HeldLock[], waiting: readonly WaitingLock[]): Part[] {
  if (held.length + waiting.length <= locksPerPart) return [{ held, waiting }];
  const parts: Part[] = [];
  for (let at = 0; at < held.length; at += locksPerPart) {
    parts.push({ held: held.slice(at, at + locksPerPart), waiting: [] });
  }
  for (let at = 0; at < waiting.length; at += locksPerPart) {
    parts.push({ held: [], waiting: waiting.slice(at, at + locksPerPart) });
  }
  return parts;
}
