/**
 * What one call on the lock table of one file costs, with few and with many locks in it.
 *
 * Prints microseconds and tree steps a call, and how many times the call costs what it does at 10^3 locks. In one
 * process and without the path to it: what a process sees through a mount is more by the way there and back. Tables
 * of all sizes are alive at once and measured in turn, round by round, at random positions; a time is the median of
 * its rounds. `smoke` leaves out the largest sizes; `json` prints one line of JSON. Called by benchmark.ts:
 * `npm run benchmark -- --only lock-table`.
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { LockRequest } from '../brick-store/locks/lock-table.js';
import { LockTable } from '../brick-store/locks/lock-table.js';
import type { ClientId, LkOwner, Ticket } from '../wire/ids.js';
import { rangeEnd } from '../wire/lock-types.js';
import { treeWork } from '../wire/tree-node.js';

type Owners = 'one' | 'each';

/** `call` on lock `n` of a table that is filled. */
interface Call {
  readonly name: string;
  readonly request: (n: number, owner: number) => LockRequest;
  readonly run: (table: LockTable, request: LockRequest) => void;
}

interface Cost {
  readonly locks: number;
  readonly owners: Owners;
  readonly call: string;
  readonly us: number;
  /** Steps on trees; none where the call is about the whole table. */
  readonly steps: number | undefined;
}

interface Memory {
  readonly locks: number;
  readonly owners: Owners;
  readonly bytesEach: number;
}

const client = 'a'.repeat(32) as ClientId;
const stranger = 1 << 30;
const base = 1000;

const request = (owner: number, start: number, end: bigint | number, wait = false): LockRequest => ({
  kind: 'posix',
  type: 'write',
  start: BigInt(start),
  end: BigInt(end),
  client,
  owner: owner.toString(16).padStart(16, '0') as LkOwner,
  pid: 1,
  wait,
});

const unlock = (table: LockTable, { owner, start, end }: LockRequest): void => {
  table.unlock('posix', client, owner, start, end);
};

/** Lock n is bytes 4n and 4n+1; the bytes between are free. */
const calls: readonly Call[] = [
  {
    name: 'lock + unlock a free byte',
    request: (n) => request(stranger, 4 * n + 2, 4 * n + 2),
    run: (table, one) => {
      table.lock(one);
      unlock(table, one);
    },
  },
  {
    name: 'unlock + lock one of them',
    request: (n, owner) => request(owner, 4 * n, 4 * n + 1),
    run: (table, one) => {
      unlock(table, one);
      table.lock(one);
    },
  },
  {
    name: 'F_GETLK of one byte',
    request: (n) => request(stranger, 4 * n, 4 * n),
    run: (table, one) => table.test(one),
  },
  {
    name: 'F_GETLK of the whole file',
    request: (_, owner) => request(owner, 0, rangeEnd),
    run: (table, one) => table.test(one),
  },
  {
    name: 'wait + give up',
    request: (n) => request(stranger, 4 * n, 4 * n, true),
    run: (table, one) => table.cancel(table.lock(one).ticket as Ticket),
  },
];

const ownerOf = (owners: Owners, n: number): number => (owners === 'one' ? 0 : n);

const filled = (locks: number, owners: Owners): LockTable => {
  const table = new LockTable();
  for (let n = 0; n < locks; n++) table.lock(request(ownerOf(owners, n), 4 * n, 4 * n + 1));
  return table;
};

/** As a move does it: listed here, added there. */
const rebuilt = (table: LockTable): LockTable => LockTable.restore(table.snapshot());

let seed = 1;
/** The same positions in every run, in no order that a cache could guess. */
const position = (locks: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * locks);
};

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

type Filled = readonly { readonly locks: number; readonly table: LockTable }[];

const measured = (owners: Owners, tables: Filled, smoke: boolean): Cost[] => {
  const sizes = tables.map(({ locks }) => locks);
  const [rounds, perRound] = smoke ? [3, 200] : [61, 1_000];
  return calls.flatMap((call) => {
    const times = new Map<number, number[]>(sizes.map((locks) => [locks, []]));
    const steps = new Map<number, number>();
    // The first two rounds are there to warm up.
    for (let round = -2; round < rounds; round++) {
      for (const { locks, table } of tables) {
        const requests = Array.from({ length: perRound }, () => {
          const n = position(locks);
          return call.request(n, ownerOf(owners, n));
        });
        const before = treeWork.steps;
        const begin = performance.now();
        for (const one of requests) call.run(table, one);
        const us = ((performance.now() - begin) * 1000) / perRound;
        if (round >= 0) times.get(locks)!.push(us);
        steps.set(locks, (treeWork.steps - before) / perRound);
      }
    }
    return sizes.map((locks) => ({
      locks,
      owners,
      call: call.name,
      us: median(times.get(locks)!),
      steps: steps.get(locks)!,
    }));
  });
};

/** What is done to a whole table, told for one of its locks. */
const wholes = (owners: Owners, tables: Filled, smoke: boolean): Cost[] => {
  const sizes = tables.map(({ locks }) => locks);
  const acts: [string, (table: LockTable, locks: number) => void][] = [
    ['taking all of them, each', (_, locks) => filled(locks, owners)],
    ['moving all of them, each', (table) => rebuilt(table)],
  ];
  return acts.flatMap(([call, act]) => {
    const times = new Map<number, number[]>(sizes.map((locks) => [locks, []]));
    for (let round = 0; round < (smoke ? 1 : 3); round++) {
      for (const { locks, table } of tables) {
        const repeats = Math.max(1, Math.floor((smoke ? 1000 : 100_000) / locks));
        const begin = performance.now();
        for (let at = 0; at < repeats; at++) act(table, locks);
        times.get(locks)!.push(((performance.now() - begin) * 1000) / (repeats * locks));
      }
    }
    return sizes.map((locks) => ({ locks, owners, call, us: median(times.get(locks)!), steps: undefined }));
  });
};

const memoryOf = (owners: Owners, locks: number): Memory => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const table = filled(locks, owners);
  const bytesEach = (used() - before) / table.heldCount;
  return { locks, owners, bytesEach };
};

const print = (costs: readonly Cost[], memory: readonly Memory[]): void => {
  console.log('      locks  owner  call                       µs/call  times 10^3  steps/call');
  for (const { locks, owners, call, us, steps } of costs) {
    const atBase = costs.find((one) => one.locks === base && one.owners === owners && one.call === call);
    console.log(
      [
        String(locks).padStart(11),
        owners.padEnd(5),
        call.padEnd(25),
        us.toFixed(2).padStart(8),
        (us / atBase!.us).toFixed(2).padStart(10),
        (steps?.toFixed(0) ?? '').padStart(10),
      ].join('  '),
    );
  }
  for (const { locks, owners, bytesEach } of memory) {
    console.log(`${String(locks).padStart(11)}  ${owners.padEnd(5)}  ${bytesEach.toFixed(0)} bytes a lock`);
  }
};

export const lockTableName = 'lock-table';

export function measureLockTable({ smoke, json }: { smoke: boolean; json: boolean }): void {
  const sizes = smoke ? [10, base] : [10, base, 100_000, 1_000_000];
  const both: readonly Owners[] = ['one', 'each'];
  const costs = both.flatMap((owners) => {
    const tables = sizes.map((locks) => ({ locks, table: filled(locks, owners) }));
    return [...measured(owners, tables, smoke), ...wholes(owners, tables, smoke)];
  });
  const memory = both.map((owners) => memoryOf(owners, sizes[sizes.length - 1]!));
  if (json) console.log(JSON.stringify({ lockTable: costs, memory }));
  else print(costs, memory);
}
