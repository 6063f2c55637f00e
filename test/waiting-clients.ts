/**
 * Clients that lock, wait and give up at random over bricks that move files, in virtual time, with messages that are
 * late or lost: what the search for deadlocks has to live with. The parts under test are the real ones (LockService
 * and DeadlockSearch of a brick, WaitProbes of a client); what lies between them is as small as it can be.
 */
import { DeadlockSearch } from '../brick-store/deadlock-search.js';
import { LockService } from '../brick-store/lock-service.js';
import { Session } from '../brick-store/sessions.js';
import type { LockRequest } from '../dht/volume.js';
import { type PendingWait, WaitProbes } from '../dht/wait-probes.js';
import type { Clock, Timer } from '../host/clock.js';
import { silentTrace } from '../host/trace.js';
import { asRefusal } from '../wire/errors.js';
import type { BrickName, ClientId, Epoch, FileId, LkOwner, MigrationId, Ticket } from '../wire/ids.js';
import type { Answer, EventBody, EventName, Request } from '../wire/messages.js';

interface Due extends Timer {
  readonly at: number;
  readonly run: () => void;
}

/** One thing happens at a time, and all that follows from it without time passing, before the next. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #due = new Set<Due>();

  now(): number {
    return this.#nowMs;
  }

  wallNs(): bigint {
    return BigInt(Math.round(this.#nowMs * 1e6));
  }

  after(ms: number, run: () => void): Timer {
    const due: Due = { at: this.#nowMs + ms, run, stop: () => void this.#due.delete(due) };
    this.#due.add(due);
    return due;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      let next: Due | undefined;
      for (const due of this.#due) if (due.at <= until && (!next || due.at < next.at)) next = due;
      if (!next) break;
      this.#nowMs = next.at;
      this.#due.delete(next);
      next.run();
    }
    this.#nowMs = until;
  }
}

export interface TestBrick {
  readonly name: BrickName;
  readonly locks: LockService;
  readonly search: DeadlockSearch;
  readonly sessions: Map<ClientId, Session>;
}

type ProbeOp = 'probe' | 'confirmCycle' | 'queueState';

export interface Rules {
  readonly clock: VirtualClock;
  /** From 0 to 1. */
  readonly draw: () => number;
  /** The part of the messages of a search that never arrives. */
  lost: number;
  /** Just before a wait is ended as a deadlock. */
  readonly onDeadlock: (wait: { client: ClientId; owner: LkOwner; file: FileId; ticket: Ticket }) => void;
}

export class TestWait implements PendingWait {
  ticket: Ticket | undefined;
  waitsAt: BrickName | undefined;
  isCancelled = false;
  outcome: Answer<'lock'>['outcome'] | undefined;
  seq = 0;

  constructor(readonly request: LockRequest) {}
}

/** Bricks and the network to them. Files are moved with `move`. */
export class TestBricks {
  readonly bricks: readonly TestBrick[];
  readonly homes = new Map<FileId, TestBrick>();
  readonly clients = new Map<ClientId, TestClient>();
  readonly rules: Rules;
  /** A link keeps its order: nothing arrives before what was sent before it. */
  readonly #arrivals = new Map<string, number>();

  constructor(count: number, rules: Rules) {
    this.rules = rules;
    this.bricks = Array.from({ length: count }, (_, at) => this.#brick(`brick-${at + 1}` as BrickName));
  }

  #brick(name: BrickName): TestBrick {
    const locks = new LockService(() => 0);
    const search = new DeadlockSearch({
      trace: silentTrace,
      locks: {
        blockersOf: (wait) => locks.blockersOf(wait),
        letPass: (file, ticket) => locks.letPass(file, ticket),
        endAsDeadlock: (file, ticket) => {
          const row = [...locks.rows(file)].find((one) => one.ticket === ticket);
          if (row !== undefined) this.rules.onDeadlock({ ...row, ticket });
          return locks.endAsDeadlock(file, ticket);
        },
      },
      tell: (client, event, body) => this.#event(name, client, event, body),
    });
    return { name, locks, search, sessions: new Map() };
  }

  brick(name: BrickName): TestBrick {
    return this.bricks.find((brick) => brick.name === name)!;
  }

  session(brick: TestBrick, client: ClientId): Session {
    let session = brick.sessions.get(client);
    if (session === undefined) {
      session = new Session(client, 1, 'mount', 'test', 'here', 1);
      session.path = {
        peer: client,
        answer: () => undefined,
        refuse: () => undefined,
        event: (event, body) => this.#event(brick.name, client, event, body),
        close: () => undefined,
      };
      brick.sessions.set(client, session);
    }
    return session;
  }

  deliver(link: string, run: () => void): void {
    const { clock, draw } = this.rules;
    const at = Math.max(clock.now() + 0.1 + 2.9 * draw(), this.#arrivals.get(link) ?? 0);
    this.#arrivals.set(link, at);
    clock.after(at - clock.now(), run);
  }

  #event<E extends EventName>(brick: BrickName, client: ClientId, event: E, body: EventBody<E>): void {
    if (event !== 'queued' && this.rules.draw() < this.rules.lost) return;
    this.deliver(`${brick}>${client}`, () => this.clients.get(client)!.hear(brick, event, body));
  }

