/**
 * The content of a file on its way to another brick while clients go on writing: which chunks have to be sent (again),
 * and the rounds in which they are. Decides nothing about the move; migration-source.ts does.
 */
import type { FileId, MigrationId } from '../wire/ids.js';
import { chunkBytes } from '../wire/limits.js';
import type { FileToMove, Peer } from './migration-source.js';
import { SendWindow } from './send-window.js';

/** Chunks of one stageContent message: under one transfer. */
const chunksPerMessage = 48;
/** A touched range longer than this is handled as a range. */
const touchedChunksListed = 65_536;

export interface ContentCopyOptions {
  readonly migration: MigrationId;
  readonly file: FileId;
  readonly peer: Peer;
  readonly files: Pick<FileToMove, 'chunkIndexes' | 'readChunk'>;
  /** @throws Refusal where the move was aborted meanwhile */
  readonly assertRunning: () => void;
}

export class ContentCopy {
  readonly #o: ContentCopyOptions;
  readonly #dirty = new Set<number>();
  /** Chunks that changed in ranges too long to list. */
  #cleared: { first: number; last: number } | undefined;
  bytesCopied = 0;
  rounds = 0;

  constructor(options: ContentCopyOptions) {
    this.#o = options;
  }

  get dirtyChunks(): number {
    return this.#dirty.size;
  }

  get dirtyBytes(): number {
    return this.#dirty.size * chunkBytes;
  }

  get isClean(): boolean {
    return this.#dirty.size === 0 && this.#cleared === undefined;
  }

  /** Chunks first..last changed, or became holes. */
  touched(first: number, last: number): void {
    if (last - first <= touchedChunksListed) {
      for (let index = first; index <= last; index++) this.#dirty.add(index);
      return;
    }
    const known = this.#cleared;
    this.#cleared = known
      ? { first: Math.min(first, known.first), last: Math.max(last, known.last) }
      : { first, last };
  }

  /** First round: every stored chunk. */
  async sendAll(): Promise<void> {
    await this.#sendStored(0, Number.MAX_SAFE_INTEGER);
    this.rounds += 1;
  }

  /** One more round: what changed since it was sent. */
  async sendDirty(): Promise<void> {
    const cleared = this.#cleared;
    const dirty = [...this.#dirty].sort((a, b) => a - b);
    this.#dirty.clear();
    this.#cleared = undefined;
    if (cleared !== undefined) {
      const { migration, file, peer } = this.#o;
      // Answered before its chunks are sent: the target lists what to clear, and must not clear what comes after.
      await peer.call('stageContent', { migration, file, clear: cleared, chunks: [] });
      this.#o.assertRunning();
      await this.#sendStored(cleared.first, cleared.last);
    }
    const window = new SendWindow();
    for (let at = 0; at < dirty.length; at += chunksPerMessage) {
      await window.send(this.#send(dirty.slice(at, at + chunksPerMessage)));
      this.#o.assertRunning();
    }
    await window.finish();
    this.#o.assertRunning();
    this.rounds += 1;
  }

  async #sendStored(first: number, last: number): Promise<void> {
    const { file, files, assertRunning } = this.#o;
    const window = new SendWindow();
    for (let from = first; ; ) {
      const listed = await files.chunkIndexes(file, from, chunksPerMessage);
      assertRunning();
      const indexes = listed.filter((index) => index <= last);
      if (indexes.length === 0) break;
      from = indexes[indexes.length - 1]! + 1;
      await window.send(this.#send(indexes));
      assertRunning();
    }
    await window.finish();
    assertRunning();
  }

  async #send(indexes: readonly number[]): Promise<void> {
    const { migration, file, files, peer } = this.#o;
    const chunks = indexes.map((index) => ({ index, data: files.readChunk(file, index) }));
    await peer.call('stageContent', { migration, file, clear: undefined, chunks });
    for (const { data } of chunks) this.bytesCopied += data?.byteLength ?? 0;
  }
}
