/**
 * Locks of all files on this brick: one pure lock table a file, and the waits that hang on it.
 *
 * Decides which request of which session is answered when a table grants or loses a waiter. The rules of locks are in
 * locks/lock-table.ts; when a call may run (freeze, recovery) is decided before it comes here.
 * A wait without a request is one that arrived with a moved or reclaimed file: it keeps its place, and is answered
 * when its client asks with the ticket.
 */
import { Refusal } from '../wire/errors.js';
import type { ClientId, FileId, LkOwner, Ticket } from '../wire/ids.js';
import { chainedWaitsMax, locksPerClientMax, waitersPerClientMax } from '../wire/limits.js';
import type { HeldLock, LockKind, Moved, WaitingLock } from '../wire/lock-types.js';
import type { Answer, LockRow, Request } from '../wire/messages.js';
import { ChangedOwners } from './changed-owners.js';
import {
  type FileLocks,
  heldOfChanged,
  isIdle,
  type LockSnapshotParts,
  newFileLocks,
  noteArrived,
  takeArrived,
  type WaitName,
} from './file-locks.js';
import { LockTable } from './locks/lock-table.js';
import type { Session } from './sessions.js';

type Outcome = Answer<'lock'>;

const lockKinds = ['posix', 'flock'] as const;
/** Empty tables that are kept. */
const idleFilesMax = 4096;

export class LockService {
  readonly #files = new Map<FileId, FileLocks>();
  readonly #filesOfClient = new Map<ClientId, Set<FileId>>();
  /** Where each waiting request of a session waits. */
  readonly #waiting = new WeakMap<Session, Map<number, { file: FileId; ticket: Ticket }>>();
  readonly #changeOf: (file: FileId) => number;
  #ticketFloor = 1 as Ticket;
  /** Files whose table was seen empty; some may be in use again. */
  readonly #idleFiles = new Set<FileId>();

  /** @param changeOf the content counter of a file that is here */
  constructor(changeOf: (file: FileId) => number) {
    this.#changeOf = changeOf;
  }

  lock(session: Session, seq: number, body: Request<'lock'>): Outcome | Promise<Outcome> {
    const { file } = body;
    const locks = this.#locksOf(file);
    const ticket = body.ticket ?? (body.wait ? takeArrived(locks, session.client, body) : undefined);
    if (ticket !== undefined) {
      const known = this.#claim(session, seq, body, locks, ticket);
      if (known !== undefined) return known;
    }
    this.#checkLimits(session, body);
    const result = locks.table.lock({
      kind: body.kind,
      type: body.type,
      start: body.start,
      end: body.end,
      client: session.client,
      owner: body.owner,
      pid: body.pid,
      wait: body.wait,
      ...(body.ticket === undefined ? {} : { ticket: body.ticket }),
    });
    this.#remember(session.client, file);
    // A flock that is converted loses the old lock even where the new one is refused.
    if (result.outcome === 'granted' || body.kind === 'flock')
      locks.watched?.mark({ kind: body.kind, client: session.client, owner: body.owner });
    this.#deliver(file, locks, result.granted);
    if (result.outcome === 'waiting') return this.#park(session, seq, file, locks, result.ticket!);
    if (result.outcome === 'conflict') this.#idle(file, locks);
    return result.outcome === 'granted' ? this.#granted(file) : { outcome: 'conflict', change: 0 };
  }

