/**
 * Locks over fake bricks: waits that move, cancels that race, bricks that restart, fence or cannot be reached.
 * The last word is always what the brick's lock table holds.
 */
import t, { type Test } from 'tap';
import type { FakeBrick } from '../test/fake-brick.js';
import { FakeVolume, lockOf, owner, plainFile } from '../test/fake-volume.js';
import { Refusal } from '../wire/errors.js';
import { type FileId, rootFileId } from '../wire/ids.js';
import type { DistributedVolume } from './distributed-volume.js';
import type { LockOutcome, PendingLock } from './volume.js';

interface Scene {
  readonly fake: FakeVolume;
  readonly volume: DistributedVolume;
  /** Another client, which holds write locks against the first. */
  readonly rival: DistributedVolume;
  readonly file: FileId;
  readonly source: FakeBrick;
  readonly target: FakeBrick;
}

async function scene(t: Test): Promise<Scene> {
  const fake = await FakeVolume.start();
  t.teardown(() => fake.close());
  const [source, target] = fake.bricks;
  const volume = await fake.mount();
  const rival = await fake.mount();
  const name = fake.nameOn(source!);
  const made = await volume.create(rootFileId, name, plainFile, { exclusive: true, open: true });
  const { file } = made.attributes;
  await rival.open(file, false);
  return { fake, volume, rival, file, source: source!, target: target! };
}

const refusedWith = (code: string) => ({ name: 'Refusal', code });
/** The rival's owner. */
const other = owner(9);

async function rivalHolds({ rival, file }: Scene): Promise<void> {
  const request = lockOf(file, { owner: other, wait: false });
  if ((await rival.lock(request).outcome).outcome !== 'granted') throw new Error('the rival was refused');
}

const rivalUnlocks = ({ rival, file }: Scene): Promise<void> => rival.unlock(file, other, 'posix', 0n, 9n);

/** What became of a wait, without waiting for it. */
function watch(pending: PendingLock): { now: LockOutcome | Error | undefined } {
  const seen: { now: LockOutcome | Error | undefined } = { now: undefined };
  pending.outcome.then(
    (outcome) => {
      seen.now = outcome;
    },
    (error: Error) => {
      seen.now = error;
    },
  );
  return seen;
}

async function waiting(scene: Scene, change: Parameters<typeof lockOf>[1] = {}) {
  const pending = scene.volume.lock(lockOf(scene.file, change));
  const seen = watch(pending);
  await scene.fake.clock.advance(0);
  return { pending, seen };
}

t.test('granted, conflict, wait and unlock', async (t) => {
  const s = await scene(t);
  t.match(await s.volume.lock(lockOf(s.file)).outcome, { outcome: 'granted', change: 1 });
  const refused = lockOf(s.file, { owner: other, wait: false });
  t.match(await s.rival.lock(refused).outcome, { outcome: 'conflict' });
  t.match(await s.rival.testLock(refused), { owner: owner(1), pid: 1 });
  const wait = watch(s.rival.lock(lockOf(s.file, { owner: other })));
  await s.fake.clock.advance(0);
  t.equal(wait.now, undefined);
  await s.volume.unlock(s.file, owner(1), 'posix', 0n, 9n);
  await s.fake.clock.advance(0);
  t.match(wait.now, { outcome: 'granted' });
});

t.test('a wait follows its file under its ticket', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { seen } = await waiting(s);
  const [before] = s.source.waiters(s.file);
  s.source.moveTo(s.target, s.file);
  await s.fake.clock.advance(0);
  t.equal(seen.now, undefined);
  t.equal(s.target.requests('lock').at(-1)?.ticket, before?.ticket);
  t.equal(s.target.waiters(s.file).length, 1, 'one wait, not two');
  await rivalUnlocks(s);
  await s.fake.clock.advance(0);
  t.match(seen.now, { outcome: 'granted' });
  await s.volume.unlock(s.file, owner(1), 'posix', 0n, 9n);
  t.same(s.target.held(s.file), [], 'the unlock followed');
});

t.test('a wait follows its file however often it moves', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { seen } = await waiting(s);
  for (let move = 0; move < 40; move++) {
    const [from, to] = move % 2 === 0 ? [s.source, s.target] : [s.target, s.source];
    from.moveTo(to, s.file);
    await s.fake.clock.advance(0);
    t.equal(seen.now, undefined);
  }
  await rivalUnlocks(s);
  await s.fake.clock.advance(0);
  t.match(seen.now, { outcome: 'granted' });
});

