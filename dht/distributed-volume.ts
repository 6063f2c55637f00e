/**
 * The volume that a mount sees, made of bricks: the operations of one graph behind the interface of volume.ts.
 * Decides nothing but that a graph is built; mounts and tools that work with paths open it with `openVolume`.
 */
import type { ByteText, ClientId, FileId, LkOwner, Ticket } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import type { HeldLock, LockKind } from '../wire/lock-types.js';
import type { Attributes, DirEntry } from '../wire/messages.js';
import type { ConnectOptions } from './brick-links.js';
import { Graph } from './graph.js';
import type { ResolvedName } from './name-operations.js';
import type { AttributeChange, LockRequest, NewInode, PendingLock, Volume, VolumeSpace } from './volume.js';

/** @throws Error with one line that names the bricks that do not answer */
export async function openVolume(options: ConnectOptions): Promise<DistributedVolume> {
  const graph = new Graph(options);
  await graph.start();
  return new DistributedVolume(graph);
}

export class DistributedVolume implements Volume {
  readonly #graph: Graph;

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  get client(): ClientId {
    return this.#graph.client;
  }

  // ---- for tools --------------------------------------------------------------------------------------------------

  /** From the root down, one name after the other; no names: the root. @refuses ENOENT ENOTDIR */
  async resolvePath(path: readonly ByteText[]): Promise<ResolvedName> {
    const { directories, links, names } = this.#graph;
    const brick = links.names[0]!;
    let found: ResolvedName | undefined;
    for (const name of path) found = await names.resolve(found?.attributes.file ?? rootFileId, name);
    return found ?? { attributes: await directories.attributes(rootFileId), hashed: brick, home: brick };
  }

  /** After a move: every name of the file points to where it is now. Answers how many names it has. */
  healNames(file: FileId): Promise<number> {
    return this.#graph.names.healNames(file);
  }

  // ---- names ------------------------------------------------------------------------------------------------------

  lookup(parent: FileId, name: ByteText): Promise<Attributes> {
    return this.#graph.names.lookup(parent, name);
  }

  create(
    parent: FileId,
    name: ByteText,
    inode: NewInode,
    options: { exclusive: boolean; open: boolean },
  ): Promise<{ created: boolean; attributes: Attributes }> {
    return this.#graph.names.create(parent, name, inode, options);
  }

  makeDirectory(parent: FileId, name: ByteText, inode: NewInode): Promise<Attributes> {
    return this.#graph.directories.make(parent, name, inode);
  }

  removeDirectory(parent: FileId, name: ByteText): Promise<void> {
    return this.#graph.directories.remove(parent, name);
  }

  unlink(parent: FileId, name: ByteText): Promise<void> {
    return this.#graph.names.unlink(parent, name);
  }

  link(file: FileId, parent: FileId, name: ByteText): Promise<Attributes> {
    return this.#graph.names.link(file, parent, name);
  }

  rename(
    parent: FileId,
    name: ByteText,
    newParent: FileId,
    newName: ByteText,
    noReplace: boolean,
  ): Promise<void> {
    return this.#graph.renames.rename({ parent, name, newParent, newName, noReplace });
  }

  listDirectory(dir: FileId): Promise<DirEntry[]> {
    return this.#graph.directories.list(dir);
  }

  // ---- inodes -----------------------------------------------------------------------------------------------------

  attributes(file: FileId): Promise<Attributes> {
    return this.#graph.files.attributes(file);
  }

  changeAttributes(file: FileId, change: AttributeChange): Promise<Attributes> {
    return this.#graph.files.changeAttributes(file, change);
  }

  async readSymlink(file: FileId): Promise<ByteText> {
    return (await this.#graph.files.content('readSymlink', { file })).target;
  }

  getXattr(file: FileId, name: ByteText): Promise<Uint8Array> {
    return this.#graph.files.getXattr(file, name);
  }

  setXattr(
    file: FileId,
    name: ByteText,
    value: Uint8Array,
    expect: 'any' | 'absent' | 'present',
  ): Promise<void> {
    return this.#graph.files.setXattr({ file, name, value, expect });
  }

  listXattrs(file: FileId): Promise<readonly ByteText[]> {
    return this.#graph.files.listXattrs(file);
  }

  removeXattr(file: FileId, name: ByteText): Promise<void> {
    return this.#graph.files.removeXattr(file, name);
  }

  // ---- content ----------------------------------------------------------------------------------------------------

  open(file: FileId, truncate: boolean): Promise<Attributes> {
    return this.#graph.files.open(file, truncate);
  }

  release(file: FileId, owners: readonly LkOwner[]): Promise<void> {
    return this.#graph.locks.release(file, owners);
  }

  read(file: FileId, offset: number, length: number): Promise<{ data: Uint8Array; change: number }> {
    return this.#graph.files.content('read', { file, offset, length });
  }

  write(file: FileId, offset: number, data: Uint8Array): Promise<{ change: number; size: number }> {
    return this.#graph.files.content('write', { file, offset, data });
  }

  sync(file: FileId): Promise<void> {
    return this.#graph.files.sync(file);
  }

  allocate(
    file: FileId,
    offset: number,
    length: number,
    how: 'allocate' | 'punch' | 'zero',
    keepSize: boolean,
  ): Promise<{ change: number; size: number }> {
    return this.#graph.files.content('allocate', { file, offset, length, how, keepSize });
  }

  async seek(file: FileId, offset: number, whence: 'data' | 'hole'): Promise<number> {
    return (await this.#graph.files.content('seek', { file, offset, whence })).offset;
  }

  space(): Promise<VolumeSpace> {
    return this.#graph.files.space();
  }

  // ---- locks ------------------------------------------------------------------------------------------------------

  lock(request: LockRequest, ticket?: Ticket): PendingLock {
    return this.#graph.locks.lock(request, ticket);
  }

  unlock(file: FileId, owner: LkOwner, kind: LockKind, start: bigint, end: bigint): Promise<void> {
    return this.#graph.locks.unlock(file, owner, kind, start, end);
  }

  testLock(request: LockRequest): Promise<HeldLock | undefined> {
    return this.#graph.locks.testLock(request);
  }

  flushOwner(file: FileId, owner: LkOwner): Promise<void> {
    return this.#graph.locks.flushOwner(file, owner);
  }

  close(): Promise<void> {
    return this.#graph.close();
  }
}
