/**
 * Operations on directories, which are on every brick: the brick that the name hashes to decides, the others follow.
 *
 *   mkdir   the hashed brick first, then the others; a death in between leaves a directory that heals when it is used
 *   rmdir   the others first, the hashed brick last; where one is not empty, what was removed is put back
 *
 * So a directory exists exactly where its hashed brick has it. Attributes: mode and owner of one brick (changes go to
 * all of them), times the newest of all, since a new name changes the times on its own brick only.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import { type BrickName, type ByteText, type FileId, hexOf, rootFileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { Attributes, DirEntry, Request } from '../wire/messages.js';
import type { DirectoryHealing } from './directory-healing.js';
import { type Attempt, forApplication } from './home-calls.js';
import { brickOf, plainLayout } from './layout.js';
import type { NameCalls } from './name-calls.js';
import { hashName } from './name-hash.js';
import type { NewInode } from './volume.js';
import type { VolumeParts } from './volume-parts.js';

/** Keeps a page of longest names with attributes within one frame. */
const entriesPerPage = 1000;

const newest = (a: bigint, b: bigint): bigint => (a < b ? b : a);

/** What is shown of a directory, from what its bricks have; the first stands for all where they should agree. */
export function mergedAttributes(all: readonly Attributes[]): Attributes {
  const [first, ...others] = all;
  let merged = first!;
  for (const one of others) {
    merged = {
      ...merged,
      nlink: Math.max(merged.nlink, one.nlink),
      size: Math.max(merged.size, one.size),
      change: merged.change + one.change,
      atimeNs: newest(merged.atimeNs, one.atimeNs),
      mtimeNs: newest(merged.mtimeNs, one.mtimeNs),
      ctimeNs: newest(merged.ctimeNs, one.ctimeNs),
    };
  }
  return merged;
}

/** What the bricks answered, in the order in which they were asked. */
interface Answers<T> {
  readonly answers: readonly T[];
  /** The first brick that could not be asked. */
  readonly unreachable: Refusal | undefined;
}

export class DirectoryOperations {
  readonly #parts: VolumeParts;
  readonly #names: NameCalls;
  readonly #healing: DirectoryHealing;

  constructor(parts: VolumeParts, names: NameCalls, healing: DirectoryHealing) {
    this.#parts = parts;
    this.#names = names;
    this.#healing = healing;
  }

