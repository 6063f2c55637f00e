/**
 * rename(2). No data moves: the inode stays where it is, and the new name's brick gets an entry with its home.
 *
 * A file whose names hash to one brick: one request there. Else
 *   1 the inode gets the new name   2 the new entry is put   3 the old entry goes   4 the inode loses the old name
 *   5 the inode of a replaced file loses the new name
 * A client that dies in between leaves the file under both names, or an inode with one name too many; never a file
 * without a name. A directory: the brick of the new name decides, the others follow; a death in between leaves it
 * under both names until the rename is done again.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import type { Answer, Entry } from '../wire/messages.js';
import type { DirectoryOperations } from './directory-operations.js';
import type { FoundEntry, NameCalls } from './name-calls.js';
import type { NameOperations } from './name-operations.js';
import type { VolumeParts } from './volume-parts.js';

/** A name that changes hands under the rename is looked up again; for ever it cannot. */
const triesMax = 5;

export interface RenameRequest {
  readonly parent: FileId;
  readonly name: ByteText;
  readonly newParent: FileId;
  readonly newName: ByteText;
  readonly noReplace: boolean;
}

export class Rename {
  readonly #parts: VolumeParts;
  readonly #names: NameCalls;
  readonly #files: NameOperations;
  readonly #directories: DirectoryOperations;

  constructor(parts: VolumeParts, names: NameCalls, files: NameOperations, directories: DirectoryOperations) {
    this.#parts = parts;
    this.#names = names;
    this.#files = files;
    this.#directories = directories;
  }

  async rename(request: RenameRequest): Promise<void> {
    const { parent, name, newParent, newName, noReplace } = request;
    for (let tries = 1; tries <= triesMax; tries++) {
      const [from, to] = await Promise.all([
        this.#names.entryAt(parent, name),
        this.#names.entryAt(newParent, newName),
      ]);
      if (from === undefined) throw new Refusal('ENOENT');
      if (to !== undefined && noReplace) throw new Refusal('EEXIST');
      // Two names of one file: "rename() does nothing" (POSIX). One name of one directory is the same case.
      if (to?.entry.file === from.entry.file && (from.entry.type !== 'dir' || sameName(request))) return;
      refuseOtherType(from.entry, to?.entry);
      const done =
        from.entry.type === 'dir'
          ? await this.#renameDirectory(request, from.entry, to)
          : await this.#renameFile(request, from, to);
      if (done) return;
    }
    throw new Refusal('ENOENT');
  }

