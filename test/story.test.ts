/** `npm start`: the story holds, leaves nothing behind, and cleans up when it is interrupted or cannot begin. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { skipReason } from './cluster.js';
import { startCommand } from './running-command.js';

const demo = fileURLToPath(new URL('../bin/demo.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'story-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

const isMounted = (place: string): boolean => readFileSync('/proc/mounts', 'utf8').includes(place);

t.test('the whole story', { skip: skipReason }, async (t) => {
  const place = join(folder, 'whole');
  const told = startCommand(t, demo, '--volume', place);
  t.equal(await told.ended, 0, 'exit code');
  await told.line(/All \d+ checks held/);
  await told.line(/granted in order: waiter 1, waiter 2, waiter 3, waiter 4, waiter 5/);
  await t.rejects(told.line(/BROKEN/));
  t.notOk(existsSync(place), 'its folder is gone');
});

t.test('Ctrl-C in the middle cleans up', { skip: skipReason }, async (t) => {
  const place = join(folder, 'interrupted');
  const told = startCommand(t, demo, '--volume', place);
  await told.line(/The file moves to/);
  told.kill('SIGINT');
  t.equal(await told.ended, 130);
  t.notOk(existsSync(place));
  t.notOk(isMounted(place));
});

t.test('--stay keeps it mounted until Ctrl-C', { skip: skipReason }, async (t) => {
  const place = join(folder, 'stay');
  const told = startCommand(t, demo, '--volume', place, '--stay');
  await told.line(/npx lockferry status/);
  t.ok(isMounted(join(place, 'mount-a')));
  told.kill('SIGINT');
  t.equal(await told.ended, 0);
  t.notOk(isMounted(place));
});

t.test('a story that was killed is cleared away by the next one', { skip: skipReason }, async (t) => {
  const place = join(folder, 'killed');
  const first = startCommand(t, demo, '--volume', place);
  await first.line(/The file moves to/);
  first.kill('SIGKILL');
  await first.ended;
  t.ok(existsSync(place));
  const second = startCommand(t, demo, '--volume', place);
  t.equal(await second.ended, 0);
  t.notOk(existsSync(place));
});

t.test('a folder of somebody else is left alone', { skip: skipReason }, async (t) => {
  const place = join(folder, 'other');
  mkdirSync(place);
  const told = startCommand(t, demo, '--volume', place);
  t.equal(await told.ended, 1);
  await told.line(/exists, and this story did not make it/);
  t.ok(existsSync(place));
});
