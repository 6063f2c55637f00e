/**
 * Files on their way, in this brick's records: what a source hands over and what a target stages. Builds the writes
 * that migration-source.ts and migration-target.ts ask for, and decides nothing about the course of a move.
 */
import { Refusal } from '../wire/errors.js';
import type { ClientId, Epoch, FileId } from '../wire/ids.js';
import type { Moved } from '../wire/lock-types.js';
import type { Request } from '../wire/messages.js';
import type { BrickState } from './brick-state.js';
import type { HandoverPart } from './handover-parts.js';
import type { LockHandles } from './lock-handles.js';
import type { FileToMove } from './migration-source.js';
import type { StageRecord, StageStore } from './migration-target.js';
import {
  chunkKey,
  chunksOf,
  handoverKey,
  handoverRange,
  handoversOf,
  redirectKey,
  stageKey,
  stageRange,
} from './records/keys.js';
import { redirectRecord } from './records/redirect-record.js';
import { handoverRecord, stageRecord } from './records/stage-record.js';
import type { SessionRecords } from './session-records.js';
import type { Sessions } from './sessions.js';
import type { KeyRange, Store, StoreOp } from './store.js';

/** Records of one batch of a removal. */
const pageRows = 4096;
const listLimit = 1_000_000;

export interface MovingFilesOptions {
  readonly store: Store;
  readonly state: BrickState;
  readonly sessions: Sessions;
  readonly records: SessionRecords;
  readonly handles: LockHandles;
}

export class MovingFiles implements FileToMove, StageStore {
  readonly #o: MovingFilesOptions;

  constructor(options: MovingFilesOptions) {
    this.#o = options;
  }

  // ---- giving -----------------------------------------------------------------------------------------------------

  epoch(file: FileId): Epoch {
    const { type, epoch } = this.#o.state.inodes.getAttributes({ file }).attributes;
    if (type === 'dir') throw new Refusal('EISDIR', `${file} is a directory: directories are on every brick`);
    return epoch;
  }

  size(file: FileId): number {
    return this.#o.state.inodes.getAttributes({ file }).attributes.size;
  }

  chunkIndexes(file: FileId, first: number, limit: number): Promise<readonly number[]> {
    return this.#o.state.content.chunkIndexes(file, first, limit);
  }

  readChunk(file: FileId, index: number): Uint8Array | undefined {
    return this.#o.state.content.readChunk(file, index);
  }

  async describe(file: FileId): ReturnType<FileToMove['describe']> {
    const { inodes } = this.#o.state;
    const names = await inodes.namesOf(file);
    const { attributes } = inodes.getAttributes({ file });
    return { attributes, names, xattrs: inodes.xattrsOf(file), symlink: inodes.symlinkOf(file) };
  }

  openers(file: FileId): Request<'stageReady'>['openers'] {
    const openers: { client: ClientId; opens: number }[] = [];
    for (const session of this.#o.sessions.all()) {
      const opens = session.opens.get(file);
      if (opens !== undefined && session.role === 'mount') openers.push({ client: session.client, opens });
    }
    return openers;
  }

  lockinfos(file: FileId): Request<'stageReady'>['lockinfos'] {
    return this.#o.handles.ofFile(file);
  }

