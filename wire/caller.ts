/**
 * The requests of one client to one brick: gives them their numbers, keeps each, encoded, until it is answered, and
 * knows the order in which to send them again. No I/O and no clock: link.ts decides when to send, resend or give up.
 *
 * Two kinds share the numbers. Calls outlive a connection: they are sent again until answered. Notes (ping, reclaim,
 * goodbye) belong to the connection they were sent on and end with it.
 */
import { decodeAnswer, encodeRequest } from './codec.js';
import { Refusal } from './errors.js';
import type { Answer, Op, Request } from './messages.js';

export interface NumberedCall<O extends Op> {
  readonly seq: number;
  readonly answer: Promise<Answer<O>>;
}

interface Pending {
  readonly op: Op;
  readonly frame: Uint8Array;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

const none: readonly number[] = [];
/** `#order` is not tidied below this length. */
const orderLengthMin = 1024;

export class Caller {
  #nextSeq = 1;
  /**
   * Unanswered numbers from `#first` on, in order, with answered ones among them. The first is unanswered. (Not the
   * order of the Map: finding its first key again and again is slow after many deletions at its front.)
   */
  #order: number[] = [];
  #first = 0;
  /** Answered, above the lowest unanswered one, and not told to the brick yet. */
  #answeredAbove: number[] = [];
  readonly #calls = new Map<number, Pending>();
  readonly #notes = new Map<number, Pending>();

  /** No call or note with a lower number is unanswered. */
  get acked(): number {
    return this.#order[this.#first] ?? this.#nextSeq;
  }

  /**
   * @param send sends the frame now; undefined: `resend` will, when there is a connection again
   * @throws MessageError where the body cannot be encoded
   */
  call<O extends Op>(op: O, body: Request<O>, send?: (frame: Uint8Array) => void): NumberedCall<O> {
    return this.#begin(this.#calls, op, body, send);
  }

  note<O extends Op>(op: O, body: Request<O>, send: (frame: Uint8Array) => void): NumberedCall<O> {
    return this.#begin(this.#notes, op, body, send);
  }

  #begin<O extends Op>(
    among: Map<number, Pending>,
    op: O,
    body: Request<O>,
    send: ((frame: Uint8Array) => void) | undefined,
  ): NumberedCall<O> {
    const seq = this.#nextSeq;
    const frame = encodeRequest(seq, this.acked, this.#takeAnsweredAbove(), op, body);
    this.#nextSeq = seq + 1;
    this.#order.push(seq);
    const answer = new Promise<unknown>((resolve, reject) => {
      among.set(seq, { op, frame, resolve, reject });
    });
    send?.(frame);
    return { seq, answer: answer as Promise<Answer<O>> };
  }

  /**
   * Settles what `seq` asked. Answers to numbers that nobody waits for any more are dropped.
   * @returns whether a call (not a note) was answered
   * @throws MessageError where the answer breaks its row; the call is refused with EPROTO, and not sent again
   */
  answered(seq: number, fields: unknown): boolean {
    const call = this.#calls.get(seq);
    const pending = call ?? this.#notes.get(seq);
    if (!pending) return false;
    this.#forget(seq);
    try {
      pending.resolve(decodeAnswer(pending.op, fields));
    } catch (error) {
      pending.reject(new Refusal('EPROTO', (error as Error).message));
      throw error;
    }
    return call !== undefined;
  }

  refused(seq: number, refusal: Refusal): void {
    const pending = this.#calls.get(seq) ?? this.#notes.get(seq);
    if (!pending) return;
    this.#forget(seq);
    pending.reject(refusal);
  }

  /**
   * A lock that waits for an hour holds `acked` back for an hour; without these the brick would keep every answer of
   * that hour. Lost with a connection, they cost only that: `acked` covers them in the end.
   */
  #takeAnsweredAbove(): readonly number[] {
    if (this.#answeredAbove.length === 0) return none;
    const { acked } = this;
    const above = this.#answeredAbove.filter((seq) => seq > acked);
    this.#answeredAbove = [];
    return above;
  }

  #forget(seq: number): void {
    if (!this.#calls.delete(seq)) this.#notes.delete(seq);
    if (seq !== this.#order[this.#first]) {
      this.#answeredAbove.push(seq);
      if (this.#order.length > orderLengthMin + 2 * (this.#calls.size + this.#notes.size)) {
        this.#order = this.#order.slice(this.#first).filter((other) => this.#isOpen(other));
        this.#first = 0;
      }
      return;
    }
    while (this.#first < this.#order.length && !this.#isOpen(this.#order[this.#first]!)) this.#first += 1;
    if (this.#first === this.#order.length) {
      this.#order = [];
      this.#first = 0;
    } else if (this.#first > orderLengthMin && this.#first * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#first);
      this.#first = 0;
    }
  }

  #isOpen(seq: number): boolean {
    return this.#calls.has(seq) || this.#notes.has(seq);
  }

  /** All unanswered calls in the order of their numbers. */
  resend(send: (frame: Uint8Array) => void): void {
    for (const call of this.#calls.values()) send(call.frame);
  }

  /** The connection is gone: its notes end. */
  dropNotes(refusal: Refusal): void {
    this.#refuse(this.#notes, refusal);
  }

  /** Refuses every call; none of them will be sent again. */
  refuseCalls(refusal: Refusal): void {
    this.#refuse(this.#calls, refusal);
  }

  #refuse(pendings: Map<number, Pending>, refusal: Refusal): void {
    for (const [seq, pending] of [...pendings]) {
      this.#forget(seq);
      pending.reject(refusal);
    }
  }
}
