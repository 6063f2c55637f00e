/**
 * The command line: ties the subcommands together, and is the one place that prints an error and sets an exit code.
 * Started by bin/lockferry.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addBrickCommand } from './brick-command.js';
import { addCheckCommand } from './check-command.js';
import { exitCodes, explain } from './failure.js';
import { addHoldCommand } from './hold-command.js';
import { addLocksCommand } from './locks-command.js';
import { addMigrateCommand } from './migrate-command.js';
import { addMountCommand } from './mount-command.js';
import { addSimulateCommand } from './simulate-command.js';
import { addStatusCommand } from './status-command.js';
import { addUmountCommand } from './umount-command.js';
import { addVolumeCommand } from './volume-command.js';

const firstSession = `
A first session:
  lockferry volume create /tmp/vol --bricks 3
  lockferry volume start /tmp/vol
  mkdir /tmp/mnt && lockferry mount /tmp/vol /tmp/mnt --daemon
  touch /tmp/mnt/file && lockferry hold /tmp/mnt/file --type write &
  lockferry locks /tmp/vol
  lockferry migrate /tmp/vol file --to brick-2
  lockferry umount /tmp/mnt && lockferry volume stop /tmp/vol

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 not found, 4 volume or brick does not answer, 5 mountpoint.
LOCKFERRY_DEBUG=1 shows where an error came from; LOCKFERRY_LOG=debug|info|warn|error sets what is logged.`;

function buildProgram(): Command {
  const about = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const program = new Command('lockferry')
    .description(
      'A distributed filesystem for Linux that moves files between bricks together with their locks.',
    )
    .version(about.version)
    .showHelpAfterError('(--help shows how it is used)')
    .addHelpText('after', firstSession)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`lockferry: ${text.replace(/^error: /, '')}`) });
  for (const add of [
    addVolumeCommand,
    addMountCommand,
    addUmountCommand,
    addBrickCommand,
    addMigrateCommand,
    addLocksCommand,
    addStatusCommand,
    addHoldCommand,
    addSimulateCommand,
    addCheckCommand,
  ])
    add(program);
  inherit(program);
  return program;
}

/** Subcommands that were made by `command()` took the settings of the moment; nested ones too must not exit alone. */
function inherit(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    inherit(child);
  }
}

async function main(): Promise<number> {
  try {
    await buildProgram().parseAsync();
    return Number(process.exitCode ?? exitCodes.ok);
  } catch (error) {
    // Commander has printed what is wrong; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const { exitCode, line } = explain(error);
    process.stderr.write(`lockferry: ${line}\n`);
    if (process.env.LOCKFERRY_DEBUG) console.error(error);
    return exitCode;
  }
}

/** A reader that went away (`lockferry locks | head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.ok);
  throw error;
});

/** Resolves when all that was written before has left: a pipe takes 64 KiB at a time, whatever its reader does. */
const written = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => stream.write('', () => resolve()));

const exitCode = await main();
await Promise.all([written(process.stdout), written(process.stderr)]);
// Not left to the event loop: a timer of a party that was closed must not keep the process.
process.exit(exitCode);
