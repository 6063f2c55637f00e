/** The rules of docs/LOCKS.md, one by one, in small cases. After each the table must satisfy its invariants. */
import t from 'tap';
import type { ClientId, Ticket } from '../../wire/ids.js';
import { rangeEnd } from '../../wire/lock-types.js';
import { checkInvariants } from './invariants.js';
import { clientX, Desk, named, ownerOf, shortly } from './lock-desk.js';

const desks: Desk[] = [];
const desk = (): Desk => {
  const one = new Desk();
  desks.push(one);
  return one;
};
t.afterEach(() => {
  for (const one of desks.splice(0)) checkInvariants(one.table);
});

t.test('readers share, and a writer is refused with the lock that is in its way', async (t) => {
  const file = desk();
  t.equal(file.set('A', 'read', 0, 9).outcome, 'granted');
  t.equal(file.set('B', 'read', 5, 14).outcome, 'granted');
  const refused = file.set('C', 'write', 8, 8);
  t.equal(refused.outcome, 'conflict');
  t.equal(shortly(refused.conflict!), 'A read 0..9');
  t.same(file.held(), ['A read 0..9', 'B read 5..14']);
});

t.test('an unlock in the middle splits, and a lock over the gap joins again', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 99);
  file.unlock('A', 40, 59);
  t.same(file.held(), ['A write 0..39', 'A write 60..99']);
  file.set('A', 'write', 40, 59);
  t.same(file.held(), ['A write 0..99']);
});

t.test('neighbours of one type are joined, of two types are not', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 4);
  file.set('A', 'read', 5, 9);
  file.set('A', 'write', 10, 14);
  t.same(file.held(), ['A read 0..9', 'A write 10..14']);
});

t.test('a lock to the end of the file reaches 2^63-1, and the last byte can be unlocked alone', async (t) => {
  const file = desk();
  file.set('A', 'write', 100, rangeEnd);
  file.unlock('A', rangeEnd, rangeEnd);
  t.same(
    [...file.table.held()].map((lock) => lock.end),
    [rangeEnd - 1n],
  );
  t.equal(file.set('B', 'write', rangeEnd, rangeEnd).outcome, 'granted');
  t.equal(file.set('B', 'write', rangeEnd - 1n, rangeEnd).outcome, 'conflict');
});

t.test('unlocking what nobody locked is fine', async (t) => {
  const file = desk();
  t.same(file.unlock('A', 0, rangeEnd), []);
  t.ok(file.table.isEmpty);
});

t.test('a downgrade wakes the readers and leaves the writers waiting', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  file.wait('B', 'read', 0, 9);
  file.wait('C', 'write', 5, 5);
  file.wait('D', 'read', 9, 9);
  const { granted } = file.set('A', 'read', 0, 9);
  t.same(named(granted), ['B read 0..9', 'D read 9..9']);
  t.same(file.waiting(), ['C write 5..5']);
});

t.test('an upgrade that must wait keeps the old lock until it is granted', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  file.set('B', 'read', 0, 9);
  t.equal(file.wait('A', 'write', 0, 9).outcome, 'waiting');
  t.same(file.held(), ['A read 0..9', 'B read 0..9']);
  t.equal(file.set('C', 'write', 0, 0).outcome, 'conflict');
  t.same(file.unlock('B', 0, 9), ['A write 0..9']);
  t.same(file.held(), ['A write 0..9']);
});

t.test('a refused upgrade, and a cancelled one, leave the old lock as it was', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  file.set('B', 'read', 5, 6);
  t.equal(file.set('A', 'write', 0, 9).outcome, 'conflict');
  const { ticket } = file.wait('A', 'write', 0, 9);
  file.table.cancel(ticket!);
  t.same(file.held(), ['A read 0..9', 'B read 5..6']);
  t.same(file.waiting(), []);
});

