/** Every record comes back as it was written, and garbage is refused with its kind and key. */
import fc from 'fast-check';
import t from 'tap';
import type { BrickName, ByteText, ClientId, Epoch, FileId, MigrationId } from '../../wire/ids.js';
import { countRecord, identityRecord } from './brick-record.js';
import { entryRecord, layoutRecord, nameRecord } from './entry-record.js';
import { orphanRecord, symlinkRecord, xattrsRecord } from './inode-facts-record.js';
import { type Inode, inodeRecord } from './inode-record.js';
import * as keys from './keys.js';
import type { RecordCodec } from './record-codec.js';
import { redirectRecord } from './redirect-record.js';

const hex = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const fileId = hex as fc.Arbitrary<string> as fc.Arbitrary<FileId>;
const byteText = (maxLength: number) =>
  fc
    .uint8Array({ minLength: 1, maxLength })
    .map((bytes) => Buffer.from(bytes).toString('latin1') as ByteText);
const brick = fc.constantFrom('brick-1', 'b', 'a.b-2') as fc.Arbitrary<string> as fc.Arbitrary<BrickName>;
const type = fc.constantFrom('file', 'dir', 'symlink', 'fifo', 'socket', 'char', 'block');
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const count = fc.maxSafeNat();
const time = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const epoch = count as fc.Arbitrary<number> as fc.Arbitrary<Epoch>;
const bytes = fc.uint8Array({ maxLength: 100 });

const file = '0123456789abcdef'.repeat(2) as FileId;
const key = keys.inodeKey(file);
const inode: fc.Arbitrary<Inode> = fc.record({
  file: fc.constant(file),
  type,
  mode: u32,
  nlink: count,
  uid: u32,
  gid: u32,
  rdev: u32,
  size: count,
  storedBytes: count,
  atimeNs: time,
  mtimeNs: time,
  ctimeNs: time,
  change: count,
  epoch,
  entries: count,
  subdirectories: count,
});

interface Case {
  readonly codec: RecordCodec<unknown>;
  readonly values: fc.Arbitrary<unknown>;
}
const caseOf = <T>(codec: RecordCodec<T>, values: fc.Arbitrary<T>): Case => ({
  codec: codec as RecordCodec<unknown>,
  values,
});

const cases: Record<string, Case> = {
  inode: caseOf(inodeRecord, inode),
  'directory entry': caseOf(entryRecord, fc.record({ file: fileId, type, home: brick })),
  'name of a file': caseOf(nameRecord, fc.constant(null)),
  layout: caseOf(layoutRecord, fc.array(fc.record({ brick, start: u32, stop: u32 }))),
  'extended attributes': caseOf(xattrsRecord, fc.array(fc.record({ name: byteText(255), value: bytes }))),
  symlink: caseOf(symlinkRecord, byteText(4095)),
  orphan: caseOf(orphanRecord, fc.constant(null)),
  'brick identity': caseOf(identityRecord, fc.record({ volume: fc.string(), brick })),
  count: caseOf(countRecord, count),
  redirect: caseOf(
    redirectRecord,
    fc.record({
      target: brick,
      epoch,
      migration: hex as unknown as fc.Arbitrary<MigrationId>,
      dataLeft: fc.boolean(),
    }),
  ),
};

/** Byte strings come back as Buffers. */
const plain = (value: unknown): string =>
  JSON.stringify(value, (_, member) => {
    if (typeof member === 'bigint') return `${member}n`;
    if (member instanceof Uint8Array) return Buffer.from(member).toString('hex');
    return member?.type === 'Buffer' ? Buffer.from(member.data).toString('hex') : member;
  });

