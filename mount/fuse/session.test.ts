/** INIT, one answer a request, INTERRUPT, and what happens to faults; on a kernel of a few lines. */
import t, { type Test } from 'tap';
import { silentTrace, type Trace } from '../../host/trace.js';
import { Refusal } from '../../wire/errors.js';
import { SimulatedDevice } from '../testing/simulated-device.js';
import { initFlags } from './abi.js';
import { okReply, type Reply, writeReply } from './reply.js';
import { type Call, interruptedRefusal, type OperationRequest, type Performed, Session } from './session.js';

const u32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, at * 4);
  return bytes;
};

const start = (perform: (request: OperationRequest, call: Call) => Performed, trace: Trace = silentTrace) => {
  const device = new SimulatedDevice();
  const session = new Session({ device, trace, perform });
  session.start();
  return { device, session };
};

/** The microtasks that stand between an operation's promise and its reply. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** An operation that ends when the test says so. */
const pending = () => {
  let resolve: (reply: Reply) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<Reply>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
};

t.test('INIT takes locks, big requests and no write-back cache', async (t) => {
  const { device, session } = start(okReply);
  device.send('INIT', 2, u32(7, 45, 131072, 0xffffffff));
  await session.ready;
  const { error, body } = device.replies[0]!;
  t.equal(error, 0);
  t.equal(body.length, 64);
  t.strictSame([body.readUInt32LE(0), body.readUInt32LE(4)], [7, 40]);
  const flags = body.readUInt32LE(12);
  t.ok(flags & initFlags.POSIX_LOCKS && flags & initFlags.FLOCK_LOCKS && flags & initFlags.ATOMIC_O_TRUNC);
  t.notOk(flags & (1 << 16), 'WRITEBACK_CACHE would let the kernel keep writes after an unlock');
  t.notOk(flags & (1 << 20), 'POSIX_ACL');
  t.equal(body.readUInt32LE(20), 1 << 20, 'max_write');
  t.equal(body.readUInt32LE(24), 1, 'times to the nanosecond');
  t.equal(body.readUInt16LE(28), 256, 'max_pages');
});

t.test('a newer major is asked to come down; an old kernel is refused in words', async (t) => {
  const { device, session } = start(okReply);
  device.send('INIT', 2, u32(8, 1, 0, 0xffffffff));
  t.equal(device.replies[0]!.body.readUInt32LE(0), 7);
  device.send('INIT', 4, u32(7, 12, 0, 0xffffffff));
  t.equal(device.replies[1]!.error, -71, 'EPROTO');
  await t.rejects(session.ready, /speaks FUSE 7\.12; 7\.31 .* is needed/);

  const without = start(okReply);
  without.device.send('INIT', 2, u32(7, 45, 0, ~initFlags.POSIX_LOCKS));
  await t.rejects(without.session.ready, /remote locks/);
});

t.test('answers, refusals, faults and opcodes from the future', async (t) => {
  const errors: string[] = [];
  const trace: Trace = {
    ...silentTrace,
    error: (event, fields) => errors.push(`${event} ${fields?.request}`),
  };
  const perform = (request: OperationRequest): Performed => {
    if (request.op === 'STATFS') return Promise.resolve(writeReply(7));
    if (request.op === 'GETATTR') return Promise.reject(new Refusal('ENOENT'));
    if (request.op === 'READLINK') throw new Refusal('EINVAL');
    if (request.op === 'UNLINK') return Promise.reject(new TypeError('a bug'));
    return undefined;
  };
  const { device, session } = start(perform, trace);
  device.send('STATFS', 2, Buffer.alloc(0));
  device.send('GETATTR', 4, Buffer.alloc(16));
  device.send('READLINK', 6, Buffer.alloc(0));
  device.send('UNLINK', 8, Buffer.from('x\0'));
  device.send('FORGET', 10, Buffer.alloc(8));
  device.send(4000, 12, Buffer.alloc(8));
  device.send('OPEN', 14, Buffer.alloc(3));
  device.send('DESTROY', 16, Buffer.alloc(0));
  await settle();
  const answers = new Map(device.replies.map((reply) => [reply.unique, reply.error]));
  t.strictSame(
    [...answers].sort((a, b) => a[0] - b[0]),
    [
      [2, 0],
      [4, -2],
      [6, -22],
      [8, -5],
      [12, -38],
      [14, -5],
      [16, 0],
    ],
  );
  t.equal(device.replies.length, 7, 'one answer each, none to FORGET');
  t.match(errors, [/^fuse.malformed/, /^fuse.fault UNLINK #8 .*name="x"/]);
  t.equal(session.inFlight, 0);
});

const interrupt = (unique: number) => u32(unique, 0);

const waitingLock = (t: Test) => {
  const operation = pending();
  const calls: Call[] = [];
  const { device, session } = start((_, call) => {
    calls.push(call);
    call.onInterrupt = () => t.pass('told once');
    return operation.promise;
  });
  device.send('SETLKW', 2, Buffer.alloc(48));
  return { device, session, operation, call: calls[0]! };
};

t.test('INTERRUPT of a waiting request reaches it once, and gets no answer of its own', async (t) => {
  t.plan(5);
  const { device, operation, call } = waitingLock(t);
  device.send('INTERRUPT', 3, interrupt(2));
  device.send('INTERRUPT', 3, interrupt(2));
  t.equal(call.interrupted, true);
  t.strictSame(device.replies, []);
  operation.reject(interruptedRefusal(call));
  await settle();
  t.strictSame(
    device.replies.map(({ unique, error }) => [unique, error]),
    [[2, -4]],
  );
  device.send('INTERRUPT', 3, interrupt(2));
  t.match(device.replies[1], { unique: 3, error: -11 }, 'late: the kernel drops this answer');
});

t.test('a grant that came before the INTERRUPT is answered as a grant', async (t) => {
  const { device, operation } = waitingLock(t);
  device.send('INTERRUPT', 3, interrupt(2));
  operation.resolve(okReply());
  await settle();
  t.match(device.replies, [{ unique: 2, error: 0 }]);
});

t.test('a wait that ends by itself is never EINTR: errno 512 would leak out', (t) => {
  t.equal(interruptedRefusal({ interrupted: false, onInterrupt: undefined }).code, 'EIO');
  t.end();
});

t.test('an INTERRUPT that overtook its request is sent back to the kernel', async (t) => {
  const { device } = start(() => pending().promise);
  device.send('INTERRUPT', 7, interrupt(6));
  t.match(device.replies, [{ unique: 7, error: -11 }], 'EAGAIN: queue it once more');
});

t.test('the end of the connection ends every wait, and answers nothing', async (t) => {
  const { device, session, operation, call } = waitingLock(t);
  device.close();
  t.equal(await session.ended, 'closed');
  t.equal(call.interrupted, true);
  operation.resolve(okReply());
  await settle();
  t.strictSame(device.replies, []);
  await t.rejects(session.ready, /ended before it began/);
});

t.test('requests are started in the order in which they arrive', async (t) => {
  const order: number[] = [];
  const { device } = start(({ head }) => {
    order.push(head.unique);
    return Promise.resolve(okReply());
  });
  for (let unique = 2; unique < 40; unique += 2) device.send('STATFS', unique, Buffer.alloc(0));
  t.equal(order.length, 19, 'each before the next one is read');
  await settle();
  t.strictSame(
    order,
    device.replies.map(({ unique }) => unique),
  );
});
