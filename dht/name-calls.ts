/**
 * Requests about a name, sent to the brick that the name hashes to.
 *
 * Decides where an entry is looked for: on its hashed brick, and on the others only where the directory's layout is
 * not the plain one of the bricks that the volume has now (so ENOENT is one round trip as a rule). A parent that is
 * missing on the brick is put back once. Used by every operation that names something.
 */
import { asRefusal } from '../wire/errors.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import type { Answer, Attributes, Entry, Op, Request } from '../wire/messages.js';
import type { DirectoryHealing } from './directory-healing.js';
import { forApplication } from './home-calls.js';
import type { VolumeParts } from './volume-parts.js';

export interface FoundEntry {
  /** The brick that keeps the entry. */
  readonly brick: BrickName;
  readonly entry: Entry;
  /** Present where the inode is on that brick too. */
  readonly attributes: Attributes | undefined;
}

export class NameCalls {
  readonly #parts: VolumeParts;
  readonly #healing: DirectoryHealing;

  constructor(parts: VolumeParts, healing: DirectoryHealing) {
    this.#parts = parts;
    this.#healing = healing;
  }

  brickOf(parent: FileId, name: ByteText): Promise<BrickName> {
    return this.#parts.directories.brickOf(parent, name);
  }

  /** @refuses as the row says; ENOENT where the parent is gone */
  async call<O extends Op>(op: O, brick: BrickName, parent: FileId, body: Request<O>): Promise<Answer<O>> {
    const link = this.#parts.links.at(brick);
    try {
      return await link.call(op, body);
    } catch (error) {
      if (asRefusal(error)?.code !== 'ESTALE') throw forApplication(error);
    }
    await this.#healing.heal(parent, brick);
    return link.call(op, body).catch((error: unknown) => {
      throw forApplication(error);
    });
  }

  async entryAt(parent: FileId, name: ByteText): Promise<FoundEntry | undefined> {
    const hashed = await this.brickOf(parent, name);
    const found = await this.#lookup(hashed, parent, name);
    if (found !== undefined || !this.#parts.directories.mayBeElsewhere(parent)) return found;
    return this.elsewhere(parent, name, hashed);
  }

  /** On any brick but `hashed`. */
  async elsewhere(parent: FileId, name: ByteText, hashed: BrickName): Promise<FoundEntry | undefined> {
    const others = this.#parts.links.names.filter((brick) => brick !== hashed);
    const found = await Promise.all(others.map((brick) => this.#lookup(brick, parent, name)));
    return found.find((one) => one !== undefined);
  }

  async #lookup(brick: BrickName, parent: FileId, name: ByteText): Promise<FoundEntry | undefined> {
    try {
      const { entry, attributes } = await this.call('lookup', brick, parent, { parent, name });
      return { brick, entry, attributes };
    } catch (error) {
      if (asRefusal(error)?.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}
