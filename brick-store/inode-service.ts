/**
 * One inode: attributes, symlink, extended attributes (rows 30 to 36 of wire/messages.ts), its end, and its arrival
 * from another brick.
 *
 * Decides on what the store shows now and answers with a plan. Who may do it was settled by the kernel; who has the
 * inode open is known to the caller, which alone decides when an inode without names is deleted.
 * Access times are as on a file system mounted noatime: set when asked for, not by reading.
 */
import type { Clock } from '../host/clock.js';
import { Refusal } from '../wire/errors.js';
import type { ByteText, FileId } from '../wire/ids.js';
import { xattrValueBytesMax } from '../wire/limits.js';
import type { Answer, Attributes, FileName, Request } from '../wire/messages.js';
import type { ContentService } from './content-service.js';
import { Inodes, putInode } from './inodes.js';
import type { LatePlan, Plan } from './plan.js';
import { nameRecord } from './records/entry-record.js';
import { orphanRecord, symlinkRecord, type Xattr, xattrsRecord } from './records/inode-facts-record.js';
import { attributesOf, type Inode } from './records/inode-record.js';
import {
  fileOfKey,
  inodeKey,
  layoutKey,
  nameKey,
  namesOfFile,
  orphanKey,
  orphanRange,
  partsOfNameKey,
  symlinkKey,
  xattrsKey,
} from './records/keys.js';
import type { Store, StoreOp } from './store.js';

/** Names and values of one inode together: one record, and part of one message when the file moves. */
export const xattrBytesPerInodeMax = 128 * 1024;
/** Records of one list call. */
const pageRows = 4096;

export interface ArrivingInode {
  readonly attributes: Attributes;
  readonly symlink?: ByteText | undefined;
  readonly xattrs: readonly Xattr[];
  readonly names: readonly FileName[];
}

