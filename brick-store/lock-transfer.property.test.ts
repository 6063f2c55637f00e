/**
 * A lock table that is sent ahead and finished in the freeze arrives as it is at the source, whatever clients did in
 * between. The judge is the source's own table at the end, compared record by record.
 */
import fc from 'fast-check';
import t from 'tap';
import type { ClientId, FileId, LkOwner, MigrationId } from '../wire/ids.js';
import type { HeldLock, WaitingLock } from '../wire/lock-types.js';
import type { Answer, Op, Request } from '../wire/messages.js';
import { applyPart } from './handover-parts.js';
import { LockService } from './lock-service.js';
import { LockTransfer } from './lock-transfer.js';
import { LockTable } from './locks/lock-table.js';
import type { Peer } from './migration-source.js';
import { Session } from './sessions.js';

const file = 'f'.repeat(32) as FileId;
const migration = 'e'.repeat(32) as MigrationId;
const clients = ['a', 'b', 'c'].map((digit) => digit.repeat(32) as ClientId);
const owners = ['1', '2'].map((digit) => digit.repeat(16) as LkOwner);

/** The target's side, without a disk: parts in order. */
class Arrival implements Peer {
  readonly table = new LockTable();
  readonly waiting: WaitingLock[] = [];
  refused = 0;

  async call<O extends Op>(op: O, body: Request<O>): Promise<Answer<O>> {
    if (op !== 'stageLocks') throw new Error(`unexpected ${op}`);
    this.refused += applyPart(this.table, this.waiting, body as Request<'stageLocks'>);
    return {} as Answer<O>;
  }
}

const step = fc.record({
  act: fc.constantFrom('lock', 'lock', 'lock', 'wait', 'unlock', 'dropOwner', 'dropClient'),
  client: fc.constantFrom(...clients),
  owner: fc.constantFrom(...owners),
  kind: fc.constantFrom('posix' as const, 'posix' as const, 'flock' as const),
  type: fc.constantFrom('read' as const, 'write' as const),
  start: fc.integer({ min: 0, max: 12 }),
  length: fc.integer({ min: 1, max: 6 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Source {
  readonly locks = new LockService(() => 0);
  readonly #sessions = new Map(
    clients.map((client) => [client, new Session(client, 1, 'mount', 'test', 'host', 1)]),
  );
  #seq = 0;

  do({ act, client, owner, kind, type, start, length }: Step): void {
    const session = this.#sessions.get(client)!;
    const range =
      kind === 'flock'
        ? { start: 0n, end: (1n << 63n) - 1n }
        : { start: BigInt(start), end: BigInt(start + length - 1) };
    if (act === 'dropClient') this.locks.dropClient(client, file);
    else if (act === 'dropOwner') this.locks.dropOwner(client, file, owner, 'posix');
    else if (act === 'unlock') this.locks.unlock(session, { file, owner, kind, ...range });
    else {
      this.#seq += 1;
      const wait = act === 'wait';
      const body = { file, owner, kind, type, ...range, pid: 1, wait, ticket: undefined };
      // Refused only when the client's locks are dropped; nobody waits for it here.
      Promise.resolve(this.locks.lock(session, this.#seq, body)).catch(() => undefined);
    }
  }
}

const sorted = (locks: readonly HeldLock[]): HeldLock[] =>
  [...locks].sort((a, b) => keyOf(a).localeCompare(keyOf(b)) || Number(a.start - b.start));
const keyOf = ({ kind, client, owner }: HeldLock): string => `${kind} ${client} ${owner}`;

t.test('what arrives is what the source has', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30 }),
      fc.array(step, { maxLength: 30 }),
      async (before, during) => {
        const source = new Source();
        const arrival = new Arrival();
        const transfer = new LockTransfer({
          migration,
          file,
          peer: arrival,
          locks: source.locks,
          assertRunning: () => undefined,
        });
        for (const one of before) source.do(one);
        await transfer.sendAhead();
        for (const one of during) source.do(one);
        const { holders, waiters } = await transfer.sendRest();
        const truth = source.locks.snapshot(file);
        t.same(sorted([...arrival.table.held()]), sorted(truth.held));
        // They come by client; the ticket is what orders them.
        t.same(
          arrival.waiting.sort((a, b) => a.ticket - b.ticket),
          truth.waiting,
        );
        if (arrival.refused > 0 || holders !== truth.held.length || waiters !== truth.waiting.length)
          t.fail(`refused ${arrival.refused}, told ${holders} and ${waiters}`);
      },
    ),
    { numRuns: 500 },
  );
});
