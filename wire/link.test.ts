/**
 * The life of a link: calls, loss, resending in order, acknowledgements, giving up, silence.
 */
import t from 'tap';
import { settle } from '../test/doors/manual-clock.js';
import { address, endsClean, file, hello, setUp, waitingLock, watch } from '../test/doors/scripted-brick.js';
import { Refusal } from './errors.js';

t.test('start, call, close', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  t.equal(it.link.state, 'up');
  t.match(it.brick.hellos, [{ ...hello, incarnation: 1 }]);
  await it.link.call('sync', { file });
  const { seq, answer } = it.link.callNumbered('sync', { file });
  t.equal(seq, 2);
  await answer;
  await it.link.close();
  t.strictSame(it.brick.got, ['sync 1', 'sync 2', 'goodbye 3']);
  t.strictSame(it.states, ['up', 'closed']);
  await t.rejects(it.link.call('sync', { file }), { code: 'ENOTCONN' });
});

t.test('close does not wait for a brick that does not answer', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.isPrompt = false;
  const call = watch(it.link.call('sync', { file }));
  const closed = watch(it.link.close());
  await it.clock.advance(999);
  t.equal(closed.outcome, 'open');
  await it.clock.advance(1);
  t.equal(closed.outcome, 'answered');
  t.equal(call.outcome, 'ENOTCONN');
});

t.test('requests in flight are sent again in their order; answered ones are not', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  await it.link.call('sync', { file });
  it.brick.isPrompt = false;
  const calls = [1, 2, 3].map(() => watch(it.link.call('sync', { file })));
  await settle();
  it.brick.current!.answer(3, 'sync', {});
  await settle();
  t.strictSame(
    calls.map((call) => call.outcome),
    ['open', 'answered', 'open'],
  );
  it.brick.session = 'resumed';
  it.network.cut();
  calls.push(watch(it.link.call('sync', { file })));
  await settle();
  t.strictSame(it.brick.got, ['sync 1', 'sync 2', 'sync 3', 'sync 4', 'sync 2', 'sync 4', 'sync 5']);
  t.equal(it.clock.now(), 0, 'at once');
  for (const seq of [4, 5, 2]) it.brick.current!.answer(seq, 'sync', {});
  await settle();
  t.ok(calls.every((call) => call.outcome === 'answered'));
  t.strictSame(it.states, ['up', 'lost', 'up']);
});

t.test('a call made while the link is down waits for it', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.session = 'resumed';
  it.network.unreachable.add(address);
  it.network.cut();
  await settle();
  const call = watch(it.link.call('sync', { file }));
  await it.clock.advance(3000);
  t.equal(call.outcome, 'open');
  it.network.unreachable.clear();
  await it.clock.advance(500);
  t.equal(call.outcome, 'answered');
});

t.test('attempts come at once, then with a delay that doubles up to half a second', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.network.unreachable.add(address);
  it.network.attempts.length = 0;
  it.network.cut();
  await it.clock.advance(2000);
  // The drawn half of each delay is 0 here: 10, 20, 40 … 500 ms become 5, 10, 20 … 250 ms.
  t.strictSame(it.network.attempts.slice(0, 9), [0, 5, 15, 35, 75, 155, 315, 565, 815]);
});

t.test('acknowledgements: the lowest unanswered number, and answers above it', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  await it.link.call('sync', { file });
  const wait = it.link.callNumbered('lock', waitingLock);
  for (let round = 0; round < 3; round++) await it.link.call('sync', { file });
  t.strictSame(
    it.brick.requests.map(({ seq, acked, alsoAcked }) => [seq, acked, alsoAcked]),
    [
      [1, 1, []],
      [2, 2, []],
      [3, 2, []],
      [4, 2, [3]],
      [5, 2, [4]],
    ],
  );
  it.brick.current!.answer(wait.seq, 'lock', { outcome: 'granted', change: 1 });
  t.strictSame(await wait.answer, { outcome: 'granted', change: 1 });
  await it.link.call('sync', { file });
  t.match(it.brick.requests.at(-1), { seq: 6, acked: 6, alsoAcked: [] });
});

t.test('acknowledgements hold for any order of answers', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.isPrompt = false;
  const open = new Set<number>();
  const told = new Set<number>();
  let draw = 7;
  for (let round = 0; round < 6000; round++) {
    draw = (draw * 1_103_515_245 + 12_345) % 2_147_483_648;
    const seqs = [...open];
    if (seqs.length > 0 && draw % 100 < 49) {
      const seq = seqs[draw % seqs.length]!;
      open.delete(seq);
      it.brick.current!.answer(seq, 'sync', {});
      await Promise.resolve();
      await Promise.resolve();
    } else {
      const { seq, answer } = it.link.callNumbered('sync', { file });
      void answer;
      open.add(seq);
    }
  }
  await settle();
  let highest = 0;
  for (const { acked, alsoAcked, seq } of it.brick.requests) {
    t.ok(acked >= highest && acked <= seq, 'only grows');
    highest = acked;
    for (const also of alsoAcked) {
      if (told.has(also)) t.fail(`${also} was told twice`);
      told.add(also);
    }
  }
  for (const seq of open) {
    if (seq < highest || told.has(seq)) t.fail(`${seq} is unanswered and was acknowledged`);
  }
  for (const seq of open) it.brick.current!.answer(seq, 'sync', {});
  await settle();
});

