/** Fd migration at one brick: what an old session has becomes the new one's, once, in order, and never another's. */
import t from 'tap';
import { systemRandom } from '../host/random.js';
import { silentTrace } from '../host/trace.js';
import type { BrickName, ClientId, Epoch, FileId, LkOwner, MigrationId } from '../wire/ids.js';
import type { Moved } from '../wire/lock-types.js';
import type { Answer, Request } from '../wire/messages.js';
import { BrickContext, type BrickParts } from './brick-context.js';
import { FileQueue } from './file-queue.js';
import { LockHandles } from './lock-handles.js';
import { LockService } from './lock-service.js';
import { lockHandleRoutes } from './routes/lock-handle-routes.js';
import { Session } from './sessions.js';

const file = '1'.repeat(32) as FileId;
const other = '2'.repeat(32) as FileId;
const ownerA = 'a'.repeat(16) as LkOwner;
const ownerB = 'b'.repeat(16) as LkOwner;
const refusedWith = (code: string) => ({ name: 'Refusal', code });

class Desk {
  readonly queue = new FileQueue();
  readonly locks = new LockService(() => 0);
  readonly handles = new LockHandles(systemRandom);
  readonly confirmed: string[] = [];
  /** Clients whose locks a move brought, and that did not speak here yet. */
  readonly unconfirmed = new Set<ClientId>();
  moved: Moved | undefined;
  readonly #sessions = new Map<ClientId, Session>();
  readonly #routes = lockHandleRoutes(new BrickContext(this.#parts()));
  #seq = 0;

  session(digit: string): Session {
    const client = digit.repeat(32) as ClientId;
    const session = new Session(client, 1, 'mount', `mount ${digit}`, 'here', 1);
    this.#sessions.set(client, session);
    session.opens.set(file, 1);
    return session;
  }

