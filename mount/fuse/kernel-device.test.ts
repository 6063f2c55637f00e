/** What people are told when mounting fails, and the hand-over of the descriptor by a setuid helper. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { KernelHarness, skipReason } from '../testing/kernel-harness.js';
import { KernelDevice } from './kernel-device.js';

const skip = skipReason;

const scratch = (t: Test): string => {
  const directory = mkdtempSync(join(tmpdir(), 'lockferry-device-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
};

t.test('a mount point that cannot be one', { skip }, async (t) => {
  const directory = scratch(t);
  const mountOn = (mountpoint: string) => () => KernelDevice.mount({ mountpoint, source: 'v' });
  t.throws(mountOn(join(directory, 'absent')), /absent does not exist: create the directory first/);
  writeFileSync(join(directory, 'file'), '');
  t.throws(mountOn(join(directory, 'file')), /file is not a directory/);
  t.throws(mountOn('/proc'), /\/proc is a mount point already \(proc\)/);
  const h = new KernelHarness(t);
  t.throws(mountOn((await h.mount()).directory), /is a mount point already \(fuse.lockferry\)/);
});

t.test('a mount point with blanks, and unmounting without anybody on it', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const mountpoint = join(scratch(t), 'a blank\tand a tab');
  mkdirSync(mountpoint);
  t.teardown(() => h.unmount(mountpoint));
  const device = KernelDevice.mount({ mountpoint, source: 'v' });
  t.throws(() => KernelDevice.mount({ mountpoint, source: 'v' }), /is a mount point already/);
  const ended = new Promise((resolve) => device.start(() => undefined, resolve));
  // INIT stays unanswered: the kernel lets go of it all the same.
  device.close();
  t.equal(await ended, 'the mount was closed');
  const mounted = await h.mount();
  t.equal(await mounted.mount.unmount(), 'unmounted');
  t.equal(await mounted.mount.ended, 'unmounted');
  t.equal(await mounted.mount.unmount(), 'unmounted', 'once more does no harm');
});

/** Does what fusermount3 does for a user: mounts, and sends the descriptor over _FUSE_COMMFD. */
const helper = `#!/usr/bin/env python3
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[1] in ('-u', '-uz'):
    sys.exit(libc.umount2(sys.argv[3].encode(), 2 if sys.argv[1] == '-uz' else 0))
options, mountpoint = sys.argv[2], sys.argv[4]
if 'fsname=refused' in options: sys.exit('helper: refused, as asked')
fd = os.open('/dev/fuse', os.O_RDWR)
own = [o for o in options.split(',') if not o.startswith(('fsname=', 'subtype='))]
data = ','.join(['fd=%d' % fd, 'rootmode=40000', 'user_id=0', 'group_id=0'] + own)
if libc.mount(b'memory', mountpoint.encode(), b'fuse.lockferry', 6, data.encode()) != 0: sys.exit(1)
channel = socket.socket(fileno=int(os.environ['_FUSE_COMMFD']))
socket.send_fds(channel, [b'x'], [fd])
`;

t.test('the descriptor comes from a setuid helper where this user may not mount', { skip }, async (t) => {
  const directory = scratch(t);
  const program = join(directory, 'helper');
  writeFileSync(program, helper);
  chmodSync(program, 0o755);
  const h = new KernelHarness(t);
  const mounted = await h.mount({}, program);
  const p = h.process(mounted);
  t.equal(await p.run(`put('f', b'through the helper') and get('f')`), 'through the helper');
  t.equal(await mounted.mount.unmount(), 'detached', 'the process is in it');
  await p.run(`os.chdir('/')`);
  t.equal(await mounted.mount.ended, 'unmounted');
  mkdirSync(join(directory, 'm'));
  t.throws(
    () => KernelDevice.mount({ mountpoint: join(directory, 'm'), source: 'refused', helper: program }),
    /cannot mount on .*: helper: refused, as asked$/,
  );
  t.throws(
    () =>
      KernelDevice.mount({ mountpoint: join(directory, 'm'), source: 'v', helper: join(directory, 'none') }),
    /cannot mount on .*: none is missing/,
  );
});
