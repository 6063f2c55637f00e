/** Owners and clients that go, move and come back: docs/LOCKS.md from "Tickets" on, in small cases. */
import t from 'tap';
import type { Ticket } from '../../wire/ids.js';
import type { WaitingLock } from '../../wire/lock-types.js';
import { rangeEnd } from '../../wire/lock-types.js';
import { checkInvariants } from './invariants.js';
import { clientX, clientY, Desk, named, ownerOf, shortly } from './lock-desk.js';
import { partsOf } from './lock-snapshot.js';
import { LockTable } from './lock-table.js';

const desks: Desk[] = [];
const desk = (): Desk => {
  const one = new Desk();
  desks.push(one);
  return one;
};
t.afterEach(() => {
  for (const one of desks.splice(0)) checkInvariants(one.table);
});

t.test('a close drops what the owner holds and disturbs no wait of it', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  file.set('B', 'write', 50, 59);
  file.wait('B', 'write', 0, 9);
  file.wait('C', 'read', 50, 50);
  t.same(named(file.table.dropOwner(clientX, ownerOf('B'), 'posix')), ['C read 50..50']);
  t.same(file.waiting(), ['B write 0..9']);
  const { found } = file.table.cancelOwner(clientX, ownerOf('B'));
  t.same(named(found), ['B write 0..9']);
});

t.test('a client that is gone leaves no lock and no waiter, and its waiters stop nobody', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  const other = { ...file.request('B', 'write', 0, 9), client: clientY };
  file.table.lock({ ...other, start: 100n, end: 200n, wait: false });
  file.table.lock({ ...other, owner: ownerOf('C'), wait: true });
  file.wait('D', 'read', 5, 5);
  file.wait('D', 'write', 150, 150);
  t.same(file.table.countsOf(clientY), { held: 1, waiting: 1 });
  t.same(named(file.table.dropClient(clientY)), ['D read 5..5', 'D write 150..150']);
  t.same(file.table.countsOf(clientY), { held: 0, waiting: 0 });
});

t.test('fd migration gives holders and waiters to the new client, and says how many', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  file.set('A', 'read', 20, 29);
  file.set('B', 'write', 40, 40);
  file.wait('A', 'write', 40, 40);
  const { held, waiting } = file.table.rebind(clientX, clientY, [ownerOf('A')]);
  t.same({ held, waiting }, { held: 2, waiting: 1 });
  t.same(file.table.countsOf(clientY), { held: 2, waiting: 1 });
  t.same(named(file.table.unlock('posix', clientX, ownerOf('B'), 0n, rangeEnd)), ['A write 40..40']);
});

t.test('an owner that locked through both graphs becomes one owner', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  const onNewGraph = { ...file.request('A', 'write', 5, 15), client: clientY };
  file.table.lock({ ...onNewGraph, wait: true });
  file.table.lock({ ...onNewGraph, start: 10n, end: 12n, wait: false });
  const { granted } = file.table.rebind(clientX, clientY);
  t.same(named(granted), ['A write 5..15'], 'it waited for its own lock of the old graph');
  t.same(file.held(), ['A write 0..15']);
});

t.test('a table that arrives in parts grants nobody before all of it is there', async (t) => {
  const source = desk();
  source.set('A', 'write', 0, 9);
  source.set('B', 'read', 50, 59);
  source.wait('C', 'write', 0, 9);
  source.wait('D', 'read', 5, 5);
  const snapshot = source.table.snapshot();
  const target = desk();
  target.table.raiseTicket(snapshot.nextTicket);
  const parts = [...partsOf(snapshot, 3)];
  t.equal(parts.length, 2);
  for (const part of parts.reverse()) {
    for (const waiting of part.waiting) target.table.addWaiting(waiting);
    t.same(target.table.cancel(9999 as Ticket).granted, []);
    for (const lock of part.held) t.equal(target.table.addHeld(lock), undefined);
  }
  t.same(target.table.settle(), []);
  t.same(target.table.snapshot(), snapshot);
  t.same(LockTable.restore(snapshot).snapshot(), snapshot);
  t.same(target.unlock('A', 0, 9), ['C write 0..9']);
});

t.test('a reclaim that another owner holds against is answered with that lock and not added', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  const late = { ...file.request('B', 'read', 5, 20) };
  t.equal(shortly(file.table.addHeld(late)!), 'A write 0..9');
  file.table.settle();
  t.same(file.held(), ['A write 0..9']);
});

t.test('an empty snapshot is one empty part', async (t) => {
  t.same([...partsOf(new LockTable().snapshot(), 10)], [{ held: [], waiting: [] }]);
});

t.test('whom a waiter waits for: holders, and apart from them those it queues behind', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 4);
  file.set('B', 'read', 0, 4);
  file.set('C', 'read', 7, 90);
  file.wait('D', 'write', 3, 9);
  const { ticket } = file.wait('E', 'write', 3, 3);
  const names = (owners: readonly { owner: string }[]) => owners.map(({ owner }) => owner).sort();
  const blockers = file.table.blockersOf(ticket!, 10)!;
  t.same(names(blockers.holders), [ownerOf('A'), ownerOf('B')]);
  t.same(names(blockers.inQueue), [ownerOf('C'), ownerOf('D')]);
  const last = file.wait('F', 'read', 3, 3).ticket!;
  const queued = file.table.blockersOf(last, 10)!;
  t.same(names(queued.holders), []);
  t.same(names(queued.inQueue), ['A', 'B', 'C', 'D', 'E'].map(ownerOf), 'the whole queue before it');
  t.same(names(file.table.blockersOf(last, 1)!.inQueue), ['A', 'B', 'E'].map(ownerOf), 'its nearest place');
  t.equal(file.table.blockersOf((last + 1) as Ticket, 10), undefined);
});

t.test('a waiter that is let pass is stopped by holders only', async (t) => {
  const file = new Desk();
  file.set('A', 'read', 0, 9);
  file.wait('B', 'write', 0, 9);
  const reader: { ticket?: Ticket } = file.wait('C', 'read', 0, 9);
  const granted: WaitingLock[] = file.table.letPass(reader.ticket!);
  t.same(named(granted), ['C read 0..9']);
  t.same(file.waiting(), ['B write 0..9']);
});
