/**
 * Random programs of lock calls on the lock table and on a model of another shape (byte-cell-model.ts): after every
 * call the outcome, the waiters it granted, all held and waiting locks and what F_GETLK says must be the same.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { ClientId, LkOwner, Ticket } from '../../wire/ids.js';
import type { LockKind, LockType, WaitingLock } from '../../wire/lock-types.js';
import { rangeEnd } from '../../wire/lock-types.js';
import type { ModelClaim, World } from './byte-cell-model.js';
import { ByteCellModel, pidOf } from './byte-cell-model.js';
import { checkInvariants } from './invariants.js';
import { partsOf } from './lock-snapshot.js';
import { LockTable } from './lock-table.js';

const clients = [1, 2].map((n) => n.toString(16).padStart(32, '0') as ClientId);
const owners = [1, 2, 3].map((n) => n.toString(16).padStart(16, '0') as LkOwner);

/** The flock model fills all cells, so every world ends at the last byte and begins at the first or near it. */
const worlds: Record<string, World> = {
  'the first bytes': [...Array.from({ length: 16 }, (_, at) => BigInt(at)), rangeEnd + 1n],
  'the last bytes': [
    0n,
    ...Array.from({ length: 16 }, (_, at) => rangeEnd - 15n + BigInt(at)),
    rangeEnd + 1n,
  ],
  'long stretches': [
    0n,
    1n,
    4096n,
    1n << 31n,
    (1n << 32n) - 1n,
    1n << 53n,
    (1n << 62n) + 1n,
    rangeEnd,
    rangeEnd + 1n,
  ],
};

const rareOps = [
  'test',
  'cancel',
  'retry',
  'dropOwner',
  'cancelOwner',
  'dropClient',
  'rebind',
  'reclaim',
  'letPass',
] as const;