export class InodeService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #content: ContentService;
  readonly #inodes: Inodes;

  constructor(store: Store, clock: Clock, content: ContentService) {
    this.#store = store;
    this.#clock = clock;
    this.#content = content;
    this.#inodes = new Inodes(store);
  }

  getAttributes({ file }: Request<'getAttributes'>): Answer<'getAttributes'> {
    return { attributes: attributesOf(this.#inodes.require(file)) };
  }

  async setAttributes(request: Request<'setAttributes'>): Promise<LatePlan<Answer<'setAttributes'>>> {
    const { file, size } = request;
    this.#inodes.require(file);
    const resize = size === undefined ? undefined : await this.#content.resize(file, size);
    return () => {
      const resized = resize?.();
      const inode = this.#withAttributes(resized?.answer ?? this.#inodes.require(file), request);
      // The inode as resize would put it comes first and is overwritten in the same batch.
      return {
        ops: [...(resized?.ops ?? []), putInode(inode)],
        answer: { attributes: attributesOf(inode) },
        touched: resized?.touched,
      };
    };
  }

  readSymlink({ file }: Request<'readSymlink'>): Answer<'readSymlink'> {
    this.#inodes.require(file);
    const target = this.symlinkOf(file);
    if (target === undefined) throw new Refusal('EINVAL', 'not a symbolic link');
    return { target };
  }

  getXattr({ file, name }: Request<'getXattr'>): Answer<'getXattr'> {
    this.#inodes.require(file);
    const found = this.xattrsOf(file).find((xattr) => xattr.name === name);
    if (!found) throw new Refusal('ENODATA');
    return { value: found.value };
  }

  setXattr({ file, name, value, expect }: Request<'setXattr'>): Plan<Answer<'setXattr'>> {
    const inode = this.#inodes.require(file);
    if (value.byteLength > xattrValueBytesMax) throw new Refusal('ERANGE');
    const before = this.xattrsOf(file);
    const isThere = before.some((xattr) => xattr.name === name);
    if (isThere && expect === 'absent') throw new Refusal('EEXIST');
    if (!isThere && expect === 'present') throw new Refusal('ENODATA');
    const after = [...before.filter((xattr) => xattr.name !== name), { name, value }];
    const bytes = after.reduce((sum, xattr) => sum + xattr.name.length + xattr.value.byteLength, 0);
    if (bytes > xattrBytesPerInodeMax)
      throw new Refusal(
        'ENOSPC',
        `the extended attributes of a file take at most ${xattrBytesPerInodeMax} bytes`,
      );
    return { ops: [...this.#putXattrs(file, after), this.#touched(inode)], answer: {} };
  }

  listXattrs({ file }: Request<'listXattrs'>): Answer<'listXattrs'> {
    this.#inodes.require(file);
    return { names: this.xattrsOf(file).map(({ name }) => name) };
  }

  removeXattr({ file, name }: Request<'removeXattr'>): Plan<Answer<'removeXattr'>> {
    const inode = this.#inodes.require(file);
    const before = this.xattrsOf(file);
    const after = before.filter((xattr) => xattr.name !== name);
    if (after.length === before.length) throw new Refusal('ENODATA');
    return { ops: [...this.#putXattrs(file, after), this.#touched(inode)], answer: {} };
  }

  /** Here and without a name: to be deleted as soon as nobody has it open. */
  isOrphan(file: FileId): boolean {
    return this.#inodes.get(file)?.nlink === 0;
  }

  /** Every inode that lost its last name and was not deleted yet; a brick that starts deletes those nobody reclaims. */
  async orphans(): Promise<FileId[]> {
    const found: FileId[] = [];
    for (let from = orphanRange.from; ; ) {
      const rows = await this.#store.list({ from, to: orphanRange.to }, pageRows, { keysOnly: true });
      for (const { key } of rows) found.push(fileOfKey(key));
      if (rows.length < pageRows) return found;
      from = Buffer.concat([rows.at(-1)!.key, Buffer.of(0)]);
    }
  }

  /**
   * Removes all that is kept of an inode but its redirect: after the last close of a file without names, and at the
   * source of a migration. Repeating is harmless, also after a crash in the middle of a large file.
   */
  async planDelete(file: FileId): Promise<LatePlan<void>> {
    const found = this.#inodes.stored(file);
    const chunks = found ? await this.#content.deleteChunks(found) : [];
    const names = await this.namesOf(file);
    return () => {
      const ops: StoreOp[] = [
        ...chunks,
        ...names.map(({ parent, name }) => del(nameKey(file, parent, name))),
        del(inodeKey(file)),
        del(xattrsKey(file)),
        del(symlinkKey(file)),
        del(layoutKey(file)),
        del(orphanKey(file)),
      ];
      if (this.#inodes.stored(file)) ops.push(this.#inodes.countedBy(-1));
      return { ops, answer: undefined };
    };
  }

  /** As `planDelete`, for an inode that is here and whose last name goes in the same batch; undefined: use that. */
  deleteAtOnce(inode: Inode): StoreOp[] | undefined {
    const chunks = this.#content.deletesAtOnce(inode);
    const { file } = inode;
    return (
      chunks && [
        ...chunks,
        del(inodeKey(file)),
        del(xattrsKey(file)),
        del(symlinkKey(file)),
        del(orphanKey(file)),
        this.#inodes.countedBy(-1),
      ]
    );
  }

  xattrsOf(file: FileId): readonly Xattr[] {
    const key = xattrsKey(file);
    const bytes = this.#store.get(key);
    return bytes ? xattrsRecord.decode(bytes, key) : [];
  }

  symlinkOf(file: FileId): ByteText | undefined {
    const key = symlinkKey(file);
    const bytes = this.#store.get(key);
    return bytes && symlinkRecord.decode(bytes, key);
  }

  async namesOf(file: FileId): Promise<FileName[]> {
    const range = namesOfFile(file);
    const names: FileName[] = [];
    for (let from = range.from; ; ) {
      const rows = await this.#store.list({ from, to: range.to }, pageRows, { keysOnly: true });
      for (const { key } of rows) names.push(partsOfNameKey(key));
      if (rows.length < pageRows) return names;
      from = Buffer.concat([rows.at(-1)!.key, Buffer.of(0)]);
    }
  }

  /** An inode that comes from another brick, but for its chunks; those are the caller's, as is the redirect. */
  planInstall({ attributes, symlink, xattrs, names }: ArrivingInode): Plan<void> {
    const { file } = attributes;
    // The names are the truth; the count of a source that was wrong must not travel on.
    const inode: Inode = { ...attributes, nlink: names.length, entries: 0, subdirectories: 0 };
    const ops: StoreOp[] = [
      putInode(inode),
      ...this.#putXattrs(file, xattrs),
      ...names.map(({ parent, name }) => put(nameKey(file, parent, name), nameRecord.encode(null))),
      names.length === 0 ? put(orphanKey(file), orphanRecord.encode(null)) : del(orphanKey(file)),
      symlink === undefined ? del(symlinkKey(file)) : put(symlinkKey(file), symlinkRecord.encode(symlink)),
    ];
    if (!this.#inodes.stored(file)) ops.push(this.#inodes.countedBy(1));
    return { ops, answer: undefined };
  }

  #withAttributes(inode: Inode, request: Request<'setAttributes'>): Inode {
    const timeNs = this.#clock.wallNs();
    return {
      ...inode,
      mode: request.mode === undefined ? inode.mode : request.mode & 0o7777,
      uid: request.uid ?? inode.uid,
      gid: request.gid ?? inode.gid,
      atimeNs: request.atimeNow ? timeNs : (request.atimeNs ?? inode.atimeNs),
      mtimeNs: request.mtimeNow ? timeNs : (request.mtimeNs ?? inode.mtimeNs),
      ctimeNs: timeNs,
    };
  }

  #putXattrs(file: FileId, xattrs: readonly Xattr[]): StoreOp[] {
    const key = xattrsKey(file);
    return [xattrs.length === 0 ? del(key) : put(key, xattrsRecord.encode(xattrs))];
  }

  #touched(inode: Inode): StoreOp {
    return putInode({ ...inode, ctimeNs: this.#clock.wallNs() });
  }
}

const put = (key: Uint8Array, value: Uint8Array): StoreOp => ({ type: 'put', key, value });
const del = (key: Uint8Array): StoreOp => ({ type: 'del', key });
