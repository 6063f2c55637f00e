/**
 * A volume in memory, for tests of the mount alone: one `MemoryFiles` is the bricks, each `MemoryVolume` one client.
 * It is right for what the tests do, and nothing else.
 */
import type {
  AttributeChange,
  LockOutcome,
  LockRequest,
  NewInode,
  PendingLock,
  Volume,
} from '../../dht/volume.js';
import { Refusal } from '../../wire/errors.js';
import type { BrickName, ByteText, ClientId, FileId, LkOwner, Ticket } from '../../wire/ids.js';
import type { HeldLock } from '../../wire/lock-types.js';
import type { Attributes, DirEntry } from '../../wire/messages.js';
import type { MemoryFiles, Node, Waiter } from './memory-files.js';

export class MemoryVolume implements Volume {
  readonly client: ClientId;
  readonly #files: MemoryFiles;

  constructor(files: MemoryFiles, client: string) {
    this.#files = files;
    this.client = client as ClientId;
  }

  async #enter(method: string): Promise<void> {
    this.#files.calls.push(`${this.client} ${method}`);
    await this.#files.before(method, this.client);
  }

  #node(file: FileId): Node {
    const node = this.#files.nodes.get(file);
    if (node === undefined) throw new Refusal('ESTALE');
    return node;
  }

  #child(parent: FileId, name: ByteText): Node {
    const file = this.#node(parent).entries.get(name);
    if (file === undefined) throw new Refusal('ENOENT');
    return this.#node(file);
  }

  #unlinked(node: Node): void {
    node.attributes.nlink--;
    node.attributes.ctimeNs = this.#files.now();
    if (node.attributes.nlink === 0 && node.opens === 0) this.#files.nodes.delete(node.attributes.file);
  }

  #changed(node: Node): { change: number; size: number } {
    const time = this.#files.now();
    node.attributes.size = node.content.length;
    node.attributes.storedBytes = node.content.length;
    node.attributes.mtimeNs = time;
    node.attributes.ctimeNs = time;
    node.attributes.change++;
    return { change: node.attributes.change, size: node.attributes.size };
  }

  #resize(node: Node, size: number): void {
    const content = Buffer.alloc(size);
    node.content.copy(content);
    node.content = content;
  }

  async lookup(parent: FileId, name: ByteText): Promise<Attributes> {
    await this.#enter('lookup');
    return { ...this.#child(parent, name).attributes };
  }

  async attributes(file: FileId): Promise<Attributes> {
    await this.#enter('attributes');
    return { ...this.#node(file).attributes };
  }

  async changeAttributes(file: FileId, change: AttributeChange): Promise<Attributes> {
    await this.#enter('changeAttributes');
    const node = this.#node(file);
    const { attributes } = node;
    if (change.size !== undefined) {
      this.#resize(node, change.size);
      this.#changed(node);
    }
    attributes.mode = change.mode ?? attributes.mode;
    attributes.uid = change.uid ?? attributes.uid;
    attributes.gid = change.gid ?? attributes.gid;
    const time = this.#files.now();
    attributes.ctimeNs = time;
    if (change.atimeNs !== undefined) attributes.atimeNs = change.atimeNs === 'now' ? time : change.atimeNs;
    if (change.mtimeNs !== undefined) attributes.mtimeNs = change.mtimeNs === 'now' ? time : change.mtimeNs;
    return { ...attributes };
  }

  async create(
    parent: FileId,
    name: ByteText,
    inode: NewInode,
    options: { exclusive: boolean; open: boolean },
  ): Promise<{ created: boolean; attributes: Attributes }> {
    await this.#enter('create');
    const { entries } = this.#node(parent);
    const existing = entries.get(name);
    if (existing !== undefined && options.exclusive) throw new Refusal('EEXIST');
    const node = existing === undefined ? this.#files.add(inode) : this.#node(existing);
    entries.set(name, node.attributes.file);
    if (options.open) node.opens++;
    return { created: existing === undefined, attributes: { ...node.attributes } };
  }

  async makeDirectory(parent: FileId, name: ByteText, inode: NewInode): Promise<Attributes> {
    await this.#enter('makeDirectory');
    const { entries, attributes } = this.#node(parent);
    if (entries.has(name)) throw new Refusal('EEXIST');
    const node = this.#files.add(inode);
    entries.set(name, node.attributes.file);
    attributes.nlink++;
    return { ...node.attributes };
  }

  async removeDirectory(parent: FileId, name: ByteText): Promise<void> {
    await this.#enter('removeDirectory');
    const node = this.#child(parent, name);
    if (node.attributes.type !== 'dir') throw new Refusal('ENOTDIR');
    if (node.entries.size > 0) throw new Refusal('ENOTEMPTY');
    this.#node(parent).entries.delete(name);
    this.#node(parent).attributes.nlink--;
    this.#files.nodes.delete(node.attributes.file);
  }

  async unlink(parent: FileId, name: ByteText): Promise<void> {
    await this.#enter('unlink');
    const node = this.#child(parent, name);
    this.#node(parent).entries.delete(name);
    this.#unlinked(node);
  }

  async link(file: FileId, parent: FileId, name: ByteText): Promise<Attributes> {
    await this.#enter('link');
    const { entries } = this.#node(parent);
    if (entries.has(name)) throw new Refusal('EEXIST');
    const node = this.#node(file);
    entries.set(name, file);
    node.attributes.nlink++;
    return { ...node.attributes };
  }

  async rename(
    parent: FileId,
    name: ByteText,
    newParent: FileId,
    newName: ByteText,
    noReplace: boolean,
  ): Promise<void> {
    await this.#enter('rename');
    const node = this.#child(parent, name);
    const target = this.#node(newParent).entries.get(newName);
    if (target !== undefined && noReplace) throw new Refusal('EEXIST');
    if (target === node.attributes.file) return;
    if (target !== undefined) this.#unlinked(this.#node(target));
    this.#node(parent).entries.delete(name);
    this.#node(newParent).entries.set(newName, node.attributes.file);
  }

  async readSymlink(file: FileId): Promise<ByteText> {
    await this.#enter('readSymlink');
    return this.#node(file).symlink!;
  }

  async listDirectory(dir: FileId): Promise<DirEntry[]> {
    await this.#enter('listDirectory');
    return [...this.#node(dir).entries].map(([name, file], at) => {
      const { attributes } = this.#node(file);
      // Every third without attributes, as where the inode is on another brick.
      return {
        name,
        file,
        type: attributes.type,
        home: 'brick-1' as BrickName,
        attributes: at % 3 === 2 ? undefined : { ...attributes },
      };
    });
  }

  async getXattr(file: FileId, name: ByteText): Promise<Uint8Array> {
    await this.#enter('getXattr');
    const value = this.#node(file).xattrs.get(name);
    if (value === undefined) throw new Refusal('ENODATA');
    return value;
  }

  async setXattr(
    file: FileId,
    name: ByteText,
    value: Uint8Array,
    expect: 'any' | 'absent' | 'present',
  ): Promise<void> {
    await this.#enter('setXattr');
    const { xattrs } = this.#node(file);
    if (expect === 'absent' && xattrs.has(name)) throw new Refusal('EEXIST');
    if (expect === 'present' && !xattrs.has(name)) throw new Refusal('ENODATA');
    xattrs.set(name, value);
  }

  async listXattrs(file: FileId): Promise<readonly ByteText[]> {
    await this.#enter('listXattrs');
    return [...this.#node(file).xattrs.keys()];
  }

  async removeXattr(file: FileId, name: ByteText): Promise<void> {
    await this.#enter('removeXattr');
    if (!this.#node(file).xattrs.delete(name)) throw new Refusal('ENODATA');
  }

  async open(file: FileId, truncate: boolean): Promise<Attributes> {
    await this.#enter('open');
    const node = this.#node(file);
    node.opens++;
    if (truncate && node.content.length > 0) {
      node.content = Buffer.alloc(0);
      this.#changed(node);
    }
    return { ...node.attributes };
  }

  async release(file: FileId, owners: readonly LkOwner[]): Promise<void> {
    await this.#enter(`release ${owners.length}`);
    const node = this.#node(file);
    for (const owner of owners) this.#files.drop(file, this.client, owner, undefined, 0n, 1n << 63n);
    node.opens--;
    if (node.opens === 0 && node.attributes.nlink === 0) this.#files.nodes.delete(file);
    this.#files.wake();
  }

  async read(file: FileId, offset: number, length: number): Promise<{ data: Uint8Array; change: number }> {
    await this.#enter('read');
    const node = this.#node(file);
    const data = Buffer.from(node.content.subarray(offset, offset + length));
    return { data, change: node.attributes.change };
  }

  async write(file: FileId, offset: number, data: Uint8Array): Promise<{ change: number; size: number }> {
    await this.#enter('write');
    const node = this.#node(file);
    if (offset + data.length > node.content.length) this.#resize(node, offset + data.length);
    node.content.set(data, offset);
    return this.#changed(node);
  }

  async sync(): Promise<void> {
    await this.#enter('sync');
  }

  async allocate(
    file: FileId,
    offset: number,
    length: number,
    how: 'allocate' | 'punch' | 'zero',
    keepSize: boolean,
  ): Promise<{ change: number; size: number }> {
    await this.#enter('allocate');
    const node = this.#node(file);
    if (!keepSize && offset + length > node.content.length) this.#resize(node, offset + length);
    if (how !== 'allocate') node.content.fill(0, offset, offset + length);
    return this.#changed(node);
  }

  async seek(file: FileId, offset: number, whence: 'data' | 'hole'): Promise<number> {
    await this.#enter('seek');
    const { length } = this.#node(file).content;
    if (offset >= length) throw new Refusal('ENXIO');
    return whence === 'data' ? offset : length;
  }

  async space(): Promise<{ totalBytes: number; freeBytes: number; files: number }> {
    await this.#enter('space');
    return { totalBytes: 4096 * 1000, freeBytes: 4096 * 600, files: this.#files.nodes.size };
  }

  lock(request: LockRequest, ticket?: Ticket): PendingLock {
    let settle: (outcome: LockOutcome) => void = () => undefined;
    let waiter: Waiter | undefined;
    let cancelled = false;
    const settled = new Promise<LockOutcome>((resolve) => {
      settle = resolve;
    });
    const grant = () => {
      const { file, owner, kind, type, start, end, pid } = request;
      this.#files.drop(file, this.client, owner, kind, start, end);
      this.#files.held.push({ file, owner, kind, type, start, end, pid, client: this.client });
      settle({ outcome: 'granted', change: this.#node(file).attributes.change });
    };
    const outcome = this.#enter('lock').then(() => {
      if (this.#files.conflict(request, this.client) === undefined) grant();
      else if (!request.wait) settle({ outcome: 'conflict' });
      else if (cancelled) settle({ outcome: 'cancelled', ticket: undefined });
      else {
        waiter = { request, client: this.client, ticket: ticket ?? this.#files.ticket(), grant };
        this.#files.waiting.push(waiter);
        this.#files.waiting.sort((a, b) => a.ticket - b.ticket);
      }
      return settled;
    });
    const cancel = () => {
      cancelled = true;
      const at = waiter === undefined ? -1 : this.#files.waiting.indexOf(waiter);
      if (at < 0) return;
      this.#files.waiting.splice(at, 1);
      settle({ outcome: 'cancelled', ticket: waiter!.ticket });
    };
    return { outcome, cancel };
  }

  async unlock(
    file: FileId,
    owner: LkOwner,
    kind: 'posix' | 'flock',
    start: bigint,
    end: bigint,
  ): Promise<void> {
    await this.#enter('unlock');
    this.#files.drop(file, this.client, owner, kind, start, end);
    this.#files.wake();
  }

  async testLock(request: LockRequest): Promise<HeldLock | undefined> {
    await this.#enter('testLock');
    return this.#files.conflict(request, this.client);
  }

  async flushOwner(file: FileId, owner: LkOwner): Promise<void> {
    await this.#enter('flushOwner');
    this.#files.drop(file, this.client, owner, 'posix', 0n, 1n << 63n);
    this.#files.wake();
  }

  async close(): Promise<void> {
    await this.#enter('close');
    this.#files.held = this.#files.held.filter((lock) => lock.client !== this.client);
    this.#files.wake();
  }
}
