/**
 * Paths inside a volume, for people: from a path to the file id, and from a file id back to a path. The volume itself
 * knows files by id only. Called by migrate-command.ts and locks-command.ts.
 */
import type { Volume } from '../dht/volume.js';
import { asRefusal } from '../wire/errors.js';
import { type BrickName, byteTextFromUtf8, displayText, type FileId, rootFileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { Attributes } from '../wire/messages.js';
import { Failure } from './failure.js';

const depthMax = 256;

/** `/dir/file`, `dir/file` and `./dir/file` are the same. @throws Failure notFound, naming the part that is missing */
export async function attributesOfPath(volume: Volume, path: string): Promise<Attributes> {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw new Failure(
      'usage',
      `"${path}" contains ".."`,
      'Name the file by its path from the top of the volume',
    );
  let found = await volume.attributes(rootFileId);
  for (const [at, part] of parts.entries()) {
    const before = `/${parts.slice(0, at).join('/')}`;
    if (found.type !== 'dir')
      throw new Failure('notFound', `${before} in the volume is not a directory`, 'Check the path');
    try {
      found = await volume.lookup(found.file, byteTextFromUtf8(part));
    } catch (error) {
      const code = asRefusal(error)?.code;
      if (code !== 'ENOENT' && code !== 'ENAMETOOLONG') throw error;
      throw new Failure(
        'notFound',
        `The volume has no "${part}" in ${before}`,
        'PATH is the path inside the volume, without the mountpoint',
      );
    }
  }
  return found;
}

/** Looks up and remembers the paths of files; one of them where a file has several names. */
export class PathNames {
  readonly #links: ReadonlyMap<BrickName, BrickLink>;
  readonly #known = new Map<FileId, string | undefined>([[rootFileId, '/']]);

  constructor(links: ReadonlyMap<BrickName, BrickLink>) {
    this.#links = links;
  }

  /** Undefined where the file has no name any more, or the bricks that know it do not answer. */
  async of(file: FileId, home: BrickName, depth = 0): Promise<string | undefined> {
    if (this.#known.has(file)) return this.#known.get(file);
    const path = depth < depthMax ? await this.#find(file, home, depth) : undefined;
    this.#known.set(file, path);
    return path;
  }

  async #find(file: FileId, home: BrickName, depth: number): Promise<string | undefined> {
    try {
      const answer = await this.#links.get(home)?.call('namesOf', { file });
      const first = answer?.names[0];
      if (!first) return undefined;
      // Directories are on every brick: the same one knows the parent.
      const parent = await this.of(first.parent, home, depth + 1);
      return parent === undefined ? undefined : `${parent === '/' ? '' : parent}/${displayText(first.name)}`;
    } catch (error) {
      if (asRefusal(error)) return undefined;
      throw error;
    }
  }
}
