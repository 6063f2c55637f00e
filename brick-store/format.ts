/**
 * Makes an empty store a brick: who it is, and the root directory. Called by the server before it serves, each time
 * it starts; a store that is this brick already stays as it is.
 */
import type { BrickName } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import type { HashRange } from '../wire/messages.js';
import { Inodes, newInode, putInode } from './inodes.js';
import { type BrickIdentity, identityRecord } from './records/brick-record.js';
import { layoutRecord } from './records/entry-record.js';
import { brickKey, layoutKey } from './records/keys.js';
import type { Store } from './store.js';

const identityKey = brickKey('identity');

export interface BrickFormat extends BrickIdentity {
  /** This and what follows, of the root directory: the same on every brick. */
  readonly timeNs: bigint;
  readonly layout: readonly HashRange[];
  readonly uid: number;
  readonly gid: number;
}

export function readIdentity(store: Store): BrickIdentity | undefined {
  const bytes = store.get(identityKey);
  return bytes && identityRecord.decode(bytes, identityKey);
}

/** @throws Error where the store belongs to another brick or volume */
export async function formatBrick(store: Store, format: BrickFormat): Promise<void> {
  const found = readIdentity(store);
  if (found) {
    if (found.volume !== format.volume || found.brick !== format.brick)
      throw new Error(
        `this store belongs to brick ${found.brick} of volume ${found.volume}, ` +
          `not to brick ${format.brick} of volume ${format.volume}: give the brick its own folder`,
      );
    return;
  }
  const root = newInode({
    file: rootFileId,
    type: 'dir',
    mode: 0o755,
    uid: format.uid,
    gid: format.gid,
    rdev: 0,
    size: 0,
    timeNs: format.timeNs,
  });
  await store.write(
    [
      putInode(root),
      { type: 'put', key: layoutKey(rootFileId), value: layoutRecord.encode(format.layout) },
      new Inodes(store).countedBy(1),
      { type: 'put', key: identityKey, value: identityRecord.encode(identityOf(format)) },
    ],
    { sync: true },
  );
}

const identityOf = (format: BrickFormat): BrickIdentity => ({
  volume: format.volume,
  brick: format.brick as BrickName,
});
