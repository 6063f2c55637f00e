/** Whole frames out of a stream that is cut anywhere, and the end of one that is not made of frames. */
import fc from 'fast-check';
import t from 'tap';
import { FrameError, FrameReader, frameHeadBytes, sealFrame } from './frames.js';
import { frameBytesMax } from './limits.js';

function frameOf(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(frameHeadBytes + body.byteLength);
  frame.set(body, frameHeadBytes);
  sealFrame(frame);
  return frame;
}

function drain(reader: FrameReader): Buffer[] {
  const bodies: Buffer[] = [];
  for (let body = reader.next(); body; body = reader.next()) bodies.push(Buffer.from(body));
  return bodies;
}

/** Cuts bytes at the given places, in any order, beyond the end or not. */
function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const edges = [0, ...places.map((place) => place % (bytes.byteLength + 1)), bytes.byteLength];
  edges.sort((one, other) => one - other);
  return edges.slice(1).map((edge, at) => bytes.subarray(edges[at]!, edge));
}

t.test('frames come out whole and in order wherever the stream is cut', async (t) => {
  const body = fc.uint8Array({ minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(
      fc.array(body, { maxLength: 12 }),
      fc.array(fc.nat({ max: 5000 }), { maxLength: 40 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map(frameOf));
        const reader = new FrameReader();
        const received = cutAt(stream, cuts).flatMap((piece) => {
          reader.push(piece);
          return drain(reader);
        });
        return (
          received.length === sent.length && sent.every((one, at) => Buffer.from(one).equals(received[at]!))
        );
      },
    ),
  );
  t.pass('held for every stream');
});

t.test('frames wait in the reader until they are asked for', async (t) => {
  const reader = new FrameReader();
  reader.push(Buffer.concat([frameOf(Buffer.from('one')), frameOf(Buffer.from('two')), Buffer.from([9])]));
  t.same(
    drain(reader).map((body) => body.toString()),
    ['one', 'two'],
  );
});

t.test('a frame of the largest size in pieces of 64 KiB is joined once', async (t) => {
  const body = Buffer.alloc(frameBytesMax, 'lockferry ');
  const frame = frameOf(body);
  const reader = new FrameReader();
  for (let at = 0; at < frame.byteLength; at += 65_536) {
    t.equal(reader.next(), undefined);
    reader.push(frame.subarray(at, at + 65_536));
  }
  t.ok(body.equals(reader.next()!));
  t.equal(reader.next(), undefined);
});

t.test('a length of 0 or over the limit is refused, after the good frames before it', async (t) => {
  for (const length of [0, frameBytesMax + 1, 0xffff_ffff]) {
    const head = Buffer.alloc(frameHeadBytes);
    head.writeUInt32LE(length);
    const reader = new FrameReader();
    reader.push(Buffer.concat([frameOf(Buffer.from('good')), head]));
    t.equal(Buffer.from(reader.next()!).toString(), 'good');
    t.throws(() => reader.next(), FrameError);
    t.throws(() => reader.next(), FrameError, 'and stays refused');
  }
});
