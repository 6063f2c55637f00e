/**
 * Starts and stops the brick processes of a volume, one process each. A brick counts as running when it answers, not
 * when its process exists. Called by `lockferry volume` and by the story of `npm start`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BrickName } from '../wire/ids.js';
import { Failure, isSystemError } from './failure.js';
import { endProcess, type RunningProcess, readPidFile } from './pid-file.js';
import { reachBricks } from './tool-links.js';
import { brickLog, brickPidFile, type VolumeFolder } from './volume-folder.js';

const startMsMax = 20_000;
const stopMsMax = 15_000;
const logLinesMax = 5;

export const cliPath = fileURLToPath(new URL('./cli.js', import.meta.url));

export interface StartedBrick {
  readonly brick: BrickName;
  readonly state: 'started' | 'was running';
}

interface Child {
  readonly brick: BrickName;
  readonly process: ChildProcess;
  /** Set when it ended before it answered. */
  ended: string | undefined;
}

function spawnBrick(place: VolumeFolder, brick: BrickName): Child {
  const log = openSync(brickLog(place.folder, brick), 'a', 0o600);
  try {
    const child = spawn(process.execPath, [cliPath, 'brick', '--volume', place.folder, '--name', brick], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
    });
    const started: Child = { brick, process: child, ended: undefined };
    child.once('error', (error) => {
      started.ended = error.message;
    });
    child.once('exit', (code, signal) => {
      started.ended = signal ? `ended by ${signal}` : `exit code ${code}`;
    });
    child.unref();
    return started;
  } finally {
    closeSync(log);
  }
}

/** The end of a log, each line as people read it. */
export function logTail(path: string, linesMax = logLinesMax): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return '';
    throw error;
  }
  const lines = text.trimEnd().split('\n').slice(-linesMax);
  return lines.map((line) => `  ${readableLine(line)}`).join('\n');
}

function readableLine(line: string): string {
  try {
    const { time, msg, level: _level, party: _party, pid: _pid, ...rest } = JSON.parse(line);
    const fields = Object.entries(rest).map(([name, value]) => `${name}=${String(value)}`);
    return [time, msg, ...fields].join(' ');
  } catch (error) {
    if (error instanceof SyntaxError) return line;
    throw error;
  }
}

/** Idempotent: what runs is left alone. @throws Failure unreachable with the end of the log of each that failed */
export async function startBricks(place: VolumeFolder): Promise<StartedBrick[]> {
  const names = place.volume.bricks.map((brick) => brick.name);
  const before = await answering(place, 300);
  const children = names.filter((name) => !before.has(name)).map((name) => spawnBrick(place, name));
  const deadline = Date.now() + startMsMax;
  let running = before;
  while (running.size < names.length && Date.now() < deadline) {
    // One that ended may have lost a race against another `volume start`: it counts if the brick answers after all.
    const isHopeless = children.some((child) => child.ended !== undefined && !running.has(child.brick));
    running = await answering(place, isHopeless ? 1000 : 300);
    if (isHopeless && running.size < names.length) break;
    if (running.size < names.length) await sleep(30);
  }
  const failed = children.filter((child) => !running.has(child.brick));
  if (failed.length === 0)
    return names.map((brick) => ({ brick, state: before.has(brick) ? 'was running' : 'started' }));
  for (const child of failed) if (child.ended === undefined) child.process.kill('SIGTERM');
  throw new Failure(
    'unreachable',
    failed.map((child) => describeFailed(place, child)).join('\n'),
    `The whole log is in ${brickLog(place.folder, failed[0]!.brick)}`,
  );
}

function describeFailed(place: VolumeFolder, child: Child): string {
  const why = child.ended ?? `no answer within ${startMsMax / 1000} s`;
  return `${child.brick} did not start (${why}); the end of its log:\n${logTail(brickLog(place.folder, child.brick))}`;
}

async function answering(place: VolumeFolder, giveUpMs: number): Promise<Set<BrickName>> {
  const reached = await reachBricks(place, 'lockferry volume start', giveUpMs);
  const names = new Set(reached.links.keys());
  await reached.close();
  return names;
}

export interface StoppedBrick {
  readonly brick: BrickName;
  readonly state: 'stopped' | 'was not running' | 'killed';
}

export async function stopBricks(place: VolumeFolder): Promise<StoppedBrick[]> {
  const { bricks, joiningBricks = [] } = place.volume;
  return Promise.all([...bricks, ...joiningBricks].map(({ name }) => stopBrick(place, name)));
}

async function stopBrick(place: VolumeFolder, brick: BrickName): Promise<StoppedBrick> {
  const running: RunningProcess | undefined = readPidFile(brickPidFile(place.folder, brick));
  if (!running) return { brick, state: 'was not running' };
  return { brick, state: (await endProcess(running, stopMsMax)) ? 'stopped' : 'killed' };
}
