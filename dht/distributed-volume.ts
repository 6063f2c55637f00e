/**
 * The volume that a mount sees, made of bricks: the operations of a graph behind the interface of volume.ts.
 *
 * Decides which graph carries out an operation: there is one, but while a mount changes to a newer volume.json there
 * are two, and a file is served by the one that has its locks and handles (graph-switch.ts). Names go to the new one.
 * Mounts and tools that work with paths open it with `openVolume`.
 */
import type { BrickName, ByteText, ClientId, FileId, LkOwner, Ticket } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import type { HeldLock, LockKind } from '../wire/lock-types.js';
import type { Attributes, DirEntry } from '../wire/messages.js';
import type { ConnectOptions } from './brick-links.js';
import { GatedLock, throughGate } from './file-gate.js';
import { Graph } from './graph.js';
import { GraphSwitch } from './graph-switch.js';
import type { ResolvedName } from './name-operations.js';
import type { AttributeChange, LockRequest, NewInode, PendingLock, Volume, VolumeSpace } from './volume.js';
import type { VolumeFile } from './volume-file.js';

/** @throws Error with one line that names the bricks that do not answer */
export async function openVolume(options: ConnectOptions): Promise<DistributedVolume> {
  const graph = new Graph(options);
  await graph.start();
  return new DistributedVolume(options, graph);
}

export class DistributedVolume implements Volume {
  readonly #options: ConnectOptions;
  #graph: Graph;
  #version: number;
  #switch: GraphSwitch | undefined;
  #old: Graph[] = [];
  /** The newest volume.json that this client was told of and has not begun to change to. */
  #wanted: VolumeFile | undefined;
  #switching: Promise<void> | undefined;
  #closed = false;

  constructor(options: ConnectOptions, graph: Graph) {
    this.#options = options;
    this.#graph = graph;
    this.#version = options.volumeFile.version;
  }

  get client(): ClientId {
    return this.#graph.client;
  }

  // ---- graphs -----------------------------------------------------------------------------------------------------

  /**
   * volume.json changed: builds a new graph and gives it all that is open or locked. Processes do not notice. Resolves
   * when the old graph is done with, which may be long after its brick went down; calls during a change are answered
   * together, by the newest version.
   */
  switchTo(volumeFile: VolumeFile): Promise<void> {
    // Files may move to a new brick at once, also those that the old graph still serves.
    for (const graph of [...this.#old, this.#graph]) graph.links.add(volumeFile.bricks);
    if (volumeFile.version > (this.#wanted?.version ?? this.#version)) this.#wanted = volumeFile;
    this.#switching ??= this.#switchAll().finally(() => {
      this.#switching = undefined;
    });
    return this.#switching;
  }

  async #switchAll(): Promise<void> {
    for (let wanted = this.#wanted; wanted !== undefined && !this.#closed; wanted = this.#wanted) {
      this.#wanted = undefined;
      await this.#switchOnce(wanted);
    }
  }

  async #switchOnce(volumeFile: VolumeFile): Promise<void> {
    const { clock, trace } = this.#options;
    const old = this.#graph;
    // A brick that is down does not keep a mount from changing; what is in use there changes when it is back.
    const onMissing = (brick: string, error: Error): void =>
      trace.warn('brick missing in the new graph', { brick, error: error.message });
    const next = new Graph({ ...this.#options, volumeFile, onMissing }, old);
    this.#old.push(next);
    await next.start();
    this.#old.splice(this.#old.indexOf(next), 1, old);
    if (this.#closed) return;
    this.#graph = next;
    this.#version = volumeFile.version;
    this.#switch = new GraphSwitch(old, next, clock, trace);
    await this.#switch.run();
    this.#switch = undefined;
    if (this.#closed) return;
    // Bricks that are down are told when they are back; that need not hold up the next change.
    old
      .leave()
      .catch((error: unknown) => trace.warn('old graph not closed', { error: String(error) }))
      .finally(() => this.#old.splice(this.#old.indexOf(old), 1));
  }

  /** The graph that serves an inode. */
  #of(file: FileId): Graph {
    return this.#switch === undefined ? this.#graph : this.#switch.graphOf(file);
  }

  #at<T>(file: FileId, work: (graph: Graph) => Promise<T>): Promise<T> {
    const graph = this.#of(file);
    return graph.during(work(graph));
  }

  #named<T>(work: (graph: Graph) => Promise<T>): Promise<T> {
    return this.#graph.during(work(this.#graph));
  }

  /** What changes locks or handles waits while the file changes its graph. */
  #gated<T>(file: FileId, isOwed: boolean, work: (graph: Graph) => Promise<T>): Promise<T> {
    const gate = this.#switch?.gate(file);
    if (gate === undefined) return this.#at(file, work);
    const { links } = this.#graph;
    return throughGate({ gate, file, isOwed, clock: this.#options.clock, giveUpMs: links.giveUpMs }, () =>
      this.#gated(file, isOwed, work),
    );
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
    return this.#named((graph) => graph.names.healNames(file));
  }

  /** Makes every directory on one brick, as it is on the others: before names hash to a brick that is new. */
  spreadDirectories(brick: BrickName): Promise<number> {
    return this.#named((graph) => graph.directories.spread(brick));
  }

  // ---- names ------------------------------------------------------------------------------------------------------

  lookup(parent: FileId, name: ByteText): Promise<Attributes> {
    return this.#named((graph) => graph.names.lookup(parent, name));
  }

  create(
    parent: FileId,
    name: ByteText,
    inode: NewInode,
    options: { exclusive: boolean; open: boolean },
  ): Promise<{ created: boolean; attributes: Attributes }> {
    return this.#named(async (graph) => {
      const made = await graph.names.create(parent, name, inode, options);
      const { file } = made.attributes;
      if (options.open && this.#of(file) !== graph) {
        // The graph changed meanwhile: the handle must be where the file's locks will be.
        await this.#gated(file, false, (next) => next.files.open(file, false));
        await graph.locks.release(file, []);
      }
      return made;
    });
  }

