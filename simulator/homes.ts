/**
 * Which bricks would answer for which file, read off their disks: a file with an inode record and no REPLAY record
 * is served there. Follows every write; the check of one home and the placing of fences stand on it.
 */
import { inodeRecord } from '../brick-store/records/inode-record.js';
import { fileOfKey, inodeKey, isOftenRead, redirectKey } from '../brick-store/records/keys.js';
import type { StoreOp } from '../brick-store/store.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { Disk } from './crashing-store.js';
import type { FactListener } from './facts.js';

export type OnMove = (file: FileId, homes: readonly BrickName[]) => void;

const everyInode = { from: inodeKey('0'.repeat(32) as FileId), to: inodeKey('f'.repeat(32) as FileId) };

export class Homes implements FactListener {
  readonly #disks: ReadonlyMap<BrickName, Disk>;
  readonly #homes = new Map<FileId, Set<BrickName>>();
  readonly #onMove: OnMove[] = [];

  constructor(disks: ReadonlyMap<BrickName, Disk>) {
    this.#disks = disks;
  }

  onMove(listener: OnMove): void {
    this.#onMove.push(listener);
  }

  of(file: FileId): BrickName[] {
    return [...(this.#homes.get(file) ?? [])];
  }

  files(): FileId[] {
    return [...this.#homes.keys()];
  }

  stored(brick: BrickName, ops: readonly StoreOp[]): void {
    for (const { key } of ops) if (isOftenRead(key)) this.#look(brick, fileOfKey(key));
  }

  storeReopened(brick: BrickName): void {
    for (const [file, homes] of this.#homes) if (homes.has(brick)) this.#look(brick, file);
    for (const key of this.#disks.get(brick)?.keys(everyInode) ?? []) this.#look(brick, fileOfKey(key));
  }

  #look(brick: BrickName, file: FileId): void {
    const isHere = this.#isHere(brick, file);
    let homes = this.#homes.get(file);
    if (homes === undefined) {
      if (!isHere) return;
      homes = new Set();
      this.#homes.set(file, homes);
    }
    if (homes.has(brick) === isHere) return;
    if (isHere) homes.add(brick);
    else homes.delete(brick);
    const now = [...homes];
    for (const listener of this.#onMove) listener(file, now);
  }

  #isHere(brick: BrickName, file: FileId): boolean {
    const disk = this.#disks.get(brick)!;
    const key = inodeKey(file);
    const bytes = disk.get(key);
    if (bytes === undefined || disk.get(redirectKey(file)) !== undefined) return false;
    return inodeRecord.decode(bytes, key).type === 'file';
  }
}
