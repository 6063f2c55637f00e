/**
 * A brick in memory for tests of dht: it speaks the message table over a Network, keeps entries and inodes in maps
 * and locks in the real lock table. What a test wants to go wrong it scripts: refusals, answers held back, moves,
 * restarts, fences, cuts. It has no store, no freeze and no recovery gate: those are the real brick's.
 */
import { LockTable } from '../brick-store/locks/lock-table.js';
import { silentTrace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import {
  type BrickName,
  type ByteText,
  type ClientId,
  type Epoch,
  type FileId,
  type MigrationId,
  rootFileId,
  type Ticket,
} from '../wire/ids.js';
import type { Moved, WaitingLock } from '../wire/lock-types.js';
import type { Answer, Attributes, Entry, FileName, HashRange, Op, Request } from '../wire/messages.js';
import type { Connection, Listener, Network } from '../wire/network.js';
import { type IncomingRequest, Responder } from '../wire/responder.js';

interface FakeInode {
  attributes: Attributes;
  names: FileName[];
  layout: readonly HashRange[];
  xattrs: Map<ByteText, Uint8Array>;
}

interface FakeSession {
  readonly incarnation: number;
  path: Responder | undefined;
  mustReclaim: boolean;
  readonly replies: Map<number, () => void>;
  readonly working: Set<number>;
}

interface Waiting {
  readonly client: ClientId;
  readonly seq: number;
}

type Handler<O extends Op> = (body: Request<O>, client: ClientId, seq: number) => Answer<O> | undefined;
type Handlers = { readonly [O in Op]?: Handler<O> };

const newAttributes = (file: FileId, type: Attributes['type'], mode: number, timeNs = 0n): Attributes => ({
  file,
  type,
  mode,
  nlink: type === 'dir' ? 2 : 1,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  storedBytes: 0,
  atimeNs: timeNs,
  mtimeNs: timeNs,
  ctimeNs: timeNs,
  change: 0,
  epoch: 0 as Epoch,
});

export class FakeBrick {
  readonly name: BrickName;
  readonly inodes = new Map<FileId, FakeInode>();
  readonly entries = new Map<string, Entry>();
  readonly opens = new Map<string, number>();
  readonly moved = new Map<FileId, Moved>();
  readonly tables = new Map<FileId, LockTable>();
  /** Every request that arrived, resent ones again. */
  readonly log: { op: Op; body: Request<Op> }[] = [];
  /** May refuse a request before it has any effect. */
  script: (op: Op, body: Request<Op>) => Refusal | undefined = () => undefined;
  /** May keep an answer from being sent; the effect has happened, and a resend gets the answer. */
  loseAnswer: (op: Op) => boolean = () => false;
  /** Runs just before a request is carried out. */
  before: (op: Op, body: Request<Op>) => void = () => undefined;
  readonly #sessions = new Map<ClientId, FakeSession>();
  readonly #fenced = new Map<ClientId, number>();
  readonly #waiting = new Map<FileId, Map<Ticket, Waiting>>();
  readonly #responders = new Set<Responder>();
  readonly #network: Network;
  #listener: Listener | undefined;

  constructor(name: string, network: Network, rootLayout: readonly HashRange[] = []) {
    this.name = name as BrickName;
    this.#network = network;
    const attributes = newAttributes(rootFileId, 'dir', 0o755);
    this.inodes.set(rootFileId, { attributes, names: [], layout: rootLayout, xattrs: new Map() });
  }

  get address(): string {
    return `unix:/${this.name}`;
  }

  async start(): Promise<void> {
    this.#listener = await this.#network.listen(this.address, (connection) => this.#accept(connection));
  }

  /** Nobody answers any more; what clients had is kept. */
  async stop(): Promise<void> {
    await this.#listener?.close();
    this.#listener = undefined;
    this.cut();
  }

  /** Every connection ends; sessions stay. */
  cut(): void {
    for (const responder of this.#responders) responder.close('cut by the test');
  }

  /** Loses what is in memory only: locks, waits, opens. Names and inodes stay. */
  async restart(): Promise<void> {
    await this.stop();
    this.tables.clear();
    this.#waiting.clear();
    this.opens.clear();
    for (const session of this.#sessions.values()) {
      session.mustReclaim = true;
      session.replies.clear();
      session.working.clear();
    }
    await this.start();
  }

  /** As if the grace of the client had run out. */
  fence(client: ClientId): void {
    const session = this.#sessions.get(client);
    if (session === undefined) throw new Error(`${this.name} does not know ${client}`);
    this.#fenced.set(client, session.incarnation);
    this.#sessions.delete(client);
    for (const [file, table] of this.tables) this.#deliver(file, table.dropClient(client));
    for (const key of this.opens.keys()) if (key.startsWith(client)) this.opens.delete(key);
    session.path?.close('fenced by the test');
  }

  /** A committed move of one file with its locks and waiters. */
  moveTo(target: FakeBrick, file: FileId): void {
    const inode = this.inodes.get(file)!;
    const epoch = (inode.attributes.epoch + 1) as Epoch;
    const moved: Moved = {
      target: target.name,
      epoch,
      migration: `${epoch}`.padStart(32, '0') as MigrationId,
    };
    this.inodes.delete(file);
    target.moved.delete(file);
    target.inodes.set(file, { ...inode, attributes: { ...inode.attributes, epoch } });
    this.moved.set(file, moved);
    for (const [key, opens] of this.opens) {
      if (!key.endsWith(file)) continue;
      this.opens.delete(key);
      target.opens.set(key, opens);
    }
    const table = this.tables.get(file);
    if (table !== undefined) target.tables.set(file, LockTable.restore(table.snapshot()));
    target.tables.get(file)?.settle();
    this.tables.delete(file);
    const waiting = this.#waiting.get(file) ?? new Map<Ticket, Waiting>();
    this.#waiting.delete(file);
    for (const { client, seq } of waiting.values()) {
      this.#refuse(client, seq, new Refusal('EREMOTE', undefined, moved));
    }
  }

  requests<O extends Op>(op: O): Request<O>[] {
    return this.log.filter((one) => one.op === op).map((one) => one.body as Request<O>);
  }

  entry(parent: FileId, name: string): Entry | undefined {
    return this.entries.get(`${parent}/${name}`);
  }

  /** Held locks of a file as text, in order. */
  held(file: FileId): string[] {
    const held = this.tables.get(file)?.snapshot().held ?? [];
    return held.map((lock) => `${lock.kind} ${lock.type} ${lock.start}-${lock.end} ${lock.owner.slice(-1)}`);
  }

  waiters(file: FileId): readonly WaitingLock[] {
    return this.tables.get(file)?.snapshot().waiting ?? [];
  }

  opensOf(client: ClientId, file: FileId): number {
    return this.opens.get(client + file) ?? 0;
  }

  // ---- sessions -----------------------------------------------------------------------------------------------------

  #accept(connection: Connection): void {
    let client: ClientId | undefined;
    const responder = new Responder(connection, silentTrace, {
      onRequest: (_, request) => {
        if (request.op === 'hello') client = this.#hello(responder, request.seq, request.body);
        else if (client !== undefined) this.#request(client, responder, request);
      },
      onClose: () => {
        this.#responders.delete(responder);
        const session = client === undefined ? undefined : this.#sessions.get(client);
        if (session?.path === responder) session.path = undefined;
      },
    });
    this.#responders.add(responder);
  }

  #hello(responder: Responder, seq: number, body: Request<'hello'>): ClientId | undefined {
    if (body.incarnation <= (this.#fenced.get(body.client) ?? 0)) {
      responder.refuse(seq, new Refusal('EFENCED'));
      return undefined;
    }
    let session = this.#sessions.get(body.client);
    let state: 'new' | 'resumed' | 'reclaim' = 'new';
    if (session === undefined || session.incarnation !== body.incarnation) {
      session = {
        incarnation: body.incarnation,
        path: responder,
        mustReclaim: false,
        replies: new Map(),
        working: new Set(),
      };
      this.#sessions.set(body.client, session);
    } else {
      session.path = responder;
      state = session.mustReclaim ? 'reclaim' : 'resumed';
    }
    responder.answer(seq, 'hello', { session: state, graceMs: 10_000 });
    return body.client;
  }

  #request(client: ClientId, responder: Responder, { seq, op, body }: IncomingRequest): void {
    const session = this.#sessions.get(client);
    if (session === undefined) return;
    if (op === 'ping') {
      responder.answer(seq, 'ping', {});
      return;
    }
    this.log.push({ op, body });
    const reply = session.replies.get(seq);
    if (reply !== undefined) reply();
    if (reply !== undefined || session.working.has(seq)) return;
    session.working.add(seq);
    try {
      this.before(op, body);
      const scripted = this.script(op, body);
      if (scripted !== undefined) throw scripted;
      const handler = this.#handlers[op] as Handler<Op> | undefined;
      if (handler === undefined) throw new Error(`the fake brick does not know ${op}`);
      const answer = handler(body, client, seq);
      if (answer !== undefined) this.#answer(client, seq, op, answer);
    } catch (error) {
      this.#refuse(client, seq, asRefusal(error) ?? new Refusal('EIO', String(error)));
    }
  }

  #answer<O extends Op>(client: ClientId, seq: number, op: O, body: Answer<O>): void {
    const session = this.#sessions.get(client);
    session?.working.delete(seq);
    const send = (): void => session?.path?.answer(seq, op, body);
    session?.replies.set(seq, send);
    if (!this.loseAnswer(op)) send();
  }

  #refuse(client: ClientId, seq: number, error: Refusal): void {
    const session = this.#sessions.get(client);
    session?.working.delete(seq);
    const send = (): void => session?.path?.refuse(seq, error);
    session?.replies.set(seq, send);
    send();
  }

  // ---- what the rows do ---------------------------------------------------------------------------------------------

  #inode(file: FileId): FakeInode {
    const inode = this.inodes.get(file);
    if (inode !== undefined) return inode;
    const moved = this.moved.get(file);
    throw moved === undefined ? new Refusal('ESTALE') : new Refusal('EREMOTE', undefined, moved);
  }

  #dir(dir: FileId): FakeInode {
    const inode = this.inodes.get(dir);
    if (inode === undefined) throw new Refusal('ESTALE');
    if (inode.attributes.type !== 'dir') throw new Refusal('ENOTDIR');
    return inode;
  }

  #entryOf(parent: FileId, name: ByteText, file?: FileId): Entry {
    this.#dir(parent);
    const entry = this.entry(parent, name);
    if (entry === undefined || (file !== undefined && entry.file !== file)) throw new Refusal('ENOENT');
    const isHere = entry.type === 'dir' || this.inodes.has(entry.file);
    return isHere ? { ...entry, home: this.name } : entry;
  }

  #found(parent: FileId, name: ByteText): { entry: Entry; attributes: Attributes | undefined } {
    const entry = this.#entryOf(parent, name);
    return { entry, attributes: this.inodes.get(entry.file)?.attributes };
  }

  #isEmpty(dir: FileId): boolean {
    return ![...this.entries.keys()].some((key) => key.startsWith(`${dir}/`));
  }

  /** False where the inode is not here. */
  #dropName(file: FileId, parent: FileId, name: ByteText): boolean {
    const inode = this.inodes.get(file);
    if (inode === undefined) return false;
    inode.names = inode.names.filter((one) => one.parent !== parent || one.name !== name);
    inode.attributes = { ...inode.attributes, nlink: inode.names.length };
    this.#deleteIfUnused(file);
    return true;
  }

  #addName(file: FileId, parent: FileId, name: ByteText): void {
    const inode = this.#inode(file);
    if (!inode.names.some((one) => one.parent === parent && one.name === name))
      inode.names.push({ parent, name });
    inode.attributes = { ...inode.attributes, nlink: inode.names.length };
  }

  #deleteIfUnused(file: FileId): void {
    const inode = this.inodes.get(file);
    const isOpen = [...this.opens].some(([key, opens]) => key.endsWith(file) && opens > 0);
    if (inode !== undefined && inode.names.length === 0 && !isOpen) this.inodes.delete(file);
  }

  #open(client: ClientId, file: FileId, opens: number): void {
    this.opens.set(client + file, Math.max(0, this.opensOf(client, file) + opens));
  }

  #table(file: FileId): LockTable {
    this.#inode(file);
    let table = this.tables.get(file);
    if (table === undefined) {
      table = new LockTable();
      this.tables.set(file, table);
    }
    return table;
  }

  #deliver(file: FileId, granted: readonly WaitingLock[]): void {
    const waiting = this.#waiting.get(file);
    for (const { ticket } of granted) {
      const wait = waiting?.get(ticket);
      if (wait === undefined) continue;
      waiting?.delete(ticket);
      this.#answer(wait.client, wait.seq, 'lock', { outcome: 'granted', change: 1 });
    }
  }

  #lock(body: Request<'lock'>, client: ClientId, seq: number): Answer<'lock'> | undefined {
    const { file, ticket, ...wanted } = body;
    const table = this.#table(file);
    const waiting = this.#waiting.get(file) ?? new Map<Ticket, Waiting>();
    this.#waiting.set(file, waiting);
    const known = [...table.snapshot().waiting].find(
      (one) =>
        one.client === client &&
        one.owner === body.owner &&
        (one.ticket === ticket || !waiting.has(one.ticket)),
    );
    const result =
      known === undefined
        ? table.lock({ ...wanted, client, ...(ticket === undefined ? {} : { ticket }) })
        : { outcome: 'waiting' as const, ticket: known.ticket, granted: [] };
    this.#deliver(file, result.granted);
    if (result.outcome !== 'waiting') return { outcome: result.outcome, change: 1 };
    waiting.set(result.ticket!, { client, seq });
    this.#sessions.get(client)?.path?.event('queued', { seq, file, ticket: result.ticket! });
    return undefined;
  }

  #cancel(file: FileId, client: ClientId, seq: number): void {
    const table = this.#table(file);
    for (const [ticket, wait] of this.#waiting.get(file) ?? []) {
      if (wait.client !== client || wait.seq !== seq) continue;
      this.#waiting.get(file)?.delete(ticket);
      this.#answer(client, seq, 'lock', { outcome: 'cancelled', change: 0 });
      this.#deliver(file, table.cancel(ticket).granted);
    }
  }

  #create(body: Request<'create'>, client: ClientId): Answer<'create'> {
    const { parent, name, file, type } = body;
    this.#dir(parent);
    if (this.entry(parent, name) !== undefined) {
      const found = this.#found(parent, name);
      if (body.exclusive || found.entry.type !== 'file') throw new Refusal('EEXIST');
      if (body.open && found.attributes !== undefined) this.#open(client, found.entry.file, 1);
      return { created: false, ...found };
    }
    const attributes = newAttributes(file, type, body.mode);
    this.inodes.set(file, { attributes, names: [{ parent, name }], layout: [], xattrs: new Map() });
    this.entries.set(`${parent}/${name}`, { name, file, type, home: this.name });
    if (body.open) this.#open(client, file, 1);
    return { created: true, ...this.#found(parent, name) };
  }

  #makeDirectory({
    parent,
    name,
    file,
    mode,
    timeNs,
    layout,
  }: Request<'makeDirectory'>): Answer<'makeDirectory'> {
    this.#dir(parent);
    const there = this.entry(parent, name);
    if (there !== undefined && there.file !== file) throw new Refusal('EEXIST');
    if (!this.inodes.has(file)) {
      const attributes = newAttributes(file, 'dir', mode, timeNs);
      this.inodes.set(file, { attributes, names: [], layout, xattrs: new Map() });
    }
    this.entries.set(`${parent}/${name}`, { name, file, type: 'dir', home: this.name });
    return { attributes: this.#dir(file).attributes };
  }

  #removeDirectory({ parent, name, file }: Request<'removeDirectory'>): Answer<'removeDirectory'> {
    const entry = this.#entryOf(parent, name, file);
    if (entry.type !== 'dir') throw new Refusal('ENOTDIR');
    if (!this.#isEmpty(file)) throw new Refusal('ENOTEMPTY');
    this.entries.delete(`${parent}/${name}`);
    this.inodes.delete(file);
    return {};
  }

  #putEntry({ parent, entry, expect }: Request<'putEntry'>): Answer<'putEntry'> {
    this.#dir(parent);
    const there = this.entry(parent, entry.name);
    if (expect === 'same' && there?.file !== entry.file) throw new Refusal('ENOENT');
    if (expect === 'absent' && there !== undefined) throw new Refusal('EEXIST');
    if (there?.type === 'dir') throw new Refusal('EISDIR');
    this.entries.set(`${parent}/${entry.name}`, entry);
    return { replaced: there?.file === entry.file ? undefined : there };
  }

  #renameEntry(body: Request<'renameEntry'>): Answer<'renameEntry'> {
    const { parent, name, newParent, newName, file } = body;
    this.#dir(newParent);
    const entry = this.#entryOf(parent, name, file);
    const there = this.entry(newParent, newName);
    if (there !== undefined && body.noReplace) throw new Refusal('EEXIST');
    if (there?.type === 'dir' && !this.#isEmpty(there.file)) throw new Refusal('ENOTEMPTY');
    this.entries.delete(`${parent}/${name}`);
    this.entries.set(`${newParent}/${newName}`, { ...entry, name: newName });
    if (entry.type !== 'dir' && this.inodes.has(file)) {
      this.#addName(file, newParent, newName);
      this.#dropName(file, parent, name);
    }
    const linkDropped = there !== undefined && this.#dropName(there.file, newParent, newName);
    return { replaced: there, linkDropped };
  }

  readonly #nameHandlers: Handlers = {
    lookup: ({ parent, name }) => this.#found(parent, name),
    create: (body, client) => this.#create(body, client),
    makeDirectory: (body) => this.#makeDirectory(body),
    removeDirectory: (body) => this.#removeDirectory(body),
    putEntry: (body) => this.#putEntry(body),
    removeEntry: ({ parent, name, file }) => {
      const entry = this.#entryOf(parent, name, file);
      this.entries.delete(`${parent}/${name}`);
      return { entry, linkDropped: this.#dropName(file, parent, name) };
    },
    renameEntry: (body) => this.#renameEntry(body),
    addName: ({ file, parent, name }) => {
      this.#addName(file, parent, name);
      return { attributes: this.#inode(file).attributes };
    },
    dropName: ({ file, parent, name }) => {
      this.#inode(file);
      this.#dropName(file, parent, name);
      return { nlink: this.inodes.get(file)?.attributes.nlink ?? 0 };
    },
    listDirectory: ({ dir, after, limit }) => {
      this.#dir(dir);
      const all = [...this.entries.keys()]
        .filter((key) => key.startsWith(`${dir}/`) && key.slice(dir.length + 1) > after)
        .sort();
      const entries = all.slice(0, limit).map((key) => {
        const found = this.#found(dir, key.slice(dir.length + 1) as ByteText);
        return { ...found.entry, attributes: found.attributes };
      });
      return { entries, more: all.length > limit };
    },
    readLayout: ({ dir }) => ({ layout: this.#dir(dir).layout }),
    namesOf: ({ file }) => ({ names: this.#inode(file).names }),
  };

  readonly #inodeHandlers: Handlers = {
    getAttributes: ({ file }) => ({ attributes: this.#inode(file).attributes }),
    setAttributes: ({ file, mode, size }) => {
      const inode = this.#inode(file);
      const { attributes } = inode;
      inode.attributes = { ...attributes, mode: mode ?? attributes.mode, size: size ?? attributes.size };
      return { attributes: inode.attributes };
    },
    getXattr: ({ file, name }) => {
      const value = this.#inode(file).xattrs.get(name);
      if (value === undefined) throw new Refusal('ENODATA');
      return { value };
    },
    setXattr: ({ file, name, value }) => {
      this.#inode(file).xattrs.set(name, value);
      return {};
    },
    listXattrs: ({ file }) => ({ names: [...this.#inode(file).xattrs.keys()] }),
    open: ({ file }, client) => {
      const { attributes } = this.#inode(file);
      this.#open(client, file, 1);
      return { attributes };
    },
    release: ({ file, opens, owners }, client) => {
      const table = this.#table(file);
      this.#open(client, file, -opens);
      for (const owner of owners) this.#deliver(file, table.dropOwner(client, owner));
      this.#deleteIfUnused(file);
      return {};
    },
    read: ({ file }) => {
      this.#inode(file);
      return { data: new Uint8Array([this.name.charCodeAt(this.name.length - 1)]), change: 0 };
    },
    write: ({ file }) => {
      this.#inode(file);
      return { change: 1, size: 1 };
    },
    sync: () => ({}),
    space: () => ({ totalBytes: 100, freeBytes: 40, files: this.inodes.size }),
  };

  readonly #handlers: Handlers = {
    ...this.#nameHandlers,
    ...this.#inodeHandlers,
    goodbye: (_, client, seq) => {
      this.#answer(client, seq, 'goodbye', {});
      this.#sessions.delete(client);
      return undefined;
    },
    reclaim: ({ file, opens, held, waiting }, client) => {
      const table = this.#table(file);
      this.opens.set(client + file, opens);
      for (const lock of held) table.addHeld(lock);
      for (const lock of waiting) table.addWaiting(lock);
      return {};
    },
    reclaimDone: (_, client) => {
      this.#sessions.get(client)!.mustReclaim = false;
      for (const [file, table] of this.tables) this.#deliver(file, table.settle());
      return {};
    },
    lock: (body, client, seq) => this.#lock(body, client, seq),
    unlock: ({ file, owner, kind, start, end }, client) => {
      this.#deliver(file, this.#table(file).unlock(kind, client, owner, start, end));
      return {};
    },
    testLock: ({ file, owner, kind, type, start, end }, client) => ({
      conflict: this.#table(file).test({ kind, type, start, end, client, owner }),
    }),
    cancelLock: ({ file, seq }, client) => {
      this.#cancel(file, client, seq);
      return {};
    },
    flushOwner: ({ file, owner }, client) => {
      this.#deliver(file, this.#table(file).dropOwner(client, owner, 'posix'));
      return {};
    },
    locate: ({ file }) => {
      const moved = this.moved.get(file);
      if (this.inodes.has(file)) return { place: 'here', moved: undefined };
      return { place: moved === undefined ? 'absent' : 'moved', moved };
    },
  };
}
