/**
 * What becomes of a session: fenced, forgotten by the brick, reclaimed after a restart of the brick.
 */
import t from 'tap';
import { settle } from '../test/doors/manual-clock.js';
import { endsClean, file, setUp, waitingLock, watch } from '../test/doors/scripted-brick.js';
import { Refusal } from './errors.js';
import type { Request } from './messages.js';

t.test('fenced: everything in flight is refused, then a new incarnation works', async (t) => {
  const fenced: string[] = [];
  const it = await setUp({ onFenced: () => void fenced.push(call.outcome) });
  endsClean(t, it);
  await it.link.start();
  it.brick.isPrompt = false;
  const call = watch(it.link.call('sync', { file }));
  await settle();
  it.brick.refusal = new Refusal('EFENCED');
  it.network.cut();
  // One attempt is refused; the next one, as incarnation 2, finds a brick that lets it in.
  await settle();
  it.brick.refusal = undefined;
  it.brick.isPrompt = true;
  t.strictSame(fenced.slice(0, 1), ['open'], 'told before the callers are');
  t.equal(call.outcome, 'EFENCED');
  t.equal(it.link.state, 'fenced');
  await it.clock.advance(1000);
  t.equal(it.link.state, 'up');
  t.equal(it.brick.hellos.at(-1)!.incarnation, it.link.incarnation);
  t.ok(it.link.incarnation >= 2);
  const before = it.brick.got.length;
  const { seq, answer } = it.link.callNumbered('sync', { file });
  await answer;
  t.equal(it.brick.got.length, before + 1, 'nothing of the old incarnation is sent');
  t.ok(seq > 1, 'a number means one request only, over all incarnations');
});

t.test('EFENCED in answer to any request ends the session too', async (t) => {
  let fenced = 0;
  const it = await setUp({
    onFenced: () => {
      fenced += 1;
    },
  });
  endsClean(t, it);
  await it.link.start();
  it.brick.isPrompt = false;
  const calls = [1, 2].map(() => watch(it.link.call('sync', { file })));
  await settle();
  it.brick.current!.refuse(2, new Refusal('EFENCED'));
  await settle();
  t.strictSame(
    calls.map((call) => call.outcome),
    ['EFENCED', 'EFENCED'],
  );
  t.equal(fenced, 1);
  t.match(it.brick.hellos, [{ incarnation: 1 }, { incarnation: 2 }]);
});

t.test('reclaim: first what is held, then reclaimDone, then what is in flight', async (t) => {
  const held: Request<'reclaim'> = { file, opens: 2, held: [], waiting: [] };
  const it = await setUp({
    onReclaim: async (send) => {
      await send('reclaim', held);
      await send('reclaim', held);
    },
  });
  endsClean(t, it);
  await it.link.start();
  const wait = watch(it.link.call('lock', waitingLock));
  await settle();
  it.brick.session = 'reclaim';
  it.network.cut();
  const meanwhile = watch(it.link.call('sync', { file }));
  await settle();
  t.strictSame(it.brick.got, ['lock 1', 'reclaim 3', 'reclaim 4', 'reclaimDone 5', 'lock 1', 'sync 2']);
  t.strictSame([wait.outcome, meanwhile.outcome], ['open', 'answered']);
});

t.test('a connection that breaks during the reclaim: the next one reclaims from the start', async (t) => {
  const it = await setUp({
    onReclaim: (send) => send('reclaim', { file, opens: 1, held: [], waiting: [] }).then(),
  });
  endsClean(t, it);
  await it.link.start();
  it.brick.session = 'reclaim';
  it.brick.isPrompt = false;
  it.network.cut();
  await settle();
  t.strictSame(it.brick.got, ['reclaim 1']);
  t.equal(it.link.state, 'lost');
  it.brick.isPrompt = true;
  it.network.cut();
  await it.clock.advance(20);
  t.strictSame(it.brick.got, ['reclaim 1', 'reclaim 2', 'reclaimDone 3']);
  t.equal(it.link.state, 'up');
});

t.test('a brick that recovers slowly is not given up: it answers', async (t) => {
  const it = await setUp();
  endsClean(t, it);
  await it.link.start();
  it.brick.session = 'reclaim';
  it.brick.isPrompt = false;
  it.network.cut();
  await settle();
  const call = watch(it.link.call('sync', { file }));
  for (let at = 0; at < 12; at++) {
    await it.clock.advance(1000);
    for (const { seq, op } of it.brick.requests.splice(0)) {
      if (op === 'ping') it.brick.current!.answer(seq, op, {});
    }
  }
  t.equal(call.outcome, 'open');
  it.brick.isPrompt = true;
  it.brick.current!.answer(1, 'reclaimDone', {});
  await settle();
  t.equal(call.outcome, 'answered');
});
