/**
 * One connection with the kernel: INIT, the table of requests in flight, exactly one answer to each, and the rules of
 * INTERRUPT. It works over any FuseDevice and knows no operation; what a request means is the `perform` it is given.
 *
 * It never lets an exception out: a Refusal is its errno, anything else is EIO and a line in the trace.
 */
import { constants } from 'node:os';
import type { Trace } from '../../host/trace.js';
import { asRefusal, Refusal } from '../../wire/errors.js';
import { transferBytesMax } from '../../wire/limits.js';
import type { Opcode } from './abi.js';
import * as abi from './abi.js';
import { describeRequest } from './describe.js';
import type { FuseDevice } from './device.js';
import { initReply, okReply, putU64, type Reply } from './reply.js';
import { type FuseRequest, parseHead, parseRequest, type RequestOf, type UnknownRequest } from './request.js';

/** Answered here; all others go to `perform`. */
export type SessionOpcode = 'INIT' | 'INTERRUPT' | 'DESTROY';
export type OperationRequest = { [O in Exclude<Opcode, SessionOpcode>]: RequestOf<O> }[Exclude<
  Opcode,
  SessionOpcode
>];

/** What an operation sees of its own request while it is in flight. */
export interface Call {
  /** A signal came for the process that waits. Only then may the answer be EINTR (otherwise errno 512 leaks out). */
  interrupted: boolean;
  /** Set by an operation that can end early; called at most once, when an INTERRUPT names this request. */
  onInterrupt: (() => void) | undefined;
}

/** Undefined: this opcode has no answer. */
export type Performed = Reply | Promise<Reply> | undefined;

interface InFlight extends Call {
  readonly request: FuseRequest | UnknownRequest;
}

const { errno } = constants;
const wanted =
  abi.initFlags.ASYNC_READ |
  abi.initFlags.POSIX_LOCKS |
  abi.initFlags.FLOCK_LOCKS |
  abi.initFlags.ATOMIC_O_TRUNC |
  abi.initFlags.BIG_WRITES |
  abi.initFlags.DO_READDIRPLUS |
  abi.initFlags.READDIRPLUS_AUTO |
  abi.initFlags.PARALLEL_DIROPS |
  abi.initFlags.MAX_PAGES |
  abi.initFlags.AUTO_INVAL_DATA |
  abi.initFlags.ASYNC_DIO |
  abi.initFlags.HANDLE_KILLPRIV_V2;
/** Without these a lock would be kept by the kernel and never reach a brick. */
const needed = abi.initFlags.POSIX_LOCKS | abi.initFlags.FLOCK_LOCKS;
/** RELEASE goes through the background queue too; a full queue would delay it behind a later lock call. */
const backgroundMax = 1024;

export class Session {
  readonly #device: FuseDevice;
  readonly #trace: Trace;
  readonly #perform: (request: OperationRequest, call: Call) => Performed;
  readonly #inFlight = new Map<number, InFlight>();
  #resolveReady: () => void = () => undefined;
  #rejectReady: (reason: Error) => void = () => undefined;
  #resolveEnded: (reason: string) => void = () => undefined;
  /** Resolves when INIT is answered; rejects where the kernel cannot be served. */
  readonly ready: Promise<void>;
  /** Resolves with a line for people when the kernel ended the connection. */
  readonly ended: Promise<string>;

