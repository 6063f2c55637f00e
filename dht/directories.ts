/**
 * What this client remembers of directories: that an id is one, its layout, and the name that it was found under.
 *
 * Decides which brick a name hashes to. A directory is on every brick, so nothing here is about placement. The
 * layout is asked for once: a directory keeps the one that it was made with. Only the part of a brick that has left the
 * volume falls to others, by the plain layout of those that are left.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import { type BrickName, type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import type { BrickLinks } from './brick-links.js';
import { brickOf, type Layout, layoutFaults, plainLayout, withoutBricks } from './layout.js';
import { hashName } from './name-hash.js';
import { RecentMap } from './recent-map.js';

const directoriesMax = 65_536;

interface Known {
  layout: Layout | undefined;
  /** The layout names a brick that has left the volume. */
  isMended: boolean;
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
  readonly #retired: ReadonlySet<BrickName>;

  /**
   * @param retired bricks that have left the volume
   * @param before what an earlier graph knew: names, not layouts
   */
  constructor(links: BrickLinks, retired: readonly BrickName[] = [], before?: Directories) {
    this.#links = links;
    this.#retired = new Set(retired);
    this.#entry(rootFileId);
    if (before === undefined) return;
    for (const [dir, { parent, name }] of before.#known.entries()) this.found(dir, parent, name);
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
    known.isMended = false;
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
    // The directory was made by a client that knows a newer volume.json.
    await this.#links.whenKnown(brick);
    return brick;
  }

  /**
   * False: the name can only be on the brick that it hashes to, and ENOENT of that brick is the truth. True: a brick of
   * the layout has left the volume, and clients that know that and clients that do not may have put names elsewhere.
   */
  mayBeElsewhere(dir: FileId): boolean {
    return this.#known.get(dir)?.isMended === true;
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
    entry.layout = withoutBricks(layout, this.#retired, plain);
    entry.isMended = entry.layout !== layout;
    return entry.layout;
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
    const fresh: Known = { layout: undefined, isMended: false, parent: undefined, name: undefined };
    this.#known.set(dir, fresh);
    return fresh;
  }
}
