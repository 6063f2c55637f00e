/**
 * Operations on one inode by its id: attributes, extended attributes, opening, content.
 *
 * Decides only whether the id is a directory's (then every brick is asked) or a file's (then its home). Content of a
 * file whose locks were lost answers EIO (file-uses.ts). Everything goes through the redirect loop of home-calls.ts.
 */
import { asRefusal, Refusal } from '../wire/errors.js';
import type { BrickName, ByteText, FileId } from '../wire/ids.js';
import type { Answer, Attributes, Op, Request } from '../wire/messages.js';
import type { DirectoryOperations } from './directory-operations.js';
import { type Attempt, mayPass } from './home-calls.js';
import type { AttributeChange, VolumeSpace } from './volume.js';
import type { VolumeParts } from './volume-parts.js';

/** Between two tries of what the process does not wait for. */
const retryMs = 500;

/** Rows that are carried out at the home of one inode. */
type InodeOp = Extract<Op, 'read' | 'write' | 'sync' | 'allocate' | 'seek' | 'readSymlink'>;

export class FileOperations {
  readonly #parts: VolumeParts;
  readonly #directories: DirectoryOperations;
  #closed = false;
  /** Repeated in the background. */
  #owed = 0;

  constructor(parts: VolumeParts, directories: DirectoryOperations) {
    this.#parts = parts;
    this.#directories = directories;
  }

  close(): void {
    this.#closed = true;
  }

  /** Nothing is left to be repeated in the background. */
  get isIdle(): boolean {
    return this.#owed === 0;
  }

