/** `lockferry brick`: one brick in this process, until SIGTERM or SIGINT. `volume start` runs one of these a brick. */
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { openLevelStore } from '../brick-store/level-store.js';
import { runBrick } from '../brick-store/server.js';
import { plainLayout } from '../dht/layout.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { rootFileId } from '../wire/ids.js';
import { SocketNetwork } from '../wire/socket-network.js';
import { tolerateGarbage } from './garbage.js';
import { logLevel, openTrace } from './log.js';
import { removePidFile, writePidFile } from './pid-file.js';
import { untilSignal } from './signals.js';
import { brickPidFile, findBrick, openVolumeFolder, type VolumeFolder } from './volume-folder.js';

const rootsOwner = { uid: 0, gid: 0 };

async function brick(options: { volume: string; name: string }): Promise<void> {
  const place = openVolumeFolder(options.volume);
  const entry = findBrick(place, options.name, 'also joining');
  const trace = openTrace(entry.name, logLevel('info'));
  const stopped = untilSignal();
  tolerateGarbage();
  const store = await openLevelStore(entry.folder, { trace });
  // Only one process has the store open; once it answers, whoever asks who it is must find it named.
  const pidFile = brickPidFile(place.folder, entry.name);
  writePidFile(pidFile, entry.name);
  const { volume } = place;
  const server = await runBrick(
    {
      volume: volume.volume,
      secret: volume.secret,
      name: entry.name,
      address: entry.address,
      graceMs: volume.graceMs,
      rootLayout: plainLayout(rootFileId, volume.rootBricks ?? volume.bricks.map(({ name }) => name)),
      rootOwner: volume.rootOwner ?? rootsOwner,
      // A brick that was added since this one started is in volume.json by the time that anybody names it.
      bricks: { get: (name) => addressOf(place, name) ?? addressOf(openVolumeFolder(place.folder), name) },
      host: hostname(),
      pid: process.pid,
    },
    { store, network: new SocketNetwork(), clock: systemClock, random: systemRandom, trace },
  );
  trace.info('brick runs', { address: entry.address, folder: entry.folder });
  const signal = await stopped;
  trace.info('brick stops', { signal });
  await server.close();
  removePidFile(pidFile);
}

const addressOf = ({ volume }: VolumeFolder, name: string): string | undefined =>
  volume.bricks.find((brick) => brick.name === name)?.address;

export function addBrickCommand(program: Command): void {
  program
    .command('brick')
    .description('run one brick in the foreground (volume start does this for each)')
    .requiredOption('--volume <dir>', 'the folder of the volume')
    .requiredOption('--name <brick>', 'which of its bricks')
    .addHelpText(
      'after',
      '\nLogs JSON lines to standard error.\n\nExample:\n  lockferry brick --volume /srv/vol --name brick-1',
    )
    .action(brick);
}
