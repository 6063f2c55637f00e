/** A wait that a signal ends and the kernel begins again (SA_RESTART) while the brick of its file is down. */
import { scenario } from './scenario.js';

scenario(
  'a wait that a signal restarts while its brick is down is granted before a younger one',
  async (s, t) => {
    const shared = { flavour: 'posix', type: 'read', start: 0n, end: 99n, wait: true } as const;
    await s.holder.process.lock(s.holder.fd, shared);
    const younger = await s.actorOn('mount-3');
    const order: string[] = [];
    const first = s.granted.then(() => order.push('the older wait'));
    const second = younger.process.lock(younger.fd, shared).then(() => order.push('the younger wait'));
    await s.pass(5);
    const places = (await s.locks()).map(({ client, state, ticket }) => ({ client, state, ticket }));
    s.crash(s.source);
    await s.pass(5);
    s.waiter.process.signal(true);
    await s.pass(1500);
    await s.cluster.startBrick(s.source);
    await s.settle();
    t.same(order, [], 'only the older wait is in the way of the younger one');
    t.match(await s.locks(), places, 'same locks, same places');
    await s.holder.unlock();
    await first;
    await s.pass(100);
    t.same(order, ['the older wait']);
    await s.waiter.unlock();
    await second;
  },
);
