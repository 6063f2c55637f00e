/**
 * What this client has in hand of each file: open handles, and whether its locks there were lost with a session.
 *
 * Decides what a lost file may still do: nothing but be closed. A process must learn that the lock it relied on is
 * gone before it reads or writes under it (NFSv4 clients do the same after an expired lease); its handles answer EIO
 * until the last of them is closed.
 */
import { Refusal } from '../wire/errors.js';
import type { BrickName, FileId } from '../wire/ids.js';

interface Use {
  opens: number;
  /** The brick that ended the session under which the locks were held. */
  lostAt: BrickName | undefined;
}

export class FileUses {
  readonly #uses = new Map<FileId, Use>();

  opened(file: FileId): void {
    const use = this.#uses.get(file);
    if (use === undefined) this.#uses.set(file, { opens: 1, lostAt: undefined });
    else use.opens += 1;
  }

  /** With the last handle goes the memory that the file was lost. */
  closed(file: FileId): void {
    const use = this.#uses.get(file);
    if (use === undefined) return;
    use.opens -= 1;
    if (use.opens <= 0) this.#uses.delete(file);
  }

  opens(file: FileId): number {
    return this.#uses.get(file)?.opens ?? 0;
  }

  /** Files that are open. */
  files(): FileId[] {
    return [...this.#uses.keys()];
  }

  /** All of one file, which is then forgotten here. */
  take(file: FileId): Readonly<Use> {
    const use = this.#uses.get(file) ?? { opens: 0, lostAt: undefined };
    this.#uses.delete(file);
    return use;
  }

  adopt(file: FileId, { opens, lostAt }: Readonly<Use>): void {
    for (let more = opens; more > 0; more--) this.opened(file);
    if (lostAt !== undefined) this.lose(file, lostAt);
  }

  lose(file: FileId, brick: BrickName): void {
    const use = this.#uses.get(file);
    // Locks of a file that is not open: its last close is on the way, and nobody is left to be told.
    if (use !== undefined) use.lostAt = brick;
  }

  isLost(file: FileId): boolean {
    return this.#uses.get(file)?.lostAt !== undefined;
  }

  /** @throws Refusal EIO */
  refuseIfLost(file: FileId): void {
    const lostAt = this.#uses.get(file)?.lostAt;
    if (lostAt === undefined) return;
    throw new Refusal(
      'EIO',
      `locks in file ${file} were lost at ${lostAt} (out of reach for longer than the grace?): close the file`,
    );
  }
}
