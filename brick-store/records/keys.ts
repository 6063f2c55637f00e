/**
 * The key space of a brick: one prefix byte a record kind, then ids as raw bytes and numbers big-endian, so that a
 * range lists in the order of its numbers and names. docs/DISK.md has the table.
 *
 * Keys are built here and nowhere else; what the values mean is in the record files beside this one.
 */
import type { ByteText, ClientId, FileId, MigrationId } from '../../wire/ids.js';
import type { KeyRange } from '../store.js';

const idBytes = 16;
/** Chunk numbers take 6 bytes: fileBytesMax / chunkBytes is below 2^48. */
const indexBytes = 6;
const indexEnd = 2 ** (8 * indexBytes) - 1;

/** Never reuse a number: a brick of an older version must not read a new record as an old one. */
const prefix = {
  brick: 0x01,
  inode: 0x10,
  layout: 0x11,
  xattrs: 0x12,
  symlink: 0x13,
  orphan: 0x14,
  entry: 0x20,
  name: 0x21,
  chunk: 0x30,
  redirect: 0x40,
  stage: 0x42,
  session: 0x50,
  answer: 0x51,
  handover: 0x52,
} as const;

const kinds = new Map<number, string>(Object.entries(prefix).map(([kind, byte]) => [byte, kind]));

const idKey = (first: number, id: string, more = 0): Buffer => {
  const key = Buffer.allocUnsafe(1 + idBytes + more);
  key[0] = first;
  // Buffer.write stops silently at the first character that is not a hex digit.
  if (key.write(id, 1, idBytes, 'hex') !== idBytes) throw new Error(`not a 16-byte id: ${id}`);
  return key;
};

const idsKey = (first: number, id: string, second: string, more = 0): Buffer => {
  const key = idKey(first, id, idBytes + more);
  if (key.write(second, 1 + idBytes, idBytes, 'hex') !== idBytes)
    throw new Error(`not a 16-byte id: ${second}`);
  return key;
};

const indexKey = (first: number, id: string, index: number): Buffer => {
  const key = idKey(first, id, indexBytes);
  key.writeUIntBE(index, 1 + idBytes, indexBytes);
  return key;
};

/** The keys that begin with `start`; its last byte is never 0xff where it is a prefix byte, but may be in an id. */
const beginningWith = (start: Buffer): KeyRange => {
  const to = Buffer.from(start);
  let at = to.length - 1;
  while (to[at] === 0xff) at--;
  to[at]! += 1;
  return { from: start, to: to.subarray(0, at + 1) };
};

const all = (first: number): KeyRange => beginningWith(Buffer.of(first));

/** Inodes and redirects: every request about a file looks at both. */
export const isOftenRead = (key: Uint8Array): boolean =>
  key[0] === prefix.inode || key[0] === prefix.redirect;

/** A fact of the brick itself: `identity`, `files`. */
export const brickKey = (fact: string): Buffer => Buffer.concat([Buffer.of(prefix.brick), Buffer.from(fact)]);

export const inodeKey = (file: FileId): Buffer => idKey(prefix.inode, file);
/** Of a directory. */
export const layoutKey = (dir: FileId): Buffer => idKey(prefix.layout, dir);
/** All extended attributes of an inode are one record. */
export const xattrsKey = (file: FileId): Buffer => idKey(prefix.xattrs, file);
export const symlinkKey = (file: FileId): Buffer => idKey(prefix.symlink, file);
/** Marks an inode that lost its last name and lives only as long as somebody has it open. */
export const orphanKey = (file: FileId): Buffer => idKey(prefix.orphan, file);
export const orphanRange = all(prefix.orphan);

/** A name in a directory. */
export const entryKey = (parent: FileId, name: ByteText): Buffer => {
  const key = idKey(prefix.entry, parent, name.length);
  key.write(name, 1 + idBytes, 'latin1');
  return key;
};
/** The entries of a directory in byte order of their names, after `after` (empty: from the first). */
export const entriesOf = (parent: FileId, after = ''): KeyRange => {
  const whole = beginningWith(idKey(prefix.entry, parent));
  if (after === '') return whole;
  return { from: Buffer.concat([entryKey(parent, after as ByteText), Buffer.of(0)]), to: whole.to };
};
export const nameOfEntryKey = (key: Uint8Array): ByteText => latin1(key, 1 + idBytes);