  /** @param ageMsMax how old an answer may be, for a directory (see directory-operations.ts) */
  async attributes(file: FileId, ageMsMax = 0): Promise<Attributes> {
    if (this.#parts.directories.isKnown(file)) return this.#directories.attributes(file, ageMsMax);
    const { attributes } = await this.attributesAtHome(file);
    return attributes.type === 'dir' ? this.#directories.attributes(file) : attributes;
  }

  /** With the brick that answered; what it says of the epoch is learned. */
  async attributesAtHome(file: FileId): Promise<{ attributes: Attributes; brick: BrickName }> {
    let brick: BrickName | undefined;
    const { attributes } = await this.#parts.homes.at(file, (link, at) => {
      brick = at;
      return link.call('getAttributes', { file });
    });
    this.#note(attributes, brick!);
    return { attributes, brick: brick! };
  }

  async changeAttributes(file: FileId, change: AttributeChange): Promise<Attributes> {
    const { atimeNs, mtimeNs } = change;
    const body: Request<'setAttributes'> = {
      file,
      mode: change.mode,
      uid: change.uid,
      gid: change.gid,
      size: change.size,
      atimeNs: atimeNs === 'now' ? undefined : atimeNs,
      mtimeNs: mtimeNs === 'now' ? undefined : mtimeNs,
      atimeNow: atimeNs === 'now',
      mtimeNow: mtimeNs === 'now',
    };
    if (change.size !== undefined) this.#parts.uses.refuseIfLost(file);
    if (await this.#isDirectory(file)) return this.#directories.changeAttributes(body);
    const { attributes } = await this.#parts.homes.at(file, (link) => link.call('setAttributes', body));
    return attributes;
  }

  /** The open is counted in the first callback on the answer, so that a reclaim that follows tells of it. */
  async open(file: FileId, truncate: boolean): Promise<Attributes> {
    const { homes, traffic, uses } = this.#parts;
    uses.refuseIfLost(file);
    if (this.#parts.directories.isKnown(file)) return this.#directories.attributes(file);
    const opened = homes.at(file, (link) =>
      link.call('open', { file, truncate }).then((answer) => {
        uses.opened(file);
        return answer;
      }),
    );
    return (await traffic.during(file, opened)).attributes;
  }

  /** One request of content, at the home. Not async: reads and writes pay for every layer. */
  content<O extends InodeOp>(op: O, body: Request<O> & { readonly file: FileId }): Promise<Answer<O>> {
    const { homes, uses } = this.#parts;
    if (uses.isLost(body.file)) return lost(() => uses.refuseIfLost(body.file));
    return homes.at(body.file, (link) => link.call(op, body));
  }

  async getXattr(file: FileId, name: ByteText): Promise<Uint8Array> {
    const [answer] = await this.#atHomeOrAnyBrick(file, (link) => link.call('getXattr', { file, name }));
    return answer!.value;
  }

  async listXattrs(file: FileId): Promise<readonly ByteText[]> {
    const [answer] = await this.#atHomeOrAnyBrick(file, (link) => link.call('listXattrs', { file }));
    return answer!.names;
  }

  async setXattr(body: Request<'setXattr'>): Promise<void> {
    await this.#atHomeOrEveryBrick(body.file, (link) => link.call('setXattr', body));
  }

  async removeXattr(file: FileId, name: ByteText): Promise<void> {
    await this.#atHomeOrEveryBrick(file, (link) => link.call('removeXattr', { file, name }));
  }

  /** fsync(2) of a directory: its names are spread over all bricks. */
  async sync(file: FileId): Promise<void> {
    await this.#atHomeOrEveryBrick(file, (link) => link.call('sync', { file }));
  }

  /** The sum of the bricks that answer. @refuses ENOTCONN where none does */
  async space(): Promise<VolumeSpace> {
    const { links } = this.#parts;
    const up = links.names.filter((brick) => links.isUp(brick));
    const asked = up.length > 0 ? up : links.names;
    const answers = await Promise.allSettled(asked.map((brick) => links.at(brick).call('space', {})));
    const sum = { totalBytes: 0, freeBytes: 0, files: 0 };
    let failure: unknown;
    let answered = 0;
    for (const answer of answers) {
      if (answer.status === 'rejected') {
        if (asRefusal(answer.reason) === undefined) throw answer.reason;
        failure ??= answer.reason;
        continue;
      }
      answered += 1;
      sum.totalBytes += answer.value.totalBytes;
      sum.freeBytes += answer.value.freeBytes;
      sum.files += answer.value.files;
    }
    if (answered === 0) throw new Refusal('ENOTCONN', (failure as Error).message);
    return sum;
  }

  /**
   * Sends what must happen, but need not have happened when the process goes on: where the home is out of reach, or
   * its disk is full or fails, it is repeated in the background. A file that is gone from every brick needs it no more.
   */
  async eventually(file: FileId, attempt: Attempt<unknown>): Promise<void> {
    const { clock, homes, trace } = this.#parts;
    const once = async (): Promise<boolean> => {
      try {
        await homes.atRaw(file, attempt);
        return true;
      } catch (error) {
        const code = asRefusal(error)?.code;
        if (code === 'ESTALE') return true;
        if (code !== 'EFENCED' && !mayPass(error)) throw error;
        return false;
      }
    };
    if (await once()) return;
    const repeat = async (): Promise<void> => {
      do await clock.sleep(retryMs);
      while (!this.#closed && !(await once()));
    };
    this.#owed += 1;
    repeat()
      .catch((error: unknown) => trace.warn('not done in the background', { file, error: String(error) }))
      .finally(() => {
        this.#owed -= 1;
      });
  }

  async #atHomeOrAnyBrick<T>(file: FileId, attempt: Attempt<T>): Promise<readonly T[]> {
    const { directories, homes, links } = this.#parts;
    if (!(await this.#isDirectory(file))) return [await homes.at(file, attempt)];
    let failure: unknown;
    for (const brick of directories.order(file)) {
      try {
        return [await attempt(links.at(brick), brick)];
      } catch (error) {
        const code = asRefusal(error)?.code;
        if (code !== 'ENOTCONN' && code !== 'ESTALE') throw error;
        failure ??= error;
      }
    }
    throw failure;
  }

  async #atHomeOrEveryBrick(file: FileId, attempt: Attempt<unknown>): Promise<void> {
    if (await this.#isDirectory(file)) {
      await this.#directories.changing(
        this.#directories.onEveryBrick(file, (link, brick) => attempt(link, brick)),
      );
    } else {
      await this.#parts.homes.at(file, attempt);
    }
  }

  async #isDirectory(file: FileId): Promise<boolean> {
    const { directories, placement } = this.#parts;
    if (directories.isKnown(file)) return true;
    // Only files have a place (see #note).
    if (placement.of(file) !== undefined) return false;
    return (await this.attributesAtHome(file)).attributes.type === 'dir';
  }

  #note(attributes: Attributes, brick: BrickName): void {
    const { directories, placement } = this.#parts;
    if (attributes.type === 'dir') {
      placement.forget(attributes.file);
      directories.found(attributes.file);
    } else {
      placement.learn(attributes.file, brick, attributes.epoch);
    }
  }
}

function lost(refuse: () => void): Promise<never> {
  try {
    refuse();
  } catch (error) {
    return Promise.reject(error);
  }
  return Promise.reject(new Refusal('EIO'));
}
