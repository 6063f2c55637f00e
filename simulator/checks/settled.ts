/** Invariant 8: what is still under way at a brick, from what it says and what lies on its disk. */

import { wholeHandovers } from '../../brick-store/handover-parts.js';
import { handoverRange, redirectRange, stageRange } from '../../brick-store/records/keys.js';
import { redirectRecord } from '../../brick-store/records/redirect-record.js';
import { handoverRecord } from '../../brick-store/records/stage-record.js';
import type { BrickName } from '../../wire/ids.js';
import type { Answer } from '../../wire/messages.js';
import type { Disk } from '../crashing-store.js';

const over = new Set(['tidied', 'aborted']);

export function unsettledAt(brick: BrickName, status: Answer<'status'>, disk: Disk): string[] {
  const left: string[] = [];
  if (status.state !== 'open') left.push(`${brick} is ${status.state}`);
  for (const { migration, phase } of status.migrations)
    if (!over.has(phase)) left.push(`${brick}: migration ${migration} is in ${phase}`);
  for (const key of disk.keys(stageRange)) left.push(`${brick}: stage ${hex(key)}`);
  for (const key of disk.keys(redirectRange)) {
    const value = disk.get(key);
    if (value !== undefined && redirectRecord.decode(value, key).dataLeft)
      left.push(`${brick}: data of a file that moved is left, ${hex(key)}`);
  }
  for (const { title, state } of status.clients)
    if (state === 'lost') left.push(`${brick}: client ${title} is lost`);
  return left;
}

/** Moved locks and open handles that lie on a disk although nobody has them: a restart would bring them back. */
export function handoversAt(brick: BrickName, disk: Disk, countsOpens: boolean): string[] {
  const parts = disk.keys(handoverRange).flatMap((key) => {
    const value = disk.get(key);
    return value === undefined ? [] : [handoverRecord.decode(value, key)];
  });
  return [...wholeHandovers(parts)]
    .filter(({ held, waiting, opens }) => held.length + waiting.length > 0 || (countsOpens && opens > 0))
    .map(({ file, client }) => `${brick}: moved locks or handles of ${client} in ${file} are still on disk`);
}

const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');
