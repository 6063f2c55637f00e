/**
 * Clients that a move brought and that have not spoken of the file to this brick yet. What they held and had open is
 * kept on disk until they do (records/, kind handover), so that a restart in between loses none of it; from then on
 * they reclaim for themselves. Decides only when such a record may go.
 *
 * Filled by migration-target.ts; asked by brick-context.ts before a client's first request about a file.
 */
import type { Trace } from '../host/trace.js';
import type { ClientId, FileId } from '../wire/ids.js';
import type { LaterTries } from './later-tries.js';
import type { Store, StoreOp } from './store.js';

export interface ArrivalsOptions {
  readonly store: Store;
  readonly trace: Trace;
  readonly tries: LaterTries;
  readonly dropOps: (file: FileId, client: ClientId, parts: number) => readonly StoreOp[];
  /** Nobody is awaited for the file any more: it may be one that only they had open. */
  readonly deleteIfUnused: (file: FileId) => void;
}

export class Arrivals {
  readonly #o: ArrivalsOptions;
  /** Number of parts on disk, by file and client. */
  readonly #awaited = new Map<FileId, Map<ClientId, number>>();
  /** Confirmations on their way to the disk: what a client sends meanwhile waits behind the same one, in order. */
  readonly #confirming = new Map<string, Promise<void>>();

  constructor(options: ArrivalsOptions) {
    this.#o = options;
  }

  note(file: FileId, client: ClientId, parts: number): void {
    let clients = this.#awaited.get(file);
    if (clients === undefined) {
      clients = new Map();
      this.#awaited.set(file, clients);
    }
    clients.set(client, Math.max(parts, clients.get(client) ?? 0));
  }

  /** True while a client has not spoken of the file here: it may have it open. */
  isAwaited(file: FileId): boolean {
    return this.#awaited.has(file);
  }

  /** True where the client's moved locks still lie on disk: `confirm` must come before its first request. */
  needsConfirm(client: ClientId, file: FileId): boolean {
    return this.#awaited.size > 0 && (this.#awaited.get(file)?.has(client) ?? false);
  }

  /**
   * The client speaks of the file here, so from now on it reclaims for itself. Durable when it resolves, also over a
   * loss of power: what moved would otherwise come back in place of what the client did since.
   */
  confirm(client: ClientId, file: FileId): Promise<void> {
    const key = `${client} ${file}`;
    let confirming = this.#confirming.get(key);
    if (confirming === undefined) {
      confirming = this.#confirm(client, file).finally(() => this.#confirming.delete(key));
      this.#confirming.set(key, confirming);
    }
    return confirming;
  }

  /** The client's session ended: nothing of it needs to be kept. It is awaited until the disk has forgotten it. */
  forgetClient(client: ClientId): void {
    for (const [file, clients] of this.#awaited) if (clients.has(client)) this.#drop(file, client, clients);
  }

  /** After a restart: only clients and files that are still known are awaited. What stays on disk, the next one finds. */
  keepOnly(isWanted: (client: ClientId, file: FileId) => boolean): void {
    for (const [file, clients] of [...this.#awaited]) {
      for (const [client, parts] of [...clients]) {
        if (isWanted(client, file)) continue;
        this.#came(file, client, clients);
        this.#write(file, client, parts).catch((error: unknown) => this.#notRemoved(file, client, error));
      }
    }
  }

  /** The file goes on to another brick: belongs in the batch of the commit, or a later stay would find old locks. */
  departureOps(file: FileId): StoreOp[] {
    const clients = this.#awaited.get(file) ?? new Map<ClientId, number>();
    return [...clients].flatMap(([client, parts]) => this.#o.dropOps(file, client, parts));
  }

  departed(file: FileId): void {
    this.#awaited.delete(file);
  }

  async #confirm(client: ClientId, file: FileId): Promise<void> {
    const clients = this.#awaited.get(file);
    const parts = clients?.get(client);
    if (clients === undefined || parts === undefined) return;
    await this.#write(file, client, parts);
    this.#came(file, client, clients);
  }

  #drop(file: FileId, client: ClientId, clients: Map<ClientId, number>): void {
    this.#write(file, client, clients.get(client) ?? 0).then(
      () => this.#came(file, client, clients),
      (error: unknown) => {
        this.#notRemoved(file, client, error);
        this.#o.tries.later(`hand-over ${file} ${client}`, () => {
          // Else the file went on, or a later session of the client has come for it; either took the record along.
          if (this.#awaited.get(file) === clients && clients.has(client)) this.#drop(file, client, clients);
        });
      },
    );
  }

  #write(file: FileId, client: ClientId, parts: number): Promise<void> {
    return this.#o.store.write(this.#o.dropOps(file, client, parts), { sync: true });
  }

  #notRemoved(file: FileId, client: ClientId, error: unknown): void {
    this.#o.trace.warn('hand-over record not removed', { file, client, error: String(error) });
  }

  #came(file: FileId, client: ClientId, clients: Map<ClientId, number>): void {
    if (!clients.delete(client) || clients.size > 0 || this.#awaited.get(file) !== clients) return;
    this.#awaited.delete(file);
    this.#o.deleteIfUnused(file);
  }
}