for (const [kind, { codec, values }] of Object.entries(cases)) {
  t.test(`${kind}: a record comes back as it was`, async (t) => {
    fc.assert(
      fc.property(values, (value) => {
        const back = plain(codec.decode(codec.encode(value), key));
        if (back !== plain(value)) throw new Error(`${back} is not ${plain(value)}`);
      }),
    );
    t.pass();
  });

  t.test(`${kind}: what is not such a record is an error that names kind and key`, async (t) => {
    fc.assert(
      fc.property(fc.oneof(bytes, cutFrom(codec, values)), (garbage) => {
        try {
          codec.decode(garbage, key);
        } catch (error) {
          const message = (error as Error).message;
          const start = `the ${kind} record at key "inode ${file}" cannot be read: `;
          if (!message.startsWith(start)) throw new Error(`unclear: ${message}`);
          return;
        }
        // By chance it may be one; then it must be written back as the same.
        if (Buffer.compare(codec.encode(codec.decode(garbage, key)), garbage) !== 0)
          throw new Error('taken for a record that it is not');
      }),
    );
    t.pass();
  });
}

/** A record that lost its end. */
const cutFrom = (codec: RecordCodec<unknown>, values: fc.Arbitrary<unknown>) =>
  fc.tuple(values, fc.nat(1000)).map(([value, at]) => {
    const whole = codec.encode(value);
    return whole.subarray(0, at % whole.byteLength);
  });

const inOrder = (...list: Uint8Array[]) =>
  list.every((one, at) => at === 0 || Buffer.compare(list[at - 1]!, one) < 0);
const inside = (one: Uint8Array, range: { from: Uint8Array; to: Uint8Array }) =>
  Buffer.compare(range.from, one) <= 0 && Buffer.compare(one, range.to) < 0;

t.test('chunks and answers list in the order of their numbers, entries in that of their bytes', async (t) => {
  const client = file as string as ClientId;
  fc.assert(
    fc.property(fc.nat(2 ** 39), fc.nat(2 ** 39), byteText(255), byteText(255), (a, b, one, other) => {
      fc.pre(a < b && Buffer.compare(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1')) < 0);
      return (
        inOrder(keys.chunkKey(file, a), keys.chunkKey(file, b)) &&
        inOrder(keys.answerKey(client, a), keys.answerKey(client, b)) &&
        inOrder(keys.entryKey(file, one), keys.entryKey(file, other)) &&
        keys.chunkIndexOf(keys.chunkKey(file, a)) === a &&
        keys.answerSeqOf(keys.answerKey(client, b)) === b &&
        keys.nameOfEntryKey(keys.entryKey(file, one)) === one &&
        inside(keys.chunkKey(file, a), keys.chunksOf(file, a, b)) &&
        inside(keys.chunkKey(file, b), keys.chunksOf(file, a, b)) &&
        !inside(keys.chunkKey(file, b + 1), keys.chunksOf(file, a, b)) &&
        inside(keys.entryKey(file, other), keys.entriesOf(file, one)) &&
        !inside(keys.entryKey(file, one), keys.entriesOf(file, one))
      );
    }),
  );
  t.pass();
});

t.test('a range holds the keys of its id and of no other, also at the end of the ids', async (t) => {
  const last = 'f'.repeat(32);
  fc.assert(
    fc.property(
      fc.oneof(hex, fc.constant(last)),
      fc.oneof(hex, fc.constant(last)),
      byteText(255),
      (a, b, name) => {
        fc.pre(a !== b);
        const [one, other] = [a as FileId, b as FileId];
        const pairs: [(id: FileId) => Uint8Array, (id: FileId) => { from: Uint8Array; to: Uint8Array }][] = [
          [(id) => keys.entryKey(id, name), keys.entriesOf],
          [(id) => keys.nameKey(id, other, name), keys.namesOfFile],
          [(id) => keys.chunkKey(id, 2 ** 39), keys.chunksOf],
        ];
        return pairs.every(([key, range]) => inside(key(one), range(one)) && !inside(key(other), range(one)));
      },
    ),
  );
  const parts = keys.partsOfNameKey(keys.nameKey(file, last as FileId, 'n\u00ff' as ByteText));
  t.same(parts, { parent: last, name: 'n\u00ff' });
  t.equal(keys.fileOfKey(keys.inodeKey(file)), file);
});

t.test('what is not a 16-byte id builds no key', async (t) => {
  for (const wrong of ['', 'xyz', `${file}0`.slice(1, 30), 'g'.repeat(32)])
    t.throws(() => keys.inodeKey(wrong as FileId), /not a 16-byte id/);
});
