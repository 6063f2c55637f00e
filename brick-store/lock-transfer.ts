/**
 * The lock table of a file on its way to the target of its move, in parts that fit a frame, each of one client:
 * the target keeps them by client until that client has spoken to it.
 *
 * The table goes ahead while clients go on locking. The freeze then sends only the owners that changed since, and
 * all waiters: a file with 10^5 locks is not frozen for longer than one with ten. Decides nothing about the move.
 */
import type { ClientId, FileId, MigrationId } from '../wire/ids.js';
import type { HeldLock } from '../wire/lock-types.js';
import type { Request } from '../wire/messages.js';
import type { LockSnapshotParts } from './file-locks.js';
import type { LockService } from './lock-service.js';
import type { Peer } from './migration-source.js';
import { SendWindow } from './send-window.js';

/** Locks and waiters of one stageLocks message. */
const locksPerMessage = 4000;

type Part = Omit<Request<'stageLocks'>, 'migration' | 'file' | 'client'>;

const emptyPart: Part = { dropClient: false, dropped: [], held: [], waiting: [] };

export interface LockTransferOptions {
  readonly migration: MigrationId;
  readonly file: FileId;
  readonly peer: Peer;
  readonly locks: LockService;
  /** @throws Refusal where the move was aborted meanwhile */
  readonly assertRunning: () => void;
}

export class LockTransfer {
  readonly #o: LockTransferOptions;

  constructor(options: LockTransferOptions) {
    this.#o = options;
  }

  /** The held locks of this moment; from here on the lock service remembers whose change. */
  async sendAhead(): Promise<void> {
    const { locks, file } = this.#o;
    const { held } = locks.snapshot(file);
    locks.watch(file);
    const window = new SendWindow();
    await this.#sendHeld(window, held);
    await this.#finish(window);
  }

  /** What changed since, and all who wait. The file is frozen. Answers what was moved in all. */
  async sendRest(): Promise<{ holders: number; waiters: number } & Pick<LockSnapshotParts, 'nextTicket'>> {
    const { locks, file } = this.#o;
    const changed = locks.watched(file);
    const { holders } = locks.countsOfFile(file);
    const { waiting, nextTicket } = locks.waitersOf(file);
    const dropped = byClient([...(changed?.owners() ?? [])]);
    const window = new SendWindow();
    // Every drop comes before any lock: what one owner has now, another had before.
    for (const client of changed?.clients ?? []) await this.#send(window, client, { dropClient: true });
    for (const [client, owners] of dropped) {
      for (let at = 0; at < owners.length; at += locksPerMessage) {
        const some = owners.slice(at, at + locksPerMessage).map(({ kind, owner }) => ({ kind, owner }));
        await this.#send(window, client, { dropped: some });
      }
    }
    await this.#sendHeld(window, changed === undefined ? [] : locks.heldOf(file, changed));
    for (const [client, waits] of byClient(waiting)) {
      for (let at = 0; at < waits.length; at += locksPerMessage)
        await this.#send(window, client, { waiting: waits.slice(at, at + locksPerMessage) });
    }
    await this.#finish(window);
    return { holders, waiters: waiting.length, nextTicket };
  }

  async #sendHeld(window: SendWindow, held: readonly HeldLock[]): Promise<void> {
    for (const [client, locks] of byClient(held)) {
      for (let at = 0; at < locks.length; at += locksPerMessage)
        await this.#send(window, client, { held: locks.slice(at, at + locksPerMessage) });
    }
  }

  async #send(window: SendWindow, client: ClientId, part: Partial<Part>): Promise<void> {
    const { migration, file, peer, assertRunning } = this.#o;
    await window.send(peer.call('stageLocks', { migration, file, client, ...emptyPart, ...part }));
    assertRunning();
  }

  async #finish(window: SendWindow): Promise<void> {
    await window.finish();
    this.#o.assertRunning();
  }
}

/** In the order in which each client comes first. */
function byClient<L extends { readonly client: ClientId }>(locks: readonly L[]): Map<ClientId, L[]> {
  const clients = new Map<ClientId, L[]>();
  for (const lock of locks) {
    const known = clients.get(lock.client);
    if (known === undefined) clients.set(lock.client, [lock]);
    else known.push(lock);
  }
  return clients;
}
