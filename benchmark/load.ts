/**
 * Runs the load (load.c) once and reads what it says. What the works are is in load.c; how much of each is done, and
 * what their numbers are called, is here. Called by benchmark.ts.
 */
import { spawn } from 'node:child_process';
import { programPath } from './programs.js';

export interface Work {
  /** As load.c calls it, and `--only`. */
  readonly name: string;
  readonly title: string;
  /** Operations of one round; `smoke`: of a round that only shows that it works. */
  readonly count: number;
  readonly smokeCount: number;
  readonly rounds: number;
  /** Bytes of one operation, where MB/s says more than a time. */
  readonly bytes?: number;
  /** Its processes wait for each other on purpose: how many a second says nothing. */
  readonly isPaced?: true;
}

const mebibyte = 1024 * 1024;

export const works: readonly Work[] = [
  { name: 'lock-1', title: 'lock + unlock, 1 process', count: 2000, smokeCount: 50, rounds: 9 },
  { name: 'lock-4', title: 'lock + unlock, 4 processes', count: 1000, smokeCount: 20, rounds: 9 },
  { name: 'getlk', title: 'F_GETLK', count: 2000, smokeCount: 50, rounds: 7 },
  {
    name: 'handover',
    title: 'handover of one byte, 2 processes',
    count: 200,
    smokeCount: 10,
    rounds: 7,
    isPaced: true,
  },
  { name: 'lock-write', title: 'lock + 4 KiB write + unlock', count: 1000, smokeCount: 70, rounds: 7 },
  { name: 'create', title: 'create + close + unlink', count: 500, smokeCount: 20, rounds: 7 },
  { name: 'stat', title: 'stat of a cold name', count: 300, smokeCount: 20, rounds: 5 },
  {
    name: 'write',
    title: '512 MiB written, 1 MiB a request',
    count: 512,
    smokeCount: 8,
    rounds: 3,
    bytes: mebibyte,
  },
  {
    name: 'read',
    title: '512 MiB read, 1 MiB a request',
    count: 512,
    smokeCount: 8,
    rounds: 3,
    bytes: mebibyte,
  },
];

/** One round of one work on one filesystem. */
export interface Round {
  /** Of all that the calls answered and of the content that was read. */
  readonly hash: string;
  readonly wallNs: number;
  /** Of each operation, ascending. */
  readonly ns: readonly number[];
}

/** This filesystem cannot do that work; the message says what it did instead. */
export class CannotDo extends Error {
  override readonly name = 'CannotDo';
}

const cannotDo = 2;
const roundMsMax = 300_000;

/** @throws CannotDo; Error with one line where the load itself failed */
export function runLoad(work: Work, count: number, folder: string): Promise<Round> {
  const child = spawn(programPath('load'), [work.name, folder, String(count)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: roundMsMax,
    killSignal: 'SIGKILL',
  });
  let said = '';
  let complained = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  child.stderr.on('data', (text) => {
    complained += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const line = complained.trim().split('\n')[0] ?? '';
      if (code === 0) resolve(roundOf(said));
      else if (code === cannotDo) reject(new CannotDo(line));
      else reject(new Error(`load ${work.name}: ${line || `ended by ${signal ?? `exit code ${code}`}`}`));
    });
  });
}

function roundOf(said: string): Round {
  const [hash, wall, ...lines] = said.trim().split('\n');
  const ns = lines.map(Number).sort((a, b) => a - b);
  if (!hash?.startsWith('hash ') || !wall?.startsWith('wall ') || ns.length === 0)
    throw new Error(`load said something else than numbers: ${said.slice(0, 100)}`);
  return { hash: hash.slice('hash '.length), wallNs: Number(wall.slice('wall '.length)), ns };
}
