/** `lockferry volume create|start|stop|add-brick|set`. */
import { basename, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { startBricks, stopBricks } from './brick-processes.js';
import { formatJson } from './table.js';
import { addBrick, type Option, setOption, options as volumeOptions } from './volume-change.js';
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

async function add(folder: string, options: { json: boolean }): Promise<void> {
  const added = await addBrick(folder);
  if (options.json) return console.log(formatJson(added));
  const { brick, state, directories } = added;
  console.log(
    state === 'started'
      ? `${brick}: started, with ${directories} directories; new directories use it from now on`
      : `${brick}: added; it starts with the volume`,
  );
}

/** `attr-timeout-ms` as on the command line, `attrTimeoutMs` as in volume.json. */
function optionOf(text: string): Option {
  const name = text.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const found = volumeOptions.find((option) => option === name);
  if (found === undefined) throw new InvalidArgumentError(`It must be one of ${volumeOptions.join(', ')}.`);
  return found;
}

function set(folder: string, option: Option, value: number): void {
  const { volume } = setOption(folder, option, value);
  console.log(`${option} is ${volume[option]} now (version ${volume.version} of volume.json).`);
  if (option === 'graceMs') console.log('Each brick takes it when it is started next.');
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
  volume
    .command('add-brick')
    .description('add a brick; mounts notice, and nobody who holds or waits for a lock does')
    .argument('<dir>', 'the folder of the volume')
    .option('--json', 'print one object for programs', false)
    .addHelpText('after', '\nExample:\n  lockferry volume add-brick /srv/vol')
    .action(add);
  volume
    .command('set')
    .description('change an option of a volume; mounts notice')
    .argument('<dir>', 'the folder of the volume')
    .argument('<option>', 'grace-ms, freeze-ms or attr-timeout-ms', optionOf)
    .argument('<value>', 'milliseconds', wholeNumber(0, 86_400_000))
    .addHelpText('after', '\nExample:\n  lockferry volume set /srv/vol attr-timeout-ms 0')
    .action(set);
}