  /** The inode record stays until the tidy; the redirect alone makes it dead (inodes.ts). */
  commitOps(file: FileId, moved: Moved): readonly StoreOp[] {
    return [this.#putRedirect(file, moved, true)];
  }

  movedAway(file: FileId, moved: Moved, lockers: readonly ClientId[]): void {
    const told = new Set(lockers);
    this.#o.handles.movedAway(file);
    for (const session of this.#o.sessions.all()) {
      const hadOpen = session.opens.has(file);
      if (hadOpen) this.#o.state.setOpens(session, file, 0);
      if (hadOpen || told.has(session.client)) session.event('moved', { file, ...moved });
    }
  }

  async tidy(file: FileId): Promise<void> {
    const { store, state } = this.#o;
    const plan = await state.inodes.planDelete(file);
    const moved = state.redirect(file);
    // Gone: the file came back, and what is stored under its id is alive again.
    if (moved === undefined) return;
    await store.write([...plan().ops, this.#putRedirect(file, moved, false)]);
  }

  // ---- taking -----------------------------------------------------------------------------------------------------

  isHere(file: FileId): boolean {
    return this.#o.state.isHere(file);
  }

  stageOps(record: StageRecord): readonly StoreOp[] {
    return [{ type: 'put', key: stageKey(record.migration), value: stageRecord.encode(record) }];
  }

  async chunkOps(
    file: FileId,
    clear: { first: number; last: number } | undefined,
    chunks: Request<'stageContent'>['chunks'],
  ): Promise<readonly StoreOp[]> {
    const ops: StoreOp[] = [];
    if (clear !== undefined) {
      for await (const key of this.#keys(chunksOf(file, clear.first, clear.last)))
        ops.push({ type: 'del', key });
    }
    for (const { index, data } of chunks) {
      const key = chunkKey(file, index);
      ops.push(data === undefined ? { type: 'del', key } : { type: 'put', key, value: data });
    }
    return ops;
  }

  handoverOps(part: HandoverPart): readonly StoreOp[] {
    const key = handoverKey(part.file, part.client, part.part);
    return [{ type: 'put', key, value: handoverRecord.encode(part) }];
  }

  dropHandoverOps(file: FileId, client: ClientId, parts: number): readonly StoreOp[] {
    return Array.from({ length: parts }, (_, part) => ({
      type: 'del',
      key: handoverKey(file, client, part),
    }));
  }

  installOps(record: Parameters<StageStore['installOps']>[0]): readonly StoreOp[] {
    const { attributes, symlink, xattrs, names } = record.ready;
    return [
      ...this.#o.state.inodes.planInstall({ attributes, symlink, xattrs, names }).ops,
      { type: 'del', key: redirectKey(record.file) },
      { type: 'del', key: stageKey(record.migration) },
    ];
  }

  async dropStage(record: StageRecord): Promise<void> {
    const { store } = this.#o;
    // Of a file that is here the stage is over, and what lies under its id is alive.
    const ranges = this.isHere(record.file) ? [] : [chunksOf(record.file), handoversOf(record.file)];
    for (const range of ranges) {
      let ops: StoreOp[] = [];
      for await (const key of this.#keys(range)) {
        ops.push({ type: 'del', key });
        if (ops.length < pageRows) continue;
        await store.write(ops);
        ops = [];
      }
      await store.write(ops);
    }
    await store.write([{ type: 'del', key: stageKey(record.migration) }]);
  }

  async adoptClient(client: ClientId, file: FileId, opens: number): Promise<boolean> {
    const { sessions, records, state } = this.#o;
    if (sessions.isFenced(client)) return false;
    let session = sessions.get(client);
    if (session === undefined) {
      // The client has not been here yet: it gets the grace to come, and a restart in between waits for it.
      const record = { client, incarnation: 1, fenced: false, title: 'moved here', host: '', pid: 0 };
      session = sessions.expect(record);
      await records.store(record);
    }
    state.setOpens(session, file, opens);
    return true;
  }

  restoreOpens(client: ClientId, file: FileId, opens: number): void {
    const session = this.#o.sessions.get(client);
    if (session !== undefined) this.#o.state.setOpens(session, file, opens);
  }

  lockinfosArrived(file: FileId, lockinfos: Request<'stageReady'>['lockinfos']): void {
    this.#o.handles.arrived(file, lockinfos);
  }

  /** What a restart finds: stages that were not opened, and moved locks whose clients did not speak here yet. */
  async load(): Promise<{ stages: StageRecord[]; handovers: HandoverPart[] }> {
    const { store } = this.#o;
    const stages = await store.list(stageRange, listLimit);
    const handovers = await store.list(handoverRange, listLimit);
    return {
      stages: stages.map(({ key, value }) => stageRecord.decode(value, key)),
      handovers: handovers.map(({ key, value }) => handoverRecord.decode(value, key)),
    };
  }

  #putRedirect(file: FileId, { target, epoch, migration }: Moved, dataLeft: boolean): StoreOp {
    const value = redirectRecord.encode({ target, epoch, migration, dataLeft });
    return { type: 'put', key: redirectKey(file), value };
  }

  async *#keys(range: KeyRange): AsyncIterableIterator<Uint8Array> {
    for (let from = range.from; ; ) {
      const rows = await this.#o.store.list({ from, to: range.to }, pageRows, { keysOnly: true });
      for (const { key } of rows) yield key;
      if (rows.length < pageRows) return;
      from = Buffer.concat([rows[rows.length - 1]!.key, Buffer.of(0)]);
    }
  }
}
