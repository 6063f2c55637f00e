/**
 * Finds a cycle among owners that wait for owners: what EDEADLK rests on.
 *
 * Pure, and over one snapshot of whatever the caller shows: the lock tables of one brick now, answers gathered from
 * several bricks in edge chasing. It proves nothing about a graph that changes while it is read; a caller that reads
 * several bricks confirms a cycle once more before it refuses anybody.
 *
 * fcntl(2) owners only. A process waits in one place at a time (threads: in several), so a cycle of processes never
 * ends by itself. An open file description (OFD, flock) is no process: whoever shares it may unlock it, so Linux
 * finds no deadlocks for those (posix_locks_deadlock in fs/locks.c returns early for FL_OFDLCK), and neither do we.
 * A brick cannot tell an OFD owner from a process: both arrive as `posix` locks. The client can (it sees through
 * which handle and by which FLUSH an owner is used) and marks them; `isProcessOwner` is where that mark comes in.
 */
import type { LockOwner } from '../../wire/lock-types.js';

export interface WaitGraph<O extends LockOwner = LockOwner> {
  /** The owners that hold something against a wait of this owner, in any file; none where it does not wait. */
  waitsFor(owner: O): Iterable<O>;
  /** False for owners that are open file descriptions: no path leads through them. */
  isProcessOwner(owner: O): boolean;
}

/** Owners looked at in one search: a bound for a graph that is broken or hostile. Beyond it no deadlock is reported. */
export const ownersSearchedMax = 100_000;

/**
 * The shortest chain start, a, b, … in which each waits for the next and the last for `start`; undefined where there
 * is none. An owner never waits for itself: its own locks do not conflict.
 */
export function findCycle<O extends LockOwner>(start: O, graph: WaitGraph<O>): O[] | undefined {
  if (!graph.isProcessOwner(start)) return undefined;
  const home = keyOf(start);
  const cameFrom = new Map<string, { owner: O; before: string | undefined }>([
    [home, { owner: start, before: undefined }],
  ]);
  const ahead = [home];
  for (let at = 0; at < ahead.length && at < ownersSearchedMax; at++) {
    const key = ahead[at]!;
    for (const next of graph.waitsFor(cameFrom.get(key)!.owner)) {
      if (!graph.isProcessOwner(next)) continue;
      const nextKey = keyOf(next);
      if (nextKey === home && key !== home) return chainTo(key, cameFrom);
      if (cameFrom.has(nextKey)) continue;
      cameFrom.set(nextKey, { owner: next, before: key });
      ahead.push(nextKey);
    }
  }
  return undefined;
}

const keyOf = ({ client, owner }: LockOwner): string => `${client} ${owner}`;

const chainTo = <O>(last: string, cameFrom: Map<string, { owner: O; before: string | undefined }>): O[] => {
  const chain: O[] = [];
  for (let key: string | undefined = last; key !== undefined; ) {
    const step: { owner: O; before: string | undefined } = cameFrom.get(key)!;
    chain.push(step.owner);
    key = step.before;
  }
  return chain.reverse();
};