  constructor(options: {
    device: FuseDevice;
    trace: Trace;
    perform: (request: OperationRequest, call: Call) => Performed;
  }) {
    this.#device = options.device;
    this.#trace = options.trace;
    this.#perform = options.perform;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ready.catch(() => undefined);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /** Requests that wait for an answer. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  start(): void {
    this.#device.start(
      (message) => this.#receive(message),
      (reason) => this.#end(reason),
    );
  }

  #end(reason: string): void {
    this.#rejectReady(new Error(`the mount ended before it began: ${reason}`));
    for (const call of this.#inFlight.values()) this.#interrupt(call);
    this.#inFlight.clear();
    this.#resolveEnded(reason);
  }

  #receive(message: Buffer): void {
    let request: FuseRequest | UnknownRequest;
    const head = parseHead(message);
    try {
      request = parseRequest(message, head);
    } catch (error) {
      const opcode = message.readUInt32LE(abi.inHeader.opcode);
      this.#trace.error('fuse.malformed', { opcode, unique: head.unique, reason: String(error) });
      this.#send(head.unique, -errno.EIO, undefined);
      return;
    }
    if (this.#trace.isDebug) this.#trace.debug('fuse.request', { request: describeRequest(request) });
    switch (request.op) {
      case 'INIT':
        this.#init(request);
        return;
      case 'INTERRUPT':
        this.#interruptNamed(request);
        return;
      case 'DESTROY':
        this.#send(head.unique, 0, okReply());
        return;
      case 'UNKNOWN':
        this.#send(head.unique, -errno.ENOSYS, undefined);
        return;
      default:
        this.#run(request);
    }
  }

  #run(request: OperationRequest): void {
    const { unique } = request.head;
    const call: InFlight = { request, interrupted: false, onInterrupt: undefined };
    this.#inFlight.set(unique, call);
    let performed: Performed;
    try {
      performed = this.#perform(request, call);
    } catch (error) {
      this.#refuse(unique, call, error);
      return;
    }
    if (performed instanceof Promise)
      performed.then(
        (reply) => this.#answer(unique, reply),
        (error) => this.#refuse(unique, call, error),
      );
    else if (performed !== undefined) this.#answer(unique, performed);
    else this.#inFlight.delete(unique);
  }

  #answer(unique: number, reply: Reply): void {
    if (this.#inFlight.delete(unique)) this.#send(unique, 0, reply);
  }

  #refuse(unique: number, call: InFlight, error: unknown): void {
    if (!this.#inFlight.delete(unique)) return;
    const refusal = asRefusal(error);
    if (refusal === undefined)
      this.#trace.error('fuse.fault', {
        request: describeRequest(call.request),
        reason: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    this.#send(unique, -(refusal?.errno ?? errno.EIO), undefined);
  }

  #send(unique: number, error: number, reply: Reply | undefined): void {
    const head = (reply ?? okReply()).head;
    head.writeUInt32LE(head.length + (reply?.data?.byteLength ?? 0), abi.outHeader.len);
    head.writeInt32LE(error, abi.outHeader.error);
    putU64(head, unique, abi.outHeader.unique);
    if (this.#trace.isDebug) this.#trace.debug('fuse.answer', { unique, error, bytes: head.readUInt32LE(0) });
    try {
      this.#device.reply(head, reply?.data);
    } catch (fault) {
      this.#trace.error('fuse.reply', { unique, error, reason: String(fault) });
    }
  }

  #init(request: RequestOf<'INIT'>): void {
    const { unique } = request.head;
    if (request.major > abi.protocolMajor) {
      // The kernel sends INIT again with the major that is answered (include/uapi/linux/fuse.h).
      this.#send(unique, 0, initReply({ ...this.#initAnswer(request), flags: 0 }));
      return;
    }
    if (
      request.major < abi.protocolMajor ||
      request.minor < abi.protocolMinorMin ||
      (request.flags & needed) !== needed
    ) {
      this.#send(unique, -errno.EPROTO, undefined);
      this.#rejectReady(
        new Error(
          `this kernel speaks FUSE ${request.major}.${request.minor}; ${abi.protocolMajor}.${abi.protocolMinorMin} with remote locks is needed (Linux 5.4 or later)`,
        ),
      );
      return;
    }
    this.#send(unique, 0, initReply(this.#initAnswer(request)));
    this.#trace.info('fuse.init', { minor: request.minor, flags: request.flags });
    this.#resolveReady();
  }

  #initAnswer(request: RequestOf<'INIT'>) {
    return {
      minor: abi.protocolMinor,
      // The kernel takes the smaller of this and what the device was set to (kernel-device.ts).
      maxReadahead: transferBytesMax,
      flags: request.flags & wanted,
      maxBackground: backgroundMax,
      maxWrite: transferBytesMax,
      maxPages: transferBytesMax / 4096,
    };
  }

  /**
   * An INTERRUPT for a request that is not here: it was answered (then the kernel has forgotten it, and drops this
   * answer with ENOENT), or it was not read yet (then the kernel queues the INTERRUPT once more). EAGAIN is right for
   * both (fuse_dev_do_write), so nothing has to be remembered of answered requests. One that is here gets no answer.
   */
  #interruptNamed(request: RequestOf<'INTERRUPT'>): void {
    const call = this.#inFlight.get(request.interrupted);
    if (call === undefined) this.#send(request.head.unique, -errno.EAGAIN, undefined);
    else this.#interrupt(call);
  }

  #interrupt(call: InFlight): void {
    if (call.interrupted) return;
    call.interrupted = true;
    call.onInterrupt?.();
  }
}

/** The answer to an operation that a signal ended: EINTR if one was seen, EIO otherwise. */
export const interruptedRefusal = (call: Call): Refusal =>
  new Refusal(call.interrupted ? 'EINTR' : 'EIO', 'the wait was ended');
