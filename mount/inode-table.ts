/**
 * The inodes that the kernel knows: node id <> file id, with the kernel's lookup counts. An inode is here from the
 * first reply that names it until the kernel forgets it; a node id is never given out twice.
 *
 * It also keeps what was last seen of each inode, where a decision needs it without asking a brick again.
 */
import { Refusal } from '../wire/errors.js';
import { type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import type { Attributes, FileType } from '../wire/messages.js';
import { rootNodeid } from './fuse/abi.js';
import { LockUsers } from './lock-users.js';
import { PageState } from './page-cache.js';

export class Inode {
  readonly nodeid: number;
  readonly file: FileId;
  /** How often the kernel was told of this inode, less what it forgot. */
  lookups = 0;
  /** As last seen; undefined until attributes came by. */
  seen: { readonly type: FileType; readonly mode: number; readonly gid: number } | undefined;
  readonly pages = new PageState();
  readonly locks = new LockUsers();
  /**
   * How long the file is, where the kernel may think that it is longer: it was cut on another mount. From a grant until
   * attributes go to the kernel.
   */
  cutTo: number | undefined;
  /** One of its names was removed through this mount: its end is no news to this kernel. */
  removedHere = false;
  /** The name under which it was last seen. */
  parent: Inode | undefined;
  name: ByteText | undefined;
  /** Of a directory: the names that the kernel may have in its cache. */
  children: Map<ByteText, Inode> | undefined;

  constructor(nodeid: number, file: FileId) {
    this.nodeid = nodeid;
    this.file = file;
  }
}

export class InodeTable {
  readonly #byNodeid = new Map<number, Inode>();
  readonly #byFile = new Map<FileId, Inode>();
  #next = rootNodeid + 1;

  constructor() {
    const root = new Inode(rootNodeid, rootFileId);
    root.lookups = 1;
    this.#add(root);
  }

  get size(): number {
    return this.#byNodeid.size;
  }

  /** @throws Refusal ESTALE for a node id that the kernel should not have: a bug of this mount or of the kernel */
  get(nodeid: number): Inode {
    const inode = this.#byNodeid.get(nodeid);
    if (inode === undefined) throw new Refusal('ESTALE', `node ${nodeid} is not known`);
    return inode;
  }

  /** An inode that a reply is about to name: counts one lookup. */
  enter(attributes: Attributes): Inode {
    const known = this.#byFile.get(attributes.file);
    const inode = known ?? new Inode(this.#next++, attributes.file);
    if (known === undefined) this.#add(inode);
    inode.lookups++;
    this.see(inode, attributes);
    return inode;
  }

  /** Takes note of attributes that go to the kernel. */
  see(inode: Inode, attributes: Attributes): void {
    inode.seen = attributes;
    inode.cutTo = undefined;
    inode.pages.attributesSent(attributes.change);
  }

  forget(nodeid: number, lookups: number): void {
    const inode = this.#byNodeid.get(nodeid);
    if (inode === undefined || nodeid === rootNodeid) return;
    inode.lookups -= lookups;
    if (inode.lookups > 0) return;
    this.#byNodeid.delete(nodeid);
    this.#byFile.delete(inode.file);
    this.#unname(inode);
  }

  /** `child` was seen under `name`. */
  named(parent: Inode, name: ByteText, child: Inode): void {
    this.#unname(child);
    parent.children ??= new Map();
    parent.children.set(name, child);
    child.parent = parent;
    child.name = name;
  }

  /** This mount removed `name`, or put something else under it. */
  removed(parent: Inode, name: ByteText): void {
    const child = parent.children?.get(name);
    if (child === undefined) return;
    child.removedHere = true;
    this.#unname(child);
  }

  renamed(parent: Inode, name: ByteText, newParent: Inode, newName: ByteText): void {
    const child = parent.children?.get(name);
    if (newParent.children?.get(newName) !== child) this.removed(newParent, newName);
    if (child !== undefined) this.named(newParent, newName, child);
  }

  #unname(child: Inode): void {
    if (child.parent?.children?.get(child.name!) === child) child.parent.children.delete(child.name!);
    child.parent = undefined;
    child.name = undefined;
  }

  #add(inode: Inode): void {
    this.#byNodeid.set(inode.nodeid, inode);
    this.#byFile.set(inode.file, inode);
  }
}
