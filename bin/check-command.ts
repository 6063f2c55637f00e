/**
 * `lockferry check`: how a directory's filesystem treats locks, one line a check, on any filesystem. Decides how
 * results are shown; what is right is in conformance/checks.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { CheckResult } from '../conformance/check.js';
import { checks } from '../conformance/checks/all.js';
import { type Scope, scopeCheckName, scopes } from '../conformance/checks/scope.js';
import type { Kind } from '../conformance/lock-process.js';
import { checksNamed, DifferentDirectories, runChecks } from '../conformance/run-checks.js';
import { exitCodes, Failure, isSystemError } from './failure.js';
import { formatJson, formatTable } from './table.js';

interface CheckOptions {
  readonly second?: string;
  readonly only: readonly string[];
  readonly json: boolean;
  readonly list: boolean;
}

const nameWidth = Math.max(...Object.keys(checks).map((name) => name.length));
const kindTitles: Readonly<Record<Kind, string>> = { posix: 'POSIX', ofd: 'OFD', flock: 'flock' };
const kinds = Object.keys(kindTitles) as Kind[];
const scopeTitles: Readonly<Record<Scope, string>> = {
  'process-tree': 'this process tree',
  mount: 'this mount',
  volume: 'the whole volume',
};

function checkDirectory(path: string): string {
  try {
    if (!statSync(path).isDirectory())
      throw new Failure('usage', `${path} is not a directory`, 'Name a directory that you may write to');
    accessSync(path, constants.W_OK);
  } catch (error) {
    if (isSystemError(error, 'ENOENT'))
      throw new Failure('notFound', `There is no directory ${path}`, 'Name one that you may write to');
    if (isSystemError(error, 'EACCES', 'EROFS'))
      throw new Failure(
        'failed',
        `${path} cannot be written to`,
        'The checks make files there: choose another',
      );
    if (isSystemError(error, 'ENOTCONN'))
      throw new Failure(
        'unreachable',
        `The filesystem on ${path} is gone`,
        `Unmount it with: umount -l ${path}`,
      );
    throw error;
  }
  return resolve(path);
}

function line(result: CheckResult): string {
  const head = `${result.outcome.padEnd('not supported'.length)}  ${result.name.padEnd(nameWidth)}`;
  if (result.outcome === 'failed')
    return `${head}  expected ${result.expected}\n${' '.repeat(head.length + 2)}seen     ${result.seen}`;
  const tail = result.outcome === 'passed' ? result.note : result.reason;
  return `${head}  ${tail ?? ''}`.trimEnd();
}

/** The farthest scope up to which everything passed; undefined where not even the nearest was. */
function scopeOf(kind: Kind, results: readonly CheckResult[]): Scope | undefined {
  let reached: Scope | undefined;
  for (const scope of scopes) {
    const result = results.find(({ name }) => name === scopeCheckName(kind, scope));
    if (result?.outcome !== 'passed') break;
    reached = scope;
  }
  return reached;
}

const countsOf = (results: readonly CheckResult[]) => ({
  passed: results.filter(({ outcome }) => outcome === 'passed').length,
  failed: results.filter(({ outcome }) => outcome === 'failed').length,
  notSupported: results.filter(({ outcome }) => outcome === 'not supported').length,
});

function summary(results: readonly CheckResult[], hasSecond: boolean): string {
  const rows = kinds
    .filter((kind) => results.some(({ name }) => name === scopeCheckName(kind, 'process-tree')))
    .map((kind) => {
      const scope = scopeOf(kind, results);
      const seen = scope === undefined ? 'nothing: locks do not exclude here' : scopeTitles[scope];
      const unknown = scope === 'mount' && !hasSecond ? ' (how much farther: --second OTHER_MOUNT)' : '';
      return [`${kindTitles[kind]} locks reach`, seen + unknown];
    });
  const { passed, failed, notSupported } = countsOf(results);
  const totals = `${passed} passed, ${failed} failed, ${notSupported} not supported`;
  return rows.length === 0
    ? totals
    : `${rows.map(([a, b]) => `${a!.padEnd(18)}  ${b}`).join('\n')}\n${totals}`;
}

const json = (options: { directory: string; second: string | undefined }, results: readonly CheckResult[]) =>
  formatJson({
    ...options,
    second: options.second ?? null,
    ...countsOf(results),
    scope: Object.fromEntries(kinds.map((kind) => [kind, scopeOf(kind, results) ?? null])),
    checks: results.map((result) => ({ ...result, ms: Math.round(result.ms) })),
  });

async function check(path: string | undefined, options: CheckOptions): Promise<void> {
  const names = checksNamed(options.only);
  if (names.length === 0)
    throw new Failure(
      'usage',
      `No check is named ${options.only.join(' or ')}`,
      'See them with: lockferry check --list',
    );
  if (options.list) {
    const rows = names.map((name) => [name, checks[name]!.needs === 'second' ? 'needs --second' : '']);
    console.log(formatTable(['CHECK', ''], rows));
    return;
  }
  if (path === undefined)
    throw new Failure('usage', 'No directory was named', 'For example: lockferry check /mnt/vol');
  const directory = checkDirectory(path);
  const second = options.second === undefined ? undefined : checkDirectory(options.second);
  if (second === undefined && names.every((name) => checks[name]!.needs === 'second'))
    throw new Failure(
      'usage',
      `${names.join(', ')} cannot be seen from one mount`,
      'Name another with --second',
    );
  const results: CheckResult[] = [];
  try {
    for await (const result of runChecks({ directory, second, names })) {
      results.push(result);
      if (!options.json) console.log(line(result));
    }
  } catch (error) {
    if (error instanceof DifferentDirectories)
      throw new Failure('usage', error.message, 'Name the same directory, reached through the other mount');
    throw error;
  }
  console.log(
    options.json ? json({ directory, second }, results) : `\n${summary(results, second !== undefined)}`,
  );
  if (countsOf(results).failed > 0) process.exitCode = exitCodes.failed;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('check how the filesystem of a directory treats locks, as Linux does or otherwise')
    .argument('[dir]', 'a directory on any filesystem; the checks make files of their own in it')
    .option(
      '--second <dir>',
      'the same directory through another mount: locks and data are checked between both',
    )
    .option('--only <name>', 'only checks whose name begins so; may be given again', collect, [])
    .option('--list', 'print the names of the checks and run none', false)
    .option('--json', 'print the results for programs', false)
    .addHelpText(
      'after',
      `
Each line says passed, failed (with what Linux does on a local filesystem, and what was seen here) or not supported.
Exit code 1 where a check failed.

Examples:
  lockferry check /tmp
  lockferry check /mnt/a --second /mnt/b
  lockferry check /mnt/a --only posix/deadlock --only flock`,
    )
    .action(check);
}
