/**
 * Invariant 6: a read returns the last acknowledged write before it, and an acknowledged write survives every crash.
 *
 * Each place that is written as a whole is a register. A value may be read unless some write that began after the
 * write of that value had ended was itself acknowledged before the read began. A write without an acknowledgement may
 * have happened or not, for ever. After a loss of power, writes that no fsync covered may be gone.
 */
import type { ContentFact, FactListener, TruncateFact, WriteFact } from '../facts.js';
import type { Violations } from './violation.js';

interface Written {
  readonly value: string;
  readonly begun: number;
  /** Infinity: not acknowledged (yet). */
  ended: number;
  /** A loss of power may have taken it back. */
  uncertain: boolean;
}

const initial: Written = { value: '', begun: -2, ended: -1, uncertain: false };

export class Content implements FactListener {
  readonly #violations: Violations;
  readonly #places = new Map<string, Written[]>();
  readonly #writing = new Map<WriteFact, Written>();
  readonly #cuts = new Map<TruncateFact, Written>();
  readonly #reading = new Map<ContentFact, number>();
  readonly #syncing = new Map<bigint, number[]>();
  /** By file: when the last fsync that succeeded began. */
  readonly #synced = new Map<bigint, number>();
  #events = 0;

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  writeBegun(write: WriteFact): void {
    const written = {
      value: textOf(write.data),
      begun: ++this.#events,
      ended: Number.POSITIVE_INFINITY,
      uncertain: false,
    };
    this.#writing.set(write, written);
    this.#at(write).push(written);
  }

  writeEnded(write: WriteFact, error: number): void {
    const written = this.#writing.get(write);
    this.#writing.delete(write);
    if (written !== undefined && error === 0) written.ended = ++this.#events;
  }

  /** A write of nothing in each place that it cuts off, also where nobody looked yet. */
  truncateBegun(cut: TruncateFact): void {
    const written = { value: '', begun: ++this.#events, ended: Number.POSITIVE_INFINITY, uncertain: false };
    this.#cuts.set(cut, written);
    for (const [key, places] of this.#places) if (isCutOff(key, cut)) places.push(written);
  }

  truncateEnded(cut: TruncateFact, error: number): void {
    const written = this.#cuts.get(cut);
    if (written !== undefined && error === 0) written.ended = ++this.#events;
  }

  readBegun(read: ContentFact): void {
    this.#reading.set(read, ++this.#events);
  }

  readEnded(read: ContentFact, data: Uint8Array | undefined): void {
    const begun = this.#reading.get(read);
    this.#reading.delete(read);
    if (data === undefined || begun === undefined) return;
    const value = textOf(data);
    const places = this.#at(read);
    const found = places.filter((written) => written.value === value);
    const where = `${read.ino.toString(16)} at ${read.offset}`;
    if (found.length === 0) {
      this.#violations.add('content', `read "${value}" in ${where}, which nobody wrote there`);
      return;
    }
    if (found.some((written) => !isSuperseded(written, places, begun))) return;
    const newer = places.filter((other) => other.ended < begun).at(-1);
    this.#violations.add(
      'content',
      `read "${value}" in ${where} although "${newer?.value}" was acknowledged before`,
    );
  }

  syncBegun(ino: bigint): void {
    const begun = this.#syncing.get(ino) ?? [];
    begun.push(++this.#events);
    this.#syncing.set(ino, begun);
  }

  /** The oldest one counts: which of several ended is not known. */
  syncEnded(ino: bigint, error: number): void {
    const begun = this.#syncing.get(ino)?.shift();
    if (error === 0 && begun !== undefined)
      this.#synced.set(ino, Math.max(begun, this.#synced.get(ino) ?? 0));
  }

  powerLost(): void {
    for (const [key, places] of this.#places) {
      const synced = this.#synced.get(BigInt(`0x${key.split(' ')[0]}`)) ?? 0;
      for (const written of places) if (written.ended > synced) written.uncertain = true;
    }
  }

  #cutsOf(key: string): Written[] {
    return [...this.#cuts].flatMap(([cut, written]) => (isCutOff(key, cut) ? [written] : []));
  }

  #at({ ino, offset }: ContentFact): Written[] {
    const key = `${ino.toString(16)} ${offset}`;
    let places = this.#places.get(key);
    if (places === undefined) {
      places = [{ ...initial }, ...this.#cutsOf(key)];
      this.#places.set(key, places);
    }
    return places;
  }
}

const isCutOff = (key: string, { ino, size }: TruncateFact): boolean => {
  const [of, offset] = key.split(' ');
  return of === ino.toString(16) && Number(offset) >= size;
};

const isSuperseded = (written: Written, places: readonly Written[], readBegun: number): boolean =>
  places.some((other) => !other.uncertain && other.begun > written.ended && other.ended < readBegun);

/** Bytes that were never written are zeroes, or past the end. */
const textOf = (data: Uint8Array): string =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1').replaceAll('\0', '');
