/**
 * What a store says of itself: which brick of which volume it is, and how many inodes it has.
 */
import type { BrickName } from '../../wire/ids.js';
import { recordCodec } from './record-codec.js';

export interface BrickIdentity {
  readonly volume: string;
  readonly brick: BrickName;
}

export const identityRecord = recordCodec<BrickIdentity>(
  'brick identity',
  1,
  ({ volume, brick }) => [volume, brick],
  (fields) => ({ volume: fields.text(), brick: fields.brick() }),
);

/** Kept in the batch of every create and delete, because counting inodes means reading them all. */
export const countRecord = recordCodec<number>(
  'count',
  1,
  (count) => [count],
  (fields) => fields.count(),
);