  lock(session: Session, owner: LkOwner, start: number, wait = true): Promise<Answer<'lock'>> {
    const range = { start: BigInt(start), end: BigInt(start + 9) };
    const body = { file, owner, kind: 'posix', type: 'write', ...range, pid: 1, wait } as const;
    this.#seq += 1;
    return Promise.resolve(this.locks.lock(session, this.#seq, { ...body, ticket: undefined }));
  }

  ask(session: Session, owner: LkOwner, start: number, ticket: number): Promise<Answer<'lock'>> {
    const range = { start: BigInt(start), end: BigInt(start + 9) };
    const body = { file, owner, kind: 'posix', type: 'write', ...range, pid: 1, wait: true, ticket };
    this.#seq += 1;
    return Promise.resolve(this.locks.lock(session, this.#seq, body as Request<'lock'>));
  }

  read(session: Session, of = file): Promise<Answer<'readLockinfo'>> {
    return Promise.resolve().then(() => this.#routes.readLockinfo(session, { file: of }, 0));
  }

  write(
    session: Session,
    token: Answer<'readLockinfo'>['token'],
    of = file,
  ): Promise<Answer<'writeLockinfo'>> {
    return Promise.resolve().then(() => this.#routes.writeLockinfo(session, { file: of, token }, 0));
  }

  holders(): string[] {
    return this.locks.snapshot(file).held.map(({ client, owner }) => `${client[0]} ${owner[0]}`);
  }

  waiters(): string[] {
    return this.locks
      .snapshot(file)
      .waiting.map(({ client, owner, ticket }) => `${client[0]} ${owner[0]} ${ticket}`);
  }

  #parts(): BrickParts {
    const setOpens = (session: Session, of: FileId, opens: number): void => {
      session.opens.set(of, opens);
    };
    const parts = {
      name: 'brick-1' as BrickName,
      trace: silentTrace,
      store: { repairing: undefined },
      queue: this.queue,
      locks: this.locks,
      handles: this.handles,
      sessions: this.#sessions,
      source: { committing: () => undefined },
      state: {
        isHere: () => this.moved === undefined,
        redirect: () => this.moved,
        setOpens,
        addOpens: (session: Session, of: FileId, more: number) =>
          setOpens(session, of, (session.opens.get(of) ?? 0) + more),
      },
      target: {
        isStaged: () => false,
      },
      arrivals: {
        needsConfirm: (client: ClientId) => this.unconfirmed.has(client),
        confirm: async (client: ClientId) => {
          this.unconfirmed.delete(client);
          this.confirmed.push(client);
        },
      },
    };
    return parts as unknown as BrickParts;
  }
}

t.test("holders, waiters with their places, and handles become the new session's", async (t) => {
  const desk = new Desk();
  const [old, next, third] = [desk.session('a'), desk.session('b'), desk.session('c')];
  await desk.lock(old, ownerA, 0);
  await desk.lock(third, ownerA, 100);
  const first = desk.lock(old, ownerB, 100);
  const second = desk.lock(third, ownerB, 0);
  const { token, ...counts } = await desk.read(old);
  t.same(counts, { count: 2, opens: 1 });
  t.same(await desk.write(next, token), { count: 2, opens: 1 });
  t.same(await first, { outcome: 'rebound', change: 0 }, 'the old request is answered');
  t.same(desk.holders(), ['b a', 'c a']);
  t.same(desk.waiters(), ['b b 1', 'c b 2']);
  t.equal(old.opens.get(file), 0);
  t.equal(next.opens.get(file), 2);
  const again = desk.ask(next, ownerB, 100, 1);
  desk.locks.dropOwner(third.client, file, ownerA);
  t.match(await again, { outcome: 'granted' });
  desk.locks.dropOwner(next.client, file, ownerA);
  t.match(await second, { outcome: 'granted' });
});

t.test('a grant that comes before the new session asks is kept for it', async (t) => {
  const desk = new Desk();
  const [old, next, third] = [desk.session('a'), desk.session('b'), desk.session('c')];
  await desk.lock(third, ownerA, 0);
  const waits = desk.lock(old, ownerB, 0);
  await desk.write(next, (await desk.read(old)).token);
  t.match(await waits, { outcome: 'rebound' });
  desk.locks.dropOwner(third.client, file, ownerA);
  t.same(desk.holders(), ['b b']);
  t.match(await desk.ask(next, ownerB, 0, 1), { outcome: 'granted' });
});

t.test('a wait that arrived by a move and was granted unasked goes to the new session too', async (t) => {
  const desk = new Desk();
  const [old, next] = [desk.session('a'), desk.session('b')];
  const range = { kind: 'posix', type: 'write', start: 0n, end: 9n, pid: 1 } as const;
  desk.locks.add(file, [], [{ ...range, client: old.client, owner: ownerA, ticket: 7 as never }]);
  desk.locks.settle(file);
  t.same(desk.holders(), ['a a'], 'granted before its client came');
  t.match(await desk.write(next, (await desk.read(old)).token), { count: 1 });
  t.match(await desk.ask(next, ownerA, 0, 7), { outcome: 'granted' });
  t.same(desk.holders(), ['b a']);
});

t.test('a token is good once, for its file, and as long as its session', async (t) => {
  const desk = new Desk();
  const [old, next, third] = [desk.session('a'), desk.session('b'), desk.session('c')];
  await desk.lock(old, ownerA, 0);
  const { token } = await desk.read(old);
  await t.rejects(desk.write(third, 'f'.repeat(32) as typeof token), refusedWith('EPERM'), 'guessed');
  await t.rejects(desk.write(next, token, other), refusedWith('EPERM'), 'another file');
  await desk.write(next, token);
  await t.rejects(desk.write(third, token), refusedWith('EPERM'), 'replayed by another client');
  await t.rejects(desk.write(next, token), refusedWith('EPERM'), 'replayed by the same');
  t.same(desk.holders(), ['b a']);

  const earlier = (await desk.read(next)).token;
  const later = (await desk.read(next)).token;
  await t.rejects(desk.write(third, earlier), refusedWith('EPERM'), 'a newer one was read');
  desk.handles.forgetClient(next.client);
  await t.rejects(desk.write(third, later), refusedWith('EPERM'), 'its session ended');
  t.same(desk.holders(), ['b a']);
});

t.test('both halves wait for a freeze; after a committed move they are redirected', async (t) => {
  const desk = new Desk();
  const [old, next] = [desk.session('a'), desk.session('b')];
  await desk.lock(old, ownerA, 0);
  const { token } = await desk.read(old);
  const unfreeze = desk.queue.hold(file);
  let done = 0;
  const count = (): void => {
    done += 1;
  };
  const write = desk.write(next, token);
  const read = desk.read(old);
  write.then(count, count);
  read.then(count, count);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(done, 0);
  desk.moved = {
    target: 'brick-2' as BrickName,
    epoch: 1 as Epoch,
    migration: '3'.repeat(32) as MigrationId,
  };
  const lockinfos = desk.handles.ofFile(file);
  unfreeze();
  await t.rejects(write, { code: 'EREMOTE', moved: { target: 'brick-2' } });
  await t.rejects(read, { code: 'EREMOTE' });
  t.same(desk.holders(), ['a a'], 'nothing was changed here');

  const target = new Desk();
  const [oldThere, nextThere] = [target.session('a'), target.session('b')];
  await target.lock(oldThere, ownerA, 0);
  target.handles.arrived(file, lockinfos);
  t.match(await target.write(nextThere, token), { count: 1 }, 'the token went with the file');
});

t.test('after an aborted move they are carried out here, in order', async (t) => {
  const desk = new Desk();
  const [old, next] = [desk.session('a'), desk.session('b')];
  await desk.lock(old, ownerA, 0);
  const { token } = await desk.read(old);
  const unfreeze = desk.queue.hold(file);
  const write = desk.write(next, token);
  const read = desk.read(old);
  unfreeze();
  t.match(await write, { count: 1 });
  t.match(await read, { count: 0, opens: 0 });
});

t.test("the records of a move that name the old client go before its locks are another's", async (t) => {
  const desk = new Desk();
  const [old, next] = [desk.session('a'), desk.session('b')];
  await desk.lock(old, ownerA, 0);
  const { token } = await desk.read(old);
  desk.unconfirmed.add(old.client);
  t.match(await desk.write(next, token), { count: 1 });
  t.same(desk.confirmed, [old.client]);
  t.same(desk.holders(), ['b a']);
});
