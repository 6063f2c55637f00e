/**
 * Random owners over several files, bricks and clients, in virtual time, judged by the wait graph that is drawn from
 * the lock tables themselves: nobody gets a deadlock who is not in one, and nobody stays in one.
 */
import fc from 'fast-check';
import t from 'tap';
import type { ClientId, FileId, LkOwner } from '../wire/ids.js';
import type { LockRow } from '../wire/messages.js';
import { owner } from './fake-volume.js';
import { TestBricks, TestClient, VirtualClock } from './waiting-clients.js';

/** As long as it may take that a ring is confirmed: an application cannot tell what ended within it. */
const confirmMsMax = 120;

const nameOf = (row: { client: string; owner: string }): string => `${row.client}${row.owner}`;
const waitKey = (row: { client: string; owner: string; file: string; ticket: number | undefined }): string =>
  `${nameOf(row)}${row.file}${row.ticket}`;
const conflicts = (a: LockRow, b: LockRow): boolean =>
  a.file === b.file &&
  a.kind === b.kind &&
  nameOf(a) !== nameOf(b) &&
  a.start <= b.end &&
  b.start <= a.end &&
  (a.type === 'write' || b.type === 'write');

/** The waits of processes that are part of a ring of processes. */
function waitsInRings(rows: readonly LockRow[], isProcess: (name: string) => boolean): LockRow[] {
  const edges = new Map<string, Set<string>>();
  const waits = rows.filter((row) => row.state === 'waiting' && isProcess(nameOf(row)));
  const holdersOf = (wait: LockRow): string[] =>
    rows.filter((row) => row.state === 'held' && conflicts(row, wait) && isProcess(nameOf(row))).map(nameOf);
  for (const wait of waits) {
    const targets = edges.get(nameOf(wait)) ?? new Set();
    for (const holder of holdersOf(wait)) targets.add(holder);
    edges.set(nameOf(wait), targets);
  }
  const reaches = (from: string, to: string): boolean => {
    const seen = new Set([from]);
    for (const at of seen) {
      if (at === to) return true;
      for (const next of edges.get(at) ?? []) seen.add(next);
    }
    return false;
  };
  return waits.filter((wait) => holdersOf(wait).some((holder) => reaches(holder, nameOf(wait))));
}

interface Counts {
  deadlocks: number;
  late: number;
  rings: number;
}

const draws = (seed: number) => {
  let state = seed >>> 0;
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
};

async function run(seed: number, counts: Counts): Promise<void> {
  const clock = new VirtualClock();
  const draw = draws(seed);
  const below = (limit: number): number => Math.floor(draw() * limit);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
  const openFiles = draw() < 0.5 ? 0 : 2;
  const isProcess = (name: string): boolean => Number.parseInt(name.slice(-2), 16) > openFiles;
  const inRing = new Map<string, number>();
  let problem: string | undefined;
  const bricks = new TestBricks(3, {
    clock,
    draw,
    lost: pick([0, 0.05, 0.2]),
    onDeadlock: (wait) => {
      counts.deadlocks += 1;
      look();
      const since = clock.now() - (inRing.get(waitKey(wait)) ?? Number.NEGATIVE_INFINITY);
      if (since > 0) counts.late += 1;
      if (since > confirmMsMax)
        problem ??= `a false deadlock at ${clock.now()} ms; last in a ring ${since} ms ago`;
    },
  });
  const rows = (): LockRow[] => bricks.bricks.flatMap((brick) => [...brick.locks.rows(undefined)]);
  function look(): void {
    for (const wait of waitsInRings(rows(), isProcess)) {
      if (!inRing.has(waitKey(wait))) counts.rings += 1;
      inRing.set(waitKey(wait), clock.now());
    }
  }
  const clients = Array.from(
    { length: 3 },
    (_, at) => new TestClient(`${at + 1}`.repeat(32) as ClientId, bricks),
  );
  const files = Array.from({ length: 2 + below(4) }, (_, at) => `${at + 1}`.repeat(32) as FileId);
  for (const file of files) bricks.homes.set(file, pick(bricks.bricks));
  const owners = Array.from({ length: 5 }, (_, at) => owner(at + 1));
  const moves = draw() < 0.5;

  const step = (): void => {
    const client = pick(clients);
    const one: LkOwner = pick(owners);
    const mine = [...client.waits].filter((wait) => wait.request.owner === one);
    const file = pick(files);
    const dice = draw();
    if (moves && dice < 0.1) bricks.move(file, pick(bricks.bricks));
    else if (dice < 0.15 && mine.length > 0) client.cancel(pick(mine));
    // A thread that does not wait, or a process that does not.
    else if (dice < 0.25 && (mine.length === 0 || dice < 0.17)) client.flush(file, one);
    else if (mine.length === 0 || (mine.length === 1 && dice < 0.3)) {
      const start = BigInt(below(4));
      client.lock({
        file,
        owner: one,
        kind: 'posix',
        type: draw() < 0.4 ? 'read' : 'write',
        start,
        end: start + BigInt(below(3)),
        pid: 1,
        wait: draw() < 0.8,
        isProcessOwner: async () => isProcess(one),
      });
    }
  };
  for (let steps = 0; steps < 120; steps++) {
    step();
    await clock.advance(pick([0, 1, 5, 20, 60]));
    look();
  }
  bricks.rules.lost = 0;
  await clock.advance(30_000);
  const left = waitsInRings(rows(), isProcess);
  if (left.length > 0) problem ??= `${left.length} waits are still in a deadlock`;
  const stuck = rows().filter(
    (wait, _, all) =>
      wait.state === 'waiting' && !all.some((row) => row.state === 'held' && conflicts(row, wait)),
  );
  if (stuck.length > 0) problem ??= `${stuck.length} waits only queue, for ever`;
  for (const client of clients) client.probes.close();
  if (problem !== undefined) throw new Error(`seed ${seed}: ${problem}`);
}

t.test('no false deadlock, and none that stays', { timeout: 600_000 }, async (t) => {
  const counts: Counts = { deadlocks: 0, late: 0, rings: 0 };
  await fc.assert(
    fc.asyncProperty(fc.nat(), (seed) => run(seed, counts)),
    { numRuns: Number(process.env.RUNS ?? 40), endOnFailure: true },
  );
  t.comment(
    `${counts.rings} waits in rings, ${counts.deadlocks} deadlocks, ${counts.late} just after their ring had ended`,
  );
  t.ok(counts.deadlocks > 20, 'the test finds deadlocks');
});