t.test('a cancel ends the wait and gives the ticket for a restart of the call', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { pending, seen } = await waiting(s);
  const [before] = s.source.waiters(s.file);
  pending.cancel();
  await s.fake.clock.advance(0);
  t.match(seen.now, { outcome: 'cancelled', ticket: before?.ticket });
  t.same(s.source.waiters(s.file), []);
  watch(s.volume.lock(lockOf(s.file), before?.ticket));
  await s.fake.clock.advance(0);
  t.equal(s.source.waiters(s.file)[0]?.ticket, before?.ticket, 'its place is kept');
});

t.test('a cancel that comes after the grant changes nothing', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { pending, seen } = await waiting(s);
  s.source.before = (op) => {
    if (op !== 'cancelLock') return;
    s.source.before = () => undefined;
    s.source.tables.get(s.file)!.dropClient(s.rival.client);
  };
  const unlocked = rivalUnlocks(s);
  pending.cancel();
  await s.fake.clock.advance(0);
  await unlocked;
  t.match(seen.now, { outcome: 'granted' });
  t.same(s.source.held(s.file), ['posix write 0-9 1']);
});

t.test('a cancel while the wait is being redirected reaches the target', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { pending, seen } = await waiting(s);
  s.source.moveTo(s.target, s.file);
  pending.cancel();
  await s.fake.clock.advance(0);
  t.match(seen.now, { outcome: 'cancelled' });
  t.same(s.target.waiters(s.file), []);
});

t.test('a cancel before the request was sent sends none', async (t) => {
  const s = await scene(t);
  const client = await s.fake.mount();
  const pending = client.lock(lockOf(s.file));
  pending.cancel();
  t.match(await pending.outcome, { outcome: 'cancelled', ticket: undefined });
  t.same(
    s.fake.bricks.flatMap((brick) => brick.requests('lock')),
    [],
  );
});

t.test(
  'a cancel while the link is down ends the wait in bounded time, and the brick is told later',
  async (t) => {
    const s = await scene(t);
    await rivalHolds(s);
    const { pending, seen } = await waiting(s);
    s.fake.network.unreachable.add(s.source.address);
    s.source.cut();
    await s.fake.clock.advance(100);
    pending.cancel();
    await s.fake.clock.advance(1500);
    t.match(seen.now, { outcome: 'cancelled' });
    t.equal(s.source.waiters(s.file).length, 1, 'the brick does not know yet');
    s.fake.network.unreachable.clear();
    await s.fake.clock.advance(2000);
    t.same(s.source.waiters(s.file), []);
  },
);

t.test('a grant that the process was not told of is taken back', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { pending, seen } = await waiting(s);
  s.fake.network.unreachable.add(s.source.address);
  s.source.cut();
  await s.fake.clock.advance(100);
  pending.cancel();
  await s.fake.clock.advance(1500);
  t.match(seen.now, { outcome: 'cancelled' });
  s.source.fence(s.rival.client);
  t.same(s.source.held(s.file), ['posix write 0-9 1'], 'granted while nobody was there to hear it');
  s.fake.network.unreachable.clear();
  await s.fake.clock.advance(3000);
  t.same(s.source.held(s.file), []);
  t.match(await s.volume.lock(lockOf(s.file)).outcome, { outcome: 'granted' }, 'the owner can lock again');
});

t.test('an upgrade that was granted too late becomes the read lock again that it was', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file, { type: 'read', start: 2n, end: 5n })).outcome;
  await s.rival.lock(lockOf(s.file, { type: 'read', owner: other })).outcome;
  const { pending, seen } = await waiting(s);
  s.fake.network.unreachable.add(s.source.address);
  s.source.cut();
  await s.fake.clock.advance(100);
  pending.cancel();
  await s.fake.clock.advance(1500);
  t.match(seen.now, { outcome: 'cancelled' });
  s.source.fence(s.rival.client);
  t.same(s.source.held(s.file), ['posix write 0-9 1']);
  s.fake.network.unreachable.clear();
  await s.fake.clock.advance(3000);
  t.same(s.source.held(s.file), ['posix read 2-5 1']);
});

