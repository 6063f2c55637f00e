/**
 * Messages as bytes and back: msgpack bodies, whole frames out. The shapes are the rows of messages.ts and nothing
 * else; whatever comes from outside is checked field by field before anyone sees it, in both directions.
 *
 *   request  [0, seq, acked, op number, fields]      client to brick; acked: a number, or [number, seq, seq, …]
 *   answer   [1, seq, fields]                        brick to client
 *   refusal  [2, seq, code, text, moved or nil]      moved: [target, epoch, migration], exactly with EREMOTE
 *   event    [3, event number, fields]
 *
 * `fields` is an array in the order of the row. A bigint travels as a 64-bit integer, other numbers never do, so each
 * comes back as what it was. Bytes in a decoded body are views of the frame: copy what is kept for long.
 * Called for every message of every connection (responder.ts, link.ts): nothing here is built anew per call.
 */
import { Packr, RESERVE_START_SPACE } from 'msgpackr';
import { isRefusalCode, Refusal } from './errors.js';
import type { Field, Fields } from './fields.js';
import { frameHeadBytes, sealFrame } from './frames.js';
import type { BrickName, Epoch, MigrationId } from './ids.js';
import { isBrickName, isId128 } from './ids.js';
import { frameBytesMax } from './limits.js';
import type { Answer, EventBody, EventName, Op, Request } from './messages.js';
import { events, messages } from './messages.js';

/** A message that breaks the rules. Its text names the message, the field and what was expected there. */
export class MessageError extends Error {
  override readonly name = 'MessageError';
}

export type IncomingRequest = {
  [O in Op]: {
    readonly seq: number;
    /** Every request of this client with a lower number has been answered: its stored answer may be forgotten. */
    readonly acked: number;
    /** So may the answers to these: numbers above `acked`, which a request that still waits holds back. */
    readonly alsoAcked: readonly number[];
    readonly op: O;
    readonly body: Request<O>;
  };
}[Op];

export type IncomingEvent = {
  [E in EventName]: { readonly kind: 'event'; readonly name: E; readonly body: EventBody<E> };
}[EventName];

/** What a brick says. The fields of an answer are still unchecked: only the caller knows which message it answers. */
export type IncomingReply =
  | { readonly kind: 'answer'; readonly seq: number; readonly fields: unknown }
  | { readonly kind: 'refusal'; readonly seq: number; readonly refusal: Refusal }
  | IncomingEvent;

/** One direction of one row, taken apart once. */
class Shape {
  readonly #what: string;
  readonly #names: readonly string[];
  readonly #fields: readonly Field<unknown>[];
  /** No field has another form on the wire than in memory. */
  readonly #isPlain: boolean;

  constructor(what: string, fields: Fields) {
    this.#what = what;
    this.#names = Object.keys(fields);
    this.#fields = Object.values(fields);
    this.#isPlain = this.#fields.every((field) => !field.pack);
  }

  pack(body: object): unknown[] {
    const names = this.#names;
    const packed = new Array<unknown>(names.length);
    if (this.#isPlain) {
      for (let at = 0; at < names.length; at++) packed[at] = (body as Record<string, unknown>)[names[at]!];
      return packed;
    }
    for (let at = 0; at < names.length; at++) {
      const field = this.#fields[at]!;
      const value = (body as Record<string, unknown>)[names[at]!];
      packed[at] = field.pack ? field.pack(value) : value;
    }
    return packed;
  }

  /** @throws MessageError naming the first field that does not fit */
  unpack(packed: unknown): Record<string, unknown> {
    const names = this.#names;
    if (!Array.isArray(packed) || packed.length !== names.length) {
      throw new MessageError(`${this.#what}: expected ${names.length} fields, got ${shown(packed)}`);
    }
    const body: Record<string, unknown> = {};
    for (let at = 0; at < names.length; at++) {
      const field = this.#fields[at]!;
      const value: unknown = packed[at];
      if (!field.check(value)) {
        throw new MessageError(
          `${this.#what}: field ${names[at]} must be a ${field.label}, got ${shown(value)}`,
        );
      }
      body[names[at]!] = field.unpack ? field.unpack(value) : value;
    }
    return body;
  }
}

interface RowCodec {
  readonly op: Op;
  readonly number: number;
  readonly request: Shape;
  readonly answer: Shape;
}

