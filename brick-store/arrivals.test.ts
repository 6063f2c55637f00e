/** What a move brought for a client goes from the disk when its session ends, also where the disk fails at that moment. */
import t from 'tap';
import { silentTrace } from '../host/trace.js';
import { ManualClock } from '../test/doors/manual-clock.js';
import type { ClientId, FileId } from '../wire/ids.js';
import { Arrivals } from './arrivals.js';
import { LaterTries } from './later-tries.js';
import type { Store } from './store.js';

const file = 'f'.repeat(32) as FileId;
const gone = '1'.repeat(32) as ClientId;
const other = '2'.repeat(32) as ClientId;

function setUp() {
  const clock = new ManualClock();
  const disk = { fails: false, removed: [] as string[] };
  const unused: FileId[] = [];
  const store = {
    write: async (ops: readonly { readonly key: Uint8Array }[]) => {
      if (disk.fails) throw new Error('the disk failed');
      disk.removed.push(...ops.map(({ key }) => key.toString()));
    },
  } as unknown as Store;
  const tries = new LaterTries(clock);
  t.teardown(() => tries.close());
  const arrivals = new Arrivals({
    store,
    trace: silentTrace,
    tries,
    dropOps: (_file, client) => [{ type: 'del', key: Buffer.from(client) }],
    deleteIfUnused: (one) => unused.push(one),
  });
  return { arrivals, clock, disk, unused };
}

t.test('it is tried again, and the file is awaited until then', async (t) => {
  const { arrivals, clock, disk, unused } = setUp();
  arrivals.note(file, gone, 1);
  disk.fails = true;
  arrivals.forgetClient(gone);
  await clock.advance(10_000);
  t.ok(arrivals.isAwaited(file));
  t.same([disk.removed, unused], [[], []]);
  disk.fails = false;
  await clock.advance(1000);
  t.notOk(arrivals.isAwaited(file));
  t.same([disk.removed, unused], [[gone], [file]]);
});

t.test('not what a later stay of the file brought', async (t) => {
  const { arrivals, clock, disk } = setUp();
  arrivals.note(file, gone, 1);
  disk.fails = true;
  arrivals.forgetClient(gone);
  await clock.advance(10);
  disk.fails = false;
  t.equal(arrivals.departureOps(file).length, 1, 'the record goes with the file');
  arrivals.departed(file);
  arrivals.note(file, gone, 1);
  await clock.advance(10_000);
  t.ok(arrivals.needsConfirm(gone, file));
  t.same(disk.removed, []);
});

t.test('nor twice, where its client came again', async (t) => {
  const { arrivals, clock, disk } = setUp();
  arrivals.note(file, gone, 1);
  arrivals.note(file, other, 1);
  disk.fails = true;
  arrivals.forgetClient(gone);
  await clock.advance(10);
  disk.fails = false;
  await arrivals.confirm(gone, file);
  await clock.advance(10_000);
  t.same(disk.removed, [gone]);
  t.ok(arrivals.isAwaited(file), 'the other client is');
});
