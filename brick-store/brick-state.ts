/**
 * What a brick knows of files, put together from its services: is it here, did it move, who has it open, may it go.
 * Decides nothing about a request; brick-context.ts and the routes ask it.
 */
import type { Clock } from '../host/clock.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import type { Answer, Request } from '../wire/messages.js';
import { ContentService } from './content-service.js';
import { InodeService } from './inode-service.js';
import { Inodes } from './inodes.js';
import { NameService } from './name-service.js';
import type { Plan } from './plan.js';
import { type EntryValue, entryRecord } from './records/entry-record.js';
import { entryKey, fileOfKey, nameKey, redirectRange } from './records/keys.js';
import { type Redirect, redirectRecord } from './records/redirect-record.js';
import type { Session } from './sessions.js';
import type { Store } from './store.js';

const listLimit = 1_000_000;

export class BrickState {
  readonly names: NameService;
  readonly inodes: InodeService;
  readonly content: ContentService;
  readonly #store: Store;
  readonly #inodes: Inodes;
  /** Open handles of all sessions together. */
  readonly #opens = new Map<FileId, number>();

  constructor(store: Store, clock: Clock, brick: BrickName) {
    this.#store = store;
    this.#inodes = new Inodes(store);
    this.names = new NameService(store, clock, brick);
    this.content = new ContentService(store, clock);
    this.inodes = new InodeService(store, clock, this.content);
  }

  isHere(file: FileId): boolean {
    return this.#inodes.get(file) !== undefined;
  }

  /** The content counter; 0 where the file is not here. */
  change(file: FileId): number {
    return this.#inodes.get(file)?.change ?? 0;
  }

  redirect(file: FileId): Redirect | undefined {
    return this.#inodes.redirect(file);
  }

  entryOf(parent: FileId, name: ByteText): EntryValue | undefined {
    const key = entryKey(parent, name);
    const bytes = this.#store.get(key);
    return bytes && entryRecord.decode(bytes, key);
  }

  /** Where it is the last name of a file that nobody has open, the file goes in the same batch if it is small. */
  removeEntry(request: Request<'removeEntry'>, isAwaited: boolean): Plan<Answer<'removeEntry'>> {
    const { parent, name, file } = request;
    const inode = this.#inodes.get(file);
    const plan = this.names.removeEntry(request);
    if (inode?.nlink !== 1 || isAwaited || this.#opens.has(file)) return plan;
    if (this.#store.get(nameKey(file, parent, name)) === undefined) return plan;
    const rest = this.inodes.deleteAtOnce(inode);
    // What marks it to be deleted later comes before, in the same batch, and is overwritten.
    return rest === undefined ? plan : { ...plan, ops: [...plan.ops, ...rest] };
  }

  fileCount(): number {
    return this.#inodes.count();
  }

  /** REPLAY records whose data has still to be removed. */
  async untidied(): Promise<[FileId, Redirect][]> {
    const entries = await this.#store.list(redirectRange, listLimit);
    return entries
      .map(({ key, value }): [FileId, Redirect] => [fileOfKey(key), redirectRecord.decode(value, key)])
      .filter(([, redirect]) => redirect.dataLeft);
  }

  // ---- open handles -----------------------------------------------------------------------------------------------

  addOpens(session: Session, file: FileId, more: number): void {
    this.setOpens(session, file, Math.max(0, (session.opens.get(file) ?? 0) + more));
  }

  setOpens(session: Session, file: FileId, opens: number): void {
    const before = session.opens.get(file) ?? 0;
    if (opens === 0) session.opens.delete(file);
    else session.opens.set(file, opens);
    const all = (this.#opens.get(file) ?? 0) + opens - before;
    if (all > 0) this.#opens.set(file, all);
    else this.#opens.delete(file);
  }

  /** True for an inode that is here, has no name left, and nobody has open. */
  isUnused(file: FileId): boolean {
    return !this.#opens.has(file) && this.inodes.isOrphan(file);
  }
}
