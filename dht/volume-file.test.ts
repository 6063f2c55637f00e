/** volume.json: what is written is read back, and what is wrong is named. */
import t from 'tap';
import { inFolder, parseVolumeFile, serialiseVolumeFile, VolumeFileError } from './volume-file.js';

const sample = {
  format: 1,
  volume: '0123456789abcdef0123456789abcdef',
  name: 'demo',
  secret: 'shh',
  graceMs: 10_000,
  freezeMs: 250,
  attrTimeoutMs: 1000,
  bricks: [
    { name: 'brick-1', address: 'unix:run/brick-1.sock', folder: 'bricks/brick-1' },
    { name: 'brick-2', address: 'tcp:127.0.0.1:7001', folder: '/srv/brick-2' },
  ],
  version: 3,
};

const parse = (change: object) => parseVolumeFile(JSON.stringify({ ...sample, ...change }), '/v/volume.json');

t.test('what is written is read back the same', async (t) => {
  const volume = parse({});
  t.same(volume, sample);
  t.same(parseVolumeFile(serialiseVolumeFile(volume), 'x'), volume);
});

t.test('times that are absent take the defaults', async (t) => {
  const volume = parse({ graceMs: undefined, freezeMs: undefined, attrTimeoutMs: undefined });
  t.match(volume, { graceMs: 10_000, freezeMs: 250, attrTimeoutMs: 1000 });
});

t.test('paths are relative to the folder of the file; absolute ones and TCP addresses stay', async (t) => {
  t.same(inFolder(parse({}), '/v').bricks, [
    { name: 'brick-1', address: 'unix:/v/run/brick-1.sock', folder: '/v/bricks/brick-1' },
    { name: 'brick-2', address: 'tcp:127.0.0.1:7001', folder: '/srv/brick-2' },
  ]);
});

t.test('an error names the file, the field and what is expected', async (t) => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ format: 2 }, /"format" must be 1/],
    [{ volume: 'xyz' }, /"volume" must be 32 hex.*found "xyz"/],
    [{ name: '' }, /"name"/],
    [{ name: 'two\nlines' }, /"name"/],
    [{ secret: undefined }, /"secret" must be .* it is missing/],
    [{ graceMs: -1 }, /"graceMs" must be a whole number from 0/],
    [{ freezeMs: 1.5 }, /"freezeMs"/],
    [{ version: '3' }, /"version"/],
    [{ bricks: [] }, /"bricks" must be a list of at least one/],
    [{ bricks: {} }, /"bricks"/],
    [{ bricks: ['brick-1'] }, /"bricks\[0\]" must be an object/],
    [{ bricks: [{ ...sample.bricks[0], name: 'Brick 1' }] }, /"bricks\[0\]\.name"/],
    [
      { bricks: [{ ...sample.bricks[0], address: 'run/x.sock' }] },
      /"bricks\[0\]\.address" must be "unix:PATH"/,
    ],
    [{ bricks: [{ ...sample.bricks[0], address: 'tcp:h:99999' }] }, /address/],
    [{ bricks: [sample.bricks[0], sample.bricks[0]] }, /"bricks\[1\]\.name" must be different/],
  ];
  for (const [change, expected] of cases) {
    t.throws(() => parse(change), { constructor: VolumeFileError, message: expected }, String(expected));
    t.throws(() => parse(change), /^\/v\/volume\.json: |^.*\/v\/volume\.json/);
  }
  t.throws(() => parseVolumeFile('{', '/v/volume.json'), /\/v\/volume\.json is not JSON/);
  t.throws(() => parseVolumeFile('[]', '/v/volume.json'), /must be an object/);
});

t.test('the owner of the root directory is two numbers', async (t) => {
  t.same(parse({ rootOwner: { uid: 1000, gid: 100 } }).rootOwner, { uid: 1000, gid: 100 });
  t.throws(() => parse({ rootOwner: { uid: -1, gid: 0 } }), /"rootOwner.uid" must be a whole number/);
  t.throws(
    () => parse({ rootOwner: { uid: 0, gid: 2 ** 32 - 1 } }),
    /"rootOwner.gid" must be a whole number/,
  );
});

t.test('bricks that join lie in the folder like the others; bricks that left are names', async (t) => {
  const joiningBricks = [{ name: 'brick-9', address: 'unix:run/brick-9.sock', folder: 'bricks/brick-9' }];
  const read = parse({ joiningBricks, rootBricks: ['brick-1'], retiredBricks: ['brick-8'] });
  t.match(read, { joiningBricks, rootBricks: ['brick-1'], retiredBricks: ['brick-8'] });
  t.match(inFolder(read, '/vol'), { joiningBricks: [{ address: 'unix:/vol/run/brick-9.sock' }] });
  t.throws(() => parse({ retiredBricks: ['NO'] }), /retiredBricks.*brick names/);
});
