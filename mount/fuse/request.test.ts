/** Messages as the kernel writes them, byte for byte, and what is made of them. */
import t from 'tap';
import { describeRequest } from './describe.js';
import { MalformedRequest, parseRequest } from './request.js';

/** Hexadecimal with comments (`# …` to the end of the line) and blanks left out. */
const bytes = (text: string): Buffer => Buffer.from(text.replace(/#.*$/gm, '').replace(/\s/g, ''), 'hex');

const header = (opcode: string) => `
  60000000          # len
  ${opcode}000000   # opcode
  0a00000000000000  # unique 10
  0500000000000000  # nodeid 5
  e8030000          # uid 1000
  64000000          # gid 100
  d2040000          # pid 1234
  00000000          # no extensions
`;

const head = { unique: 10, nodeid: 5, uid: 1000, gid: 100, pid: 1234 };

t.test('SETLKW: owner, range, kind', (t) => {
  const body = `
    0700000000000000  # fh 7
    efcdab8967452301  # lock owner
    0a00000000000000  # start 10
    ffffffffffffff7f  # end OFFSET_MAX
    01000000          # F_WRLCK
    2a000000          # pid 42
    00000000          # lk_flags
    00000000
  `;
  const request = parseRequest(bytes(header('21') + body));
  t.strictSame(request, {
    op: 'SETLKW',
    head,
    fh: 7,
    owner: '0123456789abcdef',
    start: 10n,
    end: (1n << 63n) - 1n,
    type: 'write',
    pid: 42,
    flock: false,
  });
  t.equal(
    describeRequest(request),
    'SETLKW #10 node 5 pid 1234 fh=7 owner=0123456789abcdef start=10 end=9223372036854775807 type=write pid=42 flock=false',
  );
  t.end();
});

t.test('a lock of an unknown type breaks the protocol', (t) => {
  const body = `${'00 00 00 00 00 00 00 00'.repeat(4)}09000000 00000000 00000000 00000000`;
  t.throws(() => parseRequest(bytes(header('20') + body)), MalformedRequest);
  t.end();
});

t.test('WRITE: the data is a copy', (t) => {
  const message = bytes(`${header('10')}
    0300000000000000  # fh 3
    0000000001000000  # offset 4 GiB
    05000000          # size 5
    04000000          # KILL_SUIDGID
    0000000000000000  # lock owner
    02040000          # O_RDWR | O_APPEND
    00000000
    68656c6c6f        # hello
  `);
  const request = parseRequest(message);
  message.fill(0);
  t.match(request, { op: 'WRITE', fh: 3, offset: 2 ** 32, writeFlags: 4, flags: 0o2002 });
  if (request.op === 'WRITE') t.equal(Buffer.from(request.data).toString(), 'hello');
  t.throws(
    () => parseRequest(bytes(header('10') + '00'.repeat(16) + 'ff'.repeat(4) + '00'.repeat(20))),
    MalformedRequest,
  );
  t.end();
});

t.test('RENAME2: two names that are not text', (t) => {
  const request = parseRequest(
    bytes(`${header('2d')}
      0900000000000000  # new directory 9
      01000000          # NOREPLACE
      00000000
      ff6100            # one name
      c3a400            # the other
    `),
  );
  t.match(request, { op: 'RENAME2', newdir: 9, flags: 1, name: '\xffa', newName: '\xc3\xa4' });
  t.ok(describeRequest(request).endsWith('newName="ä"'));
  t.throws(
    () => parseRequest(bytes(`${header('2d')} ${'00'.repeat(16)} 6100 62`)),
    MalformedRequest,
    'no end',
  );
  t.end();
});

t.test('SETATTR: times before 1970', (t) => {
  const body = Buffer.alloc(88);
  body.writeUInt32LE(0x31, 0);
  body.writeBigInt64LE(-2n, 32);
  body.writeUInt32LE(999_999_999, 56);
  const request = parseRequest(Buffer.concat([bytes(header('04')), body]));
  t.match(request, { op: 'SETATTR', valid: 0x31, atimeNs: -1_000_000_001n });
  t.end();
});

t.test('BATCH_FORGET, INTERRUPT, an opcode from the future, a stump', (t) => {
  const forget = `02000000 00000000  0200000000000000 0100000000000000  0300000000000000 ff00000000000000`;
  t.match(parseRequest(bytes(header('2a') + forget)), {
    op: 'BATCH_FORGET',
    forgets: [
      { nodeid: 2, nlookup: 1 },
      { nodeid: 3, nlookup: 255 },
    ],
  });
  t.match(parseRequest(bytes(`${header('24')} 0800000000000000`)), { op: 'INTERRUPT', interrupted: 8 });
  t.match(parseRequest(bytes(header('99'))), { op: 'UNKNOWN', opcode: 0x99 });
  t.throws(() => parseRequest(bytes(header('0f'))), RangeError, 'READ without a body');
  t.throws(() => parseRequest(Buffer.alloc(12)), MalformedRequest);
  t.end();
});
