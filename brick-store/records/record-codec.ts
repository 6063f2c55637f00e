/**
 * The form of every record but a chunk: a msgpack array whose first member is the version of its kind.
 *
 * A record that does not parse is damage or a bug, never an expected outcome: it is an Error that names the key.
 */
import { Packr } from 'msgpackr';
import { isBrickName, isId128 } from '../../wire/ids.js';
import { describeKey } from './keys.js';

const packr = new Packr({ useRecords: false, structuredClone: false, mapsAsObjects: false });

export interface RecordCodec<T> {
  encode(value: T): Uint8Array;
  /** @throws Error naming kind and key where the bytes are not such a record */
  decode(bytes: Uint8Array, key: Uint8Array): T;
}

/** Takes the fields of one record in order, checking each. */
export class FieldReader {
  readonly #fields: readonly unknown[];
  #at = 1;

  constructor(fields: readonly unknown[]) {
    this.#fields = fields;
  }

  get left(): number {
    return this.#fields.length - this.#at;
  }

  take<T>(what: string, isIt: (value: unknown) => boolean): T {
    const value = this.#fields[this.#at++];
    if (!isIt(value)) throw new Error(`member ${this.#at - 1} is not a ${what}`);
    return value as T;
  }

  count<T extends number = number>(): T {
    return this.take('count', (value) => Number.isSafeInteger(value) && (value as number) >= 0);
  }

  flag(): boolean {
    return this.take('boolean', (value) => typeof value === 'boolean');
  }

  text<T extends string = string>(): T {
    return this.take('text', (value) => typeof value === 'string');
  }

  /** A file, client or migration id, stored as 16 raw bytes. */
  id<T extends string>(): T {
    const bytes = this.bytes();
    const id = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
    if (!isId128(id)) throw new Error(`member ${this.#at - 1} is not a 16-byte id`);
    return id as string as T;
  }

  brick<T extends string>(): T {
    return this.take('brick name', isBrickName);
  }

  bytes(): Uint8Array {
    return this.take('byte string', (value) => value instanceof Uint8Array);
  }

  time(): bigint {
    return this.take('time', (value) => typeof value === 'bigint');
  }

  list(): readonly unknown[] {
    return this.take('list', Array.isArray);
  }

  oneOf<const L extends readonly string[]>(words: L): L[number] {
    return this.take(words.join(' | '), (value) => words.includes(value as string));
  }
}

/** How an id is stored. */
export const idBytesOf = (id: string): Buffer => Buffer.from(id, 'hex');

/**
 * @param kind for error messages
 * @param pack the members after the version, in order
 * @param unpack takes the same members, all of them
 */
export const recordCodec = <T>(
  kind: string,
  version: number,
  pack: (value: T) => unknown[],
  unpack: (fields: FieldReader) => T,
): RecordCodec<T> => ({
  encode: (value) => packr.pack([version, ...pack(value)]),
  decode: (bytes, key) => {
    const damaged = (why: string, cause?: unknown) =>
      new Error(`the ${kind} record at key "${describeKey(key)}" cannot be read: ${why}`, { cause });
    let fields: unknown;
    try {
      fields = packr.unpack(bytes);
    } catch (error) {
      throw damaged('it is not msgpack', error);
    }
    if (!Array.isArray(fields)) throw damaged('it is not a list');
    if (fields[0] !== version) throw damaged(`it has version ${fields[0]}, this program reads ${version}`);
    const reader = new FieldReader(fields);
    let value: T;
    try {
      value = unpack(reader);
    } catch (error) {
      throw damaged(error instanceof Error ? error.message : String(error), error);
    }
    if (reader.left !== 0) throw damaged(`it has ${reader.left} members too many or too few`);
    return value;
  },
});
