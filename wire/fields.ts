/**
 * The field types of messages: what a value must look like to be let in. A message body travels as an array of its
 * fields in the order of its row (messages.ts); codec.ts checks every value that comes from outside with these.
 */
import type {
  BrickName,
  ByteText,
  ClientId,
  Epoch,
  FileId,
  LkOwner,
  LockToken,
  MigrationId,
  Ticket,
} from './ids.js';
import { isBrickName, isId128, isLkOwner } from './ids.js';
import { nameBytesMax, symlinkBytesMax, transferBytesMax, xattrNameBytesMax } from './limits.js';
import { rangeEnd } from './lock-types.js';

/** `T` is the value in memory. A record field travels as an array of its own fields. */
export interface Field<T> {
  /** For error messages and docs/WIRE.md. */
  readonly label: string;
  readonly check: (value: unknown) => boolean;
  /** Set for records and containers, whose form on the wire is not their form in memory. */
  pack?(value: T): unknown;
  unpack?(value: unknown): T;
  /** Of a list or an optional field: what it holds. Of a record: its fields. Of a choice: its values. */
  readonly inner?: Field<unknown>;
  readonly members?: Readonly<Record<string, Field<unknown>>>;
  readonly values?: readonly string[];
  /** Never set: carries the type. */
  readonly type?: T;
}

export type ValueOf<F> = F extends Field<infer T> ? T : never;
export type Fields = Readonly<Record<string, Field<unknown>>>;
/** The body that a row of fields describes. */
export type BodyOf<R> = { -readonly [K in keyof R]: ValueOf<R[K]> };

const field = <T>(label: string, check: (value: unknown) => boolean): Field<T> => ({ label, check });
const whole = (max: number) => (value: unknown) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
const byteText = (max: number) => (value: unknown) => {
  if (typeof value !== 'string' || value.length > max) return false;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0 || code > 255) return false;
  }
  return true;
};

export const fileId = field<FileId>('file id', isId128);
export const clientId = field<ClientId>('client id', isId128);
export const migrationId = field<MigrationId>('migration id', isId128);
export const lockToken = field<LockToken>('lock token', isId128);
export const lkOwner = field<LkOwner>('lk-owner', isLkOwner);
export const brickName = field<BrickName>('brick name', isBrickName);
export const epoch = field<Epoch>('epoch', whole(Number.MAX_SAFE_INTEGER));
export const ticket = field<Ticket>('ticket', whole(Number.MAX_SAFE_INTEGER));
/** 0 .. 2^53-1 */
export const count = field<number>('count', whole(Number.MAX_SAFE_INTEGER));
export const u32 = field<number>('u32', whole(0xffff_ffff));
export const flag = field<boolean>('boolean', (value) => typeof value === 'boolean');
/** Text for people or configuration, at most 64 KiB of UTF-16. */
export const text = field<string>('text', (value) => typeof value === 'string' && value.length <= 65_536);
/** One name of a directory: 1..255 bytes, no slash, not `.` or `..`. */
export const name = field<ByteText>(
  'name',
  (value) =>
    byteText(nameBytesMax)(value) &&
    value !== '' &&
    value !== '.' &&
    value !== '..' &&
    !(value as string).includes('/'),
);
/** As `name`, or empty: "from the start". */
export const cursor = field<ByteText>('cursor', byteText(nameBytesMax));
export const xattrName = field<ByteText>(
  'attribute name',
  (value) => byteText(xattrNameBytesMax)(value) && value !== '',
);
export const symlinkTarget = field<ByteText>('symlink target', byteText(symlinkBytesMax));
/** At most one transfer. */
export const bytes = field<Uint8Array>(
  'bytes',
  (value) => value instanceof Uint8Array && value.byteLength <= transferBytesMax,
);
/** Nanoseconds since 1970, signed, 64 bits. */
export const timeNs = field<bigint>(
  'time',
  (value) => typeof value === 'bigint' && BigInt.asIntN(64, value) === value,
);
/** A lock's offset, 0 .. 2^63-1. */
export const lockOffset = field<bigint>(
  'lock offset',
  (value) => typeof value === 'bigint' && value >= 0n && value <= rangeEnd,
);

export const oneOf = <const L extends readonly string[]>(...values: L): Field<L[number]> => ({
  ...field<L[number]>(values.join(' | '), (value) => values.includes(value as string)),
  values,
});

/** Absent travels as nil. */
export const optional = <T>(inner: Field<T>): Field<T | undefined> => ({
  label: `${inner.label} or nothing`,
  inner: inner as Field<unknown>,
  check: (value) => value === undefined || value === null || inner.check(value),
  pack: (value) => (value === undefined ? null : inner.pack ? inner.pack(value) : value),
  unpack: (value) =>
    value === undefined || value === null ? undefined : inner.unpack ? inner.unpack(value) : (value as T),
});

export const list = <T>(inner: Field<T>): Field<readonly T[]> => {
  const { pack, unpack } = inner;
  return {
    label: `list of ${inner.label}`,
    inner: inner as Field<unknown>,
    check: (value) => Array.isArray(value) && value.every(inner.check),
    ...(pack && unpack
      ? {
          pack: (values: readonly T[]) => values.map(pack),
          unpack: (values: unknown) => (values as unknown[]).map(unpack),
        }
      : {}),
  };
};

export const record = <R extends Fields>(label: string, fields: R): Field<BodyOf<R>> => {
  const names = Object.keys(fields);
  const rows = Object.values(fields) as Field<unknown>[];
  return {
    label,
    members: fields,
    check: (value) =>
      Array.isArray(value) && value.length === rows.length && rows.every((row, at) => row.check(value[at])),
    pack: (value) =>
      rows.map((row, at) => {
        const member = (value as Record<string, unknown>)[names[at]!];
        return row.pack ? row.pack(member) : member;
      }),
    unpack: (value) => {
      const result: Record<string, unknown> = {};
      for (let at = 0; at < rows.length; at++) {
        const member = (value as unknown[])[at];
        const { unpack } = rows[at]!;
        result[names[at]!] = unpack ? unpack(member) : member;
      }
      return result as BodyOf<R>;
    },
  };
};
