/**
 * The names and inodes of a fake brick, in maps: what the rows about names, attributes, opens and content do, without
 * a store. Tests look into the maps, and put things there that a dead client left.
 */
import { Refusal } from '../wire/errors.js';
import {
  type BrickName,
  type ByteText,
  type ClientId,
  type Epoch,
  type FileId,
  type LkOwner,
  rootFileId,
} from '../wire/ids.js';
import type { Moved } from '../wire/lock-types.js';
import type { Answer, Attributes, Entry, FileName, HashRange, Op, Request } from '../wire/messages.js';

export interface FakeInode {
  attributes: Attributes;
  names: FileName[];
  layout: readonly HashRange[];
  xattrs: Map<ByteText, Uint8Array>;
}

/** An answer, or nothing where it comes later. */
export type Handler<O extends Op> = (
  body: Request<O>,
  client: ClientId,
  seq: number,
) => Answer<O> | undefined;
export type Handlers = { readonly [O in Op]?: Handler<O> };

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

export abstract class FakeFiles {
  readonly name: BrickName;
  readonly inodes = new Map<FileId, FakeInode>();
  readonly entries = new Map<string, Entry>();
  readonly opens = new Map<string, number>();
  readonly moved = new Map<FileId, Moved>();

  constructor(name: string, rootLayout: readonly HashRange[]) {
    this.name = name as BrickName;
    const attributes = newAttributes(rootFileId, 'dir', 0o755);
    this.inodes.set(rootFileId, { attributes, names: [], layout: rootLayout, xattrs: new Map() });
  }

  /** Drops the locks of an owner who closed the file. */
  protected abstract dropOwner(client: ClientId, file: FileId, owner: LkOwner): void;

  entry(parent: FileId, name: string): Entry | undefined {
    return this.entries.get(`${parent}/${name}`);
  }

  opensOf(client: ClientId, file: FileId): number {
    return this.opens.get(client + file) ?? 0;
  }

  protected inode(file: FileId): FakeInode {
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
    const inode = this.inode(file);
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

  #create(body: Request<'create'>, client: ClientId): Answer<'create'> {
    const { parent, name, file, type } = body;
    this.#dir(parent);
    if (this.entry(parent, name) !== undefined) {
      const found = this.#found(parent, name);
      if (body.exclusive || found.entry.type !== 'file') throw new Refusal('EEXIST');
      if (body.open && found.attributes !== undefined) this.#open(client, found.entry.file, 1);
      return { created: false, ...found, directory: this.#dir(parent).attributes };
    }
    const attributes = newAttributes(file, type, body.mode);
    this.inodes.set(file, { attributes, names: [{ parent, name }], layout: [], xattrs: new Map() });
    this.entries.set(`${parent}/${name}`, { name, file, type, home: this.name });
    if (body.open) this.#open(client, file, 1);
    return { created: true, ...this.#found(parent, name), directory: this.#dir(parent).attributes };
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
    const linkLeft = entry.type !== 'dir' && !this.inodes.has(file);
    if (entry.type !== 'dir' && !linkLeft) {
      this.#addName(file, newParent, newName);
      this.#dropName(file, parent, name);
    }
    const linkDropped = there !== undefined && this.#dropName(there.file, newParent, newName);
    return { replaced: there, linkDropped, linkLeft };
  }

  protected readonly nameHandlers: Handlers = {
    lookup: ({ parent, name }) => this.#found(parent, name),
    create: (body, client) => this.#create(body, client),
    makeDirectory: (body) => this.#makeDirectory(body),
    removeDirectory: (body) => this.#removeDirectory(body),
    putEntry: (body) => this.#putEntry(body),
    removeEntry: ({ parent, name, file }) => {
      const entry = this.#entryOf(parent, name, file);
      this.entries.delete(`${parent}/${name}`);
      const linkDropped = this.#dropName(file, parent, name);
      return { entry, linkDropped, directory: this.#dir(parent).attributes };
    },
    renameEntry: (body) => this.#renameEntry(body),
    addName: ({ file, parent, name }) => {
      this.#addName(file, parent, name);
      return { attributes: this.inode(file).attributes };
    },
    dropName: ({ file, parent, name }) => {
      this.inode(file);
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
    namesOf: ({ file }) => ({ names: this.inode(file).names }),
  };

  protected readonly inodeHandlers: Handlers = {
    getAttributes: ({ file }) => ({ attributes: this.inode(file).attributes }),
    setAttributes: ({ file, mode, size }) => {
      const inode = this.inode(file);
      const { attributes } = inode;
      inode.attributes = { ...attributes, mode: mode ?? attributes.mode, size: size ?? attributes.size };
      return { attributes: inode.attributes };
    },
    getXattr: ({ file, name }) => {
      const value = this.inode(file).xattrs.get(name);
      if (value === undefined) throw new Refusal('ENODATA');
      return { value };
    },
    setXattr: ({ file, name, value }) => {
      this.inode(file).xattrs.set(name, value);
      return {};
    },
    listXattrs: ({ file }) => ({ names: [...this.inode(file).xattrs.keys()] }),
    open: ({ file }, client) => {
      const { attributes } = this.inode(file);
      this.#open(client, file, 1);
      return { attributes };
    },
    release: ({ file, opens, owners }, client) => {
      this.inode(file);
      this.#open(client, file, -opens);
      for (const owner of owners) this.dropOwner(client, file, owner);
      this.#deleteIfUnused(file);
      return {};
    },
    read: ({ file }) => {
      this.inode(file);
      return { data: new Uint8Array([this.name.charCodeAt(this.name.length - 1)]), change: 0 };
    },
    write: ({ file }) => {
      this.inode(file);
      return { change: 1, size: 1 };
    },
    sync: () => ({}),
    space: () => ({ totalBytes: 100, freeBytes: 40, files: this.inodes.size }),
  };
}
