/**
 * A wait that a signal ends and the kernel begins again (SA_RESTART) while the brick of its file does not answer: only
 * the older wait is in the way of a younger one, which must not overtake it when the brick is back.
 */
import type { Test } from 'tap';
import { type Scenario, scenario } from './scenario.js';

async function keepsItsPlace(s: Scenario, t: Test, signalled: () => Promise<void>): Promise<void> {
  const shared = { flavour: 'posix', type: 'read', start: 0n, end: 99n, wait: true } as const;
  await s.holder.process.lock(s.holder.fd, shared);
  const younger = await s.actorOn('mount-3');
  const order: string[] = [];
  const first = s.granted.then(() => order.push('the older wait'));
  const second = younger.process.lock(younger.fd, shared).then(() => order.push('the younger wait'));
  await s.pass(5);
  const places = (await s.locks()).map(({ client, state, ticket }) => ({ client, state, ticket }));
  await signalled();
  await s.settle();
  t.same(order, [], 'nobody is granted by the restart');
  t.match(await s.locks(), places, 'same locks, same places');
  await s.holder.unlock();
  await first;
  await s.pass(100);
  t.same(order, ['the older wait']);
  await s.waiter.unlock();
  await second;
}

scenario('a wait that a signal restarts while its brick is down keeps its place', (s, t) =>
  keepsItsPlace(s, t, async () => {
    s.crash(s.source);
    await s.pass(5);
    s.waiter.process.signal(true);
    await s.pass(1500);
    await s.cluster.startBrick(s.source);
  }),
);

scenario('so does one that a signal restarts while its brick waits for another client to reclaim', (s, t) =>
  keepsItsPlace(s, t, async () => {
    s.cluster.network.partition('mount-1', s.source);
    s.crash(s.source);
    await s.cluster.startBrick(s.source);
    await s.pass(2000);
    s.waiter.process.signal(true);
    await s.pass(1500);
    s.cluster.network.heal();
  }),
);
