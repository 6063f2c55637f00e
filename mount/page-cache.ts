/**
 * Whether the kernel's cache of one file can be trusted: lock-to-unlock and close-to-open coherence.
 *
 * `known` is a lower bound: every cached page, and the size and times that the kernel has, show the file at content
 * counter `known` or later. Counters only grow, so when a brick says that the counter is exactly `known` (with the
 * grant of a lock, or at open), all that is cached is right. When it says anything else, the cache is dropped before
 * the lock or the open is answered. What moves the bound:
 *
 *   a read, or attributes, at counter c      lowers it to c if c is smaller, else leaves it
 *   a write of this mount, answered c        raises it to c if it was c - 1: nobody else wrote in between, and the
 *                                            kernel has this mount's own bytes in its pages
 *   the cache dropped after counter c        raises it to c
 *
 * Writes of this mount may be answered in another order than the brick did them, so those that came too early are
 * kept until the gap closes. A read that is answered while a write is in flight may have filled a page that the
 * kernel unlocked and dropped (fuse_fill_write_pages) with bytes from before the write: such a write raises nothing.
 */
export class PageState {
  #known: number | undefined;
  /** Counters of own writes that came before an earlier one was answered. */
  #early: Set<number> | undefined;
  #reads = 0;
  #hasPages = false;

  get known(): number | undefined {
    return this.#known;
  }

  /** The kernel may have pages of the file: bytes were read, written or stored since they were last dropped. */
  get hasPages(): boolean {
    return this.#hasPages;
  }

  /** About to be dropped. What is read from now on counts anew. */
  dropping(): void {
    this.#hasPages = false;
  }

  pagesStored(): void {
    this.#hasPages = true;
  }

  isCurrent(change: number): boolean {
    return this.#known === change;
  }

  attributesSent(change: number): void {
    if (this.#known === undefined || change < this.#known) this.#known = change;
  }

  readAnswered(change: number): void {
    this.#reads++;
    this.#hasPages = true;
    if (this.#known !== undefined && change < this.#known) this.#known = change;
  }

  /** Before a write, truncate or fallocate is sent; its result belongs to `writeAnswered`. */
  beginWrite(): number {
    return this.#reads;
  }

  writeAnswered(begun: number, change: number): void {
    this.#hasPages = true;
    if (this.#known === undefined || change <= this.#known || begun !== this.#reads) return;
    if (change !== this.#known + 1) {
      this.#early ??= new Set();
      // A gap that another mount made never closes.
      if (this.#early.size >= 256) this.#early.clear();
      this.#early.add(change);
      return;
    }
    this.#raise(change);
  }

  /** The kernel dropped all it had, after the counter was `change`. */
  dropped(change: number): void {
    if (this.#known === undefined || change > this.#known) this.#raise(change);
  }

  #raise(change: number): void {
    let known = change;
    if (this.#early !== undefined) {
      for (const early of this.#early) if (early <= known) this.#early.delete(early);
      while (this.#early.delete(known + 1)) known++;
      if (this.#early.size === 0) this.#early = undefined;
    }
    this.#known = known;
  }
}
