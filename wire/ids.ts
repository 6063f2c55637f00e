/**
 * The identifiers that cross between parties, each a type of its own so that one is never taken for another.
 * All are lower-case hexadecimal strings: they are map keys, they are printed in traces, and they travel as text.
 */
declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** 16-byte id of an inode, 32 hex digits; the same on every brick. Locks and data are keyed by it, never by a path. */
export type FileId = Branded<string, 'FileId'>;
/** 16-byte id of one graph of one mount (or of one tool run), 32 hex digits; stable across bricks and reconnects. */
export type ClientId = Branded<string, 'ClientId'>;
/** 16-byte id of one migration of one file, 32 hex digits. */
export type MigrationId = Branded<string, 'MigrationId'>;
/** 64-bit lk-owner as the kernel sent it, 16 hex digits. Meaningful only together with a ClientId. */
export type LkOwner = Branded<string, 'LkOwner'>;
/** Secret of a brick, 32 hex digits, that stands for what one client has of one file: see `readLockinfo`. */
export type LockToken = Branded<string, 'LockToken'>;
/** Name of a brick inside its volume, for example `brick-1`. */
export type BrickName = Branded<string, 'BrickName'>;
/** Counts the moves of one file: 0 where it was created, one more for each committed migration. */
export type Epoch = Branded<number, 'Epoch'>;
/** Place in the queue of one file's lock requests; only grows, per file, across bricks and epochs. */
export type Ticket = Branded<number, 'Ticket'>;

/** The root directory of every volume. */
export const rootFileId = `${'0'.repeat(31)}1` as FileId;

const hex32 = /^[0-9a-f]{32}$/;
const hex16 = /^[0-9a-f]{16}$/;
const brickName = /^[a-z0-9][a-z0-9.-]{0,62}$/;

export const isId128 = (value: unknown): value is string => typeof value === 'string' && hex32.test(value);
export const isLkOwner = (value: unknown): value is LkOwner => typeof value === 'string' && hex16.test(value);
export const isBrickName = (value: unknown): value is BrickName =>
  typeof value === 'string' && brickName.test(value);

/** @param bytes 16 bytes, usually random */
export const hexOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');

/** The lk-owner of a kernel message: u64, little-endian in the message, written most significant digit first. */
export const lkOwnerOf = (low: number, high: number): LkOwner =>
  (high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')) as LkOwner;

/**
 * A name in a directory (or of an extended attribute, or a symlink's target): one character a byte, char codes 0..255.
 * Linux names are bytes, not text; this keeps them exact, cheap to compare and usable as a map key.
 */
export type ByteText = Branded<string, 'ByteText'>;

export const byteTextOf = (bytes: Uint8Array): ByteText =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1') as ByteText;
export const bytesOfByteText = (text: ByteText): Buffer => Buffer.from(text, 'latin1');
/** For people: the bytes read as UTF-8. */
export const displayText = (text: ByteText): string => Buffer.from(text, 'latin1').toString('utf8');
/** From text that a person typed. */
export const byteTextFromUtf8 = (text: string): ByteText =>
  Buffer.from(text, 'utf8').toString('latin1') as ByteText;
