/** `lockferry volume create|start|stop`. */
import { basename, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { startBricks, stopBricks } from './brick-processes.js';
import { formatJson } from './table.js';
import { createVolumeFolder, openVolumeFolder } from './volume-folder.js';

const bricksMax = 64;

/** A parser of commander for a whole number of an option. */
export const wholeNumber =
  (from: number, to: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < from || value > to)
      throw new InvalidArgumentError(`It must be a whole number from ${from} to ${to}.`);
    return value;
  };

interface CreateOptions {
  readonly bricks: number;
  readonly name?: string;
  readonly graceMs?: number;
  readonly freezeMs?: number;
  readonly tcp: boolean;
}

async function create(folder: string, options: CreateOptions): Promise<void> {
  const place = await createVolumeFolder(folder, {
    ...options,
    name: options.name ?? basename(resolve(folder)),
  });
  const names = place.volume.bricks.map((brick) => brick.name).join(', ');
  console.log(`Volume "${place.volume.name}" is made in ${place.folder}: ${names}.`);
  console.log(`Start it with: lockferry volume start ${folder}`);
}

async function start(folder: string, options: { json: boolean }): Promise<void> {
  const place = openVolumeFolder(folder);
  const bricks = await startBricks(place);
  if (options.json) return console.log(formatJson(bricks));
  for (const { brick, state } of bricks) console.log(`${brick}: ${state}`);
}

async function stop(folder: string, options: { json: boolean }): Promise<void> {
  const bricks = await stopBricks(openVolumeFolder(folder));
  if (options.json) return console.log(formatJson(bricks));
  for (const { brick, state } of bricks) console.log(`${brick}: ${state}`);
}

export function addVolumeCommand(program: Command): void {
  const volume = program.command('volume').description('make, start and stop a volume');
  volume
    .command('create')
    .description('make a new volume in an empty folder; nothing runs yet')
    .argument('<dir>', 'a new or empty folder')
    .requiredOption('--bricks <n>', 'how many bricks', wholeNumber(1, bricksMax))
    .option('--name <name>', 'what the volume is called (default: the name of the folder)')
    .option(
      '--grace-ms <ms>',
      'how long a brick keeps the locks of a client it lost',
      wholeNumber(0, 86_400_000),
    )
    .option('--freeze-ms <ms>', 'longest freeze of a file while it moves', wholeNumber(1, 60_000))
    .option('--tcp', 'bricks listen on 127.0.0.1 ports, not on unix sockets', false)
    .addHelpText('after', '\nExample:\n  lockferry volume create /srv/vol --bricks 3 --grace-ms 2000')
    .action(create);
  volume
    .command('start')
    .description('start every brick that does not run yet, and wait until all answer')
    .argument('<dir>', 'the folder of the volume')
    .option('--json', 'print a list for programs', false)
    .addHelpText('after', '\nExample:\n  lockferry volume start /srv/vol')
    .action(start);
  volume
    .command('stop')
    .description('end every brick; mounts stay and answer ENOTCONN until the volume runs again')
    .argument('<dir>', 'the folder of the volume')
    .option('--json', 'print a list for programs', false)
    .addHelpText('after', '\nExample:\n  lockferry volume stop /srv/vol')
    .action(stop);
}
