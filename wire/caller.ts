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

/** A call that was refused here with ENOTCONN though the brick may have carried it out, or may still. */
export type CallInDoubt = {
  [O in Op]: { readonly seq: number; readonly op: O; readonly body: Request<O> };
}[Op];

interface Pending {
  readonly op: Op;
  readonly body: unknown;
  readonly frame: Uint8Array;
  /** It left on some connection, so that the brick may have it. */
  wasSent: boolean;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Caller {
  #nextSeq = 1;
  /** No call or note with a lower number is unanswered. */
  #lowest = 1;
  readonly #calls = new Map<number, Pending>();
  readonly #notes = new Map<number, Pending>();

  get acked(): number {
    return this.#lowest;
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
    const frame = encodeRequest(seq, this.#lowest, op, body);
    this.#nextSeq = seq + 1;
    const answer = new Promise<unknown>((resolve, reject) => {
      among.set(seq, { op, body, frame, wasSent: send !== undefined, resolve, reject });
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

  #forget(seq: number): void {
    if (!this.#calls.delete(seq)) this.#notes.delete(seq);
    while (this.#lowest < this.#nextSeq && !this.#calls.has(this.#lowest) && !this.#notes.has(this.#lowest)) {
      this.#lowest += 1;
    }
  }

  /** All unanswered calls in the order of their numbers. */
  resend(send: (frame: Uint8Array) => void): void {
    for (const call of this.#calls.values()) {
      call.wasSent = true;
      send(call.frame);
    }
  }

  /** The connection is gone: its notes end. */
  dropNotes(refusal: Refusal): void {
    for (const [seq, note] of [...this.#notes]) {
      this.#forget(seq);
      note.reject(refusal);
    }
  }

  /** Refuses every call. What was sent is answered to the caller of this: it may have taken effect. */
  refuseCalls(refusal: Refusal): CallInDoubt[] {
    const inDoubt: CallInDoubt[] = [];
    for (const [seq, call] of [...this.#calls]) {
      this.#forget(seq);
      if (call.wasSent) inDoubt.push({ seq, op: call.op, body: call.body } as CallInDoubt);
      call.reject(refusal);
    }
    return inDoubt;
  }

  /** A new incarnation numbers from 1 again. Only when nothing is unanswered. */
  restart(): void {
    if (this.#calls.size + this.#notes.size > 0)
      throw new Error('a new incarnation with requests of the old one');
    this.#nextSeq = 1;
    this.#lowest = 1;
  }
}
