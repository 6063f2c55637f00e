/**
 * Looks into frames on their way, and lets a planted defect change them. Only what a check asks for is decoded: the
 * head of each frame says cheaply what it is. Changes nothing by itself.
 */
import { decodeAnswer, decodeReply, decodeRequest, encodeAnswer, encodeRequest } from '../wire/codec.js';
import type { BrickName, ClientId } from '../wire/ids.js';
import { type Answer, messages, type Op, type Request } from '../wire/messages.js';
import type { Facts } from './facts.js';
import type { FrameFilter } from './lossy-network.js';
import type { Party } from './party.js';

const headBytes = 4;

/** Reads the first integers of a msgpack array without decoding the rest. */
function skipInteger(frame: Uint8Array, at: number): { value: number; next: number } {
  const first = frame[at]!;
  if (first < 0x80) return { value: first, next: at + 1 };
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (first === 0xcc) return { value: frame[at + 1]!, next: at + 2 };
  if (first === 0xcd) return { value: view.getUint16(at + 1), next: at + 3 };
  if (first === 0xce) return { value: view.getUint32(at + 1), next: at + 5 };
  if (first >= 0x90 && first < 0xa0) {
    let next = at + 1;
    for (let item = 0; item < (first & 0x0f); item++) ({ next } = skipInteger(frame, next));
    return { value: 0, next };
  }
  if (first === 0xdc) {
    let next = at + 3;
    for (let left = view.getUint16(at + 1); left > 0; left--) ({ next } = skipInteger(frame, next));
    return { value: 0, next };
  }
  throw new Error(`no integer at ${at}: ${first.toString(16)}`);
}

export type FrameHead =
  | { readonly kind: 'request'; readonly seq: number; readonly number: number }
  | { readonly kind: 'answer' | 'refusal'; readonly seq: number }
  | { readonly kind: 'event'; readonly number: number };

export function headOf(frame: Uint8Array): FrameHead {
  const kind = frame[headBytes + 1];
  const first = skipInteger(frame, headBytes + 2);
  if (kind === 3) return { kind: 'event', number: first.value };
  if (kind !== 0) return { kind: kind === 1 ? 'answer' : 'refusal', seq: first.value };
  const acks = skipInteger(frame, first.next);
  return { kind: 'request', seq: first.value, number: skipInteger(frame, acks.next).value };
}

/** Changes the body of every request of one kind; undefined: the request is not sent. */
export function changeRequests<O extends Op>(
  op: O,
  change: (body: Request<O>, from: Party, to: Party) => Request<O> | undefined,
): FrameFilter {
  return (from, to, frame) => {
    const head = headOf(frame);
    if (head.kind !== 'request' || head.number !== messages[op].op) return frame;
    const { seq, acked, alsoAcked, body } = decodeRequest(frame.subarray(headBytes));
    const changed = change(body as Request<O>, from, to);
    return changed === undefined ? undefined : encodeRequest(seq, acked, alsoAcked, op, changed);
  };
}

/** Changes the answers to one kind of request; undefined: the answer is not sent. */
export function changeAnswers<O extends Op>(
  op: O,
  change: (answer: Answer<O>, from: Party, to: Party) => Answer<O> | undefined,
): FrameFilter {
  const asked = new Set<string>();
  return (from, to, frame, connection) => {
    const head = headOf(frame);
    if (head.kind === 'event') return frame;
    const key = `${connection} ${head.seq}`;
    if (head.kind === 'request' && head.number === messages[op].op) asked.add(key);
    if (head.kind !== 'answer' || !asked.delete(key)) return frame;
    const reply = decodeReply(frame.subarray(headBytes));
    if (reply.kind !== 'answer') return frame;
    const changed = change(decodeAnswer(op, reply.fields), from, to);
    return changed === undefined ? undefined : encodeAnswer(reply.seq, op, changed);
  };
}

export const inTurn =
  (...filters: readonly (FrameFilter | undefined)[]): FrameFilter =>
  (from, to, frame, connection) => {
    let bytes: Uint8Array | undefined = frame;
    for (const filter of filters)
      if (bytes !== undefined && filter !== undefined) bytes = filter(from, to, bytes, connection);
    return bytes;
  };

const queuedNumber = 1;
const ofWaits = new Set<number>([
  messages.hello.op,
  messages.lock.op,
  messages.cancelLock.op,
  messages.queueState.op,
]);

/**
 * Tells the facts of waits as they pass on the wire: asked, queued, cancelled, answered. Numbers belong to a session,
 * which outlives connections, and a mount that changes its graph has two of them at a brick.
 */
export function watchWaits(facts: Facts): FrameFilter {
  const waits = new Map<string, Request<'lock'>>();
  const clients = new Map<number, ClientId>();
  return (from, to, frame, connection) => {
    const head = headOf(frame);
    if (head.kind === 'request') {
      if (!ofWaits.has(head.number)) return frame;
      const { seq, op, body } = decodeRequest(frame.subarray(headBytes));
      if (op === 'hello') clients.set(connection, body.client);
      const client = clients.get(connection);
      const key = (of: number): string => `${client} ${to.name} ${of}`;
      if (op === 'lock' && body.wait) waits.set(key(seq), body);
      const cancelled = op === 'cancelLock' ? waits.get(key(body.seq)) : undefined;
      if (op === 'queueState' && body.pass) facts.tell('waitMayPass', from.name, body);
      if (cancelled !== undefined) facts.tell('waitCancelled', from.name, cancelled);
      return frame;
    }
    if (waits.size === 0) return frame;
    const session = `${clients.get(connection)} ${from.name}`;
    if (head.kind === 'event') {
      if (head.number === queuedNumber) tellQueued(facts, waits, session, from, to, frame);
      return frame;
    }
    const key = `${session} ${head.seq}`;
    const wait = waits.get(key);
    if (wait === undefined) return frame;
    waits.delete(key);
    const reply = decodeReply(frame.subarray(headBytes));
    if (reply.kind === 'answer') {
      const { outcome } = decodeAnswer('lock', reply.fields);
      // A wait that is another graph's now goes on there.
      if (outcome !== 'rebound') facts.tell('waitAnswered', to.name, from.name as BrickName, wait, outcome);
    } else if (reply.kind === 'refusal' && reply.refusal.code !== 'EREMOTE')
      facts.tell('waitAnswered', to.name, from.name as BrickName, wait, reply.refusal.code);
    return frame;
  };
}

function tellQueued(
  facts: Facts,
  waits: ReadonlyMap<string, Request<'lock'>>,
  session: string,
  from: Party,
  to: Party,
  frame: Uint8Array,
): void {
  const reply = decodeReply(frame.subarray(headBytes));
  if (reply.kind !== 'event' || reply.name !== 'queued') return;
  const { seq, ticket } = reply.body as { seq: number; ticket: number };
  const wait = waits.get(`${session} ${seq}`);
  if (wait !== undefined) facts.tell('waitQueued', to.name, from.name as BrickName, wait, ticket);
}
