/**
 * The parts of one graph that the operations share: connections, and what was learned through them.
 */
import type { Clock } from '../host/clock.js';
import type { Random } from '../host/random.js';
import type { Trace } from '../host/trace.js';
import type { BrickLinks } from './brick-links.js';
import type { Directories } from './directories.js';
import type { DirectoryParts } from './directory-parts.js';
import type { FileTraffic } from './file-traffic.js';
import type { FileUses } from './file-uses.js';
import type { HomeCalls } from './home-calls.js';
import type { Placement } from './placement.js';

export interface VolumeParts {
  readonly links: BrickLinks;
  readonly homes: HomeCalls;
  readonly placement: Placement;
  readonly directories: Directories;
  readonly directoryParts: DirectoryParts;
  readonly uses: FileUses;
  readonly traffic: FileTraffic;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
}
