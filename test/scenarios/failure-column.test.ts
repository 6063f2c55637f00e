/**
 * What goes wrong in each step of a migration other than a crash (those are in crash-at-step.test.ts): disks that fail
 * or fill, a link that stalls, a second migrator. One title a cell: the step, what fails, what is required.
 */
import { redirectKey } from '../../brick-store/records/keys.js';
import { resumeMigrations } from '../../migrator/resume.js';
import type { BrickName, ByteText } from '../../wire/ids.js';
import { rootFileId } from '../../wire/ids.js';
import { type Scenario, scenario } from './scenario.js';

/** For how long a disk that failed mends itself. */
const mendMs = 50;

/** In the turn in which the REPLAY record is given to the disk, before it is durable. */
function atCommit(s: Scenario, run: () => void): void {
  const key = Buffer.from(redirectKey(s.file));
  s.cluster.facts.listen({
    stored: (brick, ops) => {
      if (brick === s.source && ops.some((op) => op.type === 'put' && key.equals(op.key)))
        s.cluster.scheduler.after(0, run);
    },
  });
}

const failDisk = (s: Scenario, brick: BrickName): void => s.cluster.brick(brick).store!.fail('EIO', mendMs);

/** Where a name leads, as the brick that the name hashes to says. */
async function homeByName(s: Scenario): Promise<BrickName> {
  const { volume, links } = await s.cluster.startTool('reader');
  const { hashed } = await volume.resolvePath(['file' as ByteText]);
  return (await links.get(hashed)!.call('lookup', { parent: rootFileId, name: 'file' as ByteText })).entry
    .home;
}

scenario('1 prepare: the disk of the target is full, so nothing begins', async (s, t) => {
  s.cluster.brick(s.target).disk.isFull = true;
  t.equal(await s.move(), undefined, 'the migrator is told');
  s.cluster.brick(s.target).disk.isFull = false;
  await s.endsWell(t, [s.source]);
});

scenario('1 prepare: the target cannot be reached, so nothing begins', async (s, t) => {
  s.cluster.network.partition(s.source, s.target);
  const report = await s.move();
  t.ok(report === undefined || report.phase === 'aborted');
  s.cluster.network.heal();
  await s.endsWell(t, [s.source]);
});

scenario('1 prepare: a second migration of the file is refused while one is under way', async (s, t) => {
  const first = s.move();
  const second = await s.cluster.startTool('second');
  await t.rejects(s.cluster.migrate(second, s.file, 'brick-3' as BrickName), { code: 'EBUSY' });
  t.equal((await first)?.phase, 'tidied');
  await s.endsWell(t, [s.target]);
});

for (const [step, name] of [
  ['copy', '2 copy'],
  ['freeze', '3 meta-lock'],
  ['handover', '4 hand over'],
] as const) {
  scenario(
    `${name}: the disk of the target fails, so it is aborted and nothing was visible`,
    async (s, t) => {
      s.at('source', step, () => {
        s.cluster.brick(s.target).disk.isFull = true;
      });
      const report = await s.move();
      t.equal(report?.phase, 'aborted');
      t.match(report!.reason, /disk/, 'the reason is told');
      s.cluster.brick(s.target).disk.isFull = false;
      await s.endsWell(t, [s.source]);
    },
  );

  scenario(
    `${name}: the link to the target stalls, so it is aborted, and a later try succeeds`,
    async (s, t) => {
      s.at('source', step, () => s.cluster.network.partition(s.source, s.target));
      const moving = s.move();
      await s.pass(20_000);
      s.cluster.network.heal();
      t.equal((await moving)?.phase, 'aborted');
      await s.settle();
      t.equal((await s.move())?.phase, 'tidied');
      await s.endsWell(t, [s.target]);
    },
  );
}

scenario('5 commit: the disk of the source refuses the REPLAY record, so the file stays', async (s, t) => {
  const asked = s.from('source', 'freeze', () => s.holder.tryLock(200n, 299n));
  atCommit(s, () => failDisk(s, s.source));
  t.equal((await s.move())?.phase, 'aborted');
  t.ok(await asked, 'what waited runs at the source');
  await s.holder.process.unlock(s.holder.fd, { flavour: 'posix', start: 200n, end: 299n });
  await s.endsWell(t, [s.source]);
});

