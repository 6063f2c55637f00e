/**
 * The brick's end of one accepted connection: frames in, checked requests out to a plain synchronous callback; answers,
 * refusals and events back. Decides only one thing: a peer that sends what is not a request of messages.ts loses this
 * connection, with a logged reason, and nothing else is touched. Who the peer is and what it may do is the brick's
 * business (brick-store/sessions.ts), which also makes one of these for each connection.
 */

import type { Trace } from '../host/trace.js';
import type { IncomingRequest } from './codec.js';
import { decodeRequest, encodeAnswer, encodeEvent, encodeRefusal, MessageError } from './codec.js';
import { Refusal } from './errors.js';
import { FrameError, FrameReader } from './frames.js';
import { unreadBytesMax } from './limits.js';
import type { Answer, EventBody, EventName, Op } from './messages.js';
import type { Connection } from './network.js';

export type { IncomingRequest } from './codec.js';

export interface ResponderHandlers {
  /** Called in the order of arrival. Must not throw: what it refuses, it refuses by `responder.refuse`. */
  onRequest(responder: Responder, request: IncomingRequest): void;
  /** Called once, after the last onRequest. */
  onClose(responder: Responder, reason: string): void;
}

export class Responder {
  readonly peer: string;
  readonly #connection: Connection;
  readonly #trace: Trace;
  readonly #handlers: ResponderHandlers;
  readonly #frames = new FrameReader();
  #isOpen = true;

  constructor(connection: Connection, trace: Trace, handlers: ResponderHandlers) {
    this.peer = connection.peer;
    this.#connection = connection;
    this.#trace = trace;
    this.#handlers = handlers;
    connection.onData = (bytes) => this.#take(bytes);
    connection.onClose = (reason) => {
      this.#isOpen = false;
      this.#handlers.onClose(this, reason);
    };
  }

  /** On a closed connection this and the following do nothing: the client sends its request again. */
  answer<O extends Op>(seq: number, op: O, body: Answer<O>): void {
    if (!this.#isOpen) return;
    let frame: Uint8Array;
    try {
      frame = encodeAnswer(seq, op, body);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      // A fault of this brick, for instance a list that is longer than a frame: only this request suffers from it.
      this.#trace.error('answer cannot be sent', { peer: this.peer, seq, op, reason: error.message });
      this.refuse(seq, new Refusal('EIO', error.message));
      return;
    }
    this.#send(frame);
  }

  refuse(seq: number, error: Refusal): void {
    if (this.#isOpen) this.#send(encodeRefusal(seq, error));
  }

  event<E extends EventName>(name: E, body: EventBody<E>): void {
    if (this.#isOpen) this.#send(encodeEvent(name, body));
  }

  /** No request is handed over after this; `onClose` follows. */
  close(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#connection.close(reason);
  }

  #take(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#frames.push(bytes);
    while (this.#isOpen) {
      const request = this.#next();
      if (!request) return;
      this.#handlers.onRequest(this, request);
    }
  }

  #next(): IncomingRequest | undefined {
    try {
      const frame = this.#frames.next();
      return frame && decodeRequest(frame);
    } catch (error) {
      if (!(error instanceof FrameError || error instanceof MessageError)) throw error;
      this.#trace.warn('bad message: closing its connection', { peer: this.peer, reason: error.message });
      this.close(`bad message: ${error.message}`);
      return undefined;
    }
  }

  #send(frame: Uint8Array): void {
    this.#connection.send(frame);
    if (this.#connection.queuedBytes > unreadBytesMax) {
      const reason = `the client does not read its answers: ${this.#connection.queuedBytes} bytes wait for it`;
      this.#trace.warn('slow reader: closing its connection', { peer: this.peer, reason });
      this.close(reason);
    }
  }
}
