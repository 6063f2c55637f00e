/**
 * What clients and bricks must agree on about waits in a chain (messages.ts, chainedWait): which of two began later,
 * and which rings are deadlocks. Pure; used by both sides of the search (dht/wait-probes.ts, deadlock-search.ts).
 */
import type { ChainedWait } from './messages.js';

type Begun = Pick<ChainedWait, 'client' | 'owner' | 'file' | 'ticket' | 'sinceUs'>;

/** A total order: clocks that differ, or two waits of one microsecond, are no reason to disagree. */
export function beganLater(a: Begun, b: Begun): boolean {
  if (a.sinceUs !== b.sinceUs) return a.sinceUs > b.sinceUs;
  if (a.client !== b.client) return a.client > b.client;
  if (a.owner !== b.owner) return a.owner > b.owner;
  if (a.file !== b.file) return a.file > b.file;
  return a.ticket > b.ticket;
}

/** Linux sees it too: each of these processes holds what the one before it waits for. */
export const isDeadlock = (ring: readonly ChainedWait[]): boolean =>
  ring.every((wait) => wait.isProcess && wait.blockedBy === 'holder');
