/**
 * What belongs to one inode beside its attributes: extended attributes, the target of a symlink, and the mark of an
 * inode without names.
 */
import type { ByteText } from '../../wire/ids.js';
import { recordCodec } from './record-codec.js';

export interface Xattr {
  readonly name: ByteText;
  readonly value: Uint8Array;
}

export const xattrsRecord = recordCodec<readonly Xattr[]>(
  'extended attributes',
  1,
  (xattrs) => xattrs.flatMap(({ name, value }) => [name, value]),
  (fields) => {
    const xattrs: Xattr[] = [];
    while (fields.left > 0) xattrs.push({ name: fields.text<ByteText>(), value: fields.bytes() });
    return xattrs;
  },
);

export const symlinkRecord = recordCodec<ByteText>(
  'symlink',
  1,
  (target) => [target],
  (fields) => fields.text<ByteText>(),
);

export const orphanRecord = recordCodec<null>(
  'orphan',
  1,
  () => [],
  () => null,
);