  /**
   * Bricks that are out of reach are left out: an old time is better than none.
   * @param ageMsMax what a brick said so long ago, or with the answer to an own change since, need not be asked again
   * @refuses ESTALE ENOTCONN
   */
  async attributes(dir: FileId, ageMsMax = 0): Promise<Attributes> {
    const { directories, directoryParts, links } = this.#parts;
    const order = directories.order(dir);
    const up = order.filter((brick) => links.isUp(brick));
    const asked = directoryParts.asks(dir);
    const { answers, unreachable } = await this.#ask(up.length > 0 ? up : order, (link, brick) => {
      const known = directoryParts.part(dir, brick, ageMsMax);
      if (known !== undefined) return Promise.resolve({ attributes: known });
      return link.call('getAttributes', { file: dir }).then((answer) => {
        directoryParts.note(asked, brick, answer.attributes);
        return answer;
      });
    });
    if (answers.length === 0) throw unreachable ?? new Refusal('ESTALE', `directory ${dir} was removed`);
    return mergedAttributes(answers.map((answer) => answer.attributes));
  }

  /** Changes directories, and no answer says how they look afterwards. */
  changing<T>(work: Promise<T>): Promise<T> {
    return work.finally(() => this.#parts.directoryParts.forgetAll());
  }

  /** On all bricks or an error: one that missed a change of the mode would show the old one some day. */
  async onEveryBrick<T>(dir: FileId, send: Attempt<T>): Promise<readonly T[]> {
    const { answers, unreachable } = await this.#ask(this.#parts.directories.order(dir), send);
    if (unreachable !== undefined) throw unreachable;
    if (answers.length === 0) throw new Refusal('ESTALE', `directory ${dir} was removed`);
    return answers;
  }

  async changeAttributes(body: Request<'setAttributes'>): Promise<Attributes> {
    const answers = await this.changing(
      this.onEveryBrick(body.file, (link) => link.call('setAttributes', body)),
    );
    return mergedAttributes(answers.map((answer) => answer.attributes));
  }

  async make(parent: FileId, name: ByteText, inode: NewInode): Promise<Attributes> {
    const { clock, directories, links, random, trace } = this.#parts;
    const dir = hexOf(random.bytes(16)) as FileId;
    const layout = plainLayout(dir, links.names);
    const { mode, uid, gid } = inode;
    const body = { parent, name, file: dir, mode, uid, gid, timeNs: clock.wallNs(), layout };
    const hashed = await this.#names.brickOf(parent, name);
    await this.#refuseIfElsewhere(parent, name, hashed);
    const attributes = await this.#makeAtHashed(hashed, body);
    directories.made(dir, parent, name, layout);
    const others = links.names.filter((brick) => brick !== hashed);
    await Promise.all(
      others.map((brick) =>
        this.#healing.makeAt(brick, body).catch((error: unknown) => {
          // It exists; a brick that is down gets it when it is needed there.
          if (asRefusal(error) === undefined) throw error;
          trace.warn('directory not made on a brick', { dir, brick, error: (error as Error).message });
        }),
      ),
    );
    return attributes;
  }

  async #makeAtHashed(brick: BrickName, body: Request<'makeDirectory'>): Promise<Attributes> {
    const link = this.#parts.links.at(brick);
    const send = () => link.call('makeDirectory', body);
    try {
      return (await send()).attributes;
    } catch (error) {
      if (asRefusal(error)?.code !== 'ESTALE') throw forApplication(error);
    }
    await this.#healing.heal(body.parent, brick);
    return (await send()).attributes;
  }

  async #refuseIfElsewhere(parent: FileId, name: ByteText, hashed: BrickName): Promise<void> {
    if (!this.#parts.directories.mayBeElsewhere(parent)) return;
    if ((await this.#names.elsewhere(parent, name, hashed)) !== undefined) throw new Refusal('EEXIST');
  }

  async remove(parent: FileId, name: ByteText): Promise<void> {
    const found = await this.#names.entryAt(parent, name);
    if (found === undefined) throw new Refusal('ENOENT');
    const { entry, brick } = found;
    if (entry.type !== 'dir') throw new Refusal('ENOTDIR');
    await this.refuseUnlessEmpty(entry.file);
    const putBack = await this.removeFromOthers(parent, name, entry.file, brick);
    try {
      await this.#parts.links.at(brick).call('removeDirectory', { parent, name, file: entry.file });
    } catch (error) {
      const code = asRefusal(error)?.code;
      if (code !== 'ENOENT') await putBack();
      throw forApplication(error);
    }
    this.#parts.directories.forget(entry.file);
  }

  /** Asked before anything is removed, so that a directory in use is not taken away and put back. */
  async refuseUnlessEmpty(dir: FileId): Promise<void> {
    const pages = await this.onEveryBrick(dir, (link) =>
      link.call('listDirectory', { dir, after: start, limit: 1 }),
    );
    if (pages.some((page) => page.entries.length > 0)) throw new Refusal('ENOTEMPTY');
  }

  /**
   * Removes an empty directory from all bricks but the one that decides. Answers how to put it back.
   * @refuses ENOTEMPTY ENOTCONN; then it was put back
   */
  async removeFromOthers(
    parent: FileId,
    name: ByteText,
    dir: FileId,
    decider: BrickName,
  ): Promise<() => Promise<void>> {
    const { links, trace } = this.#parts;
    const removed: BrickName[] = [];
    const failures: unknown[] = [];
    await Promise.all(
      links.names
        .filter((brick) => brick !== decider)
        .map((brick) =>
          links
            .at(brick)
            .call('removeDirectory', { parent, name, file: dir })
            .then(
              () => removed.push(brick),
              (error: unknown) => {
                const code = asRefusal(error)?.code;
                if (code !== 'ENOENT' && code !== 'ESTALE') failures.push(error);
              },
            ),
        ),
    );
    const putBack = async (): Promise<void> => {
      if (removed.length === 0) return;
      const copy = await this.#healing.copyOf(dir, removed[0]!);
      for (const brick of removed) {
        await this.#healing.put(dir, { parent, name }, brick, copy).catch((error: unknown) => {
          trace.warn('directory not put back', { dir, brick, error: String(error) });
        });
      }
    };
    if (failures.length > 0) {
      await putBack();
      throw forApplication(failures[0]);
    }
    return putBack;
  }

  /** @refuses ENOTCONN where a brick is out of reach: names that are silently missing would be taken for deleted */
  async list(dir: FileId): Promise<DirEntry[]> {
    const { directories } = this.#parts;
    const layout = await directories.layoutOf(dir);
    const isAnywhere = directories.mayBeElsewhere(dir);
    const entries = new Map<ByteText, DirEntry>();
    await this.onEveryBrick(dir, async (link, brick) => {
      for (const entry of await this.#listAt(link, dir)) {
        // Elsewhere than on the brick that decides it is the rest of a mkdir, rmdir or rename that was cut short.
        const isStray =
          entry.type === 'dir' && !isAnywhere && brickOf(layout, hashName(entry.name)) !== brick;
        if (!isStray) this.#collect(entries, entry);
      }
    });
    return [...entries.values()];
  }

  /**
   * Walks the tree and puts every directory on `brick`; answers how many there are. What is made or removed meanwhile by
   * clients that do not know the brick is left to healing.
   */
  async spread(brick: BrickName): Promise<number> {
    const { directories } = this.#parts;
    let count = 0;
    for (let level: FileId[] = [rootFileId]; level.length > 0; ) {
      const below: FileId[] = [];
      for (const dir of level) {
        for (const { file, name, type } of await this.#listIfThere(dir)) {
          if (type !== 'dir') continue;
          directories.found(file, dir, name);
          if (!(await this.#healIfThere(file, brick))) continue;
          below.push(file);
          count += 1;
        }
      }
      level = below;
    }
    return count;
  }

  #listIfThere(dir: FileId): Promise<DirEntry[]> {
    return this.list(dir).catch((error: unknown) => {
      if (!isGone(error)) throw error;
      return [];
    });
  }

  async #healIfThere(dir: FileId, brick: BrickName): Promise<boolean> {
    try {
      await this.#healing.heal(dir, brick);
      return true;
    } catch (error) {
      if (!isGone(error)) throw error;
      return false;
    }
  }

  #collect(entries: Map<ByteText, DirEntry>, entry: DirEntry): void {
    const { placement } = this.#parts;
    if (entry.type === 'dir') {
      // One brick's attributes are not those of the directory.
      if (!entries.has(entry.name)) entries.set(entry.name, { ...entry, attributes: undefined });
      return;
    }
    entries.set(entry.name, entry);
    if (entry.attributes === undefined) placement.hint(entry.file, entry.home);
    else placement.learn(entry.file, entry.home, entry.attributes.epoch);
  }

  async #listAt(link: BrickLink, dir: FileId): Promise<DirEntry[]> {
    const entries: DirEntry[] = [];
    let after = start;
    for (;;) {
      const page = await link.call('listDirectory', { dir, after, limit: entriesPerPage });
      entries.push(...page.entries);
      const last = page.entries.at(-1);
      if (!page.more || last === undefined) return entries;
      after = last.name;
    }
  }

  /** A brick that does not have the directory has nothing to say about it. */
  async #ask<T>(bricks: readonly BrickName[], send: Attempt<T>): Promise<Answers<T>> {
    let unreachable: Refusal | undefined;
    const results = await Promise.all(
      bricks.map((brick) =>
        send(this.#parts.links.at(brick), brick).then(wrapped, (error: unknown) => {
          const refusal = asRefusal(forApplication(error));
          if (refusal === undefined) throw error;
          if (refusal.code === 'ENOTCONN') unreachable ??= refusal;
          else if (refusal.code !== 'ESTALE') throw refusal;
          return undefined;
        }),
      ),
    );
    return {
      answers: results.flatMap((result) => (result === undefined ? [] : [result.answer])),
      unreachable,
    };
  }
}

const start = '' as ByteText;
const isGone = (error: unknown): boolean => {
  const code = asRefusal(error)?.code;
  return code === 'ENOENT' || code === 'ESTALE';
};
/** Tells an answer that is nothing from none. */
const wrapped = <T>(answer: T): { answer: T } => ({ answer });
