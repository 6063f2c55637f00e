/** What a client remembers that it holds, and how a range is cut into what is held and what is not. */
import t from 'tap';
import type { ClientId, FileId, LkOwner } from '../wire/ids.js';
import { HeldLocks } from './held-locks.js';

const client = 'c'.repeat(32) as ClientId;
const of = { file: 'f'.repeat(32) as FileId, kind: 'posix', owner: '1'.repeat(16) as LkOwner } as const;
const range = (start: number, end: number) => ({ start: BigInt(start), end: BigInt(end) });

const pieces = (held: HeldLocks, start: number, end: number): string[] =>
  held.pieces(of, range(start, end)).map((piece) => `${piece.start}-${piece.end} ${piece.type ?? 'none'}`);

t.test('a range is cut into held parts and gaps, and ends where it ends', async (t) => {
  const held = new HeldLocks();
  t.same(pieces(held, 3, 8), ['3-8 none']);
  held.granted(of, range(0, 4), 'read', 7);
  held.granted(of, range(7, 20), 'write', 7);
  t.same(pieces(held, 3, 8), ['3-4 read', '5-6 none', '7-8 write']);
  t.same(pieces(held, 8, 9), ['8-9 write']);
  t.same(pieces(held, 19, 25), ['19-20 write', '21-25 none']);
});

t.test('the last unlock of a file forgets the file', async (t) => {
  const held = new HeldLocks();
  held.granted(of, range(0, 9), 'write', 7);
  held.unlocked(of, range(3, 5));
  t.match(held.ofFile(of.file, client), [
    { start: 0n, end: 2n, pid: 7, client },
    { start: 6n, end: 9n },
  ]);
  held.unlocked({ ...of, kind: 'flock' }, range(0, 9));
  t.ok(held.has(of.file));
  held.unlocked(of, range(0, 9));
  t.notOk(held.has(of.file));
  t.same(held.files(), []);
});

t.test(
  'what an unanswered request may have taken or weakened is reclaimed as what is surely left',
  async (t) => {
    const held = new HeldLocks();
    const reclaimed = (): string[] =>
      held.toReclaim(of.file, client).map(({ type, start, end }) => `${type} ${start}-${end}`);
    held.granted(of, range(0, 9), 'write', 7);
    held.weakening(of, range(4, 20), 'none');
    t.same(reclaimed(), ['write 0-3']);
    t.equal(held.ofFile(of.file, client).length, 1, 'it is held as long as nobody says otherwise');
    held.notWeakened(of, range(4, 20));
    held.weakening(of, range(2, 5), 'read');
    t.same(reclaimed(), ['write 0-1', 'read 2-5', 'write 6-9']);
    held.granted(of, range(2, 5), 'write', 7);
    t.same(reclaimed(), ['write 0-9']);
    held.weakening(of, range(0, 9), 'none');
    held.unlocked(of, range(0, 4));
    held.granted(of, range(0, 1), 'read', 7);
    t.same(reclaimed(), ['read 0-1']);
  },
);
