/**
 * Makes a fresh clone ready: Node is new enough, dependencies are there, the native parts are built, TypeScript is
 * compiled; for the tests also the Debian packages they call. Says nothing where nothing is to do.
 *
 * Runs before anything is installed, so it may import nothing but Node itself. Called by start.mjs, test.mjs and
 * `npm run build`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const sourceFolders = [
  'bin',
  'mount',
  'brick-store',
  'dht',
  'migrator',
  'wire',
  'host',
  'test',
  'conformance',
  'simulator',
  'benchmark',
  'dashboard',
];
const headLines = 8;
const tailLines = 20;

/** A set-up step that failed, with the end of what the tool said. */
export class SetupError extends Error {}

const say = (line) => process.stderr.write(`setup: ${line}\n`);

const hasCommand = (name) =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** The first and the last lines: npm says what is wrong at the start, compilers at the end. */
function excerpt(output) {
  const lines = output.trimEnd().split('\n');
  if (lines.length <= headLines + tailLines) return lines.join('\n');
  return [...lines.slice(0, headLines), '…', ...lines.slice(-tailLines)].join('\n');
}

/** Runs a tool quietly. @throws SetupError with the last lines of its output and what to do */
function run(what, command, args, cure) {
  const started = Date.now();
  say(`${what} …`);
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: {
      ...process.env,
      NPM_CONFIG_LOGLEVEL: 'error',
      NPM_CONFIG_FUND: 'false',
      NPM_CONFIG_AUDIT: 'false',
    },
  });
  if (result.status === 0) {
    say(`${what}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
    return;
  }
  const output = excerpt(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  const why = result.error
    ? result.error.message
    : result.signal
      ? `ended by ${result.signal}`
      : `exit ${result.status}`;
  throw new SetupError(`${output}\n\n${what} failed (${command} ${args.join(' ')}: ${why}). ${cure}`);
}

function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20)
    throw new SetupError(
      `Lockferry needs Node 20 or newer; this is ${process.versions.node}. Install a newer Node.`,
    );
  if (process.platform !== 'linux')
    throw new SetupError(
      `Lockferry mounts through the Linux kernel's FUSE; this is ${process.platform}. Use Linux.`,
    );
}

