/**
 * The filesystems that are measured side by side: each is made, mounted and ended here, in a folder of its own, and
 * served by processes of its own. One that cannot be had says why and hinders no other.
 *
 * Decides nothing of what is measured. Called by benchmark.ts, which ends whatever was started.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cliPath, startBricks, stopBricks } from '../bin/brick-processes.js';
import { mountedAt } from '../bin/mountpoints.js';
import { createVolumeFolder } from '../bin/volume-folder.js';
import { programPath } from './programs.js';

export type ContestantName = 'local' | 'null-fuse' | 'fuse-native' | 'lockferry';

export interface Running {
  /** Files of the load go here. */
  readonly folder: string;
  end(): Promise<void>;
}

export interface Contestant {
  readonly name: ContestantName;
  /** What it is, for the table. */
  readonly title: string;
  /** @throws Unavailable where this machine has not what it takes */
  start(folder: string): Promise<Running>;
}

/** A contestant that cannot be had here: a row of the table says why. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

const answerMsMax = 20_000;
const endMsMax = 5000;
const readAheadKib = 1024;

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

/** As Lockferry's own mount does: without it the kernel reads ahead 128 KiB at most (VM_READAHEAD_PAGES). */
function raiseReadAhead(point: string): void {
  const { dev } = statSync(point);
  // makedev(3) for the anonymous devices of FUSE: the major number is 0.
  const file = `/sys/class/bdi/0:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}/read_ahead_kb`;
  if (existsSync(file)) writeFileSync(file, String(readAheadKib));
}

/** A process that serves a mount in the foreground. */
class MountServer implements Running {
  readonly folder: string;
  readonly #points: readonly string[];
  readonly #child: ChildProcess;
  #said = '';

  private constructor(points: readonly [string, ...string[]], child: ChildProcess) {
    [this.folder] = points;
    this.#points = points;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text) => {
        this.#said += text;
      });
  }

  /** @throws Error with what it said where it does not come up */
  static async start(
    command: string,
    args: readonly string[],
    points: readonly [string, ...string[]],
    env = {},
  ): Promise<MountServer> {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      env: { ...process.env, ...env },
    });
    const server = new MountServer(points, child);
    child.once('error', (error) => {
      server.#said += error.message;
    });
    for (let waited = 0; points.some((point) => mountedAt(point) === undefined); waited += 20) {
      if (hasEnded(child) || waited > answerMsMax) {
        await server.end();
        throw new Error(
          server.#said.trim().split('\n').at(-1) || `${command} did not mount ${points.join(', ')}`,
        );
      }
      await sleep(20);
    }
    for (const point of points) raiseReadAhead(point);
    return server;
  }

  async end(): Promise<void> {
    this.#child.kill('SIGTERM');
    for (let waited = 0; !hasEnded(this.#child) && waited < endMsMax; waited += 20) await sleep(20);
    this.#child.kill('SIGKILL');
    for (const point of this.#points)
      if (mountedAt(point) !== undefined) spawnSync('umount', ['-l', point], { timeout: endMsMax });
  }
}

const pointIn = (folder: string): string => {
  const point = join(folder, 'mnt');
  mkdirSync(point);
  return point;
};

/** @throws Unavailable */
function needFuse(): void {
  if (!existsSync('/dev/fuse')) throw new Unavailable('there is no /dev/fuse');
  if (process.getuid?.() !== 0) throw new Unavailable('only root may mount here');
}

const local: Contestant = {
  name: 'local',
  title: 'local filesystem',
  start(folder) {
    return Promise.resolve({ folder, end: () => Promise.resolve() });
  },
};

const nullFuse: Contestant = {
  name: 'null-fuse',
  title: 'null FUSE filesystem (the floor)',
  start(folder) {
    needFuse();
    const point = pointIn(folder);
    return MountServer.start(programPath('null-fuse'), [point], [point]);
  },
};

/**
 * fuse-native is linked with libfuse.so.2 and brings one, but under another name: where Debian's libfuse2 is not
 * installed, a link in a folder of ours gives it that name.
 */
function ownLibfuse(folder: string): Record<string, string> {
  const require = createRequire(import.meta.url);
  const known = spawnSync('ldconfig', ['-p'], { encoding: 'utf8' });
  if (known.stdout?.includes('libfuse.so.2')) return {};
  const { lib } = createRequire(require.resolve('fuse-native'))('fuse-shared-library') as { lib: string };
  const links = join(folder, 'lib');
  mkdirSync(links);
  symlinkSync(lib, join(links, 'libfuse.so.2'));
  return { LD_LIBRARY_PATH: links };
}

/** The same files at each point. @param folder for what it needs itself */
export function startFuseNative(folder: string, points: readonly [string, ...string[]]): Promise<Running> {
  const program = fileURLToPath(new URL('./fuse-native-rival.js', import.meta.url));
  return MountServer.start(process.execPath, [program, ...points], points, ownLibfuse(folder));
}

const fuseNative: Contestant = {
  name: 'fuse-native',
  title: 'fuse-native (locks stay in the kernel)',
  async start(folder) {
    needFuse();
    try {
      return await startFuseNative(folder, [pointIn(folder)]);
    } catch (error) {
      throw new Unavailable(`fuse-native does not run here: ${(error as Error).message}`, { cause: error });
    }
  },
};

const lockferry: Contestant = {
  name: 'lockferry',
  title: 'Lockferry, two bricks',
  async start(folder) {
    needFuse();
    const point = pointIn(folder);
    const place = await createVolumeFolder(join(folder, 'vol'), {
      bricks: 2,
      name: 'benchmark',
      graceMs: undefined,
      freezeMs: undefined,
      tcp: false,
    });
    try {
      await startBricks(place);
      const mount = await MountServer.start(
        process.execPath,
        [cliPath, 'mount', place.folder, point],
        [point],
      );
      return {
        folder: point,
        end: async () => {
          await mount.end();
          await stopBricks(place);
        },
      };
    } catch (error) {
      await stopBricks(place);
      throw error;
    }
  },
};

export const contestants: readonly Contestant[] = [local, nullFuse, fuseNative, lockferry];

/** One line: what the numbers were measured on. Never its name. */
export function describeMachine(cores: number): string {
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim().split('-')[0];
  const model =
    /^model name\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
  return `${cores} cores (${model}), Linux ${kernel}, Node ${process.versions.node}`;
}
