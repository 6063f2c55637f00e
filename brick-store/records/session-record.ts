/**
 * What stays of a client's session on disk (key: its id), and the answers that must not be worked out twice.
 * Written by brick-state.ts only.
 */

import type { SessionRecord } from '../sessions.js';
import { clientOfKey } from './keys.js';
import { type RecordCodec, recordCodec } from './record-codec.js';

const body = recordCodec<Omit<SessionRecord, 'client'>>(
  'session',
  1,
  ({ incarnation, fenced, title, host, pid }) => [incarnation, fenced, title, host, pid],
  (fields) => ({
    incarnation: fields.count(),
    fenced: fields.flag(),
    title: fields.text(),
    host: fields.text(),
    pid: fields.count(),
  }),
);

/** The client id is in the key only. */
export const sessionRecord: RecordCodec<SessionRecord> = {
  encode: body.encode,
  decode: (bytes, key) => ({ client: clientOfKey(key), ...body.decode(bytes, key) }),
};

/** The reply message as it was sent, without its length. */
export const answerRecord = recordCodec<{ readonly reply: Uint8Array }>(
  'answer',
  1,
  ({ reply }) => [reply],
  (fields) => ({ reply: fields.bytes() }),
);
