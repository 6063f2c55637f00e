/** `lockferry status`: which bricks run, who is connected, what moves. */
import { hostname } from 'node:os';
import type { Command } from 'commander';
import type { BrickName } from '../wire/ids.js';
import type { Answer, ClientRow } from '../wire/messages.js';
import { exitCodes } from './failure.js';
import { formatBytes, formatJson, formatMs, formatTable } from './table.js';
import { reachBricks } from './tool-links.js';
import { openVolumeFolder } from './volume-folder.js';

type BrickStatus = Answer<'status'>;

interface Row {
  readonly brick: BrickName;
  readonly address: string;
  /** Undefined: it does not answer. */
  readonly status: BrickStatus | undefined;
  readonly problem: string | undefined;
}

const isSelf = (client: ClientRow): boolean =>
  client.role === 'tool' && client.pid === process.pid && client.host === hostname();

async function ask(folder: string): Promise<{ name: string; rows: Row[] }> {
  const place = openVolumeFolder(folder);
  const reached = await reachBricks(place, 'lockferry status');
  try {
    const rows = await Promise.all(
      place.volume.bricks.map(async ({ name, address }): Promise<Row> => {
        const found = await reached.links.get(name)?.call('status', {});
        // This very command is connected too: that is no news.
        const status = found && { ...found, clients: found.clients.filter((client) => !isSelf(client)) };
        return { brick: name, address, status, problem: reached.missing.get(name) };
      }),
    );
    return { name: place.volume.name, rows };
  } finally {
    await reached.close();
  }
}

const jsonOf = (name: string, rows: readonly Row[]) => ({
  volume: name,
  bricks: rows.map(({ brick, address, status, problem }) => ({
    brick,
    address,
    state: status?.state ?? 'down',
    problem,
    pid: status?.pid,
    upMs: status?.upMs,
    files: status?.files,
  })),
  clients: rows.flatMap(({ brick, status }) => status?.clients.map((client) => ({ brick, ...client })) ?? []),
  migrations: rows.flatMap(({ status }) => status?.migrations ?? []),
});

function print(name: string, rows: readonly Row[]): void {
  console.log(`Volume "${name}"\n`);
  const brickRows = rows.map(({ brick, address, status, problem }) => [
    brick,
    status?.state ?? 'down',
    status ? String(status.pid) : '-',
    status ? formatMs(status.upMs) : '-',
    status ? String(status.files) : '-',
    status ? address : (problem ?? address),
  ]);
  console.log(formatTable(['BRICK', 'STATE', 'PID', 'UP', 'FILES', 'ADDRESS'], brickRows));
  const clientRows = rows.flatMap(
    ({ brick, status }) =>
      status?.clients.map((client) => [
        brick,
        client.role,
        client.state,
        String(client.pid),
        String(client.locks),
        String(client.waiters),
        String(client.opens),
        `${client.host}:${client.title}`,
      ]) ?? [],
  );
  if (clientRows.length > 0) {
    const headings = ['BRICK', 'CLIENT', 'STATE', 'PID', 'LOCKS', 'WAITERS', 'OPENS', 'TITLE'];
    console.log(`\n${formatTable(headings, clientRows)}`);
  }
  const migrationRows = rows.flatMap(
    ({ status }) =>
      status?.migrations.map((move) => [
        move.migration.slice(0, 8),
        move.phase,
        `${move.source} > ${move.target}`,
        `${formatBytes(move.bytesCopied)} of ${formatBytes(move.bytesTotal)}`,
        String(move.rounds),
        formatMs(move.freezeUs / 1000),
        String(move.holders),
        String(move.waiters),
        String(move.parked),
        move.reason || move.file,
      ]) ?? [],
  );
  if (migrationRows.length === 0) return;
  const headings = [
    'MIGRATION',
    'PHASE',
    'MOVE',
    'COPIED',
    'ROUNDS',
    'FREEZE',
    'HOLDERS',
    'WAITERS',
    'PARKED',
    'FILE',
  ];
  console.log(`\n${formatTable(headings, migrationRows)}`);
}

async function status(folder: string, options: { json: boolean }): Promise<void> {
  const { name, rows } = await ask(folder);
  if (options.json) console.log(formatJson(jsonOf(name, rows)));
  else print(name, rows);
  if (rows.some((row) => row.status === undefined)) process.exitCode = exitCodes.unreachable;
}

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('show bricks, clients and migrations; exit code 4 where a brick is down')
    .argument('<dir>', 'the folder of the volume')
    .option('--json', 'print one object for programs', false)
    .addHelpText('after', '\nExamples:\n  lockferry status /srv/vol\n  lockferry status /srv/vol --json')
    .action(status);
}
