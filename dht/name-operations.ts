/**
 * Operations on names of files: lookup, create, unlink, link. (Directories: directory-operations.ts; rename.ts.)
 *
 * A name lives on the brick that it hashes to, the inode on its home; where these differ the entry is a linkto with a
 * hint of the home. Steps over two bricks are ordered so that a client that dies in between leaves at worst an inode
 * with one name too many (a leak), never a name without an inode (a loss):
 *   link     name added to the inode, then the entry
 *   unlink   entry, then the name of the inode
 * Each step may be repeated.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import { type BrickName, type ByteText, type FileId, hexOf } from '../wire/ids.js';
import type { Answer, Attributes, Entry, FileName, Request } from '../wire/messages.js';
import type { DirectoryOperations } from './directory-operations.js';
import type { FileOperations } from './file-operations.js';
import type { FoundEntry, NameCalls } from './name-calls.js';
import type { NewInode } from './volume.js';
import type { VolumeParts } from './volume-parts.js';

/** A name that changes hands between two requests of one operation is tried again; for ever it cannot. */
const triesMax = 5;

export interface ResolvedName {
  readonly attributes: Attributes;
  /** The brick that keeps the entry. */
  readonly hashed: BrickName;
  /** The brick that has the inode; of a directory, the one that keeps its entry. */
  readonly home: BrickName;
}

export class NameOperations {
  readonly #parts: VolumeParts;
  readonly #names: NameCalls;
  readonly #directories: DirectoryOperations;
  readonly #files: FileOperations;

  constructor(parts: VolumeParts, names: NameCalls, directories: DirectoryOperations, files: FileOperations) {
    this.#parts = parts;
    this.#names = names;
    this.#directories = directories;
    this.#files = files;
  }

  async lookup(parent: FileId, name: ByteText): Promise<Attributes> {
    return (await this.resolve(parent, name)).attributes;
  }

  /** @refuses ENOENT; ESTALE where the name is there and its file on no brick */
  async resolve(parent: FileId, name: ByteText): Promise<ResolvedName> {
    for (let tries = 1; ; tries++) {
      const found = await this.#names.entryAt(parent, name);
      if (found === undefined) throw new Refusal('ENOENT');
      try {
        return await this.#resolveEntry(parent, found);
      } catch (error) {
        // Unlinked or replaced between the two requests, or a name without a file: the next look tells.
        if (asRefusal(error)?.code !== 'ESTALE' || tries === triesMax) throw error;
      }
    }
  }

  async #resolveEntry(parent: FileId, { brick, entry, attributes }: FoundEntry): Promise<ResolvedName> {
    const { directories, placement } = this.#parts;
    if (entry.type === 'dir') {
      directories.found(entry.file, parent, entry.name);
      return { attributes: await this.#directories.attributes(entry.file), hashed: brick, home: brick };
    }
    if (attributes !== undefined) {
      placement.learn(entry.file, brick, attributes.epoch);
      return { attributes, hashed: brick, home: brick };
    }
    placement.hint(entry.file, entry.home);
    const there = await this.#files.attributesAtHome(entry.file);
    if (there.brick !== entry.home) this.#healEntry(parent, brick, entry, there.brick);
    return { attributes: there.attributes, hashed: brick, home: there.brick };
  }

