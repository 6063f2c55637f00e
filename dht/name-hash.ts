/**
 * The 32-bit hash of a name, which says what brick the name lives on. It is GlusterFS's (libglusterfs/src/hashfn.c,
 * gf_dm_hashfn: Davies-Meyer over TEA-like rounds), so that placement can be compared with the real thing.
 *
 * Pure. The result is stored in no file, but every client of a volume must compute the same one: never change it.
 * Called by layout.ts users for every operation on a name.
 */
import type { ByteText } from '../wire/ids.js';

const delta = 0x9e3779b9;
const fullRounds = 10;
const partRounds = 6;

/** One block of four words mixed into the two halves of the state. */
function mix(rounds: number, words: Uint32Array, state: Uint32Array): void {
  let sum = 0;
  let low = state[0]!;
  let high = state[1]!;
  const [w0, w1, w2, w3] = words as unknown as [number, number, number, number];
  for (let round = 0; round < rounds; round++) {
    sum = (sum + delta) >>> 0;
    low = (low + ((((high << 4) + w0) ^ (high + sum) ^ ((high >>> 5) + w1)) >>> 0)) >>> 0;
    high = (high + ((((low << 4) + w2) ^ (low + sum) ^ ((low >>> 5) + w3)) >>> 0)) >>> 0;
  }
  state[0] = (state[0]! + low) >>> 0;
  state[1] = (state[1]! + high) >>> 0;
}

const wordAt = (bytes: string, at: number): number =>
  (bytes.charCodeAt(at) |
    (bytes.charCodeAt(at + 1) << 8) |
    (bytes.charCodeAt(at + 2) << 16) |
    (bytes.charCodeAt(at + 3) << 24)) >>>
  0;

/** The hash of bytes, one character a byte, exactly as gf_dm_hashfn computes it on x86. */
export function hashBytes(bytes: string): number {
  const state = Uint32Array.of(0x9464a485, 0x542e1a94);
  const words = new Uint32Array(4);
  const length = bytes.length;
  const padHalf = length | (length << 8);
  const pad = padHalf | (padHalf << 16);
  let at = 0;
  for (; length - at >= 16; at += 16) {
    for (let word = 0; word < 4; word++) words[word] = wordAt(bytes, at + word * 4);
    mix(partRounds, words, state);
  }
  for (let word = 0; word < 4; word++) {
    if (length - at >= 4) {
      words[word] = wordAt(bytes, at);
      at += 4;
      continue;
    }
    let value = pad;
    // The original ORs a C `char`, which x86 extends with its sign: a tail byte of 0x80 and above sets all higher bits.
    for (; at < length; at++) value = (value << 8) | ((bytes.charCodeAt(at) << 24) >> 24);
    words[word] = value >>> 0;
  }
  mix(fullRounds, words, state);
  return (state[0]! ^ state[1]!) >>> 0;
}

/** rsync writes `.name.XXXXXX` and renames it to `name`: hashed alike, the rename stays on one brick (rsync-hash-regex). */
const temporaryName = /^\.(.+)\.[^.]+$/s;

/** Where a name lies in the hash ranges of its directory. */
export function hashName(name: ByteText): number {
  const temporary = name.charCodeAt(0) === 0x2e ? temporaryName.exec(name) : null;
  return hashBytes(temporary === null ? name : temporary[1]!);
}
