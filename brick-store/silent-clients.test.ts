/** A client that hangs with its connection open loses its session, one that only has nothing to say does not. */
import t from 'tap';
import { silentTrace } from '../host/trace.js';
import { ManualClock } from '../test/doors/manual-clock.js';
import type { ClientId } from '../wire/ids.js';
import { type ReplyPath, type Session, Sessions } from './sessions.js';

const graceMs = 4000;
const deaf = (): void => undefined;

function setUp() {
  const clock = new ManualClock();
  const ended: string[] = [];
  const sessions = new Sessions({
    clock,
    trace: silentTrace,
    graceMs,
    events: {
      store: async () => undefined,
      forget: async () => undefined,
      ended: ({ title }) => ended.push(title),
      recovered: () => undefined,
    },
  });
  t.teardown(() => sessions.close());
  let seq = 0;
  const speak = (session: Session): void => {
    seq += 1;
    session.admit({ seq, acked: seq, alsoAcked: [] });
  };
  const come = async (title: string, role: 'mount' | 'tool' = 'mount') => {
    const closed: string[] = [];
    let known: Session | undefined;
    const path: ReplyPath = {
      peer: title,
      answer: () => undefined,
      refuse: () => undefined,
      event: () => undefined,
      close: (reason) => {
        closed.push(reason);
        if (known !== undefined) sessions.disconnected(known, path, reason);
      },
    };
    const client = title.padStart(32, '0') as ClientId;
    const hello = { protocol: 1, volume: '', brick: 'b', secret: '', client, incarnation: 1, role, title };
    const { session, state } = await sessions.hello({ ...hello, host: '', pid: 1 } as never, path);
    known = session;
    return { session, state, closed };
  };
  return { clock, sessions, ended, come, speak };
}

t.test('a mount that says nothing is lost, and then expires', async (t) => {
  const { clock, ended, come } = setUp();
  const { closed } = await come('1');
  await clock.advance(graceMs / 2);
  t.same(closed, []);
  await clock.advance(graceMs / 2);
  t.match(closed, [/it said nothing for 3000 ms/]);
  t.same(ended, []);
  await clock.advance(graceMs);
  t.same(ended, ['1']);
});

t.test('one that speaks every half of the grace stays', async (t) => {
  const { clock, ended, come, speak } = setUp();
  const { session, closed } = await come('2');
  for (let at = 0; at < 20; at++) {
    await clock.advance(graceMs / 2);
    speak(session);
  }
  t.same(closed, []);
  t.same(ended, []);
});

t.test('one that comes back in time goes on', async (t) => {
  const { clock, ended, come } = setUp();
  await come('3');
  await clock.advance(graceMs);
  const { state, closed } = await come('3');
  t.equal(state, 'resumed');
  await clock.advance(graceMs / 2);
  t.same(closed, []);
  t.same(ended, []);
});

t.test('a session that could not be stored is none', async (t) => {
  const clock = new ManualClock();
  let isFull = true;
  const sessions = new Sessions({
    clock,
    trace: silentTrace,
    graceMs,
    events: {
      store: async () => {
        if (isFull) throw new Error('the disk is full');
      },
      forget: async () => undefined,
      ended: () => undefined,
      recovered: () => undefined,
    },
  });
  t.teardown(() => sessions.close());
  const path = { peer: '', answer: deaf, refuse: deaf, event: deaf, close: deaf };
  const hello = { client: '4'.repeat(32), incarnation: 1, role: 'mount', title: '4', host: '', pid: 1 };
  await t.rejects(sessions.hello(hello as never, path), /the disk is full/);
  isFull = false;
  t.equal((await sessions.hello(hello as never, path)).state, 'new');
});
