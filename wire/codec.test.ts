/** Every row there and back with values drawn from its fields; what does not fit is refused by name. */
import fc from 'fast-check';
import { pack } from 'msgpackr';
import t from 'tap';
import {
  decodeAnswer,
  decodeReply,
  decodeRequest,
  encodeAnswer,
  encodeEvent,
  encodeRefusal,
  encodeRequest,
  MessageError,
} from './codec.js';
import { Refusal, type RefusalCode, refusals } from './errors.js';
import type { Field, Fields } from './fields.js';
import { frameHeadBytes } from './frames.js';
import type { BrickName, Epoch, FileId, MigrationId } from './ids.js';
import { chunkBytes, transferBytesMax } from './limits.js';
import type { Answer, EventName, Op, Request } from './messages.js';
import { events, messages } from './messages.js';

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const byteText = (minLength: number) =>
  fc
    .uint8Array({ min: 1, minLength, maxLength: 40 })
    .map((bytes) => Buffer.from(bytes).toString('latin1').replaceAll('/', '_').replaceAll('.', ','));

const byLabel: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  'file id': hex(32),
  'client id': hex(32),
  'lock token': hex(32),
  'migration id': hex(32),
  'lk-owner': hex(16),
  'brick name': fc.constantFrom('brick-1', 'a', 'b.c-9'),
  epoch: fc.maxSafeNat(),
  ticket: fc.maxSafeNat(),
  count: fc.oneof(
    fc.maxSafeNat(),
    fc.constantFrom(0, 0xffff_ffff, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER),
  ),
  u32: fc.nat({ max: 0xffff_ffff }),
  boolean: fc.boolean(),
  text: fc.string({ unit: 'binary', maxLength: 200 }),
  name: byteText(1),
  cursor: byteText(0),
  'attribute name': byteText(1),
  'symlink target': byteText(0),
  bytes: fc.uint8Array({ maxLength: 300 }),
  time: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  'lock offset': fc.bigInt({ min: 0n, max: (1n << 63n) - 1n }),
};

function valuesFor(field: Field<unknown>): fc.Arbitrary<unknown> {
  if (field.values) return fc.constantFrom(...field.values);
  if (field.members) return bodyOf(field.members);
  if (field.inner) {
    const inner = valuesFor(field.inner);
    return field.label.startsWith('list')
      ? fc.array(inner, { maxLength: 4 })
      : fc.option(inner, { nil: undefined });
  }
  const known = byLabel[field.label];
  if (!known) throw new Error(`the test knows no values for ${field.label}`);
  return known;
}

const bodyOf = (fields: Fields): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, valuesFor(field)])));

/** As it goes over a connection: another buffer than the one it was built in. */
const bodyOfFrame = (frame: Uint8Array): Buffer => Buffer.from(frame.subarray(frameHeadBytes));
const plain = (value: unknown): unknown =>
  value instanceof Uint8Array
    ? Buffer.from(value).toString('hex')
    : Array.isArray(value)
      ? value.map(plain)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]))
        : value;

t.test('every request and every answer comes back as it was', async (t) => {
  for (const op of Object.keys(messages) as Op[]) {
    fc.assert(
      fc.property(bodyOf(messages[op].request), fc.maxSafeNat(), (body, seq) => {
        const frame = encodeRequest(seq, 7, [9, 12], op, body as Request<typeof op>);
        const got = decodeRequest(bodyOfFrame(frame));
        t.strictSame(plain(got), plain({ seq, acked: 7, alsoAcked: [9, 12], op, body }));
      }),
      { numRuns: 15 },
    );
    fc.assert(
      fc.property(bodyOf(messages[op].answer), fc.maxSafeNat(), (body, seq) => {
        const reply = decodeReply(bodyOfFrame(encodeAnswer(seq, op, body as Answer<typeof op>)));
        if (reply.kind !== 'answer') throw new Error(`got ${reply.kind}`);
        t.equal(reply.seq, seq);
        t.strictSame(plain(decodeAnswer(op, reply.fields)), plain(body));
      }),
      { numRuns: 15 },
    );
  }
});

t.test('every event comes back as it was', async (t) => {
  for (const name of Object.keys(events) as EventName[]) {
    fc.assert(
      fc.property(bodyOf(events[name].body), (body) => {
        const reply = decodeReply(bodyOfFrame(encodeEvent(name, body as never)));
        t.strictSame(plain(reply), plain({ kind: 'event', name, body }));
      }),
      { numRuns: 15 },
    );
  }
});

t.test('every refusal comes back with its code and text; EREMOTE with the place', async (t) => {
  const moved = {
    target: 'brick-2' as BrickName,
    epoch: 3 as Epoch,
    migration: 'ab'.repeat(16) as MigrationId,
  };
  for (const code of Object.keys(refusals) as RefusalCode[]) {
    const place = code === 'EREMOTE' ? moved : undefined;
    const reply = decodeReply(bodyOfFrame(encodeRefusal(5, new Refusal(code, `no: ${code}`, place))));
    if (reply.kind !== 'refusal') throw new Error(`got ${reply.kind}`);
    t.equal(reply.seq, 5);
    t.equal(reply.refusal.code, code);
    t.equal(reply.refusal.message, `no: ${code}`);
    t.strictSame(reply.refusal.moved, place);
  }
});

const file = '0'.repeat(31).concat('1') as FileId;

