/**
 * The cost of one call grows no faster than the logarithm of the locks in the file.
 *
 * Counts the slots of tree nodes that are looked at or moved, not time, so that a busy machine changes nothing: from
 * 10^3 to 10^6 locks the logarithm doubles, so no call may look at more than twice as many. And at one more node or
 * two, since a tree has whole levels.
 */
import t from 'tap';
import type { ClientId, LkOwner } from '../../wire/ids.js';
import type { LockType } from '../../wire/lock-types.js';
import { rangeEnd } from '../../wire/lock-types.js';
import { treeWork } from '../../wire/tree-node.js';
import { LockTable } from './lock-table.js';

const few = 1000;
const many = 1_000_000;
const calls = 500;
const slack = 64;
const client = 'a'.repeat(32) as ClientId;
const ownerOf = (n: number): LkOwner => n.toString(16).padStart(16, '0') as LkOwner;
const request = (owner: number, type: LockType, start: number, end: number | bigint) => ({
  kind: 'posix' as const,
  type,
  start: BigInt(start),
  end: BigInt(end),
  client,
  owner: ownerOf(owner),
  pid: 1,
});

/** Lock n is bytes 4n and 4n+1, of owner n where each has one; the bytes between are free. */
const tableOf = (size: number, type: LockType, ownerEach: boolean): LockTable => {
  const table = new LockTable();
  for (let n = 0; n < size; n++) {
    table.lock({ ...request(ownerEach ? n : 0, type, 4 * n, 4 * n + 1), wait: false });
  }
  return table;
};

const asker = 1 << 30;

type Call = (table: LockTable, n: number, size: number) => void;

const unlock = (table: LockTable, owner: number, start: number, end: number | bigint) =>
  table.unlock('posix', client, ownerOf(owner), BigInt(start), BigInt(end));

const kinds: Record<string, { type: LockType; ownerEach: boolean; calls: Record<string, Call> }> = {
  'writers of as many owners': {
    type: 'write',
    ownerEach: true,
    calls: {
      'take and drop a free byte': (table, n) => {
        table.lock({ ...request(asker, 'write', 4 * n + 2, 4 * n + 2), wait: false });
        unlock(table, asker, 4 * n + 2, 4 * n + 2);
      },
      'split a lock and join it again': (table, n) => {
        unlock(table, n, 4 * n, 4 * n);
        table.lock({ ...request(n, 'write', 4 * n, 4 * n), wait: false });
      },
      'ask for one byte that is free': (table, n) => {
        table.test(request(asker, 'write', 4 * n + 3, 4 * n + 3));
      },
      'ask for everything': (table, n) => {
        table.test(request(n, 'write', 0, rangeEnd));
      },
      'wait for one lock and give up': (table, n) => {
        table.cancel(table.lock({ ...request(asker, 'write', 4 * n, 4 * n), wait: true }).ticket!);
      },
      'wait for everything and give up': (table) => {
        table.cancel(table.lock({ ...request(asker, 'write', 0, rangeEnd), wait: true }).ticket!);
      },
      'hand one lock over': (table, n) => {
        table.lock({ ...request(asker, 'write', 4 * n, 4 * n + 1), wait: true });
        if (unlock(table, n, 4 * n, 4 * n + 1).length !== 1) throw new Error('the waiter was not granted');
        table.lock({ ...request(n, 'write', 4 * n, 4 * n + 1), wait: true });
        if (unlock(table, asker, 4 * n, 4 * n + 1).length !== 1) throw new Error('it did not come back');
      },
    },
  },
  'readers of one owner, who asks over its own locks': {
    type: 'read',
    ownerEach: false,
    calls: {
      'ask for everything, held by nobody else': (table) => {
        if (table.test(request(0, 'write', 0, rangeEnd)) !== undefined) throw new Error('there is none');
      },
      'ask for everything, as another': (table) => {
        if (table.test(request(asker, 'write', 0, rangeEnd))?.start !== 0n) throw new Error('not the first');
      },
      'upgrade one lock and downgrade it': (table, n) => {
        table.lock({ ...request(0, 'write', 4 * n, 4 * n + 1), wait: false });
        table.lock({ ...request(0, 'read', 4 * n, 4 * n + 1), wait: false });
      },
    },
  },
};

const stepsOf = (call: Call, table: LockTable, size: number): number => {
  const before = treeWork.steps;
  for (let at = 0; at < calls; at++) call(table, (at * 7919) % size, size);
  return (treeWork.steps - before) / calls;
};

for (const [name, { type, ownerEach, calls: named }] of Object.entries(kinds)) {
  t.test(`a million ${name}`, async (t) => {
    const small = tableOf(few, type, ownerEach);
    const large = tableOf(many, type, ownerEach);
    for (const [what, call] of Object.entries(named)) {
      const steps = { few: stepsOf(call, small, few), many: stepsOf(call, large, many) };
      const told = `${what}: ${steps.few.toFixed(1)} steps at 10^3, ${steps.many.toFixed(1)} at 10^6`;
      t.ok(steps.many <= 2 * steps.few + slack, told);
    }
    t.equal(large.heldCount, many);
  });
}

t.test('a queue of waiters for one byte costs no waiter more than another', async (t) => {
  const stepsAt = (waiters: number): { joins: number; leaves: number; hands: number } => {
    const table = new LockTable();
    table.lock({ ...request(0, 'write', 0, 0), wait: false });
    for (let n = 1; n <= waiters; n++) table.lock({ ...request(n, 'write', 0, 0), wait: true });
    let next = waiters;
    const joins = stepsOf(() => table.lock({ ...request(++next, 'write', 0, 0), wait: true }), table, 1);
    const middle = Math.floor(waiters / 2);
    const leaves = stepsOf((_, n) => table.cancel((middle + n) as never), table, calls);
    let holder = 0;
    const hands = stepsOf(
      () => {
        const granted = unlock(table, holder++, 0, 0);
        if (granted.length !== 1 || granted[0]!.owner !== ownerOf(holder)) throw new Error('out of turn');
      },
      table,
      1,
    );
    return { joins, leaves, hands };
  };
  const small = stepsAt(2 * few);
  const large = stepsAt(100 * few);
  for (const what of ['joins', 'leaves', 'hands'] as const) {
    const told = `${what}: ${small[what].toFixed(1)} steps at 2 * 10^3, ${large[what].toFixed(1)} at 10^5`;
    t.ok(large[what] <= 2 * small[what] + slack, told);
  }
});

t.test('what a client drops costs by what it drops, not by what others hold', async (t) => {
  const table = tableOf(100 * few, 'read', true);
  const gone = 'b'.repeat(32) as ClientId;
  const before = treeWork.steps;
  for (let n = 0; n < 100; n++) {
    table.lock({ ...request(n, 'read', 40 * n, rangeEnd), client: gone, wait: false });
  }
  table.dropClient(gone);
  const steps = (treeWork.steps - before) / 100;
  t.ok(steps < 200, `${steps.toFixed(0)} steps a lock taken and dropped`);
  t.equal(table.heldCount, 100 * few);
});