t.test('F_GETLK goes through owners in the order of their first lock, then by start', async (t) => {
  const file = desk();
  file.set('B', 'read', 50, 59);
  file.set('A', 'read', 0, 9);
  file.set('B', 'read', 20, 29);
  const first = (start: number, end: number) =>
    shortly(file.table.test(file.request('C', 'write', start, end))!);
  t.equal(first(0, 99), 'B read 20..29');
  t.equal(first(0, 19), 'A read 0..9');
  // An owner that let everything go and came back is last in the kernel's list.
  file.unlock('B', 0, 99);
  file.set('B', 'read', 0, 9);
  t.equal(first(0, 99), 'A read 0..9');
});

t.test('F_GETLK does not see the asker, waiters, or readers where a read is asked', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  file.wait('B', 'write', 0, 9);
  t.equal(file.table.test(file.request('A', 'write', 0, 9)), undefined);
  t.equal(file.table.test(file.request('C', 'read', 0, 9)), undefined);
});

t.test('F_SETLK is refused by holders only, and passes waiters', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  file.wait('B', 'write', 0, 9);
  t.equal(file.set('C', 'read', 0, 9).outcome, 'granted');
});

t.test('a new waiter does not overtake an older one that it conflicts with', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  file.wait('B', 'write', 0, 9);
  const reader = file.wait('C', 'read', 0, 9);
  t.equal(reader.outcome, 'waiting');
  t.equal(reader.conflict, undefined, 'no lock is held against it');
  t.same(file.unlock('A', 0, 9), ['B write 0..9']);
  t.same(file.unlock('B', 0, 9), ['C read 0..9']);
});

t.test(
  'an owner that holds a lock on the file passes older waiters, so that fairness makes no deadlock',
  async (t) => {
    const file = desk();
    file.set('A', 'read', 0, 9);
    file.set('C', 'read', 100, 100);
    file.wait('B', 'write', 0, 9);
    t.equal(file.wait('C', 'read', 0, 9).outcome, 'granted');
    t.equal(file.wait('A', 'read', 5, 15).outcome, 'granted');
  },
);

t.test('a waiter whose owner takes its first lock on the file need not queue any more', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  file.wait('B', 'write', 0, 9);
  t.equal(file.wait('C', 'read', 0, 9).outcome, 'waiting');
  t.same(named(file.set('C', 'write', 50, 50).granted), ['C read 0..9'], 'another thread of C took byte 50');
});

t.test('a later waiter is granted while an older one waits, where they do not conflict', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  file.set('B', 'write', 10, 19);
  file.wait('C', 'write', 0, 9);
  file.wait('D', 'write', 10, 19);
  t.same(file.unlock('B', 0, rangeEnd), ['D write 10..19']);
  t.same(file.waiting(), ['C write 0..9']);
});

t.test('a waiter that conflicts with several holders is granted when the last of them is gone', async (t) => {
  const file = desk();
  for (const who of ['A', 'B', 'C']) file.set(who, 'read', 0, 9);
  file.wait('D', 'write', 5, 5);
  t.same(file.unlock('B', 0, 9), []);
  t.same(file.unlock('A', 0, 9), []);
  t.same(file.unlock('C', 5, 5), ['D write 5..5']);
});

t.test('cancelling a waiter frees those queued behind it', async (t) => {
  const file = desk();
  file.set('A', 'read', 0, 9);
  const writer = file.wait('B', 'write', 0, 9);
  file.wait('C', 'read', 0, 4);
  file.wait('D', 'read', 5, 9);
  const { found, granted } = file.table.cancel(writer.ticket!);
  t.equal(shortly(found!), 'B write 0..9');
  t.same(named(granted), ['C read 0..4', 'D read 5..9']);
  t.equal(file.table.cancel(writer.ticket!).found, undefined, 'a ticket is cancelled once');
});

t.test('a thousand waiters for one byte are granted one by one in ticket order', async (t) => {
  const file = desk();
  const client = (n: number) => n.toString(16).padStart(32, '0') as ClientId;
  file.set('A', 'write', 0, 0);
  const one = { ...file.request('B', 'write', 0, 0), wait: true };
  for (let n = 0; n < 1000; n++) file.table.lock({ ...one, client: client(n) });
  let granted = file.table.unlock('posix', clientX, ownerOf('A'), 0n, 0n);
  for (let n = 0; n < 1000; n++) {
    if (granted.length !== 1 || granted[0]!.client !== client(n)) return t.fail(`turn ${n} went to others`);
    granted = file.table.unlock('posix', client(n), ownerOf('B'), 0n, 0n);
  }
  t.same(granted, []);
  t.ok(file.table.isEmpty);
});