t.test('given up: refused once, never sent later, and calls work again when the brick is back', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.isPrompt = false;
  const sent = watch(it.link.call('sync', { file }));
  await settle();
  it.network.unreachable.add(address);
  it.network.cut();
  await settle();
  const queued = watch(it.link.call('sync', { file }));
  await it.clock.advance(9999);
  t.strictSame([sent.outcome, queued.outcome], ['open', 'open']);
  await it.clock.advance(1);
  t.strictSame([sent.outcome, queued.outcome], ['ENOTCONN', 'ENOTCONN']);
  await t.rejects(it.link.call('sync', { file }), {
    code: 'ENOTCONN',
    message: /brick-1 \(unix:\/brick-1\) cannot be reached for 10 s \(.*nobody listens\)/,
  });
  it.network.attempts.length = 0;
  await it.clock.advance(5000);
  t.ok(it.network.attempts.length >= 10, 'it goes on trying');
  it.brick.session = 'resumed';
  it.brick.isPrompt = true;
  it.network.unreachable.clear();
  await it.clock.advance(500);
  await it.link.call('sync', { file });
  t.strictSame(it.brick.got, ['sync 1', 'sync 3']);
  t.match(it.brick.requests.at(-1), { acked: 3 }, 'nobody waits for the answers to what was given up');
});

t.test('start gives up too, and the link is up when the brick comes at last', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  it.network.unreachable.add(address);
  const start = t.rejects(it.link.start(), { code: 'ENOTCONN', message: /brick-1.*cannot be reached/ });
  const call = watch(it.link.call('sync', { file }));
  await it.clock.advance(10_000);
  await start;
  t.equal(call.outcome, 'ENOTCONN');
  it.network.unreachable.clear();
  await it.clock.advance(500);
  t.equal(it.link.state, 'up');
  await it.link.call('sync', { file });
});

t.test('a brick that refuses hello fails the start at once, in its own words', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  it.brick.refusal = new Refusal('EACCES', 'the secret is wrong');
  await t.rejects(it.link.start(), { code: 'EACCES', message: /brick-1.*the secret is wrong/ });
});

t.test(
  'a brick that forgot a session with something in it: as if fenced, within one incarnation',
  async (t) => {
    let fenced = 0;
    const it = await setUp({
      onFenced: () => {
        fenced += 1;
      },
    });
    endsClean(t, it);
    await it.link.start();
    it.network.cut();
    await settle();
    t.equal(fenced, 0, 'nothing was done in it: nothing is lost');
    await it.link.call('sync', { file });
    it.brick.isPrompt = false;
    const call = watch(it.link.call('sync', { file }));
    await settle();
    it.network.cut();
    await it.clock.advance(100);
    t.equal(fenced, 1);
    t.equal(call.outcome, 'EIO');
    t.equal(it.link.state, 'up');
  },
);

t.test('an idle link pings, and one that hears nothing is closed and made anew', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.session = 'resumed';
  await it.clock.advance(8000);
  t.ok(it.brick.got.filter((line) => line.startsWith('ping')).length >= 2);
  t.strictSame(it.states, ['up']);
  it.network.silence();
  await it.clock.advance(10_000);
  t.strictSame(it.states, ['up', 'lost', 'up']);
  await it.link.call('sync', { file });
});

t.test('events are told; the answer to what nobody waits for is not', async (t) => {
  const heard: unknown[] = [];
  const it = await setUp({ onEvent: (name, body) => void heard.push([name, body]) });
  endsClean(t, it);
  await it.link.start();
  it.brick.current!.event('queued', { seq: 4, file, ticket: 9 as never });
  it.brick.current!.answer(77, 'sync', {});
  it.brick.current!.refuse(78, new Refusal('EIO'));
  await settle();
  t.strictSame(heard, [['queued', { seq: 4, file, ticket: 9 }]]);
  t.equal(it.link.state, 'up');
});

t.test(
  'an answer that breaks its row: the call is refused, not repeated, and the connection made anew',
  async (t) => {
    const it = await setUp();
    endsClean(t, it);
    await it.link.start();
    it.brick.isPrompt = false;
    it.brick.session = 'resumed';
    const bad = watch(it.link.call('space', {}));
    const good = watch(it.link.call('sync', { file }));
    await settle();
    it.brick.current!.answer(1, 'sync', {});
    await settle();
    t.equal(bad.outcome, 'EPROTO');
    t.strictSame(it.brick.got, ['space 1', 'sync 2', 'sync 2']);
    it.brick.current!.answer(2, 'sync', {});
    await settle();
    t.equal(good.outcome, 'answered');
  },
);

t.test('an address that is asked for each time may change, and may fail', async (t) => {
  let asked = 0;
  const it = await setUp({
    address: () => {
      asked += 1;
      if (asked === 1) throw new Error('the volume file cannot be read');
      return Promise.resolve(address);
    },
  });
  endsClean(t, it);
  const start = it.link.start();
  await it.clock.advance(10);
  await start;
  t.equal(asked, 2);
});

t.test('abandon ends an attempt that is under way', async (t) => {
  let go: ((address: string) => void) | undefined;
  const it = await setUp({
    address: () =>
      new Promise((resolve) => {
        go = resolve;
      }),
  });
  endsClean(t, it);
  const start = t.rejects(it.link.start(), { code: 'ENOTCONN', message: /was closed/ });
  it.link.abandon();
  await start;
  go!(address);
  await settle();
  t.equal(it.network.openConnections, 0);
});

t.test('an answer that does not fit a frame fails its request only', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.isPrompt = false;
  const call = watch(it.link.call('getXattr', { file, name: 'user.a' as never }));
  await settle();
  it.brick.current!.answer(1, 'getXattr', { value: new Uint8Array(2 * 1024 * 1024) });
  await settle();
  t.equal(call.outcome, 'EIO');
  t.equal(it.link.state, 'up');
});