t.test('a field that does not fit is named, with what was expected and what came', async (t) => {
  const write = messages.write.op;
  const refused: [unknown, RegExp][] = [
    [[0, 1, 1, write, [file, 0, 'text']], /request write: field data must be a bytes, got "text"/],
    [[0, 1, 1, write, [file, -1, Buffer.alloc(1)]], /request write: field offset must be a count, got -1/],
    [[0, 1, 1, write, [file, 0.5, Buffer.alloc(1)]], /field offset must be a count, got 0.5/],
    [[0, 1, 1, write, [file, 5n, Buffer.alloc(1)]], /field offset must be a count, got 5n/],
    [[0, 1, 1, write, ['ABC', 0, Buffer.alloc(1)]], /field file must be a file id, got "ABC"/],
    [[0, 1, 1, write, [file, 0, Buffer.alloc(transferBytesMax + 1)]], /field data must be a bytes/],
    [[0, 1, 1, write, [file, 0]], /request write: expected 3 fields, got an array of 2/],
    [[0, 1, 1, write, { file }], /request write: expected 3 fields, got a map/],
    [[0, 1, 1, messages.lookup.op, [file, '..']], /field name must be a name, got "\.\."/],
    [[0, 1, 1, messages.lookup.op, [file, 'a/b']], /field name must be a name/],
    [[0, 1, 1, messages.lookup.op, [file, 'a\0b']], /field name must be a name/],
    [[0, 1, 1, messages.lookup.op, [file, 'sn\u{1f600}w']], /field name must be a name/],
    [[0, 1, 1, 999, []], /there is no message number 999/],
    [[0, 1, 1, '__proto__', []], /there is no message number "__proto__"/],
    [[0, -1, 1, 3, []], /seq must be a count, got -1/],
    [[0, 1, [1, 'x'], 3, []], /acked must be/],
    [[0, 1, [], 3, []], /acked must be/],
    [[0, 1, 1, 3], /expected a request/],
    [[1, 1, []], /expected a request/],
    [{ op: 3 }, /expected an envelope, got a map/],
    [null, /expected an envelope, got null/],
  ];
  for (const [message, expected] of refused) {
    t.throws(() => decodeRequest(pack(message)), expected);
    t.throws(() => decodeRequest(pack(message)), MessageError);
  }
  t.throws(() => decodeRequest(Buffer.from([0xc1, 0x01, 0x02])), MessageError, 'not msgpack');
  t.throws(() => decodeRequest(Buffer.alloc(200_000, 0x91)), MessageError, 'nested without end');
  t.throws(
    () => decodeRequest(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])),
    MessageError,
    'a list too long to be',
  );
  t.match(
    decodeRequest(bodyOfFrame(encodeRequest(1, 1, [], 'ping', {}))),
    { op: 'ping' },
    'and still decodes',
  );
});

t.test('what a brick says is checked as strictly', async (t) => {
  const refused: [unknown, RegExp][] = [
    [[2, 1, 'EWHAT', 'text', null], /there is no code "EWHAT"/],
    [[2, 1, 'toString', 'text', null], /there is no code "toString"/],
    [[2, 1, 'EIO', 5, null], /expected a text, got 5/],
    [[2, 1, 'EREMOTE', 'text', null], /expected target, epoch and migration/],
    [[2, 1, 'EREMOTE', 'text', ['brick-1', 1, 'short']], /expected target, epoch and migration/],
    [[2, 1, 'EIO', 'text', ['brick-1', 1, file]], /only EREMOTE names a place/],
    [[3, 99, []], /there is no event number 99/],
    [[3, 1, [1, file, 'ticket']], /event queued: field ticket must be a ticket, got "ticket"/],
    [[0, 1, 1, 3, []], /expected an answer/],
  ];
  for (const [message, expected] of refused) t.throws(() => decodeReply(pack(message)), expected);
  t.throws(
    () => decodeAnswer('space', [1, 2, true]),
    /answer to space: field files must be a count, got true/,
  );
  t.throws(() => decodeAnswer('space', [1, 2]), /answer to space: expected 3 fields/);
});

t.test('large content is exact, and small frames after it are too', async (t) => {
  const data = Buffer.alloc(transferBytesMax, 'abcdefg');
  const chunks = [0, 1, 2].map((index) => ({
    index,
    data: index === 1 ? undefined : data.subarray(0, chunkBytes),
  }));
  for (let round = 0; round < 3; round++) {
    const write = decodeRequest(bodyOfFrame(encodeRequest(1, 1, [], 'write', { file, offset: 0, data })));
    if (write.op !== 'write') throw new Error(`got ${write.op}`);
    t.ok(data.equals(write.body.data));
    const migration = 'cd'.repeat(16) as MigrationId;
    const stage = decodeRequest(
      bodyOfFrame(encodeRequest(2, 1, [], 'stageContent', { migration, file, clear: undefined, chunks })),
    );
    t.strictSame(plain(stage.body), plain({ migration, file, clear: undefined, chunks }));
    t.match(decodeRequest(bodyOfFrame(encodeRequest(3, 1, [], 'sync', { file }))), { seq: 3, op: 'sync' });
  }
});

t.test('frames that were made earlier are not overwritten by later ones', async (t) => {
  const frames = Array.from({ length: 500 }, (_, seq) => encodeRequest(seq, 0, [], 'sync', { file }));
  for (const [seq, frame] of frames.entries()) t.equal(decodeRequest(bodyOfFrame(frame)).seq, seq);
});

t.test('a message that does not fit a frame, or has a value that cannot travel, is not sent', async (t) => {
  const migration = 'cd'.repeat(16) as MigrationId;
  const data = Buffer.alloc(transferBytesMax);
  const chunks = [
    { index: 0, data },
    { index: 1, data },
  ];
  t.throws(
    () => encodeRequest(1, 1, [], 'stageContent', { migration, file, clear: undefined, chunks }),
    /request stageContent is \d+ bytes; a frame holds \d+/,
  );
  t.match(decodeRequest(bodyOfFrame(encodeRequest(1, 1, [], 'ping', {}))), { op: 'ping' });
});