const rowsByOp = new Map<Op, RowCodec>();
const rowsByNumber: (RowCodec | undefined)[] = [];
for (const op of Object.keys(messages) as Op[]) {
  const { op: number, request, answer } = messages[op];
  if (rowsByNumber[number]) throw new Error(`two messages have the number ${number}`);
  const row = {
    op,
    number,
    request: new Shape(`request ${op}`, request),
    answer: new Shape(`answer to ${op}`, answer),
  };
  rowsByOp.set(op, row);
  rowsByNumber[number] = row;
}

const eventsByName = new Map<EventName, { readonly number: number; readonly shape: Shape }>();
const eventsByNumber: ({ readonly name: EventName; readonly shape: Shape } | undefined)[] = [];
for (const name of Object.keys(events) as EventName[]) {
  const { event: number, body } = events[name];
  if (eventsByNumber[number]) throw new Error(`two events have the number ${number}`);
  const shape = new Shape(`event ${name}`, body);
  eventsByName.set(name, { number, shape });
  eventsByNumber[number] = { name, shape };
}

const requestKind = 0;
const answerKind = 1;
const refusalKind = 2;
const eventKind = 3;

// ---- bytes out -----------------------------------------------------------------------------------------------------

const packr = new Packr({ useRecords: false });
/** msgpackr cuts small frames from a slab; a frame that grew its slab past this gives the slab up (see `seal`). */
const slabBytesMax = 32 * 1024;
const slabBytes = 8 * 1024;
/** Room for all that is not content in a frame with content; msgpackr itself wants 2 KiB to spare. */
const overheadBytes = 8 * 1024;

/** @throws MessageError where the message does not fit a frame, or has a value that msgpack cannot carry */
function seal(envelope: readonly unknown[], packed: readonly unknown[], what: string): Uint8Array {
  const content = contentBytes(packed);
  // One buffer of the right size: msgpackr would grow its slab to four times the content, and keep it.
  if (content > slabBytesMax) packr.useBuffer(Buffer.allocUnsafe(content + overheadBytes));
  let frame: Uint8Array;
  try {
    frame = packr.pack(envelope, RESERVE_START_SPACE + frameHeadBytes);
  } catch (error) {
    throw new MessageError(`${what} cannot be encoded: ${(error as Error).message}`, { cause: error });
  } finally {
    if (content > slabBytesMax) packr.useBuffer(Buffer.allocUnsafeSlow(slabBytes));
  }
  if (frame.byteLength > slabBytesMax && content <= slabBytesMax) {
    packr.useBuffer(Buffer.allocUnsafeSlow(slabBytes));
  }
  if (frame.byteLength - frameHeadBytes > frameBytesMax) {
    throw new MessageError(
      `${what} is ${frame.byteLength - frameHeadBytes} bytes; a frame holds ${frameBytesMax}`,
    );
  }
  sealFrame(frame);
  return frame;
}

/** Bytes of content in packed fields: a field of bytes, or a list of records with one (chunks, attributes). */
function contentBytes(packed: readonly unknown[]): number {
  let total = 0;
  for (let at = 0; at < packed.length; at++) {
    const value = packed[at];
    if (value instanceof Uint8Array) total += value.byteLength;
    else if (Array.isArray(value) && Array.isArray(value[0])) {
      for (const member of value as unknown[][]) {
        const last = member[member.length - 1];
        if (last instanceof Uint8Array) total += last.byteLength + 16;
      }
    }
  }
  return total;
}

/**
 * @returns a whole frame; it may be kept and sent again
 * @throws MessageError
 */
export function encodeRequest<O extends Op>(
  seq: number,
  acked: number,
  alsoAcked: readonly number[],
  op: O,
  body: Request<O>,
): Uint8Array {
  const row = rowsByOp.get(op)!;
  const packed = row.request.pack(body);
  const acks = alsoAcked.length === 0 ? acked : [acked, ...alsoAcked];
  return seal([requestKind, seq, acks, row.number, packed], packed, `request ${op}`);
}

export function encodeAnswer<O extends Op>(seq: number, op: O, body: Answer<O>): Uint8Array {
  const packed = rowsByOp.get(op)!.answer.pack(body);
  return seal([answerKind, seq, packed], packed, `answer to ${op}`);
}

export function encodeRefusal(seq: number, refusal: Refusal): Uint8Array {
  const { code, message, moved } = refusal;
  const place = moved ? [moved.target, moved.epoch, moved.migration] : null;
  return seal([refusalKind, seq, code, message.slice(0, refusalTextMax), place], [], `refusal ${code}`);
}

