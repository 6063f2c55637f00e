/**
 * Locked ranges of one owner as a plain sorted list, joined where they touch: another shape than the product's
 * trees, so that the two do not share a mistake.
 */
import type { LockType } from '../../wire/lock-types.js';

export interface LockedRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly type: LockType;
}

export function withoutRange(ranges: readonly LockedRange[], start: bigint, end: bigint): LockedRange[] {
  return ranges.flatMap((range) => {
    if (range.end < start || range.start > end) return [range];
    const left: LockedRange[] = [];
    if (range.start < start) left.push({ ...range, end: start - 1n });
    if (range.end > end) left.push({ ...range, start: end + 1n });
    return left;
  });
}

export function withRange(ranges: readonly LockedRange[], added: LockedRange): LockedRange[] {
  return joined([...withoutRange(ranges, added.start, added.end), added]);
}

export function joined(ranges: readonly LockedRange[]): LockedRange[] {
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1));
  const result: LockedRange[] = [];
  for (const range of sorted) {
    const last = result.at(-1);
    if (last !== undefined && last.type === range.type && last.end + 1n >= range.start)
      result[result.length - 1] = { ...last, end: last.end > range.end ? last.end : range.end };
    else result.push(range);
  }
  return result;
}

export const isConflict = (
  a: { start: bigint; end: bigint; type: LockType },
  b: { start: bigint; end: bigint; type: LockType },
): boolean => a.start <= b.end && b.start <= a.end && (a.type === 'write' || b.type === 'write');