  /** The whole lock table goes at once; who waited is told to ask there. */
  move(file: FileId, target: TestBrick): void {
    const source = this.homes.get(file)!;
    if (source === target) return;
    const { held, waiting, nextTicket } = source.locks.snapshot(file);
    this.homes.set(file, target);
    source.locks.moveAway(file, {
      target: target.name,
      epoch: 1 as Epoch,
      migration: '1'.repeat(32) as MigrationId,
    });
    target.locks.add(file, held, waiting);
    target.locks.settle(file, nextTicket);
  }
}

export class TestClient {
  readonly waits = new Set<TestWait>();
  readonly probes: WaitProbes;
  /** Locks per owner that were granted and not unlocked, as this client knows. */
  readonly holding = new Map<LkOwner, number>();
  readonly #bricks: TestBricks;
  #nextSeq = 1;

  constructor(
    readonly id: ClientId,
    bricks: TestBricks,
  ) {
    this.#bricks = bricks;
    bricks.clients.set(id, this);
    this.probes = new WaitProbes({
      client: id,
      clock: bricks.rules.clock,
      trace: silentTrace,
      send: (brick, op, body) => this.#send(brick, op, body),
      holdsLocks: (owner) => (this.holding.get(owner) ?? 0) > 0,
    });
  }

  lock(request: LockRequest): TestWait {
    const wait = new TestWait(request);
    if (request.wait) this.waits.add(wait);
    this.#ask(wait);
    return wait;
  }

  /** Everything that the owner holds in the file. */
  flush(file: FileId, owner: LkOwner): void {
    const brick = this.#bricks.homes.get(file)!;
    this.#bricks.deliver(`${this.id}>${brick.name}`, () =>
      this.#bricks.homes.get(file)!.locks.dropOwner(this.id, file, owner, 'posix'),
    );
  }

  cancel(wait: TestWait): void {
    wait.isCancelled = true;
    const { file } = wait.request;
    const brick = this.#bricks.homes.get(file)!;
    this.#bricks.deliver(`${this.id}>${brick.name}`, () => {
      const home = this.#bricks.homes.get(file)!;
      home.locks.cancel(this.#bricks.session(home, this.id), file, wait.seq);
    });
  }

  hear<E extends EventName>(_brick: BrickName, event: E, body: EventBody<E>): void {
    if (event === 'probe') this.probes.carryOn(body as EventBody<'probe'>);
    else if (event === 'confirmCycle') void this.probes.confirm(body as EventBody<'confirmCycle'>);
    else if (event === 'queued') {
      const { seq, ticket } = body as EventBody<'queued'>;
      for (const wait of this.waits) {
        if (wait.seq !== seq) continue;
        wait.ticket = ticket;
        this.probes.queued(wait);
        if (wait.isCancelled) this.cancel(wait);
      }
    }
  }

  #ask(wait: TestWait): void {
    const { file, owner, kind, type, start, end, pid } = wait.request;
    const home = this.#bricks.homes.get(file)!;
    wait.waitsAt = home.name;
    wait.seq = this.#nextSeq++;
    const { seq, ticket } = wait;
    const body = { file, owner, kind, type, start, end, pid, wait: wait.request.wait, ticket };
    this.#bricks.deliver(`${this.id}>${home.name}`, () => {
      if (this.#bricks.homes.get(file) !== home) {
        this.#ask(wait);
        return;
      }
      const session = this.#bricks.session(home, this.id);
      Promise.resolve(home.locks.lock(session, seq, body)).then(
        ({ outcome }) => this.#answer(home, () => this.#over(wait, outcome)),
        (error: unknown) => {
          if (asRefusal(error)?.code !== 'EREMOTE') throw error;
          this.#answer(home, () => this.#ask(wait));
        },
      );
    });
  }

  #answer(brick: TestBrick, run: () => void): void {
    this.#bricks.deliver(`${brick.name}>${this.id}`, run);
  }

  #over(wait: TestWait, outcome: Answer<'lock'>['outcome']): void {
    const { owner } = wait.request;
    wait.outcome = outcome;
    this.waits.delete(wait);
    this.probes.ended(wait);
    if (outcome === 'granted') this.holding.set(owner, (this.holding.get(owner) ?? 0) + 1);
  }

  #send<O extends ProbeOp>(name: BrickName, op: O, body: Request<O>): Promise<Answer<O>> {
    const { draw, lost } = this.#bricks.rules;
    return new Promise((resolve) => {
      if (draw() < lost) return;
      this.#bricks.deliver(`${this.id}>${name}`, () => {
        const { search } = this.#bricks.brick(name);
        let answer: unknown = {};
        if (op === 'probe') search.probe(this.id, body as Request<'probe'>);
        else if (op === 'confirmCycle') search.confirm(this.id, body as Request<'confirmCycle'>);
        else answer = search.queueState(this.id, body as Request<'queueState'>);
        this.#answer(this.#bricks.brick(name), () => resolve(answer as Answer<O>));
      });
    });
  }
}
