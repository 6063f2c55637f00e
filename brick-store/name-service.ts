/**
 * Names: the entries of directories, and the names of a file (rows 10 to 20 and 73 of wire/messages.ts).
 *
 * Decides on what the store shows now and answers with a plan; the caller writes it in the same turn. It never
 * deletes a file: an inode whose last name went is marked, and goes when nobody has it open (inode-service.ts).
 * An entry is on the brick that its name hashes to, the inode perhaps on another: what belongs to the inode (its
 * names, nlink) changes here only where the inode is here, and the answer says so.
 */
import type { Clock } from '../host/clock.js';
import { Refusal } from '../wire/errors.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import type { Answer, DirEntry, Entry, Request } from '../wire/messages.js';
import { homeOf, Inodes, newInode, putInode, putLinks } from './inodes.js';
import type { Plan } from './plan.js';
import { type EntryValue, entryRecord, layoutRecord, nameRecord } from './records/entry-record.js';
import { symlinkRecord } from './records/inode-facts-record.js';
import { attributesOf, type Inode } from './records/inode-record.js';
import {
  entriesOf,
  entryKey,
  inodeKey,
  layoutKey,
  nameKey,
  nameOfEntryKey,
  namesOfFile,
  orphanKey,
  partsOfNameKey,
  symlinkKey,
  xattrsKey,
} from './records/keys.js';
import type { Store, StoreOp } from './store.js';

/** Names of one file. All of them travel in one message when the file moves, which bounds them. */
export const linksMax = 1600;
/** Entries of one answer: each takes at most about 800 bytes, and an answer must fit a frame. */
export const entriesPerAnswerMax = 1000;

const setGid = 0o2000;

