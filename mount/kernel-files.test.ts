/** Files and directories through a real mount, as processes see them. */
import t from 'tap';
import { KernelHarness, skipReason } from './testing/kernel-harness.js';

const skip = skipReason;

t.test('a file is made, written, read, renamed and removed', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  t.equal(await p.run(`put('a', b'hello')`), 5);
  t.equal(await p.run(`get('a')`), 'hello');
  t.equal(await p.run(`os.rename('a', 'b')`), null);
  t.equal(await p.run(`get('a')`), 'errno: ENOENT');
  t.equal(await p.run(`get('b')`), 'hello');
  t.equal(await p.run(`os.truncate('b', 2) or get('b')`), 'he');
  t.equal(await p.run(`put('b', b'new') and os.stat('b').st_size`), 3, 'O_TRUNC');
  t.equal(await p.run(`os.unlink('b')`), null);
  t.strictSame(await p.run(`os.listdir('.')`), []);
  t.strictSame(h.faults, []);
});

t.test('attributes are what was set, to the nanosecond and to 63 bits of inode', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`put('f', b'x'*1000)`);
  await p.run(
    `os.chmod('f', 0o4751); os.chown('f', 12, 34); os.utime('f', ns=(123456789, 1600000000987654321))`,
  );
  const stat = (await p.run(`os.stat('f')`)) as Record<string, number>;
  t.match(stat, { st_mode: 0o100751, st_uid: 12, st_gid: 34, st_size: 1000, st_nlink: 1, st_ino: 2 });
  t.equal(await p.run(`str(os.stat('f').st_mtime_ns)`), '1600000000987654321');
  t.equal(await p.run(`str(os.stat('f').st_atime_ns)`), '123456789');
  t.equal(await p.run(`os.utime('f', ns=(-1, -1)) or os.stat('f').st_mtime_ns`), -1, 'before 1970');
  t.strictSame(h.faults, []);
});

t.test('links, symbolic links, fifos and their errors', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`put('f', b'x')`);
  t.equal(await p.run(`os.link('f', 'g') or os.stat('f').st_nlink`), 2);
  t.equal(await p.run(`os.link('f', 'g')`), 'errno: EEXIST');
  t.equal(await p.run(`os.symlink('some/where', 's') or os.readlink('s')`), 'some/where');
  t.equal(await p.run(`os.mkfifo('p') or stat.S_ISFIFO(os.stat('p').st_mode)`), true);
  t.equal(await p.run(`os.mkdir('d') or os.mkdir('d')`), 'errno: EEXIST');
  t.equal(await p.run(`put('d/x', b'') or os.rmdir('d')`), 'errno: ENOTEMPTY');
  t.equal(await p.run(`os.unlink('d/x') or os.rmdir('d')`), null);
  t.equal(await p.run(`libc.renameat2(-100, b'f', -100, b's', 1) or ctypes.get_errno()`), -1, 'NOREPLACE');
  t.equal(await p.run(`ctypes.get_errno()`), 17);
  t.equal(await p.run(`libc.renameat2(-100, b'f', -100, b's', 2)`), -1, 'EXCHANGE');
  t.equal(await p.run(`ctypes.get_errno()`), 22);
  t.strictSame(h.faults, []);
});

t.test('a removed file lives while it is open, and is found again through /proc', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`put('f', b'still here')`);
  await p.run(`fd = os.open('f', os.O_RDWR)`);
  await p.run(`os.unlink('f')`);
  t.equal(await p.run(`os.pread(fd, 99, 0)`), 'still here');
  t.equal(await p.run(`os.fstat(fd).st_nlink`), 0);
  t.equal(await p.run(`get('/proc/self/fd/%d' % fd)`), 'still here');
  await p.run(`os.close(fd)`);
  await h.until(() => h.files.nodes.size === 1, 'the file to go');
  t.strictSame(h.faults, []);
});

t.test('ten thousand names are listed once each, also while some go', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  t.equal(await p.run(`[os.mknod('n%05d' % i) for i in range(10000)] and len(os.listdir('.'))`), 10000);
  t.equal(await p.run(`len(set(e.name for e in os.scandir('.') if e.is_file()))`), 10000);
  t.equal(await p.run(`len([os.unlink(e.name) for e in os.scandir('.')])`), 10000);
  t.strictSame(await p.run(`os.listdir('.')`), []);
  t.equal(await p.run(`os.mkdir('d') or os.stat('d/..').st_ino == os.stat('.').st_ino`), true);
  t.strictSame(h.faults, []);
});

t.test('extended attributes: set, sized, listed, removed, refused', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`put('f', b'x')`);
  t.equal(
    await p.run(`os.setxattr('f', 'user.a', b'1') or os.setxattr('f', 'trusted.b', bytes(5000))`),
    null,
  );
  t.equal(await p.run(`len(os.getxattr('f', 'trusted.b'))`), 5000);
  t.strictSame(await p.run(`os.listxattr('f')`), ['user.a', 'trusted.b']);
  t.equal(await p.run(`os.setxattr('f', 'user.a', b'2', os.XATTR_CREATE)`), 'errno: EEXIST');
  t.equal(await p.run(`os.setxattr('f', 'user.z', b'2', os.XATTR_REPLACE)`), 'errno: ENODATA');
  t.equal(await p.run(`os.removexattr('f', 'user.a') or os.getxattr('f', 'user.a')`), 'errno: ENODATA');
  t.equal(
    await p.run(`os.setxattr('f', 'security.capability', b'\\0\\0\\0\\2' + bytes(16))`),
    'errno: ENOTSUP',
  );
  t.equal(await p.run(`os.setxattr('f', 'system.posix_acl_access', b'\\2\\0\\0\\0')`), 'errno: ENOTSUP');
  t.strictSame(h.faults, []);
});

