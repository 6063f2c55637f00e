/**
 * A byte offset as two doubles: the nearest one, and what the rounding lost (0 up to 2^53).
 *
 * Rounding keeps order, so two offsets compare as their nearest doubles do, and by the lost part only where those are
 * equal: exact to 2^63 - 1 without a bigint, each of which is an object of its own somewhere in the heap. The words
 * are read through a shared buffer because `Number(offset)` and `BigInt(number)` call into the engine (ten times
 * slower). Never use it for anything below -2^63 or above 2^63 - 1. Called by the interval tree.
 */
const bits = new BigInt64Array(1);
const signedWords = new Int32Array(bits.buffer);
const words = new Uint32Array(bits.buffer);
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const upper = isLittleEndian ? 1 : 0;
const lower = 1 - upper;
const unit = 2 ** 32;

export const nearestTo = (offset: bigint): number => {
  bits[0] = offset;
  return signedWords[upper]! * unit + words[lower]!;
};

/** offset - nearestTo(offset); exact, as in Dekker's Fast2Sum: the upper word is 0 or outweighs the lower one. */
export const lostFrom = (offset: bigint): number => {
  bits[0] = offset;
  const high = signedWords[upper]! * unit;
  const low = words[lower]!;
  return low - (high + low - high);
};

export const offsetOf = (nearest: number, lost: number): bigint => {
  if (nearest > Number.MAX_SAFE_INTEGER) return BigInt(nearest) + BigInt(lost);
  const high = Math.floor(nearest / unit);
  signedWords[upper] = high;
  words[lower] = nearest - high * unit;
  return bits[0]!;
};
