/**
 * A lock table that is spoken to in letters and small numbers, for its tests. Letters are owners: a capital's process
 * number is its place in the alphabet. It adds no rule and hides none.
 */
import type { ClientId, LkOwner } from '../../wire/ids.js';
import type { HeldLock, LockKind, LockType } from '../../wire/lock-types.js';
import { rangeEnd } from '../../wire/lock-types.js';
import { LockTable } from './lock-table.js';

export const clientX = 'a'.repeat(32) as ClientId;
export const clientY = 'b'.repeat(32) as ClientId;
const numberOf = (who: string): number => who.charCodeAt(0) - 64;
export const ownerOf = (who: string): LkOwner => numberOf(who).toString(16).padStart(16, '0') as LkOwner;

export class Desk {
  readonly table: LockTable;

  constructor(table = new LockTable()) {
    this.table = table;
  }

  request(
    who: string,
    type: LockType,
    start: number | bigint,
    end: number | bigint,
    kind: LockKind = 'posix',
  ) {
    const owner = ownerOf(who);
    return { kind, type, start: BigInt(start), end: BigInt(end), client: clientX, owner, pid: numberOf(who) };
  }

  /** F_SETLK */
  set(who: string, type: LockType, start: number | bigint, end: number | bigint, kind?: LockKind) {
    return this.table.lock({ ...this.request(who, type, start, end, kind), wait: false });
  }

  /** F_SETLKW */
  wait(who: string, type: LockType, start: number | bigint, end: number | bigint, kind?: LockKind) {
    return this.table.lock({ ...this.request(who, type, start, end, kind), wait: true });
  }

  flock(who: string, type: LockType, wait = false) {
    return wait ? this.wait(who, type, 0, rangeEnd, 'flock') : this.set(who, type, 0, rangeEnd, 'flock');
  }

  unlock(who: string, start: number | bigint, end: number | bigint): string[] {
    return named(this.table.unlock('posix', clientX, ownerOf(who), BigInt(start), BigInt(end)));
  }

  unflock(who: string): string[] {
    return named(this.table.unlock('flock', clientX, ownerOf(who), 0n, rangeEnd));
  }

  held(): string[] {
    return named([...this.table.held()]);
  }

  waiting(): string[] {
    return named([...this.table.waiting()]);
  }
}

export const named = (locks: readonly HeldLock[]): string[] => locks.map(shortly);

export const shortly = (lock: HeldLock): string =>
  `${String.fromCharCode(64 + Number.parseInt(lock.owner, 16))} ${lock.type} ${lock.start}..${lock.end === rangeEnd ? 'eof' : lock.end}`;
