/** What a brick hands over, and what closes a connection. */
import t from 'tap';
import { silentTrace, type Trace } from '../host/trace.js';
import { encodeRequest } from './codec.js';
import type { FileId } from './ids.js';
import { unreadBytesMax } from './limits.js';
import type { Connection } from './network.js';
import { type IncomingRequest, Responder } from './responder.js';

const file = 'f'.repeat(32) as FileId;

/** A connection whose other end is the test. */
function setUp(onRequest?: (responder: Responder, request: IncomingRequest) => void) {
  const warnings: string[] = [];
  const trace: Trace = {
    ...silentTrace,
    warn: (event, fields) => void warnings.push(`${event} ${fields?.peer} ${fields?.reason}`),
  };
  const sent: Uint8Array[] = [];
  const state = { queuedBytes: 0, closed: '' };
  const connection: Connection = {
    peer: 'client-7',
    onData: () => undefined,
    onClose: () => undefined,
    send: (bytes) => void sent.push(bytes),
    get queuedBytes() {
      return state.queuedBytes;
    },
    close: (reason) => {
      state.closed = reason;
    },
  };
  const got: string[] = [];
  const closes: string[] = [];
  const responder = new Responder(connection, trace, {
    onRequest: (of, request) => {
      got.push(`${request.op} ${request.seq}`);
      onRequest?.(of, request);
    },
    onClose: (_responder, reason) => void closes.push(reason),
  });
  return { connection, responder, warnings, sent, state, got, closes };
}

t.test('requests of one piece of the stream are handed over in order', async (t) => {
  const { connection, got } = setUp();
  const frames = [1, 2, 3].map((seq) => encodeRequest(seq, 1, [], 'sync', { file }));
  connection.onData(Buffer.concat(frames));
  t.strictSame(got, ['sync 1', 'sync 2', 'sync 3']);
});

t.test('good requests before a bad one are served, those after it are not', async (t) => {
  const { connection, got, warnings, state, closes } = setUp();
  const good = encodeRequest(1, 1, [], 'sync', { file });
  const bad = encodeRequest(2, 1, [], 'sync', { file: 'not an id' as FileId });
  connection.onData(Buffer.concat([good, bad, good]));
  connection.onData(good);
  t.strictSame(got, ['sync 1']);
  t.match(warnings, [/client-7 request sync: field file must be a file id, got "not an id"/]);
  t.match(state.closed, /field file must be a file id/);
  connection.onClose('gone');
  t.strictSame(closes, ['gone']);
});

t.test(
  'a request handler that closes the connection gets no further request, and nothing is sent',
  async (t) => {
    const { connection, got, sent } = setUp((responder, { seq, op }) => {
      responder.close('session taken over');
      responder.answer(seq, op, {} as never);
    });
    const frame = encodeRequest(1, 1, [], 'sync', { file });
    connection.onData(Buffer.concat([frame, frame]));
    t.strictSame(got, ['sync 1']);
    t.equal(sent.length, 0);
  },
);

t.test('a client that does not read its answers loses the connection', async (t) => {
  const { responder, state, warnings } = setUp();
  responder.answer(1, 'sync', {});
  t.equal(state.closed, '');
  state.queuedBytes = unreadBytesMax + 1;
  responder.answer(2, 'sync', {});
  t.match(state.closed, /does not read its answers/);
  t.match(warnings, [/client-7/]);
});
