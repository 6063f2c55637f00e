/**
 * Which files of one mount a process has mapped into its memory, from /proc. The kernel sends nothing at mmap(2) and
 * nothing when a mapped page is stored to, so this is how a mount knows whose unlock may leave stores behind.
 *
 * Reading maps costs some 100 µs, statm a few: the maps are read again only when the size of the process changed. A
 * process that unmaps and maps exactly as much between two calls is seen late. maps waits for the process's memory
 * lock, which a page fault that this mount has to answer may hold: it must never be read synchronously.
 * Part of the kernel door; called by kernel-device.ts.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

export interface MappedFiles {
  /** Inode numbers (st_ino) of all mapped files. */
  readonly seen: ReadonlySet<string>;
  /** Those that stores can reach: shared and writable. */
  readonly stored: ReadonlySet<string>;
}

/** @param device as in maps, for example `00:29` */
export function mappedFiles(maps: string, device: string): MappedFiles {
  const seen = new Set<string>();
  const stored = new Set<string>();
  for (const line of maps.split('\n')) {
    const [, access, , lineDevice, inode] = line.split(/ +/, 5);
    if (lineDevice !== device || inode === undefined) continue;
    seen.add(inode);
    if (access?.[1] === 'w' && access[3] === 's') stored.add(inode);
  }
  return { seen, stored };
}

/** `0:41` of mountinfo, as maps writes it. */
export const mapsDevice = (device: string): string =>
  device
    .split(':')
    .map((number) => Number(number).toString(16).padStart(2, '0'))
    .join(':');

interface Known extends MappedFiles {
  readonly statm: number;
  readonly pages: string;
}

const processesMax = 256;
const none: ReadonlySet<string> = new Set();

export class ProcessMaps {
  readonly #device: string;
  readonly #known = new Map<number, Known>();
  readonly #buffer = Buffer.alloc(128);
  #closed = false;

  constructor(device: string) {
    this.#device = device;
  }

  /** Undefined where this process may not look: anything may be mapped then. */
  of(thread: number): MappedFiles | Promise<MappedFiles | undefined> {
    const known = this.#known.get(thread);
    if (known !== undefined && this.#pages(known.statm) === known.pages) return known;
    return this.#look(thread);
  }

  close(): void {
    this.#closed = true;
    for (const thread of [...this.#known.keys()]) this.#forget(thread);
  }

  async #look(thread: number): Promise<MappedFiles | undefined> {
    this.#forget(thread);
    let statm: number | undefined;
    try {
      statm = openSync(`/proc/${thread}/statm`, 'r');
      // Before the maps: what is mapped in between changes the number, and is seen next time.
      const pages = this.#pages(statm);
      const files = mappedFiles(await readFile(`/proc/${thread}/maps`, 'latin1'), this.#device);
      this.#remember(thread, { ...files, statm, pages: pages ?? '' });
      return files;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      if (statm !== undefined) closeSync(statm);
      // Gone: it maps nothing any more, and its last close wrote back what it stored.
      const isGone = error.code === 'ENOENT' || error.code === 'ESRCH';
      return isGone ? { seen: none, stored: none } : undefined;
    }
  }

  #remember(thread: number, known: Known): void {
    // Another request of the same thread looked meanwhile, or the mount ended.
    this.#forget(thread);
    if (this.#closed) {
      closeSync(known.statm);
      return;
    }
    const [oldest] = this.#known.keys();
    if (this.#known.size >= processesMax && oldest !== undefined) this.#forget(oldest);
    this.#known.set(thread, known);
  }

  #forget(thread: number): void {
    const known = this.#known.get(thread);
    if (known === undefined) return;
    this.#known.delete(thread);
    closeSync(known.statm);
  }

  /** The size of the process in pages; undefined where it is gone. */
  #pages(statm: number): string | undefined {
    try {
      const bytes = readSync(statm, this.#buffer, 0, this.#buffer.length, 0);
      return this.#buffer.toString('latin1', 0, bytes).split(' ', 1)[0];
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      return undefined;
    }
  }
}
