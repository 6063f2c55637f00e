/**
 * What this client holds: per file, kind and owner, the ranges that bricks granted and did not take back. It is what
 * a restarted brick is told, so it must never hold a lock whose unlock was acknowledged, nor miss one whose grant was.
 *
 * Both follow from one rule that its callers keep: it changes in the order of the answers of the brick, in the first
 * callback on the answer itself. While an unlock is unanswered the lock is still listed, but not reclaimed: a brick may
 * have carried it out before it restarted, and given the bytes to somebody else. A lock that is being made weaker is
 * reclaimed as the weaker one, for the same reason.
 * No message is sent from here.
 */
import { RangeMap } from '../wire/byte-range.js';
import type { ClientId, FileId, LkOwner } from '../wire/ids.js';
import type { ByteRange, HeldLock, LockKind, LockType } from '../wire/lock-types.js';

/** One owner's locks of one kind in one file. */
interface Holding {
  readonly kind: LockKind;
  readonly owner: LkOwner;
  readonly ranges: RangeMap<LockType>;
  /** What an unanswered request may have made of some of them already. */
  readonly leaving: RangeMap<'read' | 'none'>;
  /** Of the process that was granted last. */
  pid: number;
}

export interface OwnerKey {
  readonly file: FileId;
  readonly kind: LockKind;
  readonly owner: LkOwner;
}

/** One text for maps. */
export const ownerKeyOf = (of: OwnerKey): string => `${of.file}${of.kind}${of.owner}`;

const later = (a: bigint, b: bigint): bigint => (a < b ? b : a);

/** A part of a range, and the lock on it; `type` undefined: none. */
export interface Piece extends ByteRange {
  readonly type: LockType | undefined;
}

export class HeldLocks {
  readonly #files = new Map<FileId, Map<string, Holding>>();

  granted(of: OwnerKey, range: ByteRange, type: LockType, pid: number): void {
    let file = this.#files.get(of.file);
    if (file === undefined) {
      file = new Map();
      this.#files.set(of.file, file);
    }
    const key = of.kind + of.owner;
    let holding = file.get(key);
    if (holding === undefined) {
      holding = { kind: of.kind, owner: of.owner, ranges: new RangeMap(), leaving: new RangeMap(), pid };
      file.set(key, holding);
    }
    holding.ranges.set(range.start, range.end, type);
    holding.leaving.clear(range.start, range.end);
    holding.pid = pid;
  }

  /** A request is sent after which no more than `left` is held in the range. */
  weakening(of: OwnerKey, range: ByteRange, left: 'read' | 'none'): void {
    this.#files
      .get(of.file)
      ?.get(of.kind + of.owner)
      ?.leaving.set(range.start, range.end, left);
  }

  /** The request was refused and changed nothing. */
  notWeakened(of: OwnerKey, range: ByteRange): void {
    this.#files
      .get(of.file)
      ?.get(of.kind + of.owner)
      ?.leaving.clear(range.start, range.end);
  }

  unlocked(of: OwnerKey, range: ByteRange): void {
    const holding = this.#files.get(of.file)?.get(of.kind + of.owner);
    if (holding === undefined) return;
    holding.ranges.clear(range.start, range.end);
    holding.leaving.clear(range.start, range.end);
    if (holding.ranges.size === 0) this.ownerDropped(of);
  }

  ownerDropped(of: OwnerKey): void {
    const file = this.#files.get(of.file);
    if (file?.delete(of.kind + of.owner) && file.size === 0) this.#files.delete(of.file);
  }

  fileDropped(file: FileId): void {
    this.#files.delete(file);
  }

  /** All of one file, which is then forgotten here: for the books of another graph. */
  take(file: FileId): Iterable<Holding> {
    const holdings = this.#files.get(file)?.values() ?? [];
    this.#files.delete(file);
    return holdings;
  }

  adopt(file: FileId, holdings: Iterable<Holding>): void {
    for (const { kind, owner, ranges, pid } of holdings) {
      for (const range of ranges) this.granted({ file, kind, owner }, range, range.value, pid);
    }
  }

  has(file: FileId): boolean {
    return this.#files.has(file);
  }

  /** The owner holds a posix lock in some file. O(files with locks): for searches, not for calls. */
  holdsPosix(owner: LkOwner): boolean {
    const key = `posix${owner}`;
    for (const file of this.#files.values()) if (file.has(key)) return true;
    return false;
  }

  files(): FileId[] {
    return [...this.#files.keys()];
  }

  ofFile(file: FileId, client: ClientId): HeldLock[] {
    const locks: HeldLock[] = [];
    for (const { kind, owner, ranges, pid } of this.#files.get(file)?.values() ?? []) {
      for (const { start, end, value } of ranges) {
        locks.push({ kind, type: value, start, end, client, owner, pid });
      }
    }
    return locks;
  }

  /** What a restarted brick is told: as `ofFile`, less what may be gone or weaker by now. */
  toReclaim(file: FileId, client: ClientId): HeldLock[] {
    const locks: HeldLock[] = [];
    for (const { kind, owner, ranges, leaving, pid } of this.#files.get(file)?.values() ?? []) {
      const left = new RangeMap<LockType>();
      for (const { start, end, value } of ranges) left.set(start, end, value);
      for (const { start, end, value } of leaving) {
        const weaker = [...ranges.overlapping(start, end)];
        left.clear(start, end);
        if (value === 'none') continue;
        for (const one of weaker) left.set(later(one.start, start), -later(-one.end, -end), 'read');
      }
      for (const { start, end, value } of left)
        locks.push({ kind, type: value, start, end, client, owner, pid });
    }
    return locks;
  }

  /** The range cut into what the owner holds in it and the gaps between, in order. */
  pieces(of: OwnerKey, range: ByteRange): Piece[] {
    const held = this.#files
      .get(of.file)
      ?.get(of.kind + of.owner)
      ?.ranges.overlapping(range.start, range.end);
    const pieces: Piece[] = [];
    let next = range.start;
    for (const { start, end, value } of held ?? []) {
      const from = later(start, range.start);
      const to = -later(-end, -range.end);
      if (from > next) pieces.push({ start: next, end: from - 1n, type: undefined });
      pieces.push({ start: from, end: to, type: value });
      next = to + 1n;
    }
    if (next <= range.end) pieces.push({ start: next, end: range.end, type: undefined });
    return pieces;
  }
}
