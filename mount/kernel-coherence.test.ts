/**
 * What one mount sees of another's writes: all of them once it holds the lock or has opened the file, and the kernel's
 * cache is kept where nothing changed.
 */
import t from 'tap';
import { KernelHarness, skipReason } from './testing/kernel-harness.js';

const skip = skipReason;
/** Nothing may depend on the kernel asking again by itself. */
const cacheForEver = { entryMs: 3_600_000, attributesMs: 3_600_000 };
const countOf = (h: KernelHarness, op: string) =>
  h.requests.filter((line) => line.startsWith(`${op} `)).length;

t.test('a lock brings what the holders before wrote', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const [p, q] = [h.process(await h.mount(cacheForEver)), h.process(await h.mount(cacheForEver))];
  await p.run(`put('f', b'0' * 10000); fd = os.open('f', os.O_RDWR)`);
  await q.run(`fd = os.open('f', os.O_RDWR)`);
  for (let round = 1; round < 50; round++) {
    // By turns at first; then one only reads, so that no write of its own makes its kernel ask again.
    const [writer, reader] = round > 25 || round % 2 === 0 ? [p, q] : [q, p];
    t.equal(await writer.run(`lock(fd, W)`), 0);
    await writer.run(
      `os.pwrite(fd, b'%05d' % ${round}, 5000); os.ftruncate(fd, 10000 + ${round}); lock(fd, U)`,
    );
    t.equal(await reader.run(`lock(fd, R)`), 0);
    t.equal(await reader.run(`os.pread(fd, 5, 5000)`), String(round).padStart(5, '0'));
    t.equal(await reader.run(`os.fstat(fd).st_size`), 10000 + round);
    t.equal(await reader.run(`len(os.pread(fd, 99999, 0))`), 10000 + round);
    await reader.run(`lock(fd, U)`);
  }
  t.strictSame(h.faults, []);
});

t.test('the cache is kept while nobody else writes, whatever this mount writes', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const p = h.process(await h.mount(cacheForEver));
  await p.run(`put('f', b'0' * 100000); fd = os.open('f', os.O_RDWR); os.pread(fd, 100000, 0)`);
  const reads = countOf(h, 'READ');
  for (let round = 0; round < 10; round++)
    await p.run(`lock(fd, W); os.pwrite(fd, b'x', ${round * 5000}); lock(fd, U); lock(fd, R); lock(fd, U)`);
  await p.run(`os.close(os.open('f', os.O_RDONLY))`);
  t.equal(
    await p.run(`os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM) or len(set(os.pread(fd, 50000, 0)))`),
    2,
  );
  t.ok(countOf(h, 'READ') - reads <= 1, 'the size is asked for after a write, the pages at most once');
});

t.test('an open brings what was written and closed before', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const [p, q] = [h.process(await h.mount(cacheForEver)), h.process(await h.mount(cacheForEver))];
  await p.run(`put('f', b'old')`);
  t.equal(await q.run(`get('f')`), 'old');
  for (let round = 0; round < 20; round++) {
    const text = `round ${round}`.repeat(round + 1);
    await p.run(`put('f', b'${text}', 'r+b')`);
    t.equal(await q.run(`get('f')`), text);
  }
  t.strictSame(h.faults, []);
});

t.test('append goes to the end that another mount moved', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const [p, q] = [h.process(await h.mount(cacheForEver)), h.process(await h.mount(cacheForEver))];
  const open = `fd = os.open('log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)`;
  await p.run(open);
  await q.run(open);
  let expected = '';
  for (let round = 0; round < 20; round++) {
    const line = `line ${round} ${'.'.repeat(round * 300)}\n`;
    const writer = round % 3 === 0 ? p : q;
    await writer.run(`lock(fd, W); os.write(fd, ${JSON.stringify(line)}.encode()); lock(fd, U)`);
    expected += line;
  }
  // Exactly a page: the byte that grows the file is then the first of the last page.
  const rest = 4096 - (expected.length % 4096) + 1;
  await p.run(`lock(fd, W); os.write(fd, b'p' * ${rest}); lock(fd, U)`);
  await q.run(`lock(fd, W); os.write(fd, b'q'); lock(fd, U)`);
  expected += `${'p'.repeat(rest)}q`;
  const content = [...h.files.nodes.values()].at(-1)!.content.toString();
  t.equal(content, expected);
  t.equal(await p.run(`get('log')`), expected);
  t.equal(await q.run(`get('log')`), expected);
  t.strictSame(h.faults, []);
});

t.test('a grant waits for a READ in flight and for nothing else', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const [a, b] = [await h.mount(cacheForEver), await h.mount(cacheForEver)];
  const [p, q, r] = [h.process(a), h.process(b), h.process(b)];
  await p.run(`put('f', b'0' * 4096); fd = os.open('f', os.O_RDWR)`);
  await q.run(`fd = os.open('f', os.O_RDWR)`);
  await r.run(`fd = os.open('f', os.O_RDWR)`);
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let reading = false;
  h.files.before = (method, client) => {
    if (method !== 'read' || !client.endsWith('2')) return undefined;
    reading = true;
    return held;
  };
  const slowRead = q.run(`os.pread(fd, 1, 0)`);
  await h.until(() => reading, 'the READ');
  await p.run(`os.pwrite(fd, b'1', 0)`);
  let granted = false;
  const lock = r.run(`lock(fd, R)`).then((value) => {
    granted = true;
    return value;
  });
  await h.until(() => h.files.held.length === 1, 'the grant at the volume');
  t.equal(await p.run(`os.stat('.').st_nlink`), 2, 'the mount goes on meanwhile');
  t.equal(await r.run.call(h.process(b), `os.stat('.').st_nlink`), 2, 'the other one too');
  t.equal(granted, false);
  release();
  await slowRead;
  t.equal(await lock, 0);
  t.equal(await r.run(`os.pread(fd, 1, 0)`), '1');
  t.strictSame(h.faults, []);
});

t.test('a name whose file was removed elsewhere is looked up again, not opened', { skip }, async (t) => {
  const h = new KernelHarness(t);
  const [p, q] = [h.process(await h.mount(cacheForEver)), h.process(await h.mount(cacheForEver))];
  await p.run(`put('journal', b'hot'); keep = os.open('journal', os.O_RDONLY)`);
  t.equal(await q.run(`get('journal')`), 'hot');
  await p.run(`os.unlink('journal')`);
  t.equal(await q.run(`get('journal')`), 'errno: ENOENT', 'though it lives on, open on the first mount');
  t.equal(await p.run(`os.pread(keep, 9, 0)`), 'hot');
  await p.run(`put('journal', b'new')`);
  t.equal(await q.run(`get('journal')`), 'new');
  t.strictSame(h.faults, []);
});