t.test('a wait shown again with its ticket takes its old place', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  const { ticket } = file.wait('B', 'write', 0, 9);
  file.wait('C', 'write', 0, 9);
  file.table.cancel(ticket!);
  const again = file.table.lock({ ...file.request('B', 'write', 0, 9), wait: true, ticket: ticket! });
  t.equal(again.ticket, ticket);
  t.same(file.unlock('A', 0, 9), ['B write 0..9']);
});

t.test('a ticket that another waiter has is not honoured, and no ticket is given twice', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  const { ticket } = file.wait('B', 'write', 0, 9);
  const other = file.table.lock({ ...file.request('C', 'write', 0, 9), wait: true, ticket: ticket! });
  t.ok(other.ticket! > ticket!);
  const far = file.table.lock({ ...file.request('D', 'write', 0, 9), wait: true, ticket: 700 as Ticket });
  t.equal(far.ticket, 700);
  t.equal(file.wait('E', 'write', 0, 9).ticket, 701);
});

t.test('two waiters of one owner do not wait for each other', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, 9);
  file.wait('B', 'write', 0, 4);
  file.wait('B', 'write', 3, 9);
  t.same(file.unlock('A', 0, 9), ['B write 0..4', 'B write 3..9']);
  t.same(file.held(), ['B write 0..9']);
});

t.test('posix locks and flocks never meet', async (t) => {
  const file = desk();
  file.set('A', 'write', 0, rangeEnd);
  t.equal(file.flock('B', 'write').outcome, 'granted');
  t.same(file.unflock('A'), []);
  t.equal(file.table.heldCount, 2);
});

t.test('a flock is the whole file, whatever range is named', async (t) => {
  const file = desk();
  file.set('A', 'write', 5, 6, 'flock');
  t.same(file.held(), ['A write 0..eof']);
  t.equal(file.set('B', 'read', 9, 9, 'flock').outcome, 'conflict');
  file.table.unlock('flock', clientX, ownerOf('A'), 1n, 2n);
  t.ok(file.table.isEmpty);
});

t.test('a flock change that is refused has lost the old lock', async (t) => {
  const file = desk();
  file.flock('A', 'read');
  file.flock('B', 'read');
  t.equal(file.flock('A', 'write').outcome, 'conflict');
  t.same(file.held(), ['B read 0..eof']);
});

t.test('a flock change that must wait has lost the old lock, which others may get meanwhile', async (t) => {
  const file = desk();
  file.flock('A', 'read');
  file.flock('B', 'read');
  t.equal(file.flock('A', 'write', true).outcome, 'waiting');
  t.same(file.held(), ['B read 0..eof']);
  const both = file.flock('B', 'write', true);
  t.equal(both.outcome, 'granted', 'two upgrades are no deadlock with flock: the second finds no holder');
  t.same(file.unflock('B'), ['A write 0..eof']);
});

t.test('a flock that is taken again in the same mode is granted at once', async (t) => {
  const file = desk();
  file.flock('A', 'read');
  file.flock('B', 'write', true);
  t.equal(file.flock('A', 'read', true).outcome, 'granted');
});

t.test('a joined lock keeps the pid of the lock that it grew from', async (t) => {
  const file = desk();
  file.table.lock({ ...file.request('A', 'read', 0, 4), pid: 11, wait: false });
  file.table.lock({ ...file.request('A', 'read', 5, 9), pid: 22, wait: false });
  t.same(
    [...file.table.held()].map((lock) => lock.pid),
    [11],
  );
  file.table.lock({ ...file.request('A', 'write', 0, 9), pid: 33, wait: false });
  t.same(
    [...file.table.held()].map((lock) => lock.pid),
    [33],
  );
});
