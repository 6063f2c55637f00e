/** Every check passes on the filesystems of Linux itself: they are the judges of the checks. And checks can fail. */
import { mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Bench } from './bench.js';
import { Mismatch } from './check.js';
import { checkAll } from './check-lanes.js';
import { checks } from './checks/all.js';
import { checksNamed, DifferentDirectories, runChecks } from './run-checks.js';

const tmpfsMagic = 0x01021994;

const folderIn = (t: Test, place: string): string => {
  const folder = mkdtempSync(join(place, 'lf-checks-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

t.test('on tmpfs, and in the folder for temporary files', async (t) => {
  const places = [tmpdir()];
  if (statfsSync('/dev/shm').type === tmpfsMagic) places.push('/dev/shm');
  for (const place of places) {
    const folder = folderIn(t, place);
    const results = await checkAll({ directory: folder, second: folder });
    t.same(
      results.filter(({ outcome }) => outcome !== 'passed'),
      [],
      place,
    );
    t.equal(results.length, Object.keys(checks).length);
    t.same(readdirSync(folder), [], 'nothing is left');
  }
});

t.test('what needs a second directory is left out without one', async (t) => {
  const names = checksNamed(['posix/scope']);
  t.equal(names.length, 3);
  const results = [];
  for await (const result of runChecks({ directory: folderIn(t, tmpdir()), names }))
    results.push(result.name);
  t.same(results, ['posix/scope-process-tree', 'posix/scope-mount']);
});

t.test('two directories that are not one are told apart', async (t) => {
  const [directory, second] = [folderIn(t, tmpdir()), folderIn(t, tmpdir())];
  const run = runChecks({ directory, second, names: checksNamed([]) });
  await t.rejects(run.next(), DifferentDirectories);
  t.same(readdirSync(directory), []);
});

t.test('an expectation that is not met says what was expected and what was seen', async (t) => {
  const bench = new Bench('expectations', folderIn(t, tmpdir()), undefined);
  t.teardown(() => bench.clear());
  const [a, b] = await bench.parties('posix', 2);
  await a!.take('write', 0, 10);
  const seen = await b!.test('read', 0, 0);
  const pid = a!.process.pid;
  t.throws(
    () => bench.expect('nobody', seen, undefined),
    new Mismatch('nobody: nothing', `{"type":"write","start":"0","length":"10","pid":${pid}}`),
  );
  const wait = await b!.wait('write', 0, 10);
  t.equal(wait.answer, undefined);
  await a!.drop();
  await bench.expectOutcome('the waiter', wait, 'granted');
  await t.rejects(bench.expectWaiting('a waiter that has its lock', wait), Mismatch);
  t.throws(() => bench.path('', 'second'), /needs a second/);
});