/** One name of a file, found from the file: nlink is the number of these. */
export const nameKey = (file: FileId, parent: FileId, name: ByteText): Buffer => {
  const key = idsKey(prefix.name, file, parent, name.length);
  key.write(name, 1 + 2 * idBytes, 'latin1');
  return key;
};
export const namesOfFile = (file: FileId): KeyRange => beginningWith(idKey(prefix.name, file));
export const partsOfNameKey = (key: Uint8Array): { parent: FileId; name: ByteText } => ({
  parent: hex(key, 1 + idBytes) as FileId,
  name: latin1(key, 1 + 2 * idBytes),
});

/** The value of a chunk is its bytes, without an envelope. */
export const chunkKey = (file: FileId, index: number): Buffer => indexKey(prefix.chunk, file, index);
/** Chunks `from` to `to`, both included. */
export const chunksOf = (file: FileId, from = 0, to = indexEnd): KeyRange => ({
  from: chunkKey(file, from),
  to: Buffer.concat([chunkKey(file, Math.min(to, indexEnd)), Buffer.of(0)]),
});
export const chunkIndexOf = (key: Uint8Array): number => bufferOf(key).readUIntBE(1 + idBytes, indexBytes);

/** The REPLAY record: where a file went. */
export const redirectKey = (file: FileId): Buffer => idKey(prefix.redirect, file);
export const redirectRange = all(prefix.redirect);

/** A migration as its target keeps it, until the file is here; the content that came is under the keys of chunks. */
export const stageKey = (migration: MigrationId): Buffer => idKey(prefix.stage, migration);
export const stageRange = all(prefix.stage);

export const sessionKey = (client: ClientId): Buffer => idKey(prefix.session, client);
export const sessionRange = all(prefix.session);
/** The answer to a request that must not take effect twice. */
export const answerKey = (client: ClientId, seq: number): Buffer => {
  const key = idKey(prefix.answer, client, 8);
  key.writeBigUInt64BE(BigInt(seq), 1 + idBytes);
  return key;
};
export const answersOf = (client: ClientId): KeyRange => beginningWith(idKey(prefix.answer, client));
export const answerRange = all(prefix.answer);
export const answerSeqOf = (key: Uint8Array): number => Number(bufferOf(key).readBigUInt64BE(1 + idBytes));
/** A client that a migration brought: what it had open and held here before it ever spoke to this brick. */
export const handoverKey = (file: FileId, client: ClientId, part: number): Buffer => {
  const key = idsKey(prefix.handover, file, client, 4);
  key.writeUInt32BE(part, 1 + 2 * idBytes);
  return key;
};
export const handoverPartOf = (key: Uint8Array): number => bufferOf(key).readUInt32BE(1 + 2 * idBytes);
export const handoversOf = (file: FileId): KeyRange => beginningWith(idKey(prefix.handover, file));
export const handoverRange = all(prefix.handover);

const bufferOf = (key: Uint8Array): Buffer => Buffer.from(key.buffer, key.byteOffset, key.byteLength);
const hex = (key: Uint8Array, from: number): string => bufferOf(key).toString('hex', from, from + idBytes);
const latin1 = (key: Uint8Array, from: number): ByteText =>
  bufferOf(key).toString('latin1', from) as ByteText;

/** The id after the prefix byte, by what the record kind is keyed by. */
export const fileOfKey = (key: Uint8Array): FileId => hex(key, 1) as FileId;
export const clientOfKey = (key: Uint8Array): ClientId => hex(key, 1) as ClientId;
export const migrationOfKey = (key: Uint8Array): MigrationId => hex(key, 1) as MigrationId;
/** The second id: the client of a handover. */
export const secondClientOfKey = (key: Uint8Array): ClientId => hex(key, 1 + idBytes) as ClientId;

/** A key for people: kind and the rest in hexadecimal. */
export const describeKey = (key: Uint8Array): string =>
  `${kinds.get(key[0] ?? 0) ?? `unknown kind ${key[0]}`} ${bufferOf(key).toString('hex', 1)}`;