t.test('a lock asked for again while an earlier wait is unsettled is not taken away by it', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { pending } = await waiting(s);
  s.fake.network.unreachable.add(s.source.address);
  s.source.cut();
  await s.fake.clock.advance(100);
  pending.cancel();
  await s.fake.clock.advance(1500);
  const { seen } = await waiting(s);
  s.source.fence(s.rival.client);
  s.fake.network.unreachable.clear();
  await s.fake.clock.advance(5000);
  t.match(seen.now, { outcome: 'granted' });
  t.same(s.source.held(s.file), ['posix write 0-9 1']);
});

t.test('a request that was given up leaves neither lock nor waiter', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  s.source.loseAnswer = (op) => op === 'lock';
  const free = watch(s.volume.lock(lockOf(s.file, { start: 20n, end: 29n, wait: false })));
  const { seen } = await waiting(s, { owner: owner(2) });
  t.same(s.source.held(s.file).length, 2, 'granted, and the answer lost');
  s.fake.network.unreachable.add(s.source.address);
  s.source.cut();
  await s.fake.clock.advance(15_000);
  t.match(free.now, refusedWith('ENOTCONN'));
  t.match(seen.now, refusedWith('ENOTCONN'));
  s.source.loseAnswer = () => false;
  s.fake.network.unreachable.clear();
  await s.fake.clock.advance(5000);
  t.same(s.source.waiters(s.file), []);
  t.same(s.source.held(s.file), ['posix write 0-9 9']);
});

t.test('an unlock that was not acknowledged is repeated until it is', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file)).outcome;
  s.fake.network.unreachable.add(s.source.address);
  s.source.cut();
  const unlocked = s.volume.unlock(s.file, owner(1), 'posix', 0n, 9n);
  unlocked.catch(() => undefined);
  await s.fake.clock.advance(12_000);
  await t.rejects(unlocked, refusedWith('ENOTCONN'), 'the process is told');
  t.same(s.source.held(s.file), ['posix write 0-9 1']);
  s.fake.network.unreachable.clear();
  await s.fake.clock.advance(3000);
  t.same(s.source.held(s.file), []);
});

t.test('cut off from the source only: the flush finds the file at its target', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file)).outcome;
  s.fake.network.unreachable.add(s.source.address);
  s.source.cut();
  s.source.moveTo(s.target, s.file);
  const flushed = s.volume.flushOwner(s.file, owner(1));
  flushed.catch(() => undefined);
  await s.fake.clock.advance(12_000);
  t.same(s.target.held(s.file), [], 'long before the source is back');
});

t.test('a restarted brick is told of holders, waiters and opens, in their order', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file, { type: 'read', start: 50n, end: 59n })).outcome;
  await s.volume.lock(lockOf(s.file, { kind: 'flock', owner: owner(3), start: 0n, end: (1n << 63n) - 1n }))
    .outcome;
  await rivalHolds(s);
  const first = await waiting(s, { owner: owner(2) });
  const second = await waiting(s, { owner: owner(4) });
  const tickets = s.source.waiters(s.file).map((one) => one.ticket);
  const held = s.source.held(s.file);
  await s.source.restart();
  await s.fake.clock.advance(1000);
  t.same(s.source.held(s.file).sort(), held.sort());
  t.same(
    s.source.waiters(s.file).map((one) => one.ticket),
    tickets,
  );
  t.equal(s.source.opensOf(s.volume.client, s.file), 1);
  await rivalUnlocks(s);
  await s.fake.clock.advance(0);
  t.match(first.seen.now, { outcome: 'granted' });
  t.equal(second.seen.now, undefined);
});

t.test('what was unlocked is not reclaimed, not even where the answer was lost with the brick', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file)).outcome;
  await s.volume.lock(lockOf(s.file, { owner: owner(2), start: 20n, end: 29n })).outcome;
  await s.volume.unlock(s.file, owner(1), 'posix', 0n, 4n);
  s.source.loseAnswer = (op) => op === 'unlock';
  const lost = s.volume.unlock(s.file, owner(2), 'posix', 20n, 29n);
  await s.fake.clock.advance(0);
  s.source.loseAnswer = () => false;
  await s.source.restart();
  await s.fake.clock.advance(1000);
  await lost;
  t.same(s.source.held(s.file), ['posix write 5-9 1']);
});

