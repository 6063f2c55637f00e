/**
 * A user who is not root makes, mounts and uses a volume: through fusermount3, with nothing but a /dev/fuse that may be
 * opened, as Debian has it. What is his is his, and other users get what the modes say.
 */
import { execFile } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { cliPath } from '../bin/brick-processes.js';
import { lockferryMountsBelow } from '../bin/mountpoints.js';
import { skipReason } from './cluster.js';
import { takeOutOfTheTree } from './mount-process.js';

const run = promisify(execFile);
const msMax = 120_000;

/** nobody, on every Debian. */
const uid = 65_534;

/** With its process all that it started ends, and with that all that it mounted. */
const alone = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

/**
 * In a mount namespace whose /dev/fuse everybody may open. The checkout may lie where this user may not look: of root's
 * rights it keeps that of reading.
 */
const asUser = [
  'mkdir dev && mknod dev/fuse c 10 229 && chmod 666 dev/fuse && mount --bind dev/fuse /dev/fuse',
  `exec setpriv --reuid=${uid} --regid=${uid} --clear-groups \\
     --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search --bounding-set=+all sh -ec "$SESSION"`,
].join('\n');

/** Without what tap has every process of Node load: it writes into the checkout, where this user may not write. */
const session = `
unset NODE_OPTIONS
cd home
lockferry() { "$NODE" "$CLI" "$@"; }
lockferry volume create vol --bricks 2
trap 'lockferry umount a; lockferry umount b; lockferry volume stop vol' EXIT
lockferry volume start vol
mkdir a b
lockferry mount vol a --daemon
lockferry mount vol b --daemon
echo hello >a/file
mkdir a/folder
echo "file: $(cat b/file), $(stat -c %u:%g b/file), folder: $(stat -c %u:%g b/folder), root: $(stat -c %u:%g b)"
if chown 0 a/file; then echo chown to root was allowed; fi
lockferry migrate vol file --to brick-1
lockferry migrate vol file --to brick-2
lockferry check a --second b
`;

t.test('a volume of a user who is not root', { skip: skipReason, timeout: 2 * msMax }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lf-user-'));
  t.teardown(() => {
    for (const { point } of lockferryMountsBelow(folder)) takeOutOfTheTree(point);
    rmSync(folder, { recursive: true, force: true });
  });
  const home = join(folder, 'home');
  mkdirSync(home);
  chownSync(home, uid, uid);
  // The way to it: mkdtemp makes folders for root alone.
  chownSync(folder, uid, uid);
  const { stdout, stderr } = await run('unshare', [...alone, 'sh', '-ec', asUser], {
    cwd: folder,
    timeout: msMax,
    killSignal: 'SIGKILL',
    env: {
      ...process.env,
      HOME: home,
      SESSION: session,
      NODE: process.execPath,
      CLI: cliPath,
    },
  });
  t.match(stdout, `file: hello, ${uid}:${uid}, folder: ${uid}:${uid}, root: ${uid}:${uid}`);
  t.notMatch(stdout, 'chown to root was allowed');
  t.match(stderr, /chown: .*Operation not permitted/);
  t.match(stdout, /^\d+ passed, 0 failed/m);
  t.match(stdout, /^a is unmounted\.\n/m);
});