/** Answers whether npm ran; it has built the native parts then (the script `install` of package.json). */
function installDependencies() {
  const stamp = join(root, 'node_modules', '.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(lock).mtimeMs) return false;
  for (const tool of ['gcc', 'g++', 'make', 'python3'])
    if (!hasCommand(tool))
      throw new SetupError(
        `The native parts are compiled here, and ${tool} is missing. On Debian: apt-get install gcc g++ make python3`,
      );
  run(
    'installing dependencies (npm ci)',
    'npm',
    ['ci', '--include=dev', '--no-audit', '--no-fund'],
    'Check the network and the npm registry, then run the command again.',
  );
  return true;
}

/** Files below `folder` whose names end in one of `endings`, as paths from the root, in order. */
function filesBelow(folder, endings) {
  const start = join(root, folder);
  if (!existsSync(start)) return [];
  return readdirSync(start, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** Changes with every change of the set of files or of one of them. */
function fingerprint(paths) {
  const hash = createHash('sha256').update(process.versions.modules);
  for (const path of paths) {
    const { mtimeMs, size } = statSync(path);
    hash.update(`${path} ${mtimeMs} ${size}\n`);
  }
  return hash.digest('hex');
}

/** Runs `build` unless `stampPath` says that it ran on exactly these files. */
function whenChanged(stampPath, paths, product, build) {
  const now = fingerprint(paths);
  if (existsSync(product) && existsSync(stampPath) && readFileSync(stampPath, 'utf8') === now) return;
  build();
  writeFileSync(stampPath, now);
}

function buildNative(isFresh) {
  const folder = join(root, 'build');
  const sources = [
    join(root, 'binding.gyp'),
    ...filesBelow('mount', ['.c', '.h']),
    ...filesBelow('wire', ['.c', '.h']),
    ...filesBelow('host', ['.c', '.h']),
    ...filesBelow('conformance', ['.c', '.h']),
  ];
  whenChanged(join(folder, '.lockferry-stamp'), sources, join(folder, 'Release'), () => {
    if (isFresh) return;
    run(
      'building the native parts (node-gyp)',
      'npm',
      ['run', 'install'],
      'It needs gcc, make, python3 and the headers of Node (node-gyp downloads them, or set npm_config_nodedir).',
    );
  });
}

/** Every source of the build, and what steers it. */
const buildInputs = () => [
  join(root, 'tsconfig.json'),
  join(root, 'package-lock.json'),
  ...sourceFolders.flatMap((folder) => filesBelow(folder, ['.ts'])),
];

const tsc = [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'];
const buildStamp = join(root, 'dist', '.lockferry-stamp');

/** @throws SetupError where a type is wrong */
export function compile() {
  mkdirSync(join(root, 'dist'), { recursive: true });
  whenChanged(buildStamp, buildInputs(), join(root, 'dist', 'bin'), () =>
    run('compiling (tsc)', process.execPath, tsc, 'Mend the errors above and run the command again.'),
  );
}

/** Compiles even past errors, so that tests still run. Answers what tsc complained of; empty is good. */
export function compileForTests() {
  mkdirSync(join(root, 'dist'), { recursive: true });
  const now = fingerprint(buildInputs());
  if (existsSync(buildStamp) && readFileSync(buildStamp, 'utf8') === now) return '';
  const result = spawnSync(process.execPath, tsc, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status !== 0)
    return `${result.stdout}${result.stderr}`.trimEnd() || `tsc ended with ${result.status}`;
  writeFileSync(buildStamp, now);
  return '';
}

/** Compiled tests that have a source: what an older build left in dist/ is not run. */
export const testFiles = () =>
  sourceFolders
    .flatMap((folder) => filesBelow(folder, ['.test.ts']))
    .map((path) => join('dist', relative(root, path).replace(/\.ts$/, '.js')));

/** Debian packages that tests call, by the command they bring. */
const testPackages = {
  sqlite3: 'sqlite3',
  fusermount3: 'fuse3',
  'stress-ng': 'stress-ng',
  ping_pong: 'ctdb',
  bindfs: 'bindfs',
};

const mayInstall = () => hasCommand('apt-get') && process.getuid?.() === 0;
const byHand = (names) => `apt-get install -y --no-install-recommends ${names.join(' ')}`;

function installPackages(names) {
  const cure = `Try by hand: ${byHand(names)}`;
  run('looking for Debian packages (apt-get update)', 'apt-get', ['update', '-qq'], cure);
  run(
    `installing ${names.join(' and ')} (apt-get)`,
    'env',
    [
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      'install',
      '-y',
      '-qq',
      '--no-install-recommends',
      ...names,
    ],
    cure,
  );
}

function installTestPackages() {
  const missing = Object.entries(testPackages)
    .filter(([command]) => !hasCommand(command))
    .map(([, name]) => name);
  if (missing.length === 0) return;
  if (!mayInstall())
    throw new SetupError(
      `The tests call ${missing.join(' and ')}, which is not installed. As root: ${byHand(missing)}`,
    );
  installPackages(missing);
}

/** What the floor of the benchmark is compiled with. Where it cannot be had, the benchmark says so and goes on. */
export function installForBenchmark() {
  if (existsSync('/usr/include/fuse3/fuse_lowlevel.h') || !mayInstall()) return;
  try {
    installPackages(['libfuse3-dev']);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
  }
}

/** What both `npm start` and `npm test` need before anything of this project can be compiled. */
export function prepare(options = { forTests: false }) {
  checkNode();
  buildNative(installDependencies());
  if (!options.forTests) return;
  installTestPackages();
  installForBenchmark();
}

/** Runs `task`; a SetupError is printed for people and ends the process with 1. */
export function orExplain(task) {
  try {
    return task();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`\n${error.message}\n`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  orExplain(() => {
    prepare();
    compile();
  });
