/**
 * `npm test`, and what CI runs: set-up, lint, types, every test through tap, then a look for what the tests left
 * behind. The last line is `N passed, N failed, N skipped`; the exit code is 1 where anything failed.
 *
 * `npm test -- wire/codec mount` runs the tests whose path contains one of the words (lint and types only without).
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { compileForTests, orExplain, prepare, root, testFiles } from './setup.mjs';
import { readableDetail, TapReport } from './tap-report.mjs';

/** A hunt that somebody asked for takes what it takes. */
const isHunt = ['LOCKFERRY_CROWD', 'LOCKFERRY_KILLS'].some((name) => process.env[name] !== undefined);
const fileSeconds = Number(process.env.LOCKFERRY_TEST_SECONDS ?? (isHunt ? 7200 : 300));
const words = process.argv.slice(2);
const isTerminal = process.stdout.isTTY === true;
const paint = (code, text) => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text);
const print = (text = '') => process.stdout.write(`${text}\n`);

const report = new TapReport();

/** One step that is a tool with an exit code; counts as one test. */
function check(name, command, args) {
  const started = Date.now();
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  if (result.status === 0) {
    report.passed++;
    print(`${paint(32, 'ok  ')}  ${name} ${paint(2, `${seconds} s`)}`);
    return;
  }
  report.failed++;
  report.failures.push({ title: [name], detail: `${result.stdout}${result.stderr}`.trimEnd().split('\n') });
  print(`${paint(31, 'FAIL')}  ${name} ${paint(2, `${seconds} s`)}`);
}

/** On one line. */
function firstFailure(file) {
  const failure = report.failures.find(({ title }) => title[0] === file) ?? report.failures.at(-1);
  const comments = failure?.detail.filter((line) => /^(code|message|diff|found|wanted):/.test(line)) ?? [];
  return [failure?.title.slice(1).join(' > '), ...comments].join('; ').slice(0, 300);
}

function printFiles() {
  for (const file of report.takeFiles()) {
    const name = file.name.replace(/^dist\//, '').replace(/\.js$/, '.ts');
    const mark = file.ok ? paint(32, 'ok  ') : paint(31, 'FAIL');
    // With the first failed point: who reads only these lines, in a log that was cut, knows what to look for.
    const why = file.ok ? '' : ` ${firstFailure(file.name)}`;
    print(`${mark}  ${name} ${paint(2, `${(file.ms / 1000).toFixed(1)} s`)}${why}`);
  }
}

async function runTap(files, env) {
  const tap = spawn(
    join(root, 'node_modules', '.bin', 'tap'),
    [
      'run',
      '--disable-coverage',
      '--allow-empty-coverage',
      '--jobs=2',
      `--timeout=${fileSeconds}`,
      '--reporter=tap',
      ...files,
    ],
    { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const stop = (signal) => tap.kill(signal);
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const ended = new Promise((resolve) => tap.once('close', (code, signal) => resolve(signal ?? code)));
  for await (const line of createInterface({ input: tap.stdout })) {
    report.line(line);
    printFiles();
  }
  const outcome = await ended;
  if (outcome !== 0 && report.failures.length === 0) {
    report.failed++;
    report.failures.push({ title: ['tap'], detail: [`tap ended with ${outcome} and named no failed test`] });
  }
}

/** Processes that carry this run's mark in their environment, wherever they were re-parented to. */
function processesOf(mark) {
  const found = [];
  for (const pid of readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && Number(name) !== process.pid,
  )) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)) continue;
      found.push({
        pid: Number(pid),
        command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
      });
    } catch (error) {
      // It ended while we looked, or belongs to another user: not one of ours.
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code)) throw error;
    }
  }
  return found;
}

const mountsBelow = (folder) =>
  readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, point]) => point?.startsWith(`${folder}/`))
    .map(([, point, type]) => ({ point, type }));

/** Nothing that a test started may outlive the run: that is how a hang or a lost lock shows first. */
async function checkLeftovers(folder, mark) {
  const deadline = Date.now() + 3000;
  let processes = processesOf(mark);
  while (processes.length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    processes = processesOf(mark);
  }
  const mounts = mountsBelow(folder);
  if (processes.length === 0 && mounts.length === 0) report.passed++;
  else {
    report.failed++;
    report.failures.push({
      title: ['nothing is left behind'],
      detail: [
        ...mounts.map(({ point, type }) => `still mounted (${type}): ${point}`),
        ...processes.map(({ pid, command }) => `still running: ${pid} ${command}`),
      ],
    });
    for (const { point } of mounts.reverse()) spawnSync('umount', ['-l', point]);
    for (const { pid } of processes) spawnSync('kill', ['-KILL', String(pid)]);
  }
  rmSync(folder, { recursive: true, force: true });
}

function printFailures() {
  for (const { title, detail } of report.failures) {
    print();
    print(`${paint(31, 'failed')}  ${title.join(' > ')}`);
    for (const line of readableDetail(detail)) print(`        ${line}`);
  }
}

const saidLinesMax = 400;

/** Comments of the files that failed: what was done when, and the logs of their bricks and mounts. */
function printComments() {
  for (const { name, lines } of report.comments) {
    print();
    print(`what ${name} said${lines.length > saidLinesMax ? `, the last ${saidLinesMax} lines` : ''}`);
    for (const line of lines.slice(-saidLinesMax)) print(`        ${line}`);
  }
}

/** Only a missing /dev/fuse excuses a test. */
function checkSkips() {
  const reasons = new Map();
  for (const { title, reason } of report.skips) {
    if (!reason.includes('/dev/fuse')) {
      report.failed++;
      report.failures.push({
        title: [title],
        detail: [`skipped (${reason || 'no reason'}): only a missing /dev/fuse may`],
      });
    }
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  for (const [reason, times] of reasons) print(`skipped ${times}: ${reason}`);
}

orExplain(() => prepare({ forTests: true }));
if (words.length === 0)
  check('lint (biome)', join(root, 'node_modules', '.bin', 'biome'), ['ci', '--colors=off', '.']);
const types = compileForTests();
if (types === '') report.passed++;
else {
  report.failed++;
  report.failures.push({ title: ['types (tsc)'], detail: types.split('\n') });
}
print(`${types === '' ? paint(32, 'ok  ') : paint(31, 'FAIL')}  types (tsc)`);

const files = testFiles().filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
const mark = `LOCKFERRY_TEST_RUN=${process.pid}-${Date.now()}`;
const folder = mkdtempSync(join(tmpdir(), 'lf-'));
// Users who are not root may pass to what is theirs inside: fusermount3 looks with their eyes.
chmodSync(folder, 0o711);
if (files.length > 0) {
  const [name, value] = mark.split('=');
  await runTap(files, { ...process.env, [name]: value, TMPDIR: folder });
}
await checkLeftovers(folder, mark);
checkSkips();
printFailures();
printComments();
print();
print(`${report.passed} passed, ${report.failed} failed, ${report.skipped} skipped`);
process.exitCode = report.failed > 0 ? 1 : 0;
