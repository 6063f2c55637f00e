/**
 * The REPLAY record of a file that moved away. Writing it with `sync` is the commit of a migration; as long as it is
 * there, the inode under the same id (if any is left) is dead data and must not be answered from.
 */
import type { BrickName, Epoch, MigrationId } from '../../wire/ids.js';
import type { Moved } from '../../wire/lock-types.js';
import { idBytesOf, recordCodec } from './record-codec.js';

export interface Redirect extends Moved {
  readonly target: BrickName;
  /** Of the file at the target. */
  readonly epoch: Epoch;
  readonly migration: MigrationId;
  /** The data of the file is still here, until the migration is tidied. */
  readonly dataLeft: boolean;
}

export const redirectRecord = recordCodec<Redirect>(
  'redirect',
  1,
  ({ target, epoch, migration, dataLeft }) => [target, epoch, idBytesOf(migration), dataLeft],
  (fields) => ({
    target: fields.brick(),
    epoch: fields.count<Epoch>(),
    migration: fields.id(),
    dataLeft: fields.flag(),
  }),
);