scenario(
  '5 commit: the source loses power before the REPLAY record is durable, so the file stays',
  async (s, t) => {
    await s.holder.process.sync(s.holder.fd);
    atCommit(s, () => {
      s.cluster.crashBrick(s.source, true);
      s.cluster.scheduler.after(300, () => void s.cluster.startBrick(s.source));
    });
    await s.move();
    await s.endsWell(t, [s.source]);
  },
);

scenario('6 meta-unlock: a source that loses power after the commit goes on with it', async (s, t) => {
  await s.holder.process.sync(s.holder.fd);
  s.at('source', 'committed', () => {
    s.cluster.crashBrick(s.source, true);
    s.cluster.scheduler.after(300, () => void s.cluster.startBrick(s.source));
  });
  await s.move();
  await s.pass(1000);
  await s.endsWell(t, [s.target]);
});

scenario('6 meta-unlock: the target opens at the first client that shows the migration', async (s, t) => {
  const word = s.holdBack('stageOpen', s.source);
  const moving = s.move();
  await word.sent;
  t.ok(await s.holder.tryLock(200n, 299n), 'a client that was redirected is served');
  t.same(s.home, [s.target], 'although the source is silent');
  await s.holder.process.unlock(s.holder.fd, { flavour: 'posix', start: 200n, end: 299n });
  word.letPass();
  t.equal((await moving)?.phase, 'tidied');
  await s.endsWell(t, [s.target]);
});

scenario(
  '6 meta-unlock: the disk of the target is full: who waits is told, and it opens when there is room',
  async (s, t) => {
    const { disk } = s.cluster.brick(s.target);
    s.at('source', 'committed', () => {
      disk.isFull = true;
    });
    const moving = s.move();
    await t.rejects(s.granted, { message: /ENOSPC/ });
    await s.pass(3000);
    disk.isFull = false;
    t.equal((await moving)?.phase, 'tidied');
    await s.settle();
    t.same(
      await s.table(),
      [`held by mount-1 at ${s.target}`],
      'the holder holds, and the waiter left no trace',
    );
  },
);

scenario('7 tidy: the disk of the source fails, and the data goes later', async (s, t) => {
  s.at('source', 'opened', () => failDisk(s, s.source));
  await s.move();
  await s.endsWell(t, [s.target]);
});

scenario('7 tidy: the migrator is gone, and any other points the names, later', async (s, t) => {
  s.at('source', 'committed', () => s.cluster.crashTool(s.tool));
  await s.move();
  await s.settle();
  const { links, volume, party } = await s.cluster.startTool('later');
  await resumeMigrations({ links, volume, clock: party.clock });
  t.equal(await homeByName(s), s.target);
  await s.endsWell(t, [s.target]);
});

scenario(
  'a waiter that moved is granted before its client arrives, and the grant is kept for it',
  async (s, t) => {
    s.cluster.network.partition('mount-2', s.target);
    s.cluster.network.partition('mount-2', s.source);
    t.equal((await s.move())?.phase, 'tidied');
    await s.holder.unlock();
    await s.pass(100);
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
    t.notOk(s.isGranted, 'its process does not know yet');
    s.cluster.network.heal();
    await s.granted;
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
);

scenario(
  'a client that the target has fenced loses its locks on arrival, and nobody waits for them',
  async (s, t) => {
    s.cluster.network.partition('mount-1', s.target);
    await s.pass(3000);
    t.equal((await s.move())?.phase, 'tidied');
    await s.granted;
    s.cluster.network.heal();
    await t.rejects(s.holder.process.write(s.holder.fd, 0, Buffer.from('x')), { message: /EIO/ });
    await s.holder.closeAnyway();
    await s.settle();
    t.same(await s.table(), [`held by mount-2 at ${s.target}`]);
  },
  { graceMs: 1000 },
);

scenario(
  'a wait whose place its client never heard of is ended where it went, when it is given up',
  async (s, t) => {
    const third = await s.actorOn('mount-3');
    s.onEvent('mount-3', () => s.cluster.network.partition('mount-3', s.source));
    const asked = third.waitForLock();
    await s.pass(10);
    const report = await s.move();
    t.same([report!.phase, report!.waiters], ['tidied', 2]);
    await s.pass(3000);
    s.cluster.network.heal();
    await t.rejects(asked, { message: /EIO/ }, 'its session at the source had ended');
    await s.endsWell(t, [s.target]);
  },
  { graceMs: 1000 },
);
