/**
 * A store on a disk that fills up: a small tmpfs, so this needs the right to mount (as the tests of the mount do).
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Refusal } from '../wire/errors.js';
import { type LevelStoreOptions, openLevelStore } from './level-store.js';
import type { Store } from './store.js';

const mib = 1024 * 1024;
const valueBytes = 16 * 1024;

const keyOf = (n: number) => {
  const key = Buffer.alloc(5, 'k');
  key.writeUInt32BE(n, 1);
  return key;
};
/** Does not compress. */
const contentOf = (n: number) => {
  const value = Buffer.alloc(valueBytes);
  let state = n * 2654435761 + 1;
  for (let at = 0; at < valueBytes; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    value.writeUInt32LE(state, at);
  }
  return value;
};

const mounted = (() => {
  const folder = mkdtempSync(join(tmpdir(), 'lockferry-full-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', folder]);
  if (status === 0) return folder;
  rmdirSync(folder);
  return undefined;
})();
if (mounted) {
  t.teardown(() => {
    spawnSync('umount', ['-l', mounted]);
    rmdirSync(mounted);
  });
}
const options = mounted ? {} : { skip: 'no right to mount a tmpfs' };

let stores = 0;
const openStore = async (test: Test, given: LevelStoreOptions): Promise<{ store: Store; folder: string }> => {
  const folder = join(mounted!, `store-${stores++}`);
  const store = await openLevelStore(folder, given);
  test.teardown(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { store, folder };
};

/** Writes from number `from` on until one is refused; answers the number of the refused one. */
const fill = async (store: Store, from = 0): Promise<{ refusedAt: number; refusal: Refusal }> => {
  for (let n = from; ; n++) {
    try {
      await store.write([{ type: 'put', key: keyOf(n), value: contentOf(n) }]);
    } catch (error) {
      if (error instanceof Refusal) return { refusedAt: n, refusal: error };
      throw error;
    }
    if (n > 10_000) throw new Error('the disk was never full');
  }
};

const missing = (store: Store, from: number, to: number): number[] => {
  const wrong: number[] = [];
  for (let n = from; n < to; n++) {
    const value = store.get(keyOf(n));
    if (!value || Buffer.compare(value, contentOf(n)) !== 0) wrong.push(n);
  }
  return wrong;
};

t.test('a store fills its disk to the reserve, refuses, and goes on after deletes', options, async (t) => {
  const { store, folder } = await openStore(t, {
    dataReserveBytes: 16 * mib,
    lastReserveBytes: 4 * mib,
    ballastBytes: 2 * mib,
  });
  const { refusedAt, refusal } = await fill(store);
  t.equal(refusal.code, 'ENOSPC');
  t.match(refusal.message, folder);
  t.ok(refusedAt * valueBytes > 16 * mib, `${refusedAt} chunks fitted`);
  t.same(missing(store, 0, refusedAt), [], 'all that was acknowledged is there');
  t.equal(store.get(keyOf(refusedAt)), undefined, 'and the refused one is not');
  for (let n = 0; n < refusedAt; n++) await store.write([{ type: 'del', key: keyOf(n) }]);
  let second = await fill(store, refusedAt);
  // The deleted data goes when LevelDB compacted it, in the background.
  for (let tries = 0; tries < 200 && (second.refusedAt - refusedAt) * valueBytes < 12 * mib; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    second = await fill(store, second.refusedAt);
  }
  t.ok((second.refusedAt - refusedAt) * valueBytes >= 12 * mib, 'the room came back');
  t.same(missing(store, refusedAt, second.refusedAt), []);
});

/** Lets LevelDB itself meet the full disk. */
const noReserve = { dataReserveBytes: Number.NEGATIVE_INFINITY, lastReserveBytes: Number.NEGATIVE_INFINITY };

for (const ballastBytes of [6 * mib, 0]) {
  const title = `a disk that others fill to the last byte loses nothing acknowledged, with ${ballastBytes} bytes of ballast`;
  t.test(title, options, async (t) => {
    const { store, folder } = await openStore(t, { ...noReserve, ballastBytes });
    for (let n = 0; n < 300; n++) await store.write([{ type: 'put', key: keyOf(n), value: contentOf(n) }]);
    const other = join(mounted!, 'other');
    t.teardown(() => rmSync(other, { force: true }));
    const { bavail, bsize } = statfsSync(mounted!);
    writeFileSync(other, Buffer.alloc(bavail * bsize - 64 * 1024));
    // Many at once, so that some are in flight and some queued when the disk is full.
    const results = await Promise.allSettled(
      Array.from({ length: 1000 }, (_, at) =>
        store.write([{ type: 'put', key: keyOf(300 + at), value: contentOf(300 + at) }]),
      ),
    );
    const acknowledged = results.findIndex((result) => result.status === 'rejected');
    t.not(acknowledged, -1, 'some write did not fit');
    t.ok(
      results.slice(acknowledged).every((result) => result.status === 'rejected'),
      'no write is acknowledged behind a refused one',
    );
    const refusal = (results[acknowledged] as PromiseRejectedResult).reason as Refusal;
    t.equal(refusal.code, 'ENOSPC');
    t.match(refusal.message, `the disk under ${folder} is full: free space there`);

    await store.repairing;
    if (ballastBytes > 0) {
      t.same(missing(store, 0, 300 + acknowledged), [], 'all that was acknowledged can be read at once');
      t.equal(store.get(keyOf(300 + acknowledged)), undefined, 'nothing of what was refused can');
    }

    rmSync(other);
    await writeUntilAccepted(store, 5000);
    t.same(missing(store, 0, 300 + acknowledged), []);
    await store.close();
    const again = await openLevelStore(folder, { ballastBytes: 0 });
    t.teardown(() => again.close());
    t.same(missing(again, 0, 300 + acknowledged), [], 'all that was acknowledged is there');
    t.same(missing(again, 5000, 5001), [], 'and what was written after the disk was full');
  });
}

/** Every byte that is left, also what LevelDB frees or takes meanwhile. */
const takeTheRest = (path: string): void => {
  const file = openSync(path, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(file);
  }
};

/** A store that could not mend itself tries again with later writes, not with every one. */
const writeUntilAccepted = async (store: Store, n: number): Promise<void> => {
  for (let tries = 0; ; tries++) {
    try {
      await store.write([{ type: 'put', key: keyOf(n), value: contentOf(n) }]);
      return;
    } catch (error) {
      if (tries === 500) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
};

t.test(
  'deleted data gives its room back, also where a full disk ended the first try to compact it',
  options,
  async (t) => {
    const reserves = { dataReserveBytes: 12 * mib, lastReserveBytes: 3 * mib, ballastBytes: 0 };
    const { store } = await openStore(t, reserves);
    const { refusedAt } = await fill(store);
    const other = join(mounted!, 'other');
    t.teardown(() => rmSync(other, { force: true }));
    takeTheRest(other);
    for (let n = 0; n < refusedAt; n++)
      await store.write([{ type: 'del', key: keyOf(n) }]).catch((error: unknown) => {
        if (!(error instanceof Refusal)) throw error;
      });
    // Compacting needs room that is not there. Each refused write lets the store try.
    for (let tries = 0; tries < 100; tries++) {
      await store
        .write([{ type: 'put', key: keyOf(refusedAt), value: contentOf(refusedAt) }])
        .catch((error: unknown) => {
          if (!(error instanceof Refusal)) throw error;
        });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    rmSync(other);
    // What could not be deleted then can be now: deleting needs little room.
    const isDeleted = async (): Promise<boolean> => {
      try {
        for (let n = 0; n < refusedAt; n++)
          if (store.get(keyOf(n)) !== undefined) await store.write([{ type: 'del', key: keyOf(n) }]);
        return true;
      } catch (error) {
        if (error instanceof Refusal) return false;
        throw error;
      }
    };
    let taken = 0;
    for (let tries = 0; tries < 500 && taken < refusedAt / 2; tries++) {
      if (await isDeleted().catch(() => false)) taken = (await fill(store, refusedAt)).refusedAt - refusedAt;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    t.ok(taken >= refusedAt / 2, `${taken} chunks fit where ${refusedAt} were deleted`);
  },
);
