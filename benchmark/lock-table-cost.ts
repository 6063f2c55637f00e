/**
 * What one call on the lock table of one file costs, with few and with many locks in it.
 *
 * Prints microseconds and tree steps a call. In one process and without the path to it: what a process sees through a
 * mount is more by the way there and back. `smoke` leaves out the largest sizes; `json` prints one line of JSON.
 * Called by benchmark.ts: `npm run benchmark -- --only lock-table`.
 */
import { performance } from 'node:perf_hooks';
import { LockTable } from '../brick-store/locks/lock-table.js';
import type { ClientId, LkOwner } from '../wire/ids.js';
import type { LockType } from '../wire/lock-types.js';
import { rangeEnd } from '../wire/lock-types.js';
import { treeWork } from '../wire/ordered-tree.js';

const client = 'a'.repeat(32) as ClientId;
const ownerOf = (n: number): LkOwner => n.toString(16).padStart(16, '0') as LkOwner;
const claim = (owner: number, type: LockType, start: number, end: bigint | number) => ({
  kind: 'posix' as const,
  type,
  start: BigInt(start),
  end: BigInt(end),
  client,
  owner: ownerOf(owner),
  pid: 1,
});

interface Row {
  readonly locks: number;
  readonly owners: 'one' | 'each';
  readonly call: string;
  readonly us: number;
  readonly steps: number;
}

const stranger = 1 << 30;
const callsTimed = 20_000;
const callsWarmup = 2_000;

const calls: Record<string, (table: LockTable, n: number, owner: number) => void> = {
  'lock + unlock a free byte': (table, n) => {
    const byte = claim(stranger, 'write', 4 * n + 2, 4 * n + 2);
    table.lock({ ...byte, wait: false });
    table.unlock('posix', client, byte.owner, byte.start, byte.end);
  },
  'F_GETLK of one byte': (table, n) => {
    table.test(claim(stranger, 'write', 4 * n, 4 * n));
  },
  'F_GETLK of the whole file': (table, _, owner) => {
    table.test(claim(owner, 'write', 0, rangeEnd));
  },
  'wait + give up': (table, n) => {
    table.cancel(table.lock({ ...claim(stranger, 'write', 4 * n, 4 * n), wait: true }).ticket!);
  },
};

const filled = (locks: number, owners: Row['owners']): LockTable => {
  const table = new LockTable();
  for (let n = 0; n < locks; n++) {
    table.lock({ ...claim(owners === 'one' ? 0 : n, 'write', 4 * n, 4 * n + 1), wait: false });
  }
  return table;
};

const measured = (locks: number, owners: Row['owners']): Row[] => {
  const table = filled(locks, owners);
  return Object.entries(calls).map(([call, run]) => {
    const turn = (count: number) => {
      for (let at = 0; at < count; at++) {
        const n = (at * 7919) % locks;
        run(table, n, owners === 'one' ? 0 : n);
      }
    };
    turn(callsWarmup);
    const steps = treeWork.visits;
    const begin = performance.now();
    turn(callsTimed);
    const us = ((performance.now() - begin) * 1000) / callsTimed;
    return { locks, owners, call, us, steps: (treeWork.visits - steps) / callsTimed };
  });
};

export const lockTableName = 'lock-table';

export function measureLockTable({ smoke, json }: { smoke: boolean; json: boolean }): void {
  const sizes = smoke ? [10, 1000] : [10, 1000, 100_000, 1_000_000];
  const rows = sizes.flatMap((locks) =>
    (['one', 'each'] as const).flatMap((owners) => measured(locks, owners)),
  );
  if (json) {
    console.log(JSON.stringify({ lockTable: rows }));
    return;
  }
  console.log('      locks  owner  call                          µs/call  steps/call');
  for (const { locks, owners, call, us, steps } of rows) {
    console.log(
      `${String(locks).padStart(11)}  ${owners.padEnd(5)}  ${call.padEnd(26)}  ${us.toFixed(2).padStart(9)}  ${steps.toFixed(1).padStart(10)}`,
    );
  }
}