  makeDirectory(parent: FileId, name: ByteText, inode: NewInode): Promise<Attributes> {
    return this.#named((graph) => graph.directories.changing(graph.directories.make(parent, name, inode)));
  }

  removeDirectory(parent: FileId, name: ByteText): Promise<void> {
    return this.#named((graph) => graph.directories.changing(graph.directories.remove(parent, name)));
  }

  unlink(parent: FileId, name: ByteText, believed?: FileId): Promise<void> {
    return this.#named((graph) => graph.names.unlink(parent, name, believed));
  }

  link(file: FileId, parent: FileId, name: ByteText): Promise<Attributes> {
    return this.#named((graph) => graph.directories.changing(graph.names.link(file, parent, name)));
  }

  rename(
    parent: FileId,
    name: ByteText,
    newParent: FileId,
    newName: ByteText,
    noReplace: boolean,
  ): Promise<void> {
    return this.#named((graph) =>
      graph.directories.changing(graph.renames.rename({ parent, name, newParent, newName, noReplace })),
    );
  }

  listDirectory(dir: FileId): Promise<DirEntry[]> {
    return this.#named((graph) => graph.directories.list(dir));
  }

  // ---- inodes -----------------------------------------------------------------------------------------------------

  attributes(file: FileId, ageMsMax?: number): Promise<Attributes> {
    return this.#at(file, (graph) => graph.files.attributes(file, ageMsMax));
  }

  changeAttributes(file: FileId, change: AttributeChange): Promise<Attributes> {
    return this.#at(file, (graph) => graph.files.changeAttributes(file, change));
  }

  async readSymlink(file: FileId): Promise<ByteText> {
    return (await this.#at(file, (graph) => graph.files.content('readSymlink', { file }))).target;
  }

  getXattr(file: FileId, name: ByteText): Promise<Uint8Array> {
    return this.#at(file, (graph) => graph.files.getXattr(file, name));
  }

  setXattr(
    file: FileId,
    name: ByteText,
    value: Uint8Array,
    expect: 'any' | 'absent' | 'present',
  ): Promise<void> {
    return this.#at(file, (graph) => graph.files.setXattr({ file, name, value, expect }));
  }

  listXattrs(file: FileId): Promise<readonly ByteText[]> {
    return this.#at(file, (graph) => graph.files.listXattrs(file));
  }

  removeXattr(file: FileId, name: ByteText): Promise<void> {
    return this.#at(file, (graph) => graph.files.removeXattr(file, name));
  }

  // ---- content ----------------------------------------------------------------------------------------------------

  open(file: FileId, truncate: boolean): Promise<Attributes> {
    return this.#gated(file, false, (graph) => graph.files.open(file, truncate));
  }

  release(file: FileId, owners: readonly LkOwner[]): Promise<void> {
    return this.#gated(file, true, (graph) => graph.locks.release(file, owners));
  }

  read(file: FileId, offset: number, length: number): Promise<{ data: Uint8Array; change: number }> {
    return this.#at(file, (graph) => graph.files.content('read', { file, offset, length }));
  }

  write(file: FileId, offset: number, data: Uint8Array): Promise<{ change: number; size: number }> {
    return this.#at(file, (graph) => graph.files.content('write', { file, offset, data }));
  }

  sync(file: FileId): Promise<void> {
    return this.#at(file, (graph) => graph.files.sync(file));
  }

  allocate(
    file: FileId,
    offset: number,
    length: number,
    how: 'allocate' | 'punch' | 'zero',
    keepSize: boolean,
  ): Promise<{ change: number; size: number }> {
    return this.#at(file, (graph) =>
      graph.files.content('allocate', { file, offset, length, how, keepSize }),
    );
  }

  async seek(file: FileId, offset: number, whence: 'data' | 'hole'): Promise<number> {
    return (await this.#at(file, (graph) => graph.files.content('seek', { file, offset, whence }))).offset;
  }

  space(): Promise<VolumeSpace> {
    return this.#named((graph) => graph.files.space());
  }

  // ---- locks ------------------------------------------------------------------------------------------------------

  lock(request: LockRequest, ticket?: Ticket): PendingLock {
    const gate = this.#switch?.gate(request.file);
    if (gate === undefined) return this.#of(request.file).locks.lock(request, ticket);
    const again = () => this.lock(request, ticket);
    const { clock } = this.#options;
    return new GatedLock({ gate, request, ticket, clock, giveUpMs: this.#graph.links.giveUpMs }, again);
  }

  unlock(file: FileId, owner: LkOwner, kind: LockKind, start: bigint, end: bigint): Promise<void> {
    return this.#gated(file, true, (graph) => graph.locks.unlock(file, owner, kind, start, end));
  }

  testLock(request: LockRequest): Promise<HeldLock | undefined> {
    return this.#gated(request.file, false, (graph) => graph.locks.testLock(request));
  }

  flushOwner(file: FileId, owner: LkOwner): Promise<void> {
    return this.#gated(file, true, (graph) => graph.locks.flushOwner(file, owner));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#switch?.close();
    await Promise.all([this.#graph, ...this.#old].map((graph) => graph.close()));
  }
}
