/**
 * What this client has in hand of each file: open handles, and whether its locks there were lost with a session.
 *
 * Decides what a lost file may still do: nothing but be closed. A process must learn that the lock it relied on is
 * gone before it reads or writes under it (NFSv4 clients do the same after an expired lease); its handles answer EIO
 * until the last of them is closed.
 */
import { Refusal } from '../wire/errors.js';
import type { BrickName, FileId } from '../wire/ids.js';

interface Loss {
  /** The brick that ended the session under which the locks were held; undefined where no brick has the file. */
  readonly at: BrickName | undefined;
}

interface Use {
  opens: number;
  lost: Loss | undefined;
}

export class FileUses {
  readonly #uses = new Map<FileId, Use>();

  opened(file: FileId): void {
    const use = this.#uses.get(file);
    if (use === undefined) this.#uses.set(file, { opens: 1, lost: undefined });
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
    const use = this.#uses.get(file) ?? { opens: 0, lost: undefined };
    this.#uses.delete(file);
    return use;
  }

  adopt(file: FileId, { opens, lost }: Readonly<Use>): void {
    for (let more = opens; more > 0; more--) this.opened(file);
    if (lost !== undefined) this.lose(file, lost.at);
  }

  lose(file: FileId, at: BrickName | undefined): void {
    const use = this.#uses.get(file);
    // Locks of a file that is not open: its last close is on the way, and nobody is left to be told.
    if (use !== undefined) use.lost = { at };
  }

  isLost(file: FileId): boolean {
    return this.#uses.get(file)?.lost !== undefined;
  }

  /** @throws Refusal EIO */
  refuseIfLost(file: FileId): void {
    const lost = this.#uses.get(file)?.lost;
    if (lost === undefined) return;
    throw new Refusal(
      'EIO',
      lost.at === undefined
        ? `no brick has file ${file} any more (a loss of power?): close the file`
        : `locks in file ${file} were lost at ${lost.at} (out of reach for longer than the grace?): close the file`,
    );
  }
}
