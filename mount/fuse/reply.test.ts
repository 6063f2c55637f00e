/** Answers byte for byte, as the kernel reads them. The first 16 bytes are the header, which session.ts fills in. */
import t from 'tap';
import type { Epoch, FileId } from '../../wire/ids.js';
import type { Attributes } from '../../wire/messages.js';
import {
  attrReply,
  DirectoryPage,
  fileTypeOf,
  inodeNumber,
  lockReply,
  statfsReply,
  storePages,
} from './reply.js';

const bytes = (text: string): Buffer => Buffer.from(text.replace(/#.*$/gm, '').replace(/\s/g, ''), 'hex');

const attributes: Attributes = {
  file: '0123456789abcdeff000000000000102' as FileId,
  type: 'file',
  mode: 0o4755,
  nlink: 2,
  uid: 1000,
  gid: 100,
  rdev: 0,
  size: 2 ** 40 + 1,
  storedBytes: 1025,
  atimeNs: 1_000_000_002n,
  mtimeNs: -1n,
  ctimeNs: 0n,
  change: 9,
  epoch: 0 as Epoch,
};

t.test('attributes', (t) => {
  const expected = bytes(`
    0100000000000000  # valid for one second
    0065cd1d 00000000 # and a half
    0201000000000070  # ino: the low 63 bits of the id
    0100000000010000  # size
    0300000000000000  # blocks of 512
    0100000000000000  # atime
    ffffffffffffffff  # mtime, a nanosecond before 1970
    0000000000000000
    02000000 ffc99a3b 00000000
    ed890000          # regular, 4755
    02000000 e8030000 64000000 00000000
    00100000 00000000
  `);
  const { head } = attrReply(attributes, { entryMs: 0, attributesMs: 1500 });
  t.equal(head.subarray(16).toString('hex'), expected.toString('hex'));
  t.end();
});

t.test('a conflicting lock, and none', (t) => {
  const conflict = { type: 'write', start: 1n, end: (1n << 63n) - 1n, pid: 77 } as const;
  t.equal(
    lockReply(conflict).head.subarray(16).toString('hex'),
    bytes('0100000000000000 ffffffffffffff7f 01000000 4d000000').toString('hex'),
  );
  t.equal(lockReply(undefined).head.readUInt32LE(16 + 16), 2, 'F_UNLCK');
  t.end();
});

t.test('directory entries fit or are left for the next page', (t) => {
  const page = new DirectoryPage(64);
  t.ok(page.add('a', 5n, 'dir', 3));
  t.notOk(page.add('a name that is too long for the rest', 6n, 'file', 4));
  t.ok(page.add('12345678', 7n, 'symlink', 5));
  t.notOk(page.add('', 8n, 'file', 6));
  t.equal(
    Buffer.from(page.reply().data!).toString('hex'),
    bytes(`
      0500000000000000 0300000000000000 01000000 04000000 61 00000000000000
      0700000000000000 0500000000000000 08000000 0a000000 3132333435363738
    `).toString('hex'),
  );
  t.end();
});

t.test('an entry with attributes is 128 bytes more', (t) => {
  const page = new DirectoryPage(4096);
  const times = { entryMs: 1000, attributesMs: 1000 };
  t.ok(page.add('ab', 9n, 'file', 3, { nodeid: 77, attributes, times }));
  t.ok(page.add('cd', 9n, 'file', 4, 'name only'));
  const data = Buffer.from(page.reply().data!);
  t.equal(data.length, 2 * (128 + 24 + 8));
  t.equal(data.readUInt32LE(0), 77);
  t.equal(data.readUInt32LE(160), 0, 'node id 0: no attributes');
  t.equal(data.subarray(128 + 24, 128 + 26).toString(), 'ab');
  t.end();
});

t.test('small things', (t) => {
  t.equal(inodeNumber('ffffffffffffffffffffffffffffffff' as FileId), (1n << 63n) - 1n);
  t.equal(fileTypeOf(0o010644), 'fifo');
  t.equal(fileTypeOf(0o644), 'file', 'mknod(2): zero means a regular file');
  t.equal(fileTypeOf(0o150000), undefined);
  const head = statfsReply({ totalBytes: 8192, freeBytes: 4096, files: 3 }).head.subarray(16);
  t.strictSame([head.readUInt32LE(0), head.readUInt32LE(8), head.readUInt32LE(24)], [2, 1, 4]);
  const store = storePages(5, 4095, Buffer.from('x'));
  t.equal(
    store.toString('hex'),
    bytes(
      '29000000 04000000 0000000000000000 0500000000000000 ff0f000000000000 01000000 00000000 78',
    ).toString('hex'),
  );
  t.end();
});
