/**
 * The records of names: an entry of a directory, a name found from its file, and the layout of a directory.
 */
import type { BrickName, FileId } from '../../wire/ids.js';
import type { FileType, HashRange } from '../../wire/messages.js';
import { FieldReader, idBytesOf, recordCodec } from './record-codec.js';

/** The name itself is in the key. `home` is a hint: where it is another brick, this is a linkto entry. */
export interface EntryValue {
  readonly file: FileId;
  readonly type: FileType;
  readonly home: BrickName;
}

const types = ['file', 'dir', 'symlink', 'fifo', 'socket', 'char', 'block'] as const satisfies FileType[];

export const entryRecord = recordCodec<EntryValue>(
  'directory entry',
  1,
  ({ file, type, home }) => [idBytesOf(file), type, home],
  (fields) => ({ file: fields.id(), type: fields.oneOf(types), home: fields.brick() }),
);

/** All is in the key. */
export const nameRecord = recordCodec<null>(
  'name of a file',
  1,
  () => [],
  () => null,
);

export const layoutRecord = recordCodec<readonly HashRange[]>(
  'layout',
  1,
  (layout) => [layout.map(({ brick, start, stop }) => [brick, start, stop])],
  (fields) =>
    fields.list().map((range) => {
      const members = new FieldReader([0, ...(range as unknown[])]);
      return { brick: members.brick(), start: members.count(), stop: members.count() };
    }),
);
