/**
 * Puts a directory back on a brick that lacks it: the brick was down when it was made, or its maker died in between.
 *
 * The brick that the directory's name hashes to decides whether it exists (mkdir writes there first, rmdir removes
 * there last). So nothing is healed that this brick does not have, and it is asked once more afterwards, lest a
 * concurrent rmdir leaves a directory behind that nobody can see.
 * Called where a brick answers that it does not know a directory that it should.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import type { Attributes } from '../wire/messages.js';
import type { DirectoryName } from './directories.js';
import type { Layout } from './layout.js';
import type { VolumeParts } from './volume-parts.js';

/** Directories above one that is missing may be missing too; deeper than this is a loop or a mistake. */
const depthMax = 256;

interface Xattr {
  readonly name: ByteText;
  readonly value: Uint8Array;
}

/** All of a directory but its entries, as one brick has it. */
export interface DirectoryCopy {
  readonly attributes: Attributes;
  readonly layout: Layout;
  readonly xattrs: readonly Xattr[];
}

export class DirectoryHealing {
  readonly #parts: VolumeParts;

  constructor(parts: VolumeParts) {
    this.#parts = parts;
  }

  /** @refuses ENOENT where the directory does not exist, EIO where it cannot be healed */
  async heal(dir: FileId, brick: BrickName, depth = 0): Promise<void> {
    const { directories, trace } = this.#parts;
    const at = directories.nameOf(dir);
    if (dir === rootFileId)
      throw new Refusal('EIO', `${brick} has no root directory: it is not of this volume`);
    if (at === undefined || depth > depthMax) {
      await this.copyOf(dir, brick);
      throw new Refusal('EIO', `directory ${dir} is missing on ${brick}, and its path is not known here`);
    }
    await this.#refuseUnlessExists(dir, at);
    const copy = await this.copyOf(dir, brick);
    await this.put(dir, at, brick, copy, depth);
    try {
      await this.#refuseUnlessExists(dir, at);
    } catch (error) {
      await this.#parts.links.at(brick).call('removeDirectory', { ...at, file: dir });
      throw error;
    }
    trace.info('directory healed', { dir, brick });
  }

  async #refuseUnlessExists(dir: FileId, { parent, name }: DirectoryName): Promise<void> {
    const { directories, links } = this.#parts;
    const decider = await directories.brickOf(parent, name);
    const gone = () => new Refusal('ENOENT', `directory ${dir} was removed or renamed`);
    try {
      const { entry } = await links.at(decider).call('lookup', { parent, name });
      if (entry.file !== dir) throw gone();
    } catch (error) {
      throw asRefusal(error)?.code === 'ESTALE' ? gone() : error;
    }
  }

  /** From the first brick but `except` that has it. @refuses ENOENT where none has it, ENOTCONN where one may */
  async copyOf(dir: FileId, except: BrickName): Promise<DirectoryCopy> {
    const { directories, links } = this.#parts;
    let failure: unknown = new Refusal('ENOENT', `directory ${dir} was removed`);
    for (const brick of directories.order(dir)) {
      if (brick === except) continue;
      const link = links.at(brick);
      try {
        const { attributes } = await link.call('getAttributes', { file: dir });
        const { layout } = await link.call('readLayout', { dir });
        const { names } = await link.call('listXattrs', { file: dir });
        const xattrs = await Promise.all(
          names.map(async (name) => ({
            name,
            value: (await link.call('getXattr', { file: dir, name })).value,
          })),
        );
        return { attributes, layout, xattrs };
      } catch (error) {
        if (asRefusal(error) === undefined) throw error;
        if (asRefusal(error)?.code !== 'ESTALE') failure = error;
      }
    }
    throw failure;
  }

  /** Makes the directory on one brick as it is elsewhere; fine where it is there already. */
  async put(
    dir: FileId,
    at: DirectoryName,
    brick: BrickName,
    { attributes, layout, xattrs }: DirectoryCopy,
    depth = 0,
  ): Promise<void> {
    const { mode, uid, gid, mtimeNs } = attributes;
    await this.makeAt(brick, { ...at, file: dir, mode, uid, gid, timeNs: mtimeNs, layout }, depth);
    const link = this.#parts.links.at(brick);
    for (const { name, value } of xattrs) {
      await link.call('setXattr', { file: dir, name, value, expect: 'any' });
    }
  }

  /** One brick's part of mkdir, where another brick decided already that it shall be. */
  async makeAt(brick: BrickName, body: MakeBody, depth = 0): Promise<Attributes> {
    const { links, trace } = this.#parts;
    const { parent, name, file } = body;
    try {
      return (await links.at(brick).call('makeDirectory', body)).attributes;
    } catch (error) {
      const code = asRefusal(error)?.code;
      if (code === 'ESTALE') await this.heal(parent, brick, depth + 1);
      else if (code === 'EEXIST') await this.#clear(brick, parent, name, file);
      else throw error;
    }
    trace.debug('directory made again', { dir: file, brick });
    return (await links.at(brick).call('makeDirectory', body)).attributes;
  }

  /**
   * The name is taken here by what the deciding brick knows nothing of: the rest of a mkdir, rmdir or rename whose
   * client died. An empty directory may go; anything else is kept and the caller refused.
   */
  async #clear(brick: BrickName, parent: FileId, name: ByteText, wanted: FileId): Promise<void> {
    const link = this.#parts.links.at(brick);
    const { entry } = await link.call('lookup', { parent, name });
    if (entry.file === wanted) return;
    this.#parts.trace.warn('stray entry', { brick, parent, file: entry.file, type: entry.type });
    if (entry.type !== 'dir') throw new Refusal('EEXIST');
    await link.call('removeDirectory', { parent, name, file: entry.file });
  }
}

interface MakeBody {
  readonly parent: FileId;
  readonly name: ByteText;
  readonly file: FileId;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly timeNs: bigint;
  readonly layout: Layout;
}
