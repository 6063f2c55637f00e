/** What is mapped, read from text and from real processes on tmpfs or whatever holds temporary files. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { LockProcess } from '../../conformance/lock-process.js';
import { mappedFiles, mapsDevice, ProcessMaps } from './process-maps.js';

t.test('lines of maps, as proc(5) shows them', async (t) => {
  const maps = [
    '00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/dbus-daemon',
    '7f6517b32000-7f6517b34000 rw-s 00000000 00:29 6825951413818009221        /mnt/a name',
    '7f6517b34000-7f6517b36000 r--s 00000000 00:29 77 /mnt/read only',
    '7f6517b36000-7f6517b38000 rw-p 00000000 00:29 78 /mnt/private',
    '7f6517b38000-7f6517b3a000 rw-s 00000000 00:2a 79 /other/mount',
    '7ffc0b5ac000-7ffc0b5cd000 rw-p 00000000 00:00 0                          [stack]',
    '',
  ].join('\n');
  const { seen, stored } = mappedFiles(maps, '00:29');
  t.same([...seen], ['6825951413818009221', '77', '78']);
  t.same([...stored], ['6825951413818009221'], 'shared and writable');
  t.equal(mapsDevice('0:41'), '00:29');
  t.equal(mapsDevice('259:300'), '103:12c');
});

t.test('a real process that maps, and ends', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lf-maps-'));
  const process = LockProcess.start();
  t.teardown(async () => {
    await process.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const path = join(folder, 'file');
  const fd = await process.open(path, 'rw');
  await process.truncate(fd, 8192);
  const { dev, ino } = statSync(path);
  const row = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[2] ?? '')
    .find(
      (device) => Number(device.split(':')[1]) === (dev & 0xff) && Number(device.split(':')[0]) === dev >> 8,
    );
  const maps = new ProcessMaps(mapsDevice(row ?? '0:0'));
  t.teardown(() => maps.close());
  t.notOk((await maps.of(process.pid))?.seen.has(String(ino)));
  const again = maps.of(process.pid);
  t.notOk(again instanceof Promise, 'the same size: not looked at again');
  await process.map(fd, 8192);
  t.ok((await maps.of(process.pid))?.stored.has(String(ino)));
  await process.kill();
  t.same(await maps.of(process.pid), { seen: new Set(), stored: new Set() }, 'nothing when it is gone');
});
