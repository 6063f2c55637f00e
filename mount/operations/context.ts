/** What every operation works on: the volume, and what this mount knows of the kernel's side. Built by mount.ts. */

import type { Volume } from '../../dht/volume.js';
import type { Clock } from '../../host/clock.js';
import type { Trace } from '../../host/trace.js';
import type { FuseDevice } from '../fuse/device.js';
import type { CacheTimes } from '../fuse/reply.js';
import type { InodeTable } from '../inode-table.js';
import type { OpenFiles } from '../open-files.js';
import type { RestartTickets } from '../restart-tickets.js';

export interface Context {
  readonly volume: Volume;
  readonly device: FuseDevice;
  readonly clock: Clock;
  readonly trace: Trace;
  /** May change while the mount lives. */
  times: CacheTimes;
  readonly inodes: InodeTable;
  readonly files: OpenFiles;
  readonly tickets: RestartTickets;
}
