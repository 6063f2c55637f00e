/** What `npm test` counts and shows is what tap said: leaves once, crashes as failures, nothing swallowed. */
import t from 'tap';

const { readableDetail, TapReport } = await import(
  new URL('../../scripts/tap-report.mjs', import.meta.url).href
);

const read = (text: string) => {
  const report = new TapReport();
  for (const line of text.split('\n')) report.line(line);
  return report;
};

t.test('leaves are counted once, with the path of what failed', async (t) => {
  const report = read(`TAP version 14
# Subtest: dist/a.test.js
    # Subtest: one
        ok 1 - fine
        # Subtest: deep
            ok 1 - fine
            not ok 2 - two is three
              ---
              diff: |
                -3
                +2
              ...
            1..2
        not ok 2 - deep # time=25.8ms
          ---
          at:
            lineNumber: 2
          ...
        1..2
    not ok 1 - one # time=33ms
    ok 2 - needs a kernel # SKIP no /dev/fuse
    1..2
not ok 1 - dist/a.test.js # time=41ms
  ---
  exitCode: 1
  ...`);
  t.match(report, { passed: 2, failed: 1, skipped: 1 });
  t.same(report.failures[0].title, ['dist/a.test.js', 'one', 'deep', 'two is three']);
  t.match(report.failures[0].detail.join('\n'), /diff/);
  t.match(report.skips, [{ title: 'dist/a.test.js > needs a kernel', reason: 'no /dev/fuse' }]);
  t.match(report.takeFiles(), [{ name: 'dist/a.test.js', ok: false, ms: 41 }]);
  t.same(report.takeFiles(), []);
});

t.test('what a file said is kept where it failed, and only there', async (t) => {
  const report = read(`# Subtest: dist/a.test.js
    # a moved
    ok 1 - fine
    1..1
ok 1 - dist/a.test.js # time=41ms
# Subtest: dist/b.test.js
    # Subtest: kills
        # b was killed
        not ok 1 - it is back
        1..1
    not ok 1 - kills # time=33ms
    # brick-1: opened
    1..1
    # time=40ms
not ok 2 - dist/b.test.js # time=41ms`);
  t.same(report.comments, [{ name: 'dist/b.test.js', lines: ['b was killed', 'brick-1: opened'] }]);
});

t.test('a file that crashed after its assertions passed is one failure', async (t) => {
  const report = read(`# Subtest: dist/b.test.js
    ok 1 - fine
    1..1
not ok 1 - dist/b.test.js # time=7ms
  ---
  exitCode: 3
  ...`);
  t.match(report, { passed: 1, failed: 1, skipped: 0 });
  t.same(report.failures[0].title, ['dist/b.test.js']);
  t.match(report.failures[0].detail, ['exitCode: 3']);
});

t.test('a file that ran nothing, and a bail out, are failures; a test for later is one too', async (t) => {
  t.equal(read('not ok 1 - dist/e.test.js # time=900ms').failed, 1);
  t.equal(read('Bail out! no way').failed, 1);
  t.match(read(`ok 1 - later # ${'TO'}${'DO'}`), { passed: 0, failed: 1 });
});

t.test('a failure in a file that also failed elsewhere is not counted again', async (t) => {
  const report = read(`# Subtest: dist/c.test.js
    not ok 1 - timeout!
    not ok 2 - wrong
    1..2
not ok 1 - dist/c.test.js
ok 2 - dist/d.test.js # time=5ms`);
  t.match(report, { passed: 1, failed: 2 });
});

t.test('details keep what helps and drop how node was called', async (t) => {
  const detail = [
    'compare: ===',
    'stack: |',
    '  here',
    'source: |',
    '  code',
    'command: /usr/bin/node',
    'args:',
    '  - x',
  ];
  t.same(readableDetail(detail), ['compare: ===', 'stack: |', '  here']);
});
