/**
 * What a target keeps of a move that its source has not finished: the stage (key: migration), and the locks and open
 * handles that came with it (key: file, client, part). The bulk of both is kept as the very message that brought it,
 * so that there is one packing of locks and attributes in the project (wire/codec.ts).
 */
import { decodeRequest, encodeRequest } from '../../wire/codec.js';
import type { BrickName, Epoch, FileId, MigrationId } from '../../wire/ids.js';
import type { Op, Request } from '../../wire/messages.js';
import type { HandoverPart } from '../handover-parts.js';
import type { StageRecord } from '../migration-target.js';
import { handoverPartOf, migrationOfKey, secondClientOfKey } from './keys.js';
import { idBytesOf, type RecordCodec, recordCodec } from './record-codec.js';

const frameHeadBytes = 4;

/** A message at rest: the frame without its length. */
const messageBytes = <O extends Op>(op: O, body: Request<O>): Uint8Array =>
  Buffer.from(encodeRequest(0, 0, [], op, body).subarray(frameHeadBytes));

const messageBody = <O extends Op>(op: O, bytes: Uint8Array): Request<O> => {
  const message = decodeRequest(bytes);
  if (message.op !== op) throw new Error(`the record keeps a message ${message.op}, not ${op}`);
  return message.body as Request<O>;
};

const body = recordCodec<Omit<StageRecord, 'migration'> & { migration: MigrationId }>(
  'stage',
  1,
  ({ migration, file, source, epoch, ready }) => [
    idBytesOf(migration),
    idBytesOf(file),
    source,
    epoch,
    ready === undefined ? new Uint8Array(0) : messageBytes('stageReady', { ...ready, migration, file }),
  ],
  (fields) => {
    const migration = fields.id<MigrationId>();
    const file = fields.id<FileId>();
    const source = fields.brick<BrickName>();
    const epoch = fields.count<Epoch>();
    const bytes = fields.bytes();
    const ready = bytes.byteLength === 0 ? undefined : messageBody('stageReady', bytes);
    return { migration, file, source, epoch, ready };
  },
);

export const stageRecord: RecordCodec<StageRecord> = {
  encode: body.encode,
  decode: (bytes, key) => ({ ...body.decode(bytes, key), migration: migrationOfKey(key) }),
};

const handoverBody = recordCodec<{ readonly message: Uint8Array; readonly opens: number }>(
  'handover',
  2,
  ({ message, opens }) => [message, opens],
  (fields) => ({ message: fields.bytes(), opens: fields.count() }),
);

export const handoverRecord: RecordCodec<HandoverPart> = {
  encode: ({ part: _part, opens, ...body }) =>
    handoverBody.encode({ message: messageBytes('stageLocks', { migration: noMigration, ...body }), opens }),
  decode: (bytes, key) => {
    const { message, opens } = handoverBody.decode(bytes, key);
    const { migration: _migration, ...body } = messageBody('stageLocks', message);
    return { ...body, client: secondClientOfKey(key), part: handoverPartOf(key), opens };
  },
};

/** A hand-over belongs to the file: which move brought it does not matter once it is here. */
const noMigration = '0'.repeat(32) as MigrationId;