export function encodeEvent<E extends EventName>(name: E, body: EventBody<E>): Uint8Array {
  const { number, shape } = eventsByName.get(name)!;
  const packed = shape.pack(body);
  return seal([eventKind, number, packed], packed, `event ${name}`);
}

// ---- bytes in ------------------------------------------------------------------------------------------------------

const refusalTextMax = 4096;

/** @throws MessageError */
export function decodeRequest(frame: Uint8Array): IncomingRequest {
  const envelope = unpackEnvelope(frame);
  const [kind, seq, acks, number, packed] = envelope;
  if (kind !== requestKind || envelope.length !== 5) {
    throw new MessageError(`expected a request, got ${shown(envelope)}`);
  }
  if (!isCount(seq)) throw new MessageError(`request: seq must be a count, got ${shown(seq)}`);
  const [acked, ...alsoAcked] = Array.isArray(acks) ? (acks as unknown[]) : [acks];
  if (!isCount(acked) || !alsoAcked.every(isCount)) {
    throw new MessageError(`request: acked must be a count or a list of counts, got ${shown(acks)}`);
  }
  const row = isCount(number) ? rowsByNumber[number] : undefined;
  if (!row) throw new MessageError(`request: there is no message number ${shown(number)}`);
  return { seq, acked, alsoAcked, op: row.op, body: row.request.unpack(packed) } as IncomingRequest;
}

/** @throws MessageError */
export function decodeReply(frame: Uint8Array): IncomingReply {
  const envelope = unpackEnvelope(frame);
  const kind = envelope[0];
  if (kind === answerKind && envelope.length === 3 && isCount(envelope[1])) {
    return { kind: 'answer', seq: envelope[1], fields: envelope[2] };
  }
  if (kind === refusalKind && envelope.length === 5) return decodeRefusal(envelope);
  if (kind === eventKind && envelope.length === 3) {
    const event = isCount(envelope[1]) ? eventsByNumber[envelope[1]] : undefined;
    if (!event) throw new MessageError(`there is no event number ${shown(envelope[1])}`);
    return { kind: 'event', name: event.name, body: event.shape.unpack(envelope[2]) } as IncomingEvent;
  }
  throw new MessageError(`expected an answer, a refusal or an event, got ${shown(envelope)}`);
}

/** @throws MessageError */
export const decodeAnswer = <O extends Op>(op: O, fields: unknown): Answer<O> =>
  rowsByOp.get(op)!.answer.unpack(fields) as Answer<O>;

function decodeRefusal(envelope: readonly unknown[]): IncomingReply {
  const [, seq, code, text, place] = envelope;
  if (!isCount(seq)) throw new MessageError(`refusal: seq must be a count, got ${shown(seq)}`);
  if (!isRefusalCode(code)) throw new MessageError(`refusal: there is no code ${shown(code)}`);
  if (typeof text !== 'string')
    throw new MessageError(`refusal ${code}: expected a text, got ${shown(text)}`);
  if (code !== 'EREMOTE') {
    if (place !== null) throw new MessageError(`refusal ${code}: only EREMOTE names a place`);
    return { kind: 'refusal', seq, refusal: new Refusal(code, text) };
  }
  const [target, epoch, migration] = Array.isArray(place) ? (place as unknown[]) : [];
  if (!isBrickName(target) || !isCount(epoch) || !isId128(migration)) {
    throw new MessageError(`refusal EREMOTE: expected target, epoch and migration, got ${shown(place)}`);
  }
  const moved = { target: target as BrickName, epoch: epoch as Epoch, migration: migration as MigrationId };
  return { kind: 'refusal', seq, refusal: new Refusal(code, text, moved) };
}

function unpackEnvelope(frame: Uint8Array): readonly unknown[] {
  let envelope: unknown;
  try {
    envelope = packr.unpack(frame);
  } catch (error) {
    throw new MessageError(`not msgpack: ${(error as Error).message}`, { cause: error });
  }
  if (!Array.isArray(envelope)) throw new MessageError(`expected an envelope, got ${shown(envelope)}`);
  return envelope;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** A value from outside, short and harmless enough for a log line. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  }
  if (typeof value === 'bigint') return `${value}n`;
  return typeof value === 'object' && value !== null ? 'a map' : String(value);
}
