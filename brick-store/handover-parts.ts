/**
 * The lock table of a moving file as it arrives: parts of one client each, applied in order. The same parts lie on
 * disk, with the open handles, until their client has spoken to this brick, and a restart puts them together again.
 */
import type { ClientId, FileId } from '../wire/ids.js';
import type { HeldLock, WaitingLock } from '../wire/lock-types.js';
import type { Request } from '../wire/messages.js';
import { LockTable } from './locks/lock-table.js';

/** One stageLocks message as it is kept until its client has spoken here; or how often that client has the file open. */
export interface HandoverPart extends Omit<Request<'stageLocks'>, 'migration'> {
  readonly part: number;
  /** The parts of a client add up to its open handles. */
  readonly opens: number;
}

/** Answers how many locks another owner holds against: none, from a source that keeps the rules. */
export function applyPart(
  table: LockTable,
  waits: WaitingLock[],
  { client, dropClient, dropped, held, waiting }: Omit<HandoverPart, 'part' | 'opens'>,
): number {
  if (dropClient) table.dropClient(client);
  for (const { kind, owner } of dropped) table.dropOwner(client, owner, kind);
  let refused = 0;
  for (const lock of held) if (table.addHeld(lock) !== undefined) refused += 1;
  waits.push(...waiting);
  return refused;
}

export interface WholeHandover {
  readonly file: FileId;
  readonly client: ClientId;
  readonly parts: number;
  readonly held: readonly HeldLock[];
  readonly waiting: readonly WaitingLock[];
  readonly opens: number;
}

/** What each client's parts, applied in order, come to. They are listed by file, client and part. */
export function* wholeHandovers(handovers: readonly HandoverPart[]): IterableIterator<WholeHandover> {
  for (let at = 0; at < handovers.length; ) {
    const { file, client } = handovers[at]!;
    const table = new LockTable();
    const waiting: WaitingLock[] = [];
    let parts = 0;
    let opens = 0;
    for (; handovers[at]?.file === file && handovers[at]?.client === client; at++) {
      applyPart(table, waiting, handovers[at]!);
      parts = handovers[at]!.part + 1;
      opens += handovers[at]!.opens;
    }
    yield { file, client, parts, held: [...table.held()], waiting, opens };
  }
}
