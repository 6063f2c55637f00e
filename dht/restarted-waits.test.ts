/**
 * Waits that a signal ends and the kernel begins again (SA_RESTART) while their brick is out of reach: the process was
 * told of the end before the brick could be.
 */
import t, { type Test } from 'tap';
import { FakeVolume, lockOf, owner, plainFile } from '../test/fake-volume.js';
import { rootFileId, type Ticket } from '../wire/ids.js';
import type { LockOutcome, LockRequest } from './volume.js';

/** A file on a brick, on which a rival holds a read lock. */
async function scene(t: Test) {
  const fake = await FakeVolume.start();
  t.teardown(() => fake.close());
  const brick = fake.bricks[0]!;
  const [volume, rival] = [await fake.mount(), await fake.mount()];
  const made = await volume.create(rootFileId, fake.nameOn(brick), plainFile, {
    exclusive: true,
    open: true,
  });
  const { file } = made.attributes;
  await rival.open(file, false);
  await rival.lock(lockOf(file, { owner: owner(9), type: 'read' })).outcome;
  return {
    fake,
    brick,
    volume,
    rival,
    file,
    /** What became of a wait, without waiting for it. */
    async begin(who = volume, change: Partial<LockRequest> = {}, ticket?: Ticket) {
      const pending = who.lock(lockOf(file, change), ticket);
      const wait: { now: LockOutcome | undefined; cancel(): void } = {
        now: undefined,
        cancel: () => pending.cancel(),
      };
      void pending.outcome.then((outcome) => {
        wait.now = outcome;
      });
      await fake.clock.advance(0);
      return wait;
    },
    async rivalUnlocks() {
      await rival.unlock(file, owner(9), 'posix', 0n, 9n);
      await fake.clock.advance(0);
    },
  };
}

t.test('a wait that is restarted while its brick is down has its place at the restarted brick', async (t) => {
  const { fake, brick, volume, rival, file, begin, rivalUnlocks } = await scene(t);
  const first = await begin();
  const younger = await begin(rival, { owner: owner(2), type: 'read' });
  const places = brick.waiters(file).map(({ owner, ticket }) => ({ owner, ticket }));
  await brick.stop();
  first.cancel();
  await fake.clock.advance(1500);
  t.match(first.now, { outcome: 'cancelled', ticket: places[0]!.ticket });
  const again = await begin(volume, {}, places[0]!.ticket);
  await brick.restart();
  await fake.clock.advance(2000);
  t.equal(younger.now, undefined, 'nobody overtakes it');
  t.match(brick.waiters(file), places);
  await rivalUnlocks();
  t.match(again.now, { outcome: 'granted' });
  t.equal(younger.now, undefined);
  await volume.unlock(file, owner(1), 'posix', 0n, 9n);
  await fake.clock.advance(0);
  t.match(younger.now, { outcome: 'granted' });
});

t.test('an end that had reached the brick does not end the wait that was restarted since', async (t) => {
  const { fake, brick, volume, file, begin, rivalUnlocks } = await scene(t);
  const first = await begin();
  const [before] = brick.waiters(file);
  brick.loseAnswer = (op) => op === 'lock' || op === 'cancelLock';
  first.cancel();
  await fake.clock.advance(1500);
  t.match(first.now, { outcome: 'cancelled', ticket: before?.ticket });
  t.same(brick.waiters(file), []);
  brick.loseAnswer = () => false;
  const again = await begin(volume, {}, before?.ticket);
  brick.cut();
  await fake.clock.advance(1000);
  t.equal(again.now, undefined);
  t.equal(brick.waiters(file)[0]?.ticket, before?.ticket, 'its place is kept');
  again.cancel();
  await fake.clock.advance(0);
  t.match(again.now, { outcome: 'cancelled', ticket: before?.ticket });
  t.same(brick.waiters(file), []);
  await rivalUnlocks();
  t.match((await begin()).now, { outcome: 'granted' }, 'its owner can lock again');
});

t.test('a wait that is restarted and interrupted again ends as often as it is asked to', async (t) => {
  const { fake, brick, volume, file, begin } = await scene(t);
  let wait = await begin();
  const { ticket } = brick.waiters(file)[0]!;
  await brick.stop();
  for (let time = 0; time < 3; time++) {
    wait.cancel();
    await fake.clock.advance(1500);
    t.match(wait.now, { outcome: 'cancelled', ticket });
    if (time < 2) wait = await begin(volume, {}, ticket);
  }
  await brick.restart();
  await fake.clock.advance(2000);
  t.same(brick.waiters(file), [], 'no wait is left without a process');
});
