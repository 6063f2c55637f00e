/** `lockferry locks`: every lock that is held or waited for, of all bricks or of one file. */
import type { Command } from 'commander';
import { openVolume } from '../dht/distributed-volume.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import { rangeEnd } from '../wire/lock-types.js';
import type { LockRow } from '../wire/messages.js';
import { exitCodes } from './failure.js';
import { formatJson, formatTable } from './table.js';
import { notRunning, type Reached, reachBricks, toolOptions } from './tool-links.js';
import { openVolumeFolder, type VolumeFolder } from './volume-folder.js';
import { attributesOfPath, PathNames } from './volume-paths.js';

const rowsPerCall = 1000;

/** A lock with all that people want to know of it. */
export interface ListedLock extends LockRow {
  readonly brick: BrickName;
  readonly path: string | undefined;
  /** What the client is, for example its mountpoint; undefined where its session is gone. */
  readonly clientTitle: string | undefined;
}

async function* rowsOf(link: BrickLink, file: FileId | undefined): AsyncGenerator<LockRow> {
  for (let skip = 0; ; skip += rowsPerCall) {
    const page = await link.call('listLocks', { file, skip, limit: rowsPerCall });
    yield* page.locks;
    if (!page.more) return;
  }
}

/** Held locks by their start, then waiters by their ticket, file by file. */
export async function listLocks(
  links: ReadonlyMap<BrickName, BrickLink>,
  file: FileId | undefined,
): Promise<ListedLock[]> {
  const paths = new PathNames(links);
  const listed: ListedLock[] = [];
  for (const [brick, link] of links) {
    const clients = (await link.call('status', {})).clients;
    const titles = new Map(clients.map((row) => [row.client, `${row.host}:${row.title}`]));
    for await (const row of rowsOf(link, file))
      listed.push({
        ...row,
        brick,
        path: await paths.of(row.file, brick),
        clientTitle: titles.get(row.client),
      });
  }
  return listed.sort(
    (a, b) =>
      (a.path ?? a.file).localeCompare(b.path ?? b.file) ||
      a.state.localeCompare(b.state) ||
      (a.ticket ?? 0) - (b.ticket ?? 0) ||
      (a.start < b.start ? -1 : a.start > b.start ? 1 : 0),
  );
}

async function fileOfPath(place: VolumeFolder, path: string): Promise<FileId> {
  const volume = await openVolume(toolOptions(place, 'lockferry locks', 2000));
  try {
    return (await attributesOfPath(volume, path)).file;
  } finally {
    await volume.close();
  }
}

const formatRange = ({ start, end }: LockRow): string => `${start}..${end === rangeEnd ? 'end' : end}`;

/** Field names of the JSON form are part of the command line: docs/CLI.md lists them. */
const jsonRow = (lock: ListedLock) => ({
  state: lock.state,
  kind: lock.kind,
  type: lock.type,
  start: lock.start,
  end: lock.end,
  pid: lock.pid,
  client: lock.client,
  clientTitle: lock.clientTitle ?? null,
  lkOwner: lock.owner,
  ticket: lock.ticket ?? null,
  brick: lock.brick,
  file: lock.file,
  path: lock.path ?? null,
});

const textRow = (lock: ListedLock): string[] => [
  lock.state,
  lock.kind,
  lock.type,
  formatRange(lock),
  String(lock.pid),
  lock.clientTitle ?? lock.client.slice(0, 8),
  lock.owner,
  lock.ticket === undefined ? '-' : String(lock.ticket),
  lock.brick,
  lock.path ?? `(no name) ${lock.file}`,
];

const headings = ['STATE', 'KIND', 'TYPE', 'RANGE', 'PID', 'CLIENT', 'LK-OWNER', 'TICKET', 'BRICK', 'PATH'];

async function print(reached: Reached, file: FileId | undefined, asJson: boolean): Promise<void> {
  const locks = await listLocks(reached.links, file);
  if (asJson) console.log(formatJson(locks.map(jsonRow)));
  else if (locks.length === 0) console.log('No locks are held and nobody waits.');
  else console.log(formatTable(headings, locks.map(textRow)));
}

async function locks(folder: string, path: string | undefined, options: { json: boolean }): Promise<void> {
  const place = openVolumeFolder(folder);
  const reached = await reachBricks(place, 'lockferry locks');
  try {
    if (reached.links.size === 0) throw notRunning(place, reached.missing);
    await print(reached, path === undefined ? undefined : await fileOfPath(place, path), options.json);
  } finally {
    await reached.close();
  }
  if (reached.missing.size === 0) return;
  // What was found is shown, but it is not the whole truth: a script must be able to tell.
  console.error(`lockferry: ${notRunning(place, reached.missing).message}`);
  process.exitCode = exitCodes.unreachable;
}

export function addLocksCommand(program: Command): void {
  program
    .command('locks')
    .description('list the locks that are held and waited for')
    .argument('<dir>', 'the folder of the volume')
    .argument('[path]', 'only those of this file (path inside the volume)')
    .option('--json', 'print a list for programs; offsets are decimal text', false)
    .addHelpText(
      'after',
      '\nExamples:\n  lockferry locks /srv/vol\n  lockferry locks /srv/vol db/accounts.sqlite --json',
    )
    .action(locks);
}
