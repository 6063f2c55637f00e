/**
 * Invariants 2, 3 and 5 at a moment at which nothing moves: what the processes believe is compared with what the
 * bricks list, lock by lock and wait by wait.
 */
import { inodeNumber } from '../../mount/fuse/reply.js';
import type { BrickName } from '../../wire/ids.js';
import type { LockRow } from '../../wire/messages.js';
import type { LockAsk } from '../facts.js';
import { keyOf, type LockBook } from './lock-book.js';
import { isConflict, joined, type LockedRange } from './range-list.js';
import type { Violations } from './violation.js';

export interface ListedLock extends LockRow {
  readonly brick: BrickName;
}

export function compareLocks(book: LockBook, rows: readonly ListedLock[], violations: Violations): void {
  const listed = rows.map((row) => ({ ...row, client: book.knownAs(row.client) }));
  compareHolders(book, listed, violations);
  compareWaiters(book, listed, violations);
  for (const ask of book.waiting) {
    if (!book.isDoubtful(ask)) findForgotten(book, ask, violations);
  }
}

function compareHolders(book: LockBook, listed: readonly ListedLock[], violations: Violations): void {
  const atBricks = new Map<string, LockedRange[]>();
  for (const row of listed) {
    if (row.state !== 'held') continue;
    const key = keyOf(row, row.kind, inodeNumber(row.file));
    atBricks.set(key, [...(atBricks.get(key) ?? []), row]);
  }
  for (const [key, held] of book.held) {
    const here = textOf(joined(atBricks.get(key) ?? []));
    atBricks.delete(key);
    if (held.doubtful) continue;
    const believed = textOf(held.ranges);
    if (here === believed) continue;
    const missing = held.ranges.length > 0 && here !== '' ? 'differ' : here === '' ? 'lost' : 'ghost';
    violations.add(
      missing === 'ghost' ? 'no ghost lock' : 'no lock lost',
      `owner ${key} of ${held.owner.mount} believes to hold [${believed}], the bricks list [${here}]`,
    );
  }
  for (const [key, ranges] of atBricks) {
    const [client, owner, kind, ino] = key.split(' ') as [string, string, 'posix' | 'flock', string];
    if (book.isDoubtful({ client, owner, kind, ino: BigInt(ino) })) continue;
    violations.add(
      'no ghost lock',
      `the bricks list [${textOf(joined(ranges))}] of ${key}, who holds nothing`,
    );
  }
}

function compareWaiters(book: LockBook, listed: readonly ListedLock[], violations: Violations): void {
  const atBricks = new Map<string, number>();
  for (const row of listed) {
    if (row.state !== 'waiting') continue;
    const key = waitKey(row, inodeNumber(row.file));
    atBricks.set(key, (atBricks.get(key) ?? 0) + 1);
  }
  for (const ask of book.waiting) {
    const key = waitKey(ask, ask.ino);
    const count = atBricks.get(key) ?? 0;
    if (count > 0) atBricks.set(key, count - 1);
    else if (!book.isDoubtful(ask))
      violations.add(
        'no waiter forgotten',
        `${ask.mount} pid ${ask.pid} waits for ${key}, and no brick knows`,
      );
  }
  for (const [key, count] of atBricks) {
    const [client, owner, kind, ino] = key.split(' ') as [string, string, 'posix' | 'flock', string];
    if (count > 0 && !book.isDoubtful({ client, owner, kind, ino: BigInt(ino) }))
      violations.add('no ghost lock', `a brick queues ${key}, for which nobody waits`);
  }
}

/** Whoever waits must wait for somebody: a holder, or an older waiter that waits itself. */
function findForgotten(book: LockBook, ask: LockAsk, violations: Violations): void {
  const isOther = (one: { client: string; owner: string }): boolean =>
    one.client !== ask.client || one.owner !== ask.owner;
  for (const held of book.held.values()) {
    if (held.ino !== ask.ino || held.kind !== ask.kind || !isOther(held.owner)) continue;
    if (held.doubtful || held.ranges.some((range) => isConflict(range, ask))) return;
  }
  for (const other of book.waiting) {
    if (other.ino === ask.ino && other.kind === ask.kind && isOther(other) && isConflict(other, ask)) return;
  }
  violations.add(
    'no waiter forgotten',
    `${ask.mount} pid ${ask.pid} waits for ${ask.kind} ${ask.type} ${ask.start}..${ask.end} of ` +
      `${ask.ino.toString(16)}, and nothing stands in its way`,
  );
}

const textOf = (ranges: readonly LockedRange[]): string =>
  ranges.map(({ type, start, end }) => `${type} ${start}..${end}`).join(', ');

const waitKey = (
  wait: { client: string; owner: string; kind: string; type: string; start: bigint; end: bigint },
  ino: bigint,
): string => `${wait.client} ${wait.owner} ${wait.kind} ${ino} ${wait.type} ${wait.start}..${wait.end}`;