export class NameService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #brick: BrickName;
  readonly #inodes: Inodes;

  constructor(store: Store, clock: Clock, brick: BrickName) {
    this.#store = store;
    this.#clock = clock;
    this.#brick = brick;
    this.#inodes = new Inodes(store);
  }

  lookup({ parent, name }: Request<'lookup'>): Answer<'lookup'> {
    this.#inodes.requireDirectory(parent);
    const value = this.#requireEntry(parent, name);
    return this.#found(name, value);
  }

  create(request: Request<'create'>): Plan<Answer<'create'>> {
    const { parent, name, file, type } = request;
    if (type === 'dir') throw new Refusal('EINVAL', 'a directory is made by makeDirectory');
    if ((type === 'symlink') !== (request.symlink !== undefined))
      throw new Refusal('EINVAL', 'a symlink needs a target, and nothing else may have one');
    const dir = this.#inodes.requireDirectory(parent);
    const existing = this.#entry(parent, name);
    if (existing) {
      // The same id: this very request took effect before.
      const again = existing.file === file;
      if (!again && (request.exclusive || existing.type !== 'file')) throw new Refusal('EEXIST');
      const found = this.#found(name, existing);
      return { ops: [], answer: { created: again, ...found, directory: attributesOf(dir) } };
    }
    if (this.#inodes.stored(file)) throw new Refusal('EEXIST', `the file id ${file} is taken`);

    const timeNs = this.#clock.wallNs();
    const inode = newInode({
      ...request,
      gid: dir.mode & setGid ? dir.gid : request.gid,
      size: request.symlink?.length ?? 0,
      timeNs,
    });
    const value: EntryValue = { file, type, home: this.#brick };
    const changed = changedDirectory(dir, timeNs, { entries: 1 });
    const ops: StoreOp[] = [
      putInode(inode),
      put(entryKey(parent, name), entryRecord.encode(value)),
      put(nameKey(file, parent, name), nameRecord.encode(null)),
      putInode(changed),
      this.#inodes.countedBy(1),
    ];
    if (request.symlink !== undefined) ops.push(put(symlinkKey(file), symlinkRecord.encode(request.symlink)));
    return {
      ops,
      answer: {
        created: true,
        entry: { name, ...value },
        attributes: attributesOf(inode),
        directory: attributesOf(changed),
      },
    };
  }

  makeDirectory(request: Request<'makeDirectory'>): Plan<Answer<'makeDirectory'>> {
    const { parent, name, file, timeNs, layout } = request;
    const dir = this.#inodes.requireDirectory(parent);
    const existing = this.#entry(parent, name);
    if (existing && existing.file !== file) throw new Refusal('EEXIST');
    const known = this.#inodes.stored(file);
    if (known && known.type !== 'dir') throw new Refusal('EEXIST', `the file id ${file} is taken`);
    if (existing && known) return { ops: [], answer: { attributes: attributesOf(known) } };

    const inherits = (dir.mode & setGid) !== 0;
    const inode =
      known ??
      newInode({
        ...request,
        type: 'dir',
        mode: inherits ? request.mode | setGid : request.mode,
        gid: inherits ? dir.gid : request.gid,
        rdev: 0,
        size: 0,
      });
    const ops: StoreOp[] = [];
    if (!known) {
      ops.push(putInode(inode), put(layoutKey(file), layoutRecord.encode(layout)), this.#inodes.countedBy(1));
    }
    if (!existing) {
      ops.push(
        put(entryKey(parent, name), entryRecord.encode({ file, type: 'dir', home: this.#brick })),
        ...this.#changeDirectories(timeNs, { dir, entries: 1, subdirectories: 1 }),
      );
    }
    return { ops, answer: { attributes: attributesOf(inode) } };
  }

  removeDirectory({ parent, name, file }: Request<'removeDirectory'>): Plan<Answer<'removeDirectory'>> {
    const dir = this.#inodes.requireDirectory(parent);
    const value = this.#requireEntry(parent, name);
    if (value.type !== 'dir') throw new Refusal('ENOTDIR');
    if (value.file !== file) throw new Refusal('ENOENT');
    return {
      ops: [
        del(entryKey(parent, name)),
        ...this.#deleteDirectory(file),
        ...this.#changeDirectories(this.#clock.wallNs(), { dir, entries: -1, subdirectories: -1 }),
      ],
      answer: {},
    };
  }

  putEntry({ parent, entry, expect }: Request<'putEntry'>): Plan<Answer<'putEntry'>> {
    const dir = this.#inodes.requireDirectory(parent);
    const existing = this.#entry(parent, entry.name);
    const same = existing?.file === entry.file;
    const write = put(entryKey(parent, entry.name), entryRecord.encode(entry));
    if (same && expect !== 'absent') return { ops: [write], answer: { replaced: undefined } };
    if (expect === 'same') throw new Refusal('ENOENT');
    if (existing && expect === 'absent') throw new Refusal('EEXIST');
    // Directories are replaced by renameEntry only, which sees whether they are empty.
    if (existing?.type === 'dir') throw new Refusal(entry.type === 'dir' ? 'EEXIST' : 'EISDIR');
    if (existing && entry.type === 'dir') throw new Refusal('ENOTDIR');
    const added = {
      dir,
      entries: existing ? 0 : 1,
      subdirectories: entry.type === 'dir' ? 1 : 0,
    };
    return {
      ops: [write, ...this.#changeDirectories(this.#clock.wallNs(), added)],
      answer: { replaced: existing && this.#entryOf(entry.name, existing) },
    };
  }

  removeEntry({ parent, name, file }: Request<'removeEntry'>): Plan<Answer<'removeEntry'>> {
    const dir = this.#inodes.requireDirectory(parent);
    const value = this.#requireEntry(parent, name);
    if (value.type === 'dir') throw new Refusal('EISDIR');
    if (value.file !== file) throw new Refusal('ENOENT');
    const timeNs = this.#clock.wallNs();
    const inode = this.#inodes.get(file);
    const changed = changedDirectory(dir, timeNs, { entries: -1 });
    return {
      ops: [
        del(entryKey(parent, name)),
        ...(inode ? this.#dropLink(inode, parent, name, timeNs).ops : []),
        putInode(changed),
      ],
      answer: {
        entry: this.#entryOf(name, value),
        linkDropped: inode !== undefined,
        directory: attributesOf(changed),
      },
    };
  }

  renameEntry(request: Request<'renameEntry'>): Plan<Answer<'renameEntry'>> {
    const { parent, name, newParent, newName, file } = request;
    const from = this.#inodes.requireDirectory(parent);
    const to = this.#inodes.requireDirectory(newParent);
    if (file === newParent) throw new Refusal('EINVAL', 'a directory cannot go into itself');
    const moved = this.#entry(parent, name);
    const replaced = this.#entry(newParent, newName);
    const linkLeft = moved?.type !== 'dir' && this.#inodes.get(file) === undefined;
    const nothing = (left: boolean): Plan<Answer<'renameEntry'>> => ({
      ops: [],
      answer: { replaced: undefined, linkDropped: false, linkLeft: left },
    });
    if (moved?.file !== file) {
      // Gone, and the new name names the file: this very request took effect before.
      if (!moved && replaced?.file === file) return nothing(linkLeft && replaced.type !== 'dir');
      throw new Refusal('ENOENT');
    }
    if (replaced) {
      if (request.noReplace) throw new Refusal('EEXIST');
      // Two names of one file: rename(2) does nothing, and both stay.
      if (replaced.file === file) return nothing(false);
      if (moved.type === 'dir' && replaced.type !== 'dir') throw new Refusal('ENOTDIR');
      if (moved.type !== 'dir' && replaced.type === 'dir') throw new Refusal('EISDIR');
    }

    const timeNs = this.#clock.wallNs();
    const subdirectories = moved.type === 'dir' ? 1 : 0;
    const gone = replaced ? this.#dropReplaced(replaced, newParent, newName, timeNs) : undefined;
    return {
      ops: [
        ...(gone?.ops ?? []),
        del(entryKey(parent, name)),
        put(entryKey(newParent, newName), entryRecord.encode(moved)),
        ...this.#renameLink(moved.file, parent, name, newParent, newName, timeNs),
        ...this.#changeDirectories(
          timeNs,
          { dir: from, entries: -1, subdirectories: -subdirectories },
          {
            dir: to,
            entries: replaced ? 0 : 1,
            subdirectories: subdirectories - (replaced?.type === 'dir' ? 1 : 0),
          },
        ),
      ],
      answer: {
        replaced: replaced && this.#entryOf(newName, replaced),
        linkDropped: gone?.linkDropped ?? false,
        linkLeft,
      },
    };
  }

  addName({ file, parent, name }: Request<'addName'>): Plan<Answer<'addName'>> {
    const inode = this.#inodes.require(file);
    if (inode.type === 'dir') throw new Refusal('EPERM', 'a directory has one name');
    const key = nameKey(file, parent, name);
    if (this.#store.get(key)) return { ops: [], answer: { attributes: attributesOf(inode) } };
    // As linkat(2): the last name went, and the inode only lives on for those who have it open.
    if (inode.nlink === 0) throw new Refusal('ENOENT');
    if (inode.nlink >= linksMax) throw new Refusal('EMLINK', `a file has at most ${linksMax} names`);
    const linked = { ...inode, nlink: inode.nlink + 1, ctimeNs: this.#clock.wallNs() };
    return {
      ops: [put(key, nameRecord.encode(null)), putInode(linked)],
      answer: { attributes: attributesOf(linked) },
    };
  }

  dropName({ file, parent, name }: Request<'dropName'>): Plan<Answer<'dropName'>> {
    const inode = this.#inodes.require(file);
    const { ops, nlink } = this.#dropLink(inode, parent, name, this.#clock.wallNs());
    return { ops, answer: { nlink } };
  }

  async listDirectory({ dir, after, limit }: Request<'listDirectory'>): Promise<Answer<'listDirectory'>> {
    this.#inodes.requireDirectory(dir);
    const most = Math.min(Math.max(limit, 1), entriesPerAnswerMax);
    const rows = await this.#store.list(entriesOf(dir, after), most + 1);
    const entries = rows.slice(0, most).map(({ key, value }): DirEntry => {
      const found = this.#found(nameOfEntryKey(key), entryRecord.decode(value, key));
      return { ...found.entry, attributes: found.attributes };
    });
    return { entries, more: rows.length > most };
  }

  readLayout({ dir }: Request<'readLayout'>): Answer<'readLayout'> {
    this.#inodes.requireDirectory(dir);
    const key = layoutKey(dir);
    const bytes = this.#store.get(key);
    if (!bytes) throw new Error(`the directory ${dir} has no layout record`);
    return { layout: layoutRecord.decode(bytes, key) };
  }

  async namesOf({ file }: Request<'namesOf'>): Promise<Answer<'namesOf'>> {
    this.#inodes.require(file);
    const rows = await this.#store.list(namesOfFile(file), linksMax);
    return { names: rows.map(({ key }) => partsOfNameKey(key)) };
  }

  #entry(parent: FileId, name: ByteText): EntryValue | undefined {
    const key = entryKey(parent, name);
    const bytes = this.#store.get(key);
    return bytes && entryRecord.decode(bytes, key);
  }

  #requireEntry(parent: FileId, name: ByteText): EntryValue {
    const value = this.#entry(parent, name);
    if (!value) throw new Refusal('ENOENT');
    return value;
  }

  #entryOf(name: ByteText, { file, type, home }: EntryValue): Entry {
    return {
      name,
      file,
      type,
      home: type === 'dir' ? this.#brick : homeOf(this.#inodes, this.#brick, file, home),
    };
  }

  #found(name: ByteText, value: EntryValue): Answer<'lookup'> {
    const inode = this.#inodes.get(value.file);
    return { entry: this.#entryOf(name, value), attributes: inode && attributesOf(inode) };
  }

  /** Entries came or went: their directories changed. Two changes may be of one directory. */
  #changeDirectories(
    timeNs: bigint,
    ...changes: { dir: Inode; entries: number; subdirectories?: number }[]
  ): StoreOp[] {
    const changed = new Map<FileId, Inode>();
    for (const change of changes) {
      const now = changed.get(change.dir.file) ?? change.dir;
      changed.set(now.file, { ...changedDirectory(now, timeNs, change), change: change.dir.change + 1 });
    }
    return [...changed.values()].map(putInode);
  }

  #dropLink(inode: Inode, parent: FileId, name: ByteText, timeNs: bigint): { ops: StoreOp[]; nlink: number } {
    const key = nameKey(inode.file, parent, name);
    if (!this.#store.get(key)) return { ops: [], nlink: inode.nlink };
    const nlink = inode.nlink - 1;
    return { ops: [del(key), ...putLinks(inode, nlink, timeNs)], nlink };
  }

  /** The moved file's own record of its name, where the inode is here. */
  #renameLink(
    file: FileId,
    parent: FileId,
    name: ByteText,
    newParent: FileId,
    newName: ByteText,
    timeNs: bigint,
  ): StoreOp[] {
    const inode = this.#inodes.get(file);
    if (!inode) return [];
    if (inode.type === 'dir') return [putInode({ ...inode, ctimeNs: timeNs })];
    const oldKey = nameKey(file, parent, name);
    const newKey = nameKey(file, newParent, newName);
    const nlink = inode.nlink - (this.#store.get(oldKey) ? 1 : 0) + (this.#store.get(newKey) ? 0 : 1);
    return [
      del(oldKey),
      put(newKey, nameRecord.encode(null)),
      putInode({ ...inode, nlink, ctimeNs: timeNs }),
      del(orphanKey(file)),
    ];
  }

  #dropReplaced(
    replaced: EntryValue,
    parent: FileId,
    name: ByteText,
    timeNs: bigint,
  ): { ops: StoreOp[]; linkDropped: boolean } {
    if (replaced.type === 'dir') return { ops: this.#deleteDirectory(replaced.file), linkDropped: true };
    const inode = this.#inodes.get(replaced.file);
    if (!inode) return { ops: [], linkDropped: false };
    return { ops: this.#dropLink(inode, parent, name, timeNs).ops, linkDropped: true };
  }

  /** @throws Refusal ENOTEMPTY where it has entries on this brick */
  #deleteDirectory(dir: FileId): StoreOp[] {
    const inode = this.#inodes.stored(dir);
    if (!inode) return [];
    if (inode.entries > 0) throw new Refusal('ENOTEMPTY');
    return [del(inodeKey(dir)), del(layoutKey(dir)), del(xattrsKey(dir)), this.#inodes.countedBy(-1)];
  }
}

/** A directory after entries came or went. */
const changedDirectory = (
  dir: Inode,
  timeNs: bigint,
  { entries, subdirectories = 0 }: { entries: number; subdirectories?: number },
): Inode => ({
  ...dir,
  entries: dir.entries + entries,
  subdirectories: dir.subdirectories + subdirectories,
  mtimeNs: timeNs,
  ctimeNs: timeNs,
  change: dir.change + 1,
});

const put = (key: Uint8Array, value: Uint8Array): StoreOp => ({ type: 'put', key, value });
const del = (key: Uint8Array): StoreOp => ({ type: 'del', key });
