/**
 * `lockferry hold`: an ordinary process that takes one lock on any file of any filesystem and holds it until it is
 * told to end. Knows nothing of volumes: it is the other side of an experiment.
 *
 * Whole-file locks go through fs-ext. fs-ext knows no ranges, so a range goes through the lock process of
 * conformance/ (a small C program).
 */
import { closeSync, openSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { constants, fcntl, flock } from 'fs-ext';
import { LockProcess } from '../conformance/lock-process.js';
import { Failure, isSystemError } from './failure.js';
import { untilSignal } from './signals.js';

interface HoldOptions {
  readonly type: 'read' | 'write';
  readonly kind: 'posix' | 'flock';
  readonly wait: boolean;
  readonly start: bigint;
  readonly length: bigint;
}

function openFile(file: string, type: 'read' | 'write'): number {
  try {
    return openSync(file, type === 'read' ? 'r' : 'r+');
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR'))
      throw new Failure('notFound', `${file} does not exist`, `Make it with: touch ${file}`);
    if (isSystemError(error, 'EACCES', 'EROFS', 'EISDIR'))
      throw new Failure('failed', `${file} cannot be opened to ${type}`, `${(error as Error).message}`);
    if (isSystemError(error, 'ENOTCONN'))
      throw new Failure(
        'unreachable',
        `The filesystem of ${file} does not answer`,
        'Is its mount process or its brick gone?',
      );
    throw error;
  }
}

/** The blocking call waits in a thread of libuv's pool: the default action of a signal must be what ends it. */
function takeWholeFile(fd: number, { type, kind, wait }: HoldOptions): Promise<void> {
  return new Promise((granted, failed) => {
    const done = (error: NodeJS.ErrnoException | null) => (error ? failed(error) : granted());
    if (kind === 'flock') flock(fd, `${type === 'read' ? 'sh' : 'ex'}${wait ? '' : 'nb'}`, done);
    else fcntl(fd, wait ? 'setlkw' : 'setlk', type === 'read' ? constants.F_RDLCK : constants.F_WRLCK, done);
  });
}

const held = (file: string, options: HoldOptions, range: string, pid: number): void =>
  console.log(
    `held: ${options.type} ${options.kind} lock on ${range} of ${file} by pid ${pid}. Ctrl-C lets it go.`,
  );

const refused = (file: string): Failure =>
  new Failure(
    'failed',
    `Refused: another process holds a lock on ${file}`,
    'With --wait this command waits for it',
  );

async function holdWholeFile(file: string, options: HoldOptions): Promise<void> {
  const fd = openFile(file, options.type);
  try {
    await takeWholeFile(fd, options);
  } catch (error) {
    if (isSystemError(error, 'EAGAIN', 'EACCES', 'EWOULDBLOCK')) throw refused(file);
    throw new Failure(
      'failed',
      `The lock on ${file} could not be taken: ${(error as Error).message}`,
      'Nothing is held',
    );
  }
  const stopped = untilSignal();
  // A pending promise does not keep a process alive.
  const alive = setInterval(() => undefined, 1 << 30);
  held(file, options, 'the whole', process.pid);
  await stopped;
  clearInterval(alive);
  closeSync(fd);
}

async function holdRange(file: string, options: HoldOptions): Promise<void> {
  closeSync(openFile(file, options.type));
  const holder = LockProcess.start();
  const stopped = untilSignal();
  try {
    const fd = await holder.open(file, options.type === 'read' ? 'r' : 'rw');
    const taken = holder.lock(fd, options.kind, options.type, options.start, options.length, options.wait);
    const outcome = await Promise.race([taken, stopped]);
    if (outcome === 'refused') throw refused(file);
    if (outcome !== 'granted') return;
    const end = options.length === 0n ? 'end' : String(options.start + options.length - 1n);
    held(file, options, `bytes ${options.start}..${end}`, holder.pid);
    await stopped;
  } finally {
    await holder.kill('SIGKILL');
  }
}

const hold = (file: string, options: HoldOptions): Promise<void> => {
  const isWhole = options.start === 0n && options.length === 0n;
  if (!isWhole && options.kind === 'flock')
    throw new Failure(
      'usage',
      'flock locks cover whole files',
      'Leave out --start and --length, or use --kind posix',
    );
  return isWhole ? holdWholeFile(file, options) : holdRange(file, options);
};

function offset(text: string): bigint {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) >= 1n << 63n)
    throw new Failure('usage', `"${text}" is not an offset`, 'Use a whole number from 0 to 2^63-1');
  return BigInt(text);
}

export function addHoldCommand(program: Command): void {
  program
    .command('hold')
    .description('take a lock on a file and hold it until Ctrl-C; exit code 1 where it is refused')
    .argument('<file>', 'any file on any filesystem, for example below a mountpoint')
    .addOption(
      new Option('--type <type>', 'shared or exclusive').choices(['read', 'write']).makeOptionMandatory(),
    )
    .addOption(
      new Option('--kind <kind>', 'fcntl(2) or flock(2)').choices(['posix', 'flock']).default('posix'),
    )
    .option('--wait', 'wait until it is granted', false)
    .addOption(new Option('--start <offset>', 'first byte (posix only)').argParser(offset).default(0n, '0'))
    .addOption(
      new Option('--length <bytes>', 'how many bytes; 0 is to the end of the file, however it grows')
        .argParser(offset)
        .default(0n, '0'),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  lockferry hold /mnt/vol/file --type write\n  lockferry hold /mnt/vol/file --type write --wait\n  lockferry hold /mnt/vol/file --type read --start 100 --length 50',
    )
    .action(hold);
}
