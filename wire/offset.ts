/**
 * A byte offset, 0 .. 2^63 - 1, as one double, exactly: its key. Keys are in the order of their offsets, and a bigint
 * costs an object of its own somewhere in the heap where a double does not.
 *
 * The bits of doubles of one sign, read as integers, are in the order of the doubles. So the lower half of the offsets
 * is laid on the negative doubles and the upper half on the others: 2^62 patterns of each, which reach neither an
 * infinity nor NaN. A key is for comparing and for `offsetOf`; to add something to it means nothing. The words are
 * copied through a shared buffer because arithmetic of bigints calls into the engine. Called by the interval tree.
 */
const bits = new BigInt64Array(1);
const words = new Uint32Array(bits.buffer);
const doubles = new Float64Array(bits.buffer);
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const upper = isLittleEndian ? 1 : 0;
const lower = 1 - upper;
/** The upper word of 2^62. */
const half = 0x4000_0000;

export const keyOf = (offset: bigint): number => {
  bits[0] = offset;
  const high = words[upper]!;
  if (high >= half) {
    words[upper] = high - half;
    return doubles[0]!;
  }
  // Never 0 in the upper word, so -0 and 0 are not the keys of two offsets.
  words[upper] = half - high;
  words[lower] = ~words[lower]!;
  return -doubles[0]!;
};

export const offsetOf = (key: number): bigint => {
  if (key >= 0) {
    doubles[0] = key;
    words[upper] = words[upper]! + half;
  } else {
    doubles[0] = -key;
    words[upper] = half - words[upper]!;
    words[lower] = ~words[lower]!;
  }
  return bits[0]!;
};

/** Less than every key. */
export const noKey = Number.NEGATIVE_INFINITY;
