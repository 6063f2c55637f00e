/**
 * Sends the lock table of a frozen file to the target of its move: in parts that fit a frame, each of one client,
 * because the target keeps them by client until that client has spoken to it.
 */
import type { ClientId, FileId, MigrationId } from '../wire/ids.js';
import type { HeldLock, WaitingLock } from '../wire/lock-types.js';
import type { Peer } from './migration-source.js';
import { SendWindow } from './send-window.js';

/** Locks and waiters of one stageLocks message. */
const locksPerMessage = 4000;

interface OfClient {
  readonly held: HeldLock[];
  readonly waiting: WaitingLock[];
}

export interface LockTransfer {
  readonly migration: MigrationId;
  readonly file: FileId;
  readonly peer: Peer;
  /** @throws Refusal where the move was aborted meanwhile */
  readonly assertRunning: () => void;
}

export async function sendLocks(
  { migration, file, peer, assertRunning }: LockTransfer,
  locks: { readonly held: readonly HeldLock[]; readonly waiting: readonly WaitingLock[] },
): Promise<void> {
  const window = new SendWindow();
  for (const { held, waiting } of byClient(locks).values()) {
    for (let at = 0; at < held.length; at += locksPerMessage) {
      const part = held.slice(at, at + locksPerMessage);
      await window.send(peer.call('stageLocks', { migration, file, held: part, waiting: [] }));
      assertRunning();
    }
    for (let at = 0; at < waiting.length; at += locksPerMessage) {
      const part = waiting.slice(at, at + locksPerMessage);
      await window.send(peer.call('stageLocks', { migration, file, held: [], waiting: part }));
      assertRunning();
    }
  }
  await window.finish();
  assertRunning();
}

function byClient(locks: {
  readonly held: readonly HeldLock[];
  readonly waiting: readonly WaitingLock[];
}): Map<ClientId, OfClient> {
  const clients = new Map<ClientId, OfClient>();
  const of = (client: ClientId): OfClient => {
    let found = clients.get(client);
    if (found === undefined) {
      found = { held: [], waiting: [] };
      clients.set(client, found);
    }
    return found;
  };
  for (const lock of locks.held) of(lock.client).held.push(lock);
  for (const lock of locks.waiting) of(lock.client).waiting.push(lock);
  return clients;
}
