/**
 * What this client remembers of directories: that an id is one, its layout, and the name that it was found under.
 *
 * Decides which brick a name hashes to. A directory is on every brick, so nothing here is about placement. The
 * layout is asked for once; it changes only together with volume.json, and then there is a new graph.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import { type BrickName, type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import type { BrickLinks } from './brick-links.js';
import { brickOf, type Layout, layoutFaults, plainLayout, sameLayout } from './layout.js';
import { hashName } from './name-hash.js';
import { RecentMap } from './recent-map.js';

const directoriesMax = 65_536;

interface Known {
  layout: Layout | undefined;
  /** The layout is the one that a new directory would get now. */
  isPlain: boolean;
  parent: FileId | undefined;
  name: ByteText | undefined;
}

export interface DirectoryName {
  readonly parent: FileId;
  readonly name: ByteText;
}

export class Directories {
  readonly #known = new RecentMap<FileId, Known>(directoriesMax, (file) => file === rootFileId);
  readonly #links: BrickLinks;

  constructor(links: BrickLinks) {
    this.#links = links;
    this.#entry(rootFileId);
  }

  isKnown(file: FileId): boolean {
    return this.#known.get(file) !== undefined;
  }

  found(dir: FileId, parent?: FileId, name?: ByteText): void {
    const known = this.#entry(dir);
    if (parent === undefined || name === undefined) return;
    known.parent = parent;
    known.name = name;
  }

  /** A directory that this client made: its layout need not be asked for. */
  made(dir: FileId, parent: FileId, name: ByteText, layout: Layout): void {
    this.found(dir, parent, name);
    const known = this.#entry(dir);
    known.layout = layout;
    known.isPlain = true;
  }

  forget(dir: FileId): void {
    if (dir !== rootFileId) this.#known.delete(dir);
  }

  /** Where the directory was found last; undefined for the root, and for one that came by its id alone. */
  nameOf(dir: FileId): DirectoryName | undefined {
    const known = this.#known.get(dir);
    if (known?.parent === undefined || known.name === undefined) return undefined;
    return { parent: known.parent, name: known.name };
  }

  /** The brick whose attributes stand for the directory, then the others: another first one for each directory. */
  order(dir: FileId): readonly BrickName[] {
    const order = plainLayout(dir, this.#links.names).map((range) => range.brick);
    // A brick that is out of reach comes last: asking it means waiting.
    return [
      ...order.filter((brick) => this.#links.isUp(brick)),
      ...order.filter((brick) => !this.#links.isUp(brick)),
    ];
  }

  /** @refuses ENOENT where the directory is gone */
  async brickOf(dir: FileId, name: ByteText): Promise<BrickName> {
    const layout = this.#known.get(dir)?.layout ?? (await this.layoutOf(dir));
    const brick = brickOf(layout, hashName(name));
    if (brick === undefined) throw new Refusal('EIO', `the layout of directory ${dir} has a hole`);
    return brick;
  }

  /**
   * False: the name can only be on the brick that it hashes to, and ENOENT of that brick is the truth. True: the
   * directory was made for other bricks than the volume has now, so a name may still be where it hashed before.
   */
  mayBeElsewhere(dir: FileId): boolean {
    return this.#known.get(dir)?.isPlain === false;
  }

  /** @refuses ENOENT where no brick has the directory */
  async layoutOf(dir: FileId): Promise<Layout> {
    const known = this.#known.get(dir);
    if (known?.layout !== undefined) return known.layout;
    const plain = plainLayout(dir, this.#links.names);
    const stored = await this.#readLayout(dir);
    // The root of a fresh volume was made before anybody thought of a layout.
    const layout = stored.length === 0 ? plain : stored;
    const { holes, overlaps } = layoutFaults(layout);
    if (holes + overlaps > 0) {
      throw new Refusal(
        'EIO',
        `the layout of directory ${dir} has ${holes} hashes without a brick, ${overlaps} with two`,
      );
    }
    const entry = this.#entry(dir);
    entry.layout = layout;
    entry.isPlain = sameLayout(layout, plain);
    return layout;
  }

  async #readLayout(dir: FileId): Promise<Layout> {
    let unreachable: unknown;
    for (const brick of this.order(dir)) {
      try {
        return (await this.#links.at(brick).call('readLayout', { dir })).layout;
      } catch (error) {
        const code = asRefusal(error)?.code;
        if (code === 'ENOTCONN') unreachable = error;
        else if (code !== 'ESTALE' && code !== 'ENOENT') throw error;
      }
    }
    throw unreachable ?? new Refusal('ENOENT', `directory ${dir} was removed`);
  }

  #entry(dir: FileId): Known {
    const known = this.#known.get(dir);
    if (known !== undefined) return known;
    const fresh: Known = { layout: undefined, isPlain: true, parent: undefined, name: undefined };
    this.#known.set(dir, fresh);
    return fresh;
  }
}
