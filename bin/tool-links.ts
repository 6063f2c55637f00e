/**
 * How a command reaches the bricks of a volume: the real doors, and the words for a brick that does not answer.
 * Called by every subcommand that asks bricks something.
 */
import { hostname } from 'node:os';
import { type ConnectOptions, connectBricks } from '../dht/brick-links.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { silentTrace, type Trace } from '../host/trace.js';
import type { BrickName } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import { SocketNetwork } from '../wire/socket-network.js';
import { Failure } from './failure.js';
import { logLevel, openTrace } from './log.js';
import type { VolumeFolder } from './volume-folder.js';

export interface Reached {
  readonly links: Map<BrickName, BrickLink>;
  /** Why each of the others did not answer. */
  readonly missing: ReadonlyMap<BrickName, string>;
  close(): Promise<void>;
}

/** Where a tool's own trouble goes: nowhere, unless LOCKFERRY_LOG asks for it. */
export function toolTrace(): Trace {
  const level = logLevel('silent');
  return level === 'silent' ? silentTrace : openTrace('tool', level);
}

/** The real doors, and who this process is. */
export const toolOptions = (place: VolumeFolder, title: string, giveUpMs: number): ConnectOptions => ({
  volumeFile: place.volume,
  network: new SocketNetwork(),
  clock: systemClock,
  random: systemRandom,
  trace: toolTrace(),
  role: 'tool',
  title,
  host: hostname(),
  pid: process.pid,
  giveUpMs,
});

/** Reaches as many bricks as answer within `giveUpMs`. */
export async function reachBricks(place: VolumeFolder, title: string, giveUpMs = 2000): Promise<Reached> {
  const missing = new Map<BrickName, string>();
  const links = await connectBricks({
    ...toolOptions(place, title, giveUpMs),
    onMissing: (brick, error) => missing.set(brick, error.message),
  });
  return {
    links,
    missing,
    close: async () => {
      await Promise.all([...links.values()].map((link) => link.close()));
    },
  };
}

/** @throws Failure unreachable, naming the bricks that do not answer */
export async function reachAllBricks(
  place: VolumeFolder,
  title: string,
  giveUpMs?: number,
): Promise<Reached> {
  const reached = await reachBricks(place, title, giveUpMs);
  if (reached.missing.size === 0) return reached;
  await reached.close();
  throw notRunning(place, reached.missing);
}

export function notRunning(place: VolumeFolder, missing: ReadonlyMap<BrickName, string>): Failure {
  const names = [...missing.keys()].join(', ');
  const all = missing.size === place.volume.bricks.length;
  const what = all
    ? `Volume "${place.volume.name}" is not running (${names} do not answer)`
    : `${names} of volume "${place.volume.name}" ${missing.size === 1 ? 'does' : 'do'} not answer`;
  return new Failure('unreachable', what, `Start it with: lockferry volume start ${place.folder}`);
}