  /** Tells the hashed brick where the file is. In the background: the hint saves a redirect, nothing rests on it. */
  #healEntry(parent: FileId, brick: BrickName, entry: Entry, home: BrickName): void {
    const { links, trace } = this.#parts;
    links
      .at(brick)
      .call('putEntry', { parent, entry: { ...entry, home }, expect: 'same' })
      .catch((error: unknown) =>
        trace.debug('entry not healed', { file: entry.file, brick, error: String(error) }),
      );
  }

  /** After a move: every name of the file points to its home. Answers how many names it has. */
  async healNames(file: FileId): Promise<number> {
    const { homes } = this.#parts;
    let home: BrickName | undefined;
    const { attributes, names } = await homes.at(file, async (link, brick) => {
      home = brick;
      const [answer, list] = await Promise.all([
        link.call('getAttributes', { file }),
        link.call('namesOf', { file }),
      ]);
      return { attributes: answer.attributes, names: list.names };
    });
    for (const { parent, name } of names) {
      const brick = await this.#names.brickOf(parent, name);
      const entry: Entry = { name, file, type: attributes.type, home: home! };
      await this.#names
        .call('putEntry', brick, parent, { parent, entry, expect: 'same' })
        .catch((error: unknown) => {
          // Renamed or removed meanwhile: whoever did that wrote the home that it knew, or needs none.
          if (asRefusal(error)?.code !== 'ENOENT') throw error;
        });
    }
    return names.length;
  }

  async create(
    parent: FileId,
    name: ByteText,
    inode: NewInode,
    { exclusive, open }: { exclusive: boolean; open: boolean },
  ): Promise<{ created: boolean; attributes: Attributes }> {
    const { directories, placement, random, uses } = this.#parts;
    const brick = await this.#names.brickOf(parent, name);
    if (directories.mayBeElsewhere(parent)) {
      const other = await this.#names.elsewhere(parent, name, brick);
      if (other !== undefined) return this.#taken(parent, other, exclusive, open);
    }
    const body = { ...inode, parent, name, file: hexOf(random.bytes(16)) as FileId, exclusive, open };
    const answer = await this.#changeEntry('create', brick, parent, body);
    const { created, entry, attributes } = answer;
    if (attributes === undefined) {
      return this.#taken(parent, { brick, entry, attributes: undefined }, exclusive, open);
    }
    placement.learn(entry.file, brick, attributes.epoch);
    if (open) uses.opened(entry.file);
    return { created, attributes };
  }

  /** The answer says how the brick's part of the directory looks afterwards; a failure leaves that open. */
  #changeEntry<O extends 'create' | 'removeEntry'>(
    op: O,
    brick: BrickName,
    parent: FileId,
    body: Request<O>,
  ): Promise<Answer<O>> {
    const { directoryParts } = this.#parts;
    const asked = directoryParts.asks(parent);
    return this.#names.call(op, brick, parent, body).then(
      (answer) => {
        directoryParts.note(asked, brick, answer.directory);
        return answer;
      },
      (error: unknown) => {
        directoryParts.forgetAll();
        throw error;
      },
    );
  }

  /** The name was there, and its inode is not where the name is. */
  async #taken(
    parent: FileId,
    found: FoundEntry,
    exclusive: boolean,
    open: boolean,
  ): Promise<{ created: boolean; attributes: Attributes }> {
    if (exclusive) throw new Refusal('EEXIST');
    if (found.entry.type === 'dir') throw new Refusal('EISDIR');
    const { attributes } = await this.#resolveEntry(parent, found);
    return { created: false, attributes: open ? await this.#files.open(attributes.file, false) : attributes };
  }

  /** @param believed what the name is thought to name; the brick says whether it does */
  async unlink(parent: FileId, name: ByteText, believed?: FileId): Promise<void> {
    if (believed !== undefined) {
      const brick = await this.#names.brickOf(parent, name);
      if (await this.removeEntry(parent, { brick, entry: { file: believed, name } })) return;
    }
    for (let tries = 1; tries <= triesMax; tries++) {
      const found = await this.#names.entryAt(parent, name);
      if (found === undefined) throw new Refusal('ENOENT');
      if (found.entry.type === 'dir') throw new Refusal('EISDIR');
      if (await this.removeEntry(parent, found)) return;
    }
    throw new Refusal('ENOENT');
  }

  /** Removes a name and the link that it was; false where the name was gone or named another file. */
  async removeEntry(
    parent: FileId,
    { brick, entry }: { readonly brick: BrickName; readonly entry: Pick<Entry, 'file' | 'name'> },
  ): Promise<boolean> {
    const { file, name } = entry;
    try {
      const answer = await this.#changeEntry('removeEntry', brick, parent, { parent, name, file });
      if (!answer.linkDropped) await this.dropName(answer.entry, parent);
      return true;
    } catch (error) {
      if (asRefusal(error)?.code !== 'ENOENT') throw error;
      return false;
    }
  }

  /**
   * Takes a name off an inode whose entry is gone. A home out of reach is told later: the process need not wait for
   * it, and a client that dies before leaves an inode with one name too many.
   */
  async dropName({ file, name, home }: Pick<Entry, 'file' | 'name' | 'home'>, parent: FileId): Promise<void> {
    this.#parts.placement.hint(file, home);
    await this.#files.eventually(file, (link) => link.call('dropName', { file, parent, name }));
  }

  /**
   * Another name for an inode whose entry was renamed. In this order: it must not be without a name in between. Whoever
   * unlinked the new entry meanwhile did not find that name at the inode.
   */
  async renameName(file: FileId, from: FileName, to: FileName): Promise<void> {
    await this.#files.eventually(file, async (link) => {
      const added = await link.call('addName', { file, ...to }).catch((error: unknown) => {
        if (asRefusal(error)?.code !== 'ENOENT') throw error;
      });
      // It has no name any more: all were unlinked meanwhile.
      if (added === undefined) return;
      await link.call('dropName', { file, ...from });
      const found = await this.#names.entryAt(to.parent, to.name);
      if (found?.entry.file !== file) await link.call('dropName', { file, ...to });
    });
  }

  /** Adds a name to an inode, at its home. */
  async addName(
    file: FileId,
    parent: FileId,
    name: ByteText,
  ): Promise<{ attributes: Attributes; home: BrickName }> {
    let home: BrickName | undefined;
    const { attributes } = await this.#parts.homes.at(file, (link, brick) => {
      home = brick;
      return link.call('addName', { file, parent, name });
    });
    return { attributes, home: home! };
  }

  async link(file: FileId, parent: FileId, name: ByteText): Promise<Attributes> {
    const { directories } = this.#parts;
    const brick = await this.#names.brickOf(parent, name);
    if (
      directories.mayBeElsewhere(parent) &&
      (await this.#names.elsewhere(parent, name, brick)) !== undefined
    ) {
      throw new Refusal('EEXIST');
    }
    // Before the inode gets the name: what is undone below must not be a link that was there already.
    if ((await this.#names.entryAt(parent, name)) !== undefined) throw new Refusal('EEXIST');
    const { attributes, home } = await this.addName(file, parent, name);
    const entry: Entry = { name, file, type: attributes.type, home };
    try {
      await this.#names.call('putEntry', brick, parent, { parent, entry, expect: 'absent' });
    } catch (error) {
      await this.undoAddName(error, entry, parent);
      throw error;
    }
    return attributes;
  }

  /**
   * After an entry was refused. Not where the brick did not answer: it may have the entry, and a name too many is
   * better than an entry whose inode goes. Nor where the entry turns out to be of this very file.
   */
  async undoAddName(error: unknown, entry: Entry, parent: FileId): Promise<void> {
    const code = asRefusal(error)?.code;
    if (code === undefined || code === 'ENOTCONN' || code === 'EIO') return;
    const found = await this.#names.entryAt(parent, entry.name);
    if (found?.entry.file !== entry.file) await this.dropName(entry, parent);
  }
}