t.test('files that moved away are not reclaimed at the brick that restarts', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file)).outcome;
  s.source.moveTo(s.target, s.file);
  await s.source.restart();
  await s.fake.clock.advance(1000);
  t.same(s.target.held(s.file), ['posix write 0-9 1']);
  t.equal((await s.volume.attributes(s.file)).epoch, 1);
});

t.test('a session that was ended: files with locks answer EIO until closed, others go on', async (t) => {
  const s = await scene(t);
  const name = s.fake.nameOn(s.source);
  const made = await s.volume.create(rootFileId, name, plainFile, { exclusive: true, open: true });
  const unlockedFile = made.attributes.file;
  await s.volume.lock(lockOf(s.file)).outcome;
  s.source.fence(s.volume.client);
  await s.fake.clock.advance(1000);
  t.ok(s.fake.warnings.includes('locks lost'));
  await t.rejects(s.volume.read(s.file, 0, 1), refusedWith('EIO'));
  await t.rejects(s.volume.write(s.file, 0, new Uint8Array(1)), refusedWith('EIO'));
  await t.rejects(s.volume.lock(lockOf(s.file)).outcome, refusedWith('EIO'));
  await t.rejects(s.volume.open(s.file, false), refusedWith('EIO'));
  await s.volume.read(unlockedFile, 0, 1);
  t.equal(s.source.opensOf(s.volume.client, unlockedFile), 1, 'opened again under the new session');
  await s.volume.flushOwner(s.file, owner(1));
  await s.volume.release(s.file, [owner(1)]);
  await s.volume.open(s.file, false);
  t.match(await s.volume.lock(lockOf(s.file)).outcome, { outcome: 'granted' });
});

t.test('a wait at a brick that ends the session is EIO', async (t) => {
  const s = await scene(t);
  await rivalHolds(s);
  const { seen } = await waiting(s);
  s.source.fence(s.volume.client);
  await s.fake.clock.advance(1000);
  t.match(seen.now, refusedWith('EIO'));
  t.same(s.source.waiters(s.file), []);
  await rivalUnlocks(s);
  t.match(
    await s.volume.lock(lockOf(s.file)).outcome,
    { outcome: 'granted' },
    'no lock was lost: the file goes on',
  );
});

t.test('the last close drops the locks of the owners that it names, and counts down', async (t) => {
  const s = await scene(t);
  await s.volume.lock(lockOf(s.file, { owner: owner(7) })).outcome;
  await s.volume.lock(lockOf(s.file, { owner: owner(8), kind: 'flock' })).outcome;
  await s.volume.release(s.file, [owner(7), owner(8)]);
  t.same(s.source.held(s.file), []);
  t.equal(s.source.opensOf(s.volume.client, s.file), 0);
  await s.source.restart();
  await s.fake.clock.advance(1000);
  t.same(s.source.held(s.file), [], 'nothing of it is reclaimed');
});

t.test('a flock that could not be converted is gone, for a reclaim too', async (t) => {
  const s = await scene(t);
  const flock = { kind: 'flock', start: 0n, end: (1n << 63n) - 1n } as const;
  await s.volume.lock(lockOf(s.file, { ...flock, type: 'read' })).outcome;
  await s.rival.lock(lockOf(s.file, { ...flock, type: 'read', owner: other })).outcome;
  t.match(await s.volume.lock(lockOf(s.file, { ...flock, wait: false })).outcome, { outcome: 'conflict' });
  await s.source.restart();
  await s.fake.clock.advance(1000);
  t.same(s.source.held(s.file), [`flock read 0-${(1n << 63n) - 1n} 9`]);
});

t.test('a lock refused by the brick is refused, and not held', async (t) => {
  const s = await scene(t);
  s.source.script = (op) => (op === 'lock' ? new Refusal('ENOLCK') : undefined);
  await t.rejects(s.volume.lock(lockOf(s.file)).outcome, refusedWith('ENOLCK'));
  s.source.script = () => undefined;
  await s.source.restart();
  await s.fake.clock.advance(1000);
  t.same(
    s.source.requests('reclaim').filter((one) => one.held.length > 0),
    [],
  );
});
