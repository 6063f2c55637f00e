/**
 * Sessions and their durable answers on disk. Decides only when an answer may be forgotten: when its client has said
 * that it has it, or when the session is over.
 */
import type { Trace } from '../host/trace.js';
import { decodeAnswer, decodeReply, encodeAnswer } from '../wire/codec.js';
import type { ClientId } from '../wire/ids.js';
import type { Answer, Op } from '../wire/messages.js';
import {
  answerKey,
  answerRange,
  answerSeqOf,
  answersOf,
  clientOfKey,
  sessionKey,
  sessionRange,
} from './records/keys.js';
import { answerRecord, sessionRecord } from './records/session-record.js';
import type { Session, SessionRecord } from './sessions.js';
import type { Store, StoreOp } from './store.js';

const listLimit = 1_000_000;
const frameHeadBytes = 4;

export class SessionRecords {
  readonly #store: Store;
  readonly #trace: Trace;
  /** Sequence numbers of stored answers, oldest first, by session. */
  readonly #stored = new WeakMap<Session, number[]>();

  constructor(store: Store, trace: Trace) {
    this.#store = store;
    this.#trace = trace;
  }

  async load(): Promise<SessionRecord[]> {
    const entries = await this.#store.list(sessionRange, listLimit);
    return entries.map(({ key, value }) => sessionRecord.decode(value, key));
  }

  async store(record: SessionRecord): Promise<void> {
    await this.#store.write(
      [{ type: 'put', key: sessionKey(record.client), value: sessionRecord.encode(record) }],
      { sync: true },
    );
  }

  async forget(client: ClientId): Promise<void> {
    await this.#store.write([{ type: 'del', key: sessionKey(client) }], { sync: true });
  }

  /** To be written in the batch of the effect. Also drops the answers that the client has. */
  answerOps<O extends Op>(session: Session, seq: number, op: O, answer: Answer<O>): StoreOp[] {
    if (session.role !== 'mount') return [];
    const reply = Buffer.from(encodeAnswer(seq, op, answer).subarray(frameHeadBytes));
    const ops: StoreOp[] = [
      { type: 'put', key: answerKey(session.client, seq), value: answerRecord.encode({ reply }) },
    ];
    const kept: number[] = [];
    for (const earlier of this.#stored.get(session) ?? []) {
      if (session.keepsReply(earlier)) kept.push(earlier);
      else ops.push({ type: 'del', key: answerKey(session.client, earlier) });
    }
    this.#stored.set(session, [...kept, seq]);
    return ops;
  }

  /** The answer given before the brick restarted, if the request took effect then. */
  answerOf<O extends Op>(session: Session, seq: number, op: O): Answer<O> | undefined {
    if (!session.survivedRestart) return undefined;
    const key = answerKey(session.client, seq);
    const value = this.#store.get(key);
    if (value === undefined) return undefined;
    const reply = decodeReply(answerRecord.decode(value, key).reply);
    if (reply.kind !== 'answer') throw new Error(`the answer kept for request ${seq} is a ${reply.kind}`);
    return decodeAnswer(op, reply.fields);
  }

  /** At start: a crash may have come between the end of a session and the removal of its answers. */
  async forgetAnswersOfOthers(isKnown: (client: ClientId) => boolean): Promise<void> {
    const entries = await this.#store.list(answerRange, listLimit, { keysOnly: true });
    const others = entries.filter(({ key }) => !isKnown(clientOfKey(key)));
    if (others.length > 0) await this.#store.write(others.map(({ key }) => ({ type: 'del', key })));
  }

  /**
   * The session is over, or its client starts again from 1 as a new incarnation.
   * @param live the client's session now, if there is one: what it was answered stays
   */
  async forgetAnswers(client: ClientId, live: () => Session | undefined): Promise<void> {
    const entries = await this.#store.list(answersOf(client), listLimit, { keysOnly: true });
    const session = live();
    const kept = new Set(session && this.#stored.get(session));
    const old = entries.map(({ key }) => key).filter((key) => !kept.has(answerSeqOf(key)));
    if (old.length === 0) return;
    await this.#store.write(old.map((key) => ({ type: 'del', key })));
    this.#trace.debug('answers forgotten', {
      client,
      answers: old.length,
      last: answerSeqOf(old[old.length - 1]!),
    });
  }
}
