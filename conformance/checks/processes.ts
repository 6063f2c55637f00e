/**
 * Whose a lock is: fork, exec, dup, threads, and which close drops it. POSIX locks are a process's and go with any
 * close; OFD locks and flock are an open file's and go with the last close (fcntl(2), flock(2)).
 */
import type { Check, CheckMap } from '../check.js';
import type { Kind } from '../lock-process.js';

const fork = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const parent = await bench.party(kind);
    const other = await bench.party(kind);
    await parent.take('write', 0, 10);
    const child = await bench.fork(parent);
    const shared = kind !== 'posix';
    bench.expect(
      "the parent's lock, asked for by the child",
      await child.take('write', 0, 10),
      shared ? 'granted' : 'refused',
    );
    await child.process.close(child.fd);
    bench.expect('after the child closed its descriptor', await other.take('write', 0, 10), 'refused');
    const second = await bench.fork(parent);
    await second.drop(0, 10);
    bench.expect('after a child unlocked', await other.take('write', 0, 10), shared ? 'granted' : 'refused');
  },
});

const outlives = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const parent = await bench.party(kind);
    const other = await bench.party(kind);
    await parent.take('write', 0, 10);
    const child = await bench.fork(parent);
    await parent.process.kill();
    const kept = kind === 'posix' ? 'granted' : 'refused';
    bench.expect('when the parent is dead and its child lives', await other.take('write', 0, 10), kept);
    const wait = await other.wait('write', 0, 10);
    await child.process.close(child.fd);
    await bench.expectOutcome('when the child has closed it too', wait, 'granted');
  },
});

const exec = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const a = await bench.party(kind);
    const b = await bench.party(kind);
    await a.take('write', 0, 10);
    await a.process.exec();
    bench.expect('after exec', await b.take('write', 0, 10), 'refused');
    bench.expect('the program after exec', await a.take('write', 0, 10), 'granted');
    await a.process.closeOnExec(a.fd);
    await a.process.exec();
    const wait = await b.wait('write', 0, 10);
    await bench.expectOutcome('after exec closed the descriptor', wait, 'granted');
  },
});

const dup = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const a = await bench.party(kind);
    const b = await bench.party(kind);
    const copy = a.as({ fd: await a.process.dup(a.fd) });
    await a.take('write', 0, 10);
    bench.expect('through a copy of the descriptor', await copy.take('write', 0, 10), 'granted');
    await a.process.close(copy.fd);
    bench.expect(
      'after the copy was closed',
      await b.take('write', 0, 10),
      kind === 'posix' ? 'granted' : 'refused',
    );
    await b.drop();
    const second = a.as({ fd: await a.process.dup(a.fd) });
    await a.take('write', 0, 10);
    await second.drop(0, 10);
    bench.expect('after an unlock through a copy', await b.take('write', 0, 10), 'granted');
  },
});

const twoOpens = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const a = await bench.party(kind);
    const again = await bench.party(kind, { process: a.process });
    const b = await bench.party(kind);
    await a.take('write', 0, 10);
    const own = kind === 'posix' ? 'granted' : 'refused';
    bench.expect('through another open of the same process', await again.take('write', 0, 10), own);
    await a.process.close(again.fd);
    const after = kind === 'posix' ? 'granted' : 'refused';
    bench.expect('after the other open was closed', await b.take('write', 0, 10), after);
  },
});

const lastClose = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const [a, b] = await bench.parties(kind, 2);
    for (let round = 0; round < 10; round++) {
      const again = await bench.party(kind, { process: a!.process });
      bench.expect('the lock', await again.take('write', 0, 10), 'granted');
      bench.expect('another process', await b!.take('write', 0, 10), 'refused');
      await a!.process.close(again.fd);
      // Linux may do the last close of a file a moment after close(2): the next wait settles it.
      const wait = await b!.wait('write', 0, 10);
      await bench.expectOutcome('after the last close', wait, 'granted');
      await b!.drop();
    }
  },
});

const threads = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const [a, b, c] = await bench.parties(kind, 3);
    await b!.take('write', 0, 10);
    const wait = await a!.waitInThread('write', 0, 10);
    bench.expect(
      'another range meanwhile',
      await a!.take('write', 20, 10),
      kind === 'flock' ? 'refused' : 'granted',
    );
    await b!.drop();
    bench.expect('the thread', await wait.join(), 'granted');
    bench.expect('the lock is the whole process’s', await a!.take('read', 0, 10), 'granted');
    bench.expect('a writer of another process', await c!.take('write', 0, 10), 'refused');
  },
});

const twoThreads = (kind: Kind): Check => ({
  kind,
  async run(bench) {
    const [a, b] = await bench.parties(kind, 2);
    await b!.take('write', 0, 10);
    const first = await a!.waitInThread('write', 0, 10);
    const second = await a!.waitInThread('write', 0, 10, 2);
    await b!.drop();
    bench.expect('the first thread', await first.join(), 'granted');
    bench.expect('the second thread of the same owner', await second.join(), 'granted');
  },
});

export const processChecks = (kind: Kind): CheckMap => ({
  [`${kind}/fork`]: fork(kind),
  [`${kind}/fork-outlives-parent`]: outlives(kind),
  [`${kind}/exec`]: exec(kind),
  [`${kind}/dup`]: dup(kind),
  [`${kind}/two-opens`]: twoOpens(kind),
  [`${kind}/last-close`]: lastClose(kind),
  [`${kind}/threads`]: threads(kind),
  [`${kind}/two-threads-wait`]: twoThreads(kind),
});

/** What close does to POSIX locks only. */
export const posixCloseChecks: CheckMap = {
  'posix/any-close-drops-all': {
    kind: 'posix',
    async run(bench) {
      const a = await bench.party('posix');
      const b = await bench.party('posix');
      const elsewhere = await bench.party('posix', { process: a.process, name: '-other' });
      await a.take('write', 0, 10);
      await a.take('read', 100, 10);
      await elsewhere.take('write', 0, 10);
      const reader = await bench.party('posix', { process: a.process, mode: 'r' });
      await a.process.close(reader.fd);
      bench.expect('every range after the close of a read-only descriptor', await b.test('write'), undefined);
      const other = await bench.party('posix', { name: '-other' });
      bench.expect('a lock on another file', await other.take('write', 0, 10), 'refused');
    },
  },
  'posix/close-while-a-thread-waits': {
    kind: 'posix',
    async run(bench) {
      const a = await bench.party('posix');
      const b = await bench.party('posix');
      const c = await bench.party('posix');
      await b.take('write', 0, 10);
      const wait = await a.waitInThread('write', 0, 10);
      await a.process.close(a.fd);
      await b.drop();
      // fs/locks.c fcntl_setlk: a close that came meanwhile takes the lock back.
      bench.expect('the wait whose descriptor was closed', await wait.join(), 'EBADF');
      const after = await c.wait('write', 0, 10);
      await bench.expectOutcome('another process then', after, 'granted');
    },
  },
};
