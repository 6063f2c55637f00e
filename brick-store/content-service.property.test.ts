/**
 * Content against a plain array of bytes: any sequence of write, resize, punch, zero, grow and read.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { systemClock } from '../host/clock.js';
import type { FileId } from '../wire/ids.js';
import { chunkBytes } from '../wire/limits.js';
import { ContentService } from './content-service.js';
import { Inodes, newInode, putInode } from './inodes.js';
import { openLevelStore } from './level-store.js';
import type { LatePlan, Plan } from './plan.js';

const sizeMax = chunkBytes * 6;
/** Near the edges of chunks, where the mistakes are. */
const position = fc.oneof(
  fc.integer({ min: 0, max: sizeMax }),
  fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: -2, max: 2 }))
    .map(([chunk, by]) => Math.min(Math.max(chunk * chunkBytes + by, 0), sizeMax)),
);
const span = fc.tuple(position, position).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('write' as const), span, byte: fc.integer({ min: 1, max: 255 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resize' as const), size: position }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('allocate' as const),
      span,
      how: fc.constantFrom('allocate', 'punch', 'zero'),
      keepSize: fc.boolean(),
    }),
  },
);

const folder = mkdtempSync(join(tmpdir(), 'lockferry-content-'));
const store = await openLevelStore(folder, { ballastBytes: 0 });
t.teardown(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const content = new ContentService(store, systemClock);
const inodes = new Inodes(store);
let files = 0;

const newFile = async (): Promise<FileId> => {
  const file = (++files).toString(16).padStart(32, '0') as FileId;
  const inode = newInode({ file, type: 'file', mode: 0o644, uid: 0, gid: 0, rdev: 0, size: 0, timeNs: 0n });
  await store.write([putInode(inode)]);
  return file;
};

const apply = <T>(plan: Plan<T>): T => {
  void store.write(plan.ops);
  return plan.answer;
};
const applyLate = async <T>(plan: Promise<LatePlan<T>>): Promise<T> => apply((await plan)());

/** The chunks whose bytes differ. */
const changedChunks = (before: Uint8Array, after: Uint8Array): number[] => {
  const changed = new Set<number>();
  for (let at = 0; at < Math.max(before.length, after.length); at++)
    if ((before[at] ?? 0) !== (after[at] ?? 0)) changed.add(Math.floor(at / chunkBytes));
  return [...changed];
};

t.test('content is what a plain array of bytes would be', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const file = await newFile();
      let model = new Uint8Array(0);
      const grow = (size: number) => {
        if (size <= model.length) return;
        const grown = new Uint8Array(size);
        grown.set(model);
        model = grown;
      };
      for (const one of steps) {
        const before = model.slice();
        const changeBefore = inodes.require(file).change;
        let touched: Plan<unknown>['touched'];
        if (one.do === 'write') {
          const [offset, end] = one.span;
          const plan = content.write({ file, offset, data: new Uint8Array(end - offset).fill(one.byte) });
          touched = plan.touched;
          apply(plan);
          if (end > offset) grow(end);
          model.fill(one.byte, offset, end);
        } else if (one.do === 'resize') {
          const plan = (await content.resize(file, one.size))();
          touched = plan.touched;
          apply(plan);
          grow(one.size);
          model = model.slice(0, one.size);
        } else {
          const [offset, end] = one.span;
          if (end === offset) continue;
          const { how, keepSize } = one;
          const plan = (await content.allocate({ file, offset, length: end - offset, how, keepSize }))();
          touched = plan.touched;
          apply(plan);
          if (how !== 'allocate') model.fill(0, offset, end);
          if (!keepSize && how !== 'punch') grow(end);
        }
        const inode = inodes.require(file);
        if (inode.size !== model.length) throw new Error(`size ${inode.size}, expected ${model.length}`);
        for (const chunk of changedChunks(before, model)) {
          if (inode.change === changeBefore) throw new Error('the content changed, the counter did not');
          if (!touched || chunk < touched.firstChunk || chunk > touched.lastChunk)
            throw new Error(`chunk ${chunk} changed and is not among those touched`);
        }
        const { data } = content.read({ file, offset: 0, length: sizeMax });
        if (Buffer.compare(data, model) !== 0) throw new Error('the content differs');
      }
      await store.flush();
      await checkChunks(file);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

/** storedBytes, the chunk list and seek agree with the records that are there. */
const checkChunks = async (file: FileId): Promise<void> => {
  const inode = inodes.require(file);
  const stored = Array.from({ length: 20 }, (_, index) => index).filter(
    (index) => content.readChunk(file, index) !== undefined,
  );
  const inside = stored.map((index) => Math.min(chunkBytes, inode.size - index * chunkBytes));
  if (inside.some((bytes) => bytes <= 0)) throw new Error('a chunk is stored past the end');
  const bytes = inside.reduce((sum, more) => sum + more, 0);
  if (bytes !== inode.storedBytes) throw new Error(`storedBytes ${inode.storedBytes}, expected ${bytes}`);
  const listed = await content.chunkIndexes(file, 0, 100);
  if (listed.join() !== stored.join()) throw new Error(`chunks ${listed}, expected ${stored}`);
  for (let offset = 0; offset < inode.size; offset += 5000) {
    const from = Math.floor(offset / chunkBytes);
    const data = stored.find((index) => index >= from);
    const seen = await content.seek({ file, offset, whence: 'data' }).catch(() => undefined);
    if (seen?.offset !== (data === undefined ? undefined : Math.max(offset, data * chunkBytes)))
      throw new Error(`data at ${seen?.offset} from ${offset}`);
    let hole = from;
    while (stored.includes(hole)) hole++;
    const gap = await content.seek({ file, offset, whence: 'hole' });
    if (gap.offset !== Math.min(Math.max(offset, hole * chunkBytes), inode.size))
      throw new Error(`hole at ${gap.offset} from ${offset}`);
  }
};

t.test('a read in the middle is the same bytes, and short at the end', async (t) => {
  const file = await newFile();
  const data = Buffer.from(
    Array.from({ length: chunkBytes * 3 + 100 }, (_, at) => (at * 7 + (at >> 8)) & 255),
  );
  apply(content.write({ file, offset: 0, data }));
  await fc.assert(
    fc.asyncProperty(position, fc.integer({ min: 0, max: chunkBytes * 2 }), async (offset, length) => {
      const answer = content.read({ file, offset, length });
      return Buffer.compare(answer.data, data.subarray(offset, offset + length)) === 0;
    }),
  );
  t.pass();
});

t.test('what content refuses', async (t) => {
  const file = await newFile();
  const gone = 'f'.repeat(32) as FileId;
  t.throws(() => content.read({ file: gone, offset: 0, length: 1 }), { code: 'ESTALE' });
  t.throws(() => content.write({ file, offset: Number.MAX_SAFE_INTEGER, data: Buffer.of(1) }), {
    code: 'EFBIG',
  });
  await t.rejects(content.seek({ file, offset: 0, whence: 'data' }), { code: 'ENXIO' });
  const nothing = { file, offset: 0, length: 0, how: 'punch', keepSize: true } as const;
  await t.rejects(content.allocate(nothing), { code: 'EINVAL' });
  const huge = { file, offset: 0, length: 2 ** 52, how: 'allocate', keepSize: false } as const;
  await t.rejects(content.allocate(huge), { code: 'ENOSPC' });
});

t.test(
  'a file of the largest size with one byte at its end is sparse, and truncates and reads quickly',
  async (t) => {
    const file = await newFile();
    const offset = Number.MAX_SAFE_INTEGER - 1;
    apply(content.write({ file, offset, data: Buffer.of(7) }));
    t.same(await content.seek({ file, offset: 0, whence: 'data' }), {
      offset: Math.floor(offset / chunkBytes) * chunkBytes,
    });
    t.same(content.read({ file, offset: offset - 1, length: 10 }).data, Buffer.of(0, 7));
    await applyLate(content.resize(file, 10));
    t.equal(inodes.require(file).storedBytes, 0);
  },
);