  unlock(session: Session, body: Request<'unlock'>): void {
    const locks = this.#files.get(body.file);
    if (locks === undefined) return;
    locks.watched?.mark({ kind: body.kind, client: session.client, owner: body.owner });
    this.#deliver(
      body.file,
      locks,
      locks.table.unlock(body.kind, session.client, body.owner, body.start, body.end),
    );
    this.#idle(body.file, locks);
  }

  test(session: Session, body: Request<'testLock'>): HeldLock | undefined {
    const { kind, type, start, end, owner } = body;
    return this.#files.get(body.file)?.table.test({ kind, type, start, end, client: session.client, owner });
  }

  /** Ends the wait of the request `seq` of this session, if it waits here. */
  cancel(session: Session, file: FileId, seq: number): void {
    const place = this.#waiting.get(session)?.get(seq);
    const locks = this.#files.get(file);
    if (place === undefined || place.file !== file || locks === undefined) return;
    this.#endWait(file, locks, place.ticket, 'cancelled');
  }

  /** close(2), or the last close: drops locks of the owner. flock locks go only with the open file (`kind` absent). */
  dropOwner(client: ClientId, file: FileId, owner: LkOwner, kind?: LockKind): void {
    const locks = this.#files.get(file);
    if (locks === undefined) return;
    for (const one of kind === undefined ? lockKinds : [kind])
      locks.watched?.mark({ kind: one, client, owner });
    for (const [ticket, lock] of locks.grantedUnclaimed) {
      if (lock.client === client && lock.owner === owner) locks.grantedUnclaimed.delete(ticket);
    }
    this.#deliver(file, locks, locks.table.dropOwner(client, owner, kind));
    this.#idle(file, locks);
  }

  /** Whom this wait of the owner waits for (lock-table.ts, blockersOf); undefined where it does not wait here. */
  blockersOf(wait: WaitName): ReturnType<LockTable['blockersOf']> {
    const table = this.#files.get(wait.file)?.table;
    const waiting = table?.waiterOf(wait.ticket);
    if (waiting?.client !== wait.client || waiting.owner !== wait.owner) return undefined;
    return table?.blockersOf(wait.ticket, chainedWaitsMax);
  }

  /** Answers the request that waits here with `deadlock`. False where none does. */
  endAsDeadlock(file: FileId, ticket: Ticket): boolean {
    const locks = this.#files.get(file);
    if (locks === undefined || !locks.waits.has(ticket)) return false;
    this.#endWait(file, locks, ticket, 'deadlock');
    return true;
  }

  /** From now on only holders stop this wait. */
  letPass(file: FileId, ticket: Ticket): void {
    const locks = this.#files.get(file);
    if (locks !== undefined) this.#deliver(file, locks, locks.table.letPass(ticket));
  }

  /** All that the client holds and waits for in the file. */
  dropClient(client: ClientId, file: FileId): void {
    const locks = this.#files.get(file);
    this.#filesOfClient.get(client)?.delete(file);
    if (locks === undefined) return;
    locks.watched?.markClient(client);
    for (const [ticket, wait] of locks.waits) {
      if (wait.session.client !== client) continue;
      locks.waits.delete(ticket);
      this.#waiting.get(wait.session)?.delete(wait.seq);
      wait.refuse(new Refusal('EFENCED'));
    }
    for (const [ticket, lock] of locks.grantedUnclaimed) {
      if (lock.client === client) locks.grantedUnclaimed.delete(ticket);
    }
    this.#deliver(file, locks, locks.table.dropClient(client));
    this.#idle(file, locks);
  }

  /**
   * Fd migration: all that `from` holds and waits for in the file is `to`'s from now on, in the same places. Requests
   * of `from` that wait are answered `rebound`. Answers how many locks and waits there were.
   */
  rebind(file: FileId, from: ClientId, to: ClientId): number {
    const locks = this.#files.get(file);
    this.#filesOfClient.get(from)?.delete(file);
    if (locks === undefined) return 0;
    for (const [ticket, wait] of locks.waits) {
      if (wait.session.client !== from) continue;
      locks.waits.delete(ticket);
      this.#waiting.get(wait.session)?.delete(wait.seq);
      wait.settle({ outcome: 'rebound', change: 0 });
    }
    for (const [ticket, lock] of locks.grantedUnclaimed) {
      if (lock.client === from) locks.grantedUnclaimed.set(ticket, { ...lock, client: to });
    }
    locks.watched?.markClient(from);
    locks.watched?.markClient(to);
    const { held, waiting, granted } = locks.table.rebind(from, to);
    this.#remember(to, file);
    this.#deliver(file, locks, granted);
    return held + waiting;
  }

  countsOf(file: FileId, client: ClientId): number {
    const counts = this.#files.get(file)?.table.countsOf(client);
    return counts === undefined ? 0 : counts.held + counts.waiting;
  }

  /** Files in which the client may hold or wait. */
  filesOf(client: ClientId): FileId[] {
    return [...(this.#filesOfClient.get(client) ?? [])];
  }

  /**
   * What a restarted brick is told by a client, or what a move brings. `settle` follows when all of it is in.
   * Answers the locks that another owner holds against, which were not added.
   */
  add(file: FileId, held: readonly HeldLock[], waiting: readonly WaitingLock[]): HeldLock[] {
    const refused: HeldLock[] = [];
    if (held.length + waiting.length === 0) return refused;
    const locks = this.#locksOf(file);
    if (locks.table.waitingCount === 0) locks.arrived.clear();
    for (const lock of held) {
      locks.watched?.mark(lock);
      if (locks.table.addHeld(lock) === undefined) this.#remember(lock.client, file);
      else refused.push(lock);
    }
    for (const lock of waiting) {
      noteArrived(locks, lock, locks.table.addWaiting(lock));
      this.#remember(lock.client, file);
    }
    return refused;
  }

  /** After `add`: no ticket below `nextTicket` is given again, and what can be granted is. */
  settle(file: FileId, nextTicket?: Ticket): void {
    const locks = this.#files.get(file);
    if (locks === undefined) return;
    if (nextTicket !== undefined) locks.table.raiseTicket(nextTicket);
    this.#deliver(file, locks, locks.table.settle());
    this.#idle(file, locks);
  }

  /** All files with locks; for `settle` after a recovery and for listing. */
  files(): FileId[] {
    return [...this.#files.keys()];
  }

  /** From now on it is remembered whose held locks in the file change, until the file moves or `unwatch`. */
  watch(file: FileId): void {
    this.#locksOf(file).watched = new ChangedOwners();
  }

  unwatch(file: FileId): void {
    const locks = this.#files.get(file);
    if (locks !== undefined) locks.watched = undefined;
  }

  watched(file: FileId): ChangedOwners | undefined {
    return this.#files.get(file)?.watched;
  }

  /** What the changed owners hold now. */
  heldOf(file: FileId, changed: ChangedOwners): HeldLock[] {
    const table = this.#files.get(file)?.table;
    return table === undefined ? [] : heldOfChanged(table, changed);
  }

  waitersOf(file: FileId): { waiting: WaitingLock[]; nextTicket: Ticket } {
    const table = this.#files.get(file)?.table;
    return { waiting: [...(table?.waiting() ?? [])], nextTicket: table?.nextTicket ?? this.#ticketFloor };
  }

  /**
   * A table that a move brought, with the waits that belong to it; nothing of the file's locks is here yet. What can
   * be granted is granted.
   */
  adopt(
    file: FileId,
    table: LockTable,
    clients: Iterable<ClientId>,
    waiting: readonly WaitingLock[],
    nextTicket: Ticket,
  ): void {
    const before = this.#files.get(file);
    table.raiseTicket(Math.max(nextTicket, before?.table.nextTicket ?? this.#ticketFloor) as Ticket);
    this.#files.set(file, newFileLocks(table));
    for (const client of clients) this.#remember(client, file);
    this.add(file, [], waiting);
    this.settle(file);
  }

  snapshot(file: FileId): LockSnapshotParts {
    const locks = this.#files.get(file);
    if (locks === undefined) return { held: [], waiting: [], nextTicket: 1 as Ticket };
    const { held, waiting, nextTicket } = locks.table.snapshot();
    // A grant that nobody was told of yet travels as the wait that it still is to its client.
    return { held: [...held], waiting: [...waiting], nextTicket };
  }

  /** The file moved, or (undefined) was deleted: its waits are told so, and nothing of its locks stays here. */
  moveAway(file: FileId, moved: Moved | undefined): ClientId[] {
    const locks = this.#files.get(file);
    if (locks === undefined) return [];
    this.#files.delete(file);
    const clients = new Set<ClientId>();
    for (const [client, files] of this.#filesOfClient) {
      if (files.delete(file)) clients.add(client);
    }
    for (const wait of locks.waits.values()) {
      this.#waiting.get(wait.session)?.delete(wait.seq);
      wait.refuse(new Refusal(moved === undefined ? 'ESTALE' : 'EREMOTE', undefined, moved));
    }
    return [...clients];
  }

  counts(client: ClientId): { locks: number; waiters: number } {
    let locks = 0;
    let waiters = 0;
    for (const file of this.#filesOfClient.get(client) ?? []) {
      const table = this.#files.get(file)?.table;
      if (table === undefined) continue;
      const counts = table.countsOf(client);
      locks += counts.held;
      waiters += counts.waiting;
    }
    return { locks, waiters };
  }

  countsOfFile(file: FileId): { holders: number; waiters: number } {
    const table = this.#files.get(file)?.table;
    return { holders: table?.heldCount ?? 0, waiters: table?.waitingCount ?? 0 };
  }

  *rows(file: FileId | undefined): IterableIterator<LockRow> {
    for (const one of file === undefined ? this.#files.keys() : [file]) {
      const table = this.#files.get(one)?.table;
      if (table === undefined) continue;
      for (const lock of table.held()) yield { ...lock, file: one, state: 'held', ticket: undefined };
      for (const lock of table.waiting()) yield { ...lock, file: one, state: 'waiting', ticket: lock.ticket };
    }
  }

  #granted(file: FileId): Outcome {
    return { outcome: 'granted', change: this.#changeOf(file) };
  }

  /** A wait that has its place already: moved here, reclaimed, or sent again over a new session. */
  #claim(
    session: Session,
    seq: number,
    body: Request<'lock'>,
    locks: FileLocks,
    ticket: Ticket,
  ): Outcome | Promise<Outcome> | undefined {
    const granted = locks.grantedUnclaimed.get(ticket);
    if (granted !== undefined && granted.client === session.client && granted.owner === body.owner) {
      locks.grantedUnclaimed.delete(ticket);
      return this.#granted(body.file);
    }
    const waiting = locks.table.waiterOf(ticket);
    if (waiting === undefined || waiting.client !== session.client || waiting.owner !== body.owner)
      return undefined;
    const before = locks.waits.get(ticket);
    if (before !== undefined) {
      // Two requests of one session for the same: each waits for itself. (A lone EFENCED would end the session.)
      if (before.session === session) return undefined;
      this.#waiting.get(before.session)?.delete(before.seq);
      before.refuse(new Refusal('EFENCED', 'the wait was taken over by a later request'));
    }
    return this.#park(session, seq, body.file, locks, ticket);
  }

  #park(session: Session, seq: number, file: FileId, locks: FileLocks, ticket: Ticket): Promise<Outcome> {
    return new Promise<Outcome>((resolve, reject) => {
      locks.waits.set(ticket, { session, seq, settle: resolve, refuse: reject });
      let seqs = this.#waiting.get(session);
      if (seqs === undefined) {
        seqs = new Map();
        this.#waiting.set(session, seqs);
      }
      seqs.set(seq, { file, ticket });
      session.event('queued', { seq, file, ticket });
    });
  }

  /** After a reconnect: the ticket is told again, since events are lost with a connection. */
  announce(session: Session, seq: number): void {
    const place = this.#waiting.get(session)?.get(seq);
    if (place !== undefined) session.event('queued', { seq, file: place.file, ticket: place.ticket });
  }

  #deliver(file: FileId, locks: FileLocks, granted: readonly WaitingLock[]): void {
    for (const lock of granted) {
      locks.watched?.mark(lock);
      const wait = locks.waits.get(lock.ticket);
      if (wait === undefined) {
        locks.grantedUnclaimed.set(lock.ticket, lock);
        continue;
      }
      locks.waits.delete(lock.ticket);
      this.#waiting.get(wait.session)?.delete(wait.seq);
      wait.settle(this.#granted(file));
    }
  }

  #endWait(file: FileId, locks: FileLocks, ticket: Ticket, outcome: 'cancelled' | 'deadlock'): void {
    const wait = locks.waits.get(ticket);
    const { granted } = locks.table.cancel(ticket);
    if (wait !== undefined) {
      locks.waits.delete(ticket);
      this.#waiting.get(wait.session)?.delete(wait.seq);
      wait.settle({ outcome, change: 0 });
    }
    this.#deliver(file, locks, granted);
    this.#idle(file, locks);
  }

  #checkLimits(session: Session, body: Request<'lock'>): void {
    const counts = this.#files.get(body.file)?.table.countsOf(session.client);
    if (counts === undefined) return;
    if (counts.held >= locksPerClientMax || (body.wait && counts.waiting >= waitersPerClientMax)) {
      throw new Refusal(
        'ENOLCK',
        `client ${session.client} has too many locks or waiters in file ${body.file}`,
      );
    }
  }

  #locksOf(file: FileId): FileLocks {
    let locks = this.#files.get(file);
    if (locks === undefined) {
      const table = new LockTable();
      table.raiseTicket(this.#ticketFloor);
      locks = newFileLocks(table);
      this.#files.set(file, locks);
    }
    return locks;
  }

  #remember(client: ClientId, file: FileId): void {
    let files = this.#filesOfClient.get(client);
    if (files === undefined) {
      files = new Set();
      this.#filesOfClient.set(client, files);
    }
    files.add(file);
  }

  /**
   * An empty table is kept for the next lock: most files are locked again and again, and a Map slows down when one
   * key comes and goes among many. A few thousand idle ones are forgotten together.
   */
  #idle(file: FileId, locks: FileLocks): void {
    if (!isIdle(locks)) return;
    this.#idleFiles.add(file);
    if (this.#idleFiles.size < idleFilesMax) return;
    for (const one of this.#idleFiles) {
      const idle = this.#files.get(one);
      if (idle === undefined || !isIdle(idle)) continue;
      // A client may still show a ticket of this table (a wait that a signal restarts): the next one starts above it.
      this.#ticketFloor = Math.max(this.#ticketFloor, idle.table.nextTicket) as Ticket;
      this.#files.delete(one);
      for (const files of this.#filesOfClient.values()) files.delete(one);
    }
    this.#idleFiles.clear();
  }
}
