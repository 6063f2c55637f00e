/** Which FLUSH and which RELEASE concern an owner, and what waits for what. */
import t from 'tap';
import type { ByteText, FileId, LkOwner } from '../wire/ids.js';
import type { Attributes } from '../wire/messages.js';
import { rootNodeid } from './fuse/abi.js';
import { InodeTable } from './inode-table.js';
import { LockUsers, PendingRequest } from './lock-users.js';

const p = '0000000000000001' as LkOwner;
const ofd = '0000000000000002' as LkOwner;
const request = (owner: LkOwner, ends = true): PendingRequest => new PendingRequest(owner, ends);

const lock = (users: LockUsers, owner: LkOwner, fh: number): void => {
  const pending = request(owner);
  users.began(owner, fh, pending);
  users.answered(pending);
};

t.test('an owner is concerned by a FLUSH from its first request to that FLUSH', (t) => {
  const users = new LockUsers();
  t.notOk(users.has(p));
  lock(users, p, 1);
  lock(users, p, 2);
  t.ok(users.has(p));
  t.strictSame(users.flushing(p), [1, 2]);
  t.notOk(users.has(p));
  users.notFlushed(p, [1, 2]);
  t.ok(users.has(p), 'a FLUSH that failed did nothing');
  t.end();
});

t.test('a RELEASE concerns who used locks through that handle only', (t) => {
  const users = new LockUsers();
  lock(users, p, 1);
  lock(users, p, 2);
  lock(users, ofd, 1);
  t.strictSame(users.closed(1, [p, ofd]), [ofd]);
  t.strictSame(users.closed(2, [p]), [p]);
  t.strictSame(users.closed(2, [p]), []);
  t.end();
});

t.test('a FLUSH goes behind what is about to be answered, not behind a wait', (t) => {
  const users = new LockUsers();
  const [short, long] = [request(p), request(p, false)];
  users.began(p, 1, short);
  users.began(p, 1, long);
  t.equal(users.ending(p).length, 1);
  users.answered(short);
  t.equal(users.ending(p).length, 0);
  t.strictSame(users.flushing(p), [], 'who still waits is not forgotten');
  t.ok(users.has(p));
  long.ends = true;
  t.equal(users.ending(p).length, 1, 'a cancelled wait is about to be answered');
  t.end();
});

t.test('lock requests wait for all pending RELEASEs', async (t) => {
  const users = new LockUsers();
  t.equal(users.released, undefined);
  let first: () => void = () => undefined;
  users.releasing(new Promise((resolve) => (first = resolve)));
  users.releasing(Promise.resolve());
  const waited = users.released!;
  let isOver = false;
  waited.then(() => {
    isOver = true;
  });
  await Promise.resolve().then(() => undefined);
  t.equal(isOver, false);
  first();
  await waited;
  t.equal(users.released, undefined);
});

const attributes = (digit: number) =>
  ({ file: String(digit).padStart(32, '0') as FileId, type: 'file', change: 0 }) as Attributes;

t.test('inodes live from the first lookup to the last forget, and no number comes twice', (t) => {
  const table = new InodeTable();
  const inode = table.enter(attributes(7));
  t.equal(table.enter(attributes(7)), inode);
  table.forget(inode.nodeid, 1);
  t.equal(table.get(inode.nodeid), inode);
  table.forget(inode.nodeid, 1);
  t.throws(() => table.get(inode.nodeid), { code: 'ESTALE' });
  t.not(table.enter(attributes(7)).nodeid, inode.nodeid);
  table.forget(rootNodeid, 99);
  t.equal(table.get(rootNodeid).nodeid, rootNodeid);
  t.end();
});

t.test('a removal is remembered for the inode that had the name', (t) => {
  const table = new InodeTable();
  const root = table.get(rootNodeid);
  const [a, b] = [table.enter(attributes(7)), table.enter(attributes(8))];
  const name = (text: string) => text as ByteText;
  table.named(root, name('a'), a);
  table.named(root, name('b'), b);
  table.renamed(root, name('a'), root, name('b'));
  t.equal(b.removedHere, true);
  t.equal(a.removedHere, false);
  table.removed(root, name('a'));
  t.equal(a.removedHere, false, 'not its name any more');
  table.removed(root, name('b'));
  t.equal(a.removedHere, true);
  t.equal(root.children!.size, 0);
  t.end();
});
