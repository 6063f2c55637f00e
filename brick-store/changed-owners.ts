/**
 * Whose held locks in one file changed since its lock table was sent ahead to the target of a move. Pure bookkeeping:
 * the freeze then sends those owners again, and not a hundred thousand locks of others.
 */
import type { ClientId, LkOwner } from '../wire/ids.js';
import type { LockKind } from '../wire/lock-types.js';

export interface ChangedOwner {
  readonly kind: LockKind;
  readonly client: ClientId;
  readonly owner: LkOwner;
}

export class ChangedOwners {
  readonly #owners = new Map<string, ChangedOwner>();
  /** Clients of whose every owner nothing is known any more. */
  readonly clients = new Set<ClientId>();

  mark({ kind, client, owner }: ChangedOwner): void {
    const key = `${kind}${client}${owner}`;
    if (!this.#owners.has(key)) this.#owners.set(key, { kind, client, owner });
  }

  markClient(client: ClientId): void {
    this.clients.add(client);
  }

  owners(): IterableIterator<ChangedOwner> {
    return this.#owners.values();
  }
}
