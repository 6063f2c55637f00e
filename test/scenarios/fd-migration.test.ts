/**
 * The rows of the design mail about fd migration: a mount changes its graph, and lockinfo (getxattr on the old graph,
 * setxattr on the new one) meets a migration of the file in every way there is.
 */
import type { BrickName } from '../../wire/ids.js';
import { scenario } from './scenario.js';

scenario(
  'fd migration (lockinfo setxattr) while meta-locked waits; after the commit dht redirects it',
  async (s, t) => {
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await setxattr.sent;
    s.at('source', 'freeze', () => setxattr.letPass());
    const report = await s.move();
    t.equal(report?.phase, 'tidied');
    t.ok(report!.parked >= 1, 'it was parked');
    await changed;
    t.same(setxattr.askedOf, [s.source, s.target], 'the source answered EREMOTE');
    t.equal((await s.clients())[0], s.mount('mount-1').volume.client, "the new graph's client id");
    await s.endsWell(t, [s.target]);
  },
);

scenario(
  'fd migration (lockinfo setxattr) while meta-locked waits, and runs at the source after an abort',
  async (s, t) => {
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await setxattr.sent;
    s.at('source', 'freeze', () => setxattr.letPass());
    s.at('source', 'handover', () => s.crash(s.target, 100));
    const report = await s.move();
    t.equal(report?.phase, 'aborted');
    t.ok(report!.parked >= 1, 'it was parked');
    await changed;
    t.same(setxattr.askedOf, [s.source]);
    t.equal((await s.clients())[0], s.mount('mount-1').volume.client);
    await s.endsWell(t, [s.source]);
  },
);

scenario(
  'fd migration that missed meta-lock and meta-unlock is answered EREMOTE from the REPLAY record',
  async (s, t) => {
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await setxattr.sent;
    t.equal((await s.move())?.phase, 'tidied');
    t.equal(
      (await s.clients())[0],
      s.mount('mount-1').kernel.client,
      'the old client id moved with the lock',
    );
    setxattr.letPass();
    await changed;
    t.same(setxattr.askedOf, [s.source, s.target]);
    t.equal((await s.clients())[0], s.mount('mount-1').volume.client);
    await s.endsWell(t, [s.target]);
  },
);

scenario(
  'fd migration whose getxattr missed the migration reads where the file is, and writes there',
  async (s, t) => {
    const getxattr = s.holdBack('readLockinfo');
    const setxattr = s.holdBack('writeLockinfo');
    const changed = s.changeGraph();
    await getxattr.sent;
    t.equal((await s.move())?.phase, 'tidied');
    getxattr.letPass();
    await setxattr.sent;
    setxattr.letPass();
    await changed;
    t.same(getxattr.askedOf, [s.source, s.target]);
    t.equal((await s.clients())[0], s.mount('mount-1').volume.client);
    await s.endsWell(t, [s.target]);
  },
);

scenario(
  'fd migration with no migration changes the client id at the brick; a later migration carries the new one',
  async (s, t) => {
    const before = await s.clients();
    await s.changeGraph();
    const after = await s.clients();
    t.equal(after[0], s.mount('mount-1').volume.client);
    t.not(after[0], before[0]);
    t.equal(after[1], before[1], 'the waiter is of another mount');
    t.equal((await s.move())?.phase, 'tidied');
    t.same(await s.clients(), after);
    await s.endsWell(t, [s.target]);
  },
);

scenario('until fd migration happened the old fd on the old graph keeps working', async (s, t) => {
  const { process, fd } = s.holder;
  const before = await s.clients();
  const hello = s.holdBack('hello');
  const setxattr = s.holdBack('writeLockinfo');
  const changed = s.changeGraph();

  await hello.sent;
  t.ok(await s.holder.tryLock(200n, 299n), 'locks, while the new graph connects');
  await process.unlock(fd, { flavour: 'posix', start: 200n, end: 299n });
  hello.letPass();

  await setxattr.sent;
  await process.write(fd, 0, Buffer.from('THE'));
  t.equal(Buffer.from(await process.read(fd, 0, 11)).toString(), 'THE content', 'writes and reads');
  await process.write(fd, 0, Buffer.from('the'));
  t.same(await s.clients(), before, 'the locks are still those of the old graph');

  setxattr.letPass();
  await changed;
  t.equal((await s.clients())[0], s.mount('mount-1').volume.client);
  await s.endsWell(t, [s.source]);
});

scenario('an unlock in the middle of fd migration is carried out by the new graph', async (s, t) => {
  const setxattr = s.holdBack('writeLockinfo');
  const changed = s.changeGraph();
  await setxattr.sent;
  const unlocked = s.holder.unlock();
  await s.pass(5);
  t.notOk(s.isGranted);
  setxattr.letPass();
  await unlocked;
  await s.granted;
  await changed;
  t.same(await s.table(), [`held by mount-2 at ${s.source}`]);
});

scenario('a flush (close) in the middle of fd migration leaves no lock of either client', async (s, t) => {
  const setxattr = s.holdBack('writeLockinfo');
  const changed = s.changeGraph();
  await setxattr.sent;
  const closed = s.holder.close();
  await s.move();
  setxattr.letPass();
  await closed;
  await s.granted;
  await changed;
  t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
});

scenario(
  'waiters keep their tickets and their order over changes of both graphs and a move',
  async (s, t) => {
    const order: number[] = [];
    const actors = [s.waiter];
    void s.granted.then(() => order.push(0));
    for (const [at, mount] of ['mount-1', 'mount-2', 'mount-1'].entries()) {
      const actor = await s.actorOn(mount);
      actors.push(actor);
      void actor.waitForLock().then(() => order.push(at + 1));
      await s.pass(5);
    }
    const tickets = async () => (await s.locks()).map(({ ticket }) => ticket);
    const before = await tickets();
    const changed = [s.changeGraph('mount-1'), s.changeGraph('mount-2')];
    await s.move();
    await Promise.all(changed);
    t.same(await tickets(), before);
    t.same(order, []);
    await s.holder.unlock();
    for (const [at, actor] of actors.entries()) {
      await s.pass(50);
      t.same(order, [0, 1, 2, 3].slice(0, at + 1), 'one after the other');
      await actor.unlock();
    }
    t.same(await s.table(), []);
  },
);

scenario('a wait that a signal ends in the middle of fd migration leaves nothing behind', async (s, t) => {
  const setxattr = s.holdBack('writeLockinfo', 'mount-2');
  const changed = s.changeGraph('mount-2');
  await setxattr.sent;
  s.waiter.process.signal(false);
  await t.rejects(s.granted, { message: /EINTR/ });
  setxattr.letPass();
  await changed;
  t.same(await s.table(), [`held by mount-1 at ${s.source}`]);
});

scenario('a file moves to a brick that was added, and the mounts hear of it later', async (s, t) => {
  const added = await s.cluster.addBrick();
  s.tool = await s.cluster.startTool('newer');
  const moved = s.move(added);
  await s.pass(20);
  await Promise.all(['mount-1', 'mount-2'].map((name) => s.cluster.changeGraph(s.mount(name))));
  t.equal((await moved)?.phase, 'tidied');
  t.same(s.home, ['brick-4' as BrickName]);
  await s.endsWell(t, [added]);
});
