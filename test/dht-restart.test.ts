/** A brick that restarts over its own store: what its clients hold and wait for is as it was. */
import t from 'tap';
import { rootFileId } from '../wire/ids.js';
import { lockOf, owner } from './fake-volume.js';
import { make, nameOn, names, RealVolume } from './real-volume.js';

t.test('a restarted brick has the same holders, and the waiters in the same order', async (t) => {
  const real = await RealVolume.start(t);
  const [one, two] = [await real.mount(), await real.mount()];
  const file = await make(one, nameOn(names[0]!, rootFileId, 1), true);
  await one.lock(lockOf(file)).outcome;
  const waits = [];
  for (const number of [2, 3, 4]) {
    waits.push(two.lock(lockOf(file, { owner: owner(number) })));
    await real.untilWaiting(file, waits.length);
  }
  const tickets = await real.waiters(file);
  await real.restart(names[0]!);
  await real.untilWaiting(file, 3);
  t.same(await real.waiters(file), tickets);
  t.match(await two.lock(lockOf(file, { owner: owner(9), wait: false })).outcome, { outcome: 'conflict' });
  waits[1]!.cancel();
  t.match(await waits[1]!.outcome, { outcome: 'cancelled', ticket: tickets[1] });
  await one.unlock(file, owner(1), 'posix', 0n, 9n);
  t.match(await waits[0]!.outcome, { outcome: 'granted' });
  await two.unlock(file, owner(2), 'posix', 0n, 9n);
  t.match(await waits[2]!.outcome, { outcome: 'granted' });
  await two.unlock(file, owner(4), 'posix', 0n, 9n);
  t.match(await one.lock(lockOf(file, { wait: false })).outcome, { outcome: 'granted' }, 'no ghost is left');
});