  /** False where the old name went to something else meanwhile. */
  async #renameFile(request: RenameRequest, from: FoundEntry, to: FoundEntry | undefined): Promise<boolean> {
    const hashed = await this.#names.brickOf(request.newParent, request.newName);
    const strayTarget = to !== undefined && to.brick !== hashed ? to : undefined;
    const done =
      from.brick === hashed
        ? await this.#renameOnBrick(request, from, hashed)
        : await this.#renameAcross(request, from, hashed);
    // The replaced name was found where it hashed before the layout changed.
    if (done && strayTarget !== undefined) await this.#files.removeEntry(request.newParent, strayTarget);
    return done;
  }

  async #renameOnBrick(request: RenameRequest, from: FoundEntry, brick: BrickName): Promise<boolean> {
    const { parent, name, newParent, newName, noReplace } = request;
    const { file, home } = from.entry;
    // The brick keeps the names of inodes that it has; another home is told, before and after.
    const isElsewhere = from.attributes === undefined;
    this.#parts.placement.hint(file, home);
    if (isElsewhere) await this.#files.addName(file, newParent, newName);
    let answer: Answer<'renameEntry'>;
    try {
      const body = { parent, name, newParent, newName, file, noReplace };
      answer = await this.#names.call('renameEntry', brick, newParent, body);
    } catch (error) {
      if (isElsewhere) await this.#files.undoAddName(error, { ...from.entry, name: newName }, newParent);
      if (asRefusal(error)?.code === 'ENOENT') return false;
      throw error;
    }
    if (answer.linkLeft && isElsewhere) await this.#files.dropName({ file, name, home }, parent);
    // It moved away since the name was looked up.
    else if (answer.linkLeft)
      await this.#files.renameName(file, { parent, name }, { parent: newParent, name: newName });
    if (answer.replaced !== undefined && !answer.linkDropped) {
      await this.#files.dropName({ ...answer.replaced, name: newName }, newParent);
    }
    return true;
  }

  async #renameAcross(request: RenameRequest, from: FoundEntry, hashed: BrickName): Promise<boolean> {
    const { parent, newParent, newName, noReplace } = request;
    const { file, type } = from.entry;
    this.#parts.placement.hint(file, from.entry.home);
    const { home } = await this.#files.addName(file, newParent, newName);
    const entry: Entry = { name: newName, file, type, home };
    const expect = noReplace ? 'absent' : 'any';
    let replaced: Entry | undefined;
    try {
      replaced = (await this.#names.call('putEntry', hashed, newParent, { parent: newParent, entry, expect }))
        .replaced;
    } catch (error) {
      await this.#files.undoAddName(error, entry, newParent);
      throw error;
    }
    // Gone already: somebody unlinked the old name meanwhile, and took it off the inode.
    await this.#files.removeEntry(parent, from);
    if (replaced !== undefined && replaced.file !== file) {
      await this.#files.dropName({ ...replaced, name: newName }, newParent);
    }
    return true;
  }

  async #renameDirectory(request: RenameRequest, from: Entry, to: FoundEntry | undefined): Promise<boolean> {
    const { parent, name, newParent, newName } = request;
    const { directories, links, trace } = this.#parts;
    const dir = from.file;
    const decider = await this.#names.brickOf(newParent, newName);
    const replaced = to !== undefined && to.entry.file !== dir ? to.entry.file : undefined;
    let putBack = (): Promise<void> => Promise.resolve();
    if (replaced !== undefined) {
      await this.#directories.refuseUnlessEmpty(replaced);
      putBack = await this.#directories.removeFromOthers(newParent, newName, replaced, decider);
    }
    const moved = await this.#renameDirectoryAt(decider, request, dir).catch(async (error: unknown) => {
      await putBack();
      throw error;
    });
    if (!moved) {
      await putBack();
      return false;
    }
    directories.found(dir, newParent, newName);
    if (replaced !== undefined) directories.forget(replaced);
    // The brick of the old name goes last: until then the directory is found under it, whoever dies.
    const oldBrick = await this.#names.brickOf(parent, name);
    const others = links.names.filter((brick) => brick !== decider && brick !== oldBrick);
    await Promise.all(others.map((brick) => this.#follow(brick, request, dir)));
    if (oldBrick !== decider) await this.#follow(oldBrick, request, dir);
    trace.debug('directory renamed', { dir });
    return true;
  }

  /** False where neither name names the directory on this brick. */
  async #renameDirectoryAt(brick: BrickName, request: RenameRequest, dir: FileId): Promise<boolean> {
    const { parent, name, newParent, newName, noReplace } = request;
    try {
      const body = { parent, name, newParent, newName, file: dir, noReplace };
      await this.#names.call('renameEntry', brick, newParent, body);
      return true;
    } catch (error) {
      const code = asRefusal(error)?.code;
      if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
      // Done by an earlier try, of this client or of one that died.
      const there = await this.#parts.links
        .at(brick)
        .call('lookup', { parent: newParent, name: newName })
        .catch((failure: unknown) => {
          if (asRefusal(failure)?.code !== 'ENOENT') throw failure;
          return undefined;
        });
      if (there?.entry.file === dir) return true;
      if (code === 'EEXIST') throw error;
      return false;
    }
  }

  /** A brick that cannot follow now has the directory under its old name; what is asked of it there still works. */
  async #follow(brick: BrickName, request: RenameRequest, dir: FileId): Promise<void> {
    const { trace } = this.#parts;
    try {
      const done = await this.#renameDirectoryAt(brick, { ...request, noReplace: false }, dir);
      if (!done) trace.warn('directory not renamed on a brick', { dir, brick, error: 'it is not there' });
    } catch (error) {
      if (asRefusal(error) === undefined) throw error;
      trace.warn('directory not renamed on a brick', { dir, brick, error: (error as Error).message });
    }
  }
}

const sameName = ({ parent, name, newParent, newName }: RenameRequest): boolean =>
  parent === newParent && name === newName;

function refuseOtherType(from: Entry, to: Entry | undefined): void {
  if (to === undefined || to.file === from.file) return;
  if (to.type === 'dir' && from.type !== 'dir') throw new Refusal('EISDIR');
  if (to.type !== 'dir' && from.type === 'dir') throw new Refusal('ENOTDIR');
}
