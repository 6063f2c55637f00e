/**
 * The layout of a directory: which brick has which part of the 32-bit range of name hashes.
 *
 * Pure. Each directory stores its layout on every brick (`makeDirectory` carries it, `readLayout` answers it), so that
 * adding a brick does not move the names of directories that exist. A directory that stores none (the root of a fresh
 * volume) has the plain one.
 */
import type { BrickName, FileId } from '../wire/ids.js';
import type { HashRange } from '../wire/messages.js';
import { hashBytes } from './name-hash.js';

export type Layout = readonly HashRange[];

const hashes = 2 ** 32;

/**
 * The layout that a new directory gets: equal ranges in the order of the bricks, rotated by the directory's id, so
 * that the small files of many directories do not all gather on the first brick.
 */
export function plainLayout(dir: FileId, bricks: readonly BrickName[]): Layout {
  const count = bricks.length;
  const part = Math.floor(hashes / count);
  const turn = hashBytes(dir) % count;
  return bricks.map((_, at) => ({
    brick: bricks[(at + turn) % count]!,
    start: at * part,
    stop: at === count - 1 ? hashes - 1 : (at + 1) * part - 1,
  }));
}

/** The brick that a hash falls to; undefined in a hole. */
export function brickOf(layout: Layout, hash: number): BrickName | undefined {
  for (const range of layout) if (hash >= range.start && hash <= range.stop) return range.brick;
  return undefined;
}

export interface LayoutFaults {
  /** Hashes that no brick has. */
  readonly holes: number;
  /** Hashes that more than one range claims, each counted once per range too many. */
  readonly overlaps: number;
}

/** A range whose start is above its stop takes no names and is no fault. */
export function layoutFaults(layout: Layout): LayoutFaults {
  const ranges = layout.filter((range) => range.start <= range.stop).sort((a, b) => a.start - b.start);
  let next = 0;
  let holes = 0;
  let overlaps = 0;
  for (const range of ranges) {
    if (range.start > next) holes += range.start - next;
    else overlaps += Math.min(next, range.stop + 1) - range.start;
    next = Math.max(next, range.stop + 1);
  }
  return { holes: holes + hashes - next, overlaps };
}

/** The layout with the parts of `gone` as `plain` has them; the same layout where it names none of those. */
export function withoutBricks(layout: Layout, gone: ReadonlySet<BrickName>, plain: Layout): Layout {
  if (!layout.some(({ brick }) => gone.has(brick))) return layout;
  return layout.flatMap((range) => {
    if (!gone.has(range.brick)) return [range];
    return plain
      .map(({ brick, start, stop }) => ({
        brick,
        start: Math.max(start, range.start),
        stop: Math.min(stop, range.stop),
      }))
      .filter(({ start, stop }) => start <= stop);
  });
}

export const sameLayout = (a: Layout, b: Layout): boolean =>
  a.length === b.length &&
  a.every((range, at) => {
    const other = b[at]!;
    return range.brick === other.brick && range.start === other.start && range.stop === other.stop;
  });
