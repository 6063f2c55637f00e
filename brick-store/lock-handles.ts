/**
 * Tokens of fd migration: a client that changes to a new graph reads one for each file over its old session, and the
 * new session shows it to get all that the old one had there.
 *
 * Decides which token is good, and for whose locks. It is a secret (16 random bytes), it is good once, and it dies with
 * the session that it was issued to. It moves with its file; a restart of the brick forgets it, and then the old
 * session reclaims the locks and reads a new one. Used by routes/lock-handle-routes.ts and by migration.
 */
import type { Random } from '../host/random.js';
import { Refusal } from '../wire/errors.js';
import { type ClientId, type FileId, hexOf, type LockToken } from '../wire/ids.js';
import type { Request } from '../wire/messages.js';

type Lockinfo = Request<'stageReady'>['lockinfos'][number];

export class LockHandles {
  readonly #files = new Map<FileId, Map<ClientId, LockToken>>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** An earlier token of this client for the file is void. */
  issue(file: FileId, client: ClientId): LockToken {
    const token = hexOf(this.#random.bytes(16)) as LockToken;
    this.#put(file, client, token);
    return token;
  }

  /** Whose locks the token stands for. @throws Refusal EPERM */
  ownerOf(file: FileId, token: LockToken): ClientId {
    for (const [client, issued] of this.#files.get(file) ?? []) if (issued === token) return client;
    throw new Refusal('EPERM', `the lock token for file ${file} is unknown, was used, or its session ended`);
  }

  /** The token was used, or what it stands for is gone. */
  forget(file: FileId, client: ClientId): void {
    const tokens = this.#files.get(file);
    if (tokens?.delete(client) && tokens.size === 0) this.#files.delete(file);
  }

  forgetClient(client: ClientId): void {
    for (const file of [...this.#files.keys()]) this.forget(file, client);
  }

  /** What goes with the file when it moves. */
  ofFile(file: FileId): Lockinfo[] {
    return [...(this.#files.get(file) ?? [])].map(([client, token]) => ({ client, token }));
  }

  /** The file came here with these. */
  arrived(file: FileId, lockinfos: readonly Lockinfo[]): void {
    for (const { client, token } of lockinfos) this.#put(file, client, token);
  }

  movedAway(file: FileId): void {
    this.#files.delete(file);
  }

  #put(file: FileId, client: ClientId, token: LockToken): void {
    let tokens = this.#files.get(file);
    if (tokens === undefined) {
      tokens = new Map();
      this.#files.set(file, tokens);
    }
    tokens.set(client, token);
  }
}