t.test('one megabyte travels in one request each way', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`data = os.urandom(4 << 20); fd = os.open('f', os.O_RDWR | os.O_CREAT)`);
  t.equal(await p.run(`os.pwrite(fd, data, 0)`), 4 << 20);
  t.equal(h.files.calls.filter((call) => call.endsWith(' write')).length, 4);
  await p.run(`os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)`);
  t.equal(await p.run(`os.pread(fd, 4 << 20, 0) == data`), true);
  const reads = h.requests.filter((line) => line.startsWith('READ '));
  t.ok(
    reads.some((line) => line.includes('size=1048576')),
    reads.join('\n'),
  );
  t.equal(
    await p.run(`mmap.mmap(fd, 0, prot=mmap.PROT_READ)[1234567:1234600] == data[1234567:1234600]`),
    true,
  );
  t.equal(await p.run(`m = mmap.mmap(fd, 0); m[5:8] = b'abc'; m.flush()`), null, 'written through memory');
  t.equal(await p.run(`os.fsync(fd)`), null);
  const node = [...h.files.nodes.values()].at(-1)!;
  t.equal(node.content.subarray(5, 8).toString(), 'abc');
  t.strictSame(h.faults, []);
});

t.test('holes: fallocate, punch, seek', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`put('f', b'0123456789'); fd = os.open('f', os.O_RDWR)`);
  t.equal(await p.run(`os.posix_fallocate(fd, 0, 100) or os.fstat(fd).st_size`), 100);
  t.equal(await p.run(`libc.fallocate(fd, 3, ctypes.c_long(2), ctypes.c_long(3))`), 0);
  t.equal(await p.run(`os.pread(fd, 10, 0)`), '01\0\0\x0056789');
  t.equal(await p.run(`os.lseek(fd, 5, os.SEEK_DATA)`), 5);
  t.equal(await p.run(`os.lseek(fd, 5, os.SEEK_HOLE)`), 100);
  t.equal(await p.run(`os.lseek(fd, 100, os.SEEK_DATA)`), 'errno: ENXIO');
  t.strictSame(h.faults, []);
});

t.test('a write by somebody else takes the set-user-ID bit away', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const mounted = await h.mount();
  const p = h.process(mounted);
  await p.run(`os.chmod('.', 0o777); put('f', b'x'); os.chmod('f', 0o6777)`);
  const q = h.process(mounted);
  await q.run(`fd = os.open('f', os.O_RDWR); os.setuid(1000)`);
  t.equal(await q.run(`os.pwrite(fd, b'y', 0)`), 1);
  t.equal(await p.run(`os.stat('f').st_mode & 0o7777`), 0o777);
  t.equal(await q.run(`put('own', b'') or os.stat('own').st_uid`), 1000);
  t.equal(await q.run(`os.chmod('f', 0)`), 'errno: EPERM');
  t.strictSame(h.faults, []);
});

t.test('a directory hands its group down', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  await p.run(`os.mkdir('d'); os.chown('d', 0, 77); os.chmod('d', 0o2755)`);
  t.equal(await p.run(`put('d/f', b'') or os.stat('d/f').st_gid`), 77);
  t.equal(await p.run(`os.mkdir('d/e') or os.stat('d/e').st_mode & 0o2000`), 0o2000);
  t.equal(await p.run(`os.stat('d/e').st_gid`), 77);
});

t.test('statfs shows the space of the volume', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount());
  t.strictSame(
    await p.run(`[os.statvfs('.').f_blocks, os.statvfs('.').f_bavail, os.statvfs('.').f_namemax]`),
    [1000, 600, 255],
  );
});

t.test(
  'a file that another mount made in the same moment is opened only as its mode allows',
  { skip },
  async (t) => {
    const h = new KernelHarness(t);
    const [a, b] = [await h.mount(), await h.mount()];
    const [p, q] = [h.process(a), h.process(b)];
    await p.run(`os.chmod('.', 0o777)`);
    await q.run(`os.setuid(1000)`);
    for (const [mode, expected] of [
      [0o600, 'errno: EACCES'],
      [0o666, 'first'],
    ] as const) {
      const name = `f${mode}`;
      h.files.before = async (method, client) => {
        if (method !== 'create' || !client.endsWith('2')) return;
        h.files.before = () => undefined;
        await p.run(`put('${name}', b'first'); os.chmod('${name}', ${mode})`);
      };
      t.equal(await q.run(`os.pread(os.open('${name}', os.O_RDWR | os.O_CREAT), 9, 0)`), expected);
    }
    t.equal(await q.run(`os.open('f${0o666}', os.O_RDWR | os.O_CREAT | os.O_EXCL)`), 'errno: EEXIST');
    t.strictSame(h.faults, []);
  },
);