const step = fc.record({
  op: fc.oneof(
    { weight: 6, arbitrary: fc.constant('lock' as const) },
    { weight: 9, arbitrary: fc.constant('lockWait' as const) },
    { weight: 6, arbitrary: fc.constant('unlock' as const) },
    { weight: 7, arbitrary: fc.constantFrom(...rareOps) },
  ),
  kind: fc.constantFrom<LockKind>('posix', 'posix', 'posix', 'flock'),
  type: fc.constantFrom<LockType>('read', 'write', 'write'),
  client: fc.nat(1),
  owner: fc.nat(2),
  from: fc.nat(31),
  length: fc.nat(31),
  pick: fc.nat(1000),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

class Pair {
  table = new LockTable();
  readonly model: ByteCellModel;
  readonly #edges: World;
  readonly #cancelled: WaitingLock[] = [];

  constructor(edges: World) {
    this.#edges = edges;
    this.model = new ByteCellModel(edges);
  }

  run(one: Step): void {
    const claim = this.#claimOf(one);
    this.#do(one, claim);
    same([...this.table.held()], this.model.held(), 'held');
    same([...this.table.waiting()], this.model.waiting(), 'waiting');
    same(this.table.test(this.#ranged(claim)), this.model.test(claim), 'what F_GETLK says');
    if (this.table.nextTicket < this.model.nextTicket) throw new Error('a ticket could be given twice');
    this.model.nextTicket = this.table.nextTicket;
    // A wait that ended and came again with its ticket does not pass any more.
    const passing = this.model.waiters.filter((one) => one.passes).map((one) => one.ticket as Ticket);
    checkInvariants(this.table, new Set(passing));
  }

  #do(one: Step, claim: ModelClaim): void {
    const { kind, client, owner } = claim;
    const { table, model } = this;
    const other = clients[1 - one.client]!;
    switch (one.op) {
      case 'lock':
      case 'lockWait':
        this.#lock(claim, one.op === 'lockWait');
        break;
      case 'unlock': {
        const { start, end } = this.#ranged(claim);
        sameGrants(
          table.unlock(kind, client, owner, start, end),
          model.unlock(kind, claim, claim.from, claim.to),
        );
        break;
      }
      case 'cancelOwner': {
        const isIt = (one: ModelClaim) => one.kind === kind && one.client === client && one.owner === owner;
        sameGrants(table.cancelOwner(client, owner, kind).granted, model.cancel(isIt));
        break;
      }
      case 'dropOwner':
        sameGrants(table.dropOwner(client, owner, kind), model.unlock(kind, claim, 0, model.cells - 1));
        break;
      case 'dropClient':
        sameGrants(table.dropClient(client), model.dropClient(client));
        break;
      case 'rebind':
        sameGrants(table.rebind(client, other).granted, model.rebind(client, other));
        break;
      case 'reclaim':
        this.#reclaim(one.pick);
        break;
      case 'cancel':
      case 'retry':
      case 'letPass':
        this.#doWithWaiter(one, claim);
        break;
    }
  }

  #doWithWaiter({ op, pick }: Step, claim: ModelClaim): void {
    const { table, model } = this;
    const waiting = [...table.waiting()];
    const waiter = waiting[pick % Math.max(1, waiting.length)];
    if (op === 'retry') {
      // A wait that a signal ended comes again with its ticket; or a ticket is shown that is in use.
      const again = this.#cancelled.pop() ?? waiter;
      if (again !== undefined) this.#lock({ ...claim, ...this.#cellsOf(again) }, true, again.ticket);
      return;
    }
    if (waiter === undefined) return;
    if (op === 'cancel') {
      const { found, granted } = table.cancel(waiter.ticket);
      same(found, waiter, 'the cancelled wait');
      this.#cancelled.push(waiter);
      sameGrants(
        granted,
        model.cancel((one) => one.ticket === waiter.ticket),
      );
      return;
    }
    for (const one of model.waiters) if (one.ticket === waiter.ticket) one.passes = true;
    sameGrants(table.letPass(waiter.ticket), model.settle());
  }

  /** The table is lost and comes back in parts, waiters of one part before holders of the next. */
  #reclaim(pick: number): void {
    const snapshot = this.table.snapshot();
    const parts = [...partsOf(snapshot, 1 + (pick % 5))];
    const table = new LockTable();
    table.raiseTicket(snapshot.nextTicket);
    for (const part of parts) {
      for (const lock of part.held)
        if (table.addHeld(lock) !== undefined) throw new Error('a reclaim was refused');
      for (const waiting of part.waiting) same(table.addWaiting(waiting), waiting.ticket, 'reclaimed ticket');
      if (part.waiting[0] !== undefined) table.addWaiting(part.waiting[0]);
    }
    this.table = table;
    // Who was let pass queues again: nothing that travels says it.
    for (const waiter of this.model.waiters) waiter.passes = false;
    sameGrants(table.settle(), this.model.settle());
  }

  #lock(claim: ModelClaim, wait: boolean, ticket?: Ticket): void {
    const result = this.table.lock({
      ...this.#ranged(claim),
      pid: pidOf(claim),
      wait,
      ...(ticket === undefined ? {} : { ticket }),
    });
    const against = this.model.lock(claim, wait, ticket);
    same(
      { outcome: result.outcome, ticket: result.ticket },
      { outcome: against.outcome, ticket: against.ticket },
      'outcome',
    );
    sameGrants(result.granted, against.granted);
  }

  #claimOf(one: Step): ModelClaim {
    const from = one.from % this.model.cells;
    const to = Math.min(this.model.cells - 1, from + (one.length % 6));
    const whole = one.kind === 'flock';
    return {
      kind: one.kind,
      type: one.type,
      client: clients[one.client]!,
      owner: owners[one.owner]!,
      from: whole ? 0 : from,
      to: whole ? this.model.cells - 1 : to,
    };
  }

  #ranged(claim: ModelClaim) {
    const { kind, type, client, owner } = claim;
    return {
      kind,
      type,
      client,
      owner,
      start: this.#edges[claim.from]!,
      end: this.#edges[claim.to + 1]! - 1n,
    };
  }

  #cellsOf({ kind, type, client, owner, start, end }: WaitingLock): ModelClaim {
    return {
      kind,
      type,
      client,
      owner,
      from: this.#edges.indexOf(start),
      to: this.#edges.indexOf(end + 1n) - 1,
    };
  }
}

const shown = (value: unknown): string =>
  JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}` : part)) ?? 'nothing';

const same = (table: unknown, model: unknown, what: string): void => {
  if (isDeepStrictEqual(table, model)) return;
  // Left out or undefined is one to us.
  if (shown(canonical(table)) !== shown(canonical(model)))
    throw new Error(`${what}: table ${shown(table)}, model ${shown(model)}`);
};

const canonical = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
};

const sameGrants = (table: readonly WaitingLock[], model: readonly number[]): void =>
  same(
    table.map((lock) => lock.ticket),
    model,
    'granted',
  );

for (const [name, world] of Object.entries(worlds)) {
  t.test(`the table is the model, over ${name}`, async (t) => {
    const program = fc.array(step, { minLength: 1, maxLength: 120, size: 'max' });
    fc.assert(
      fc.property(program, (steps) => {
        const pair = new Pair(world);
        for (const one of steps) pair.run(one);
      }),
      { numRuns: 1000 },
    );
    t.pass('1000 programs');
  });
}
