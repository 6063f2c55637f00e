/**
 * The door to chance. The simulator's twin draws from one seed.
 */
import { randomFillSync } from 'node:crypto';

export interface Random {
  /** Fills and returns `length` fresh bytes that no caller keeps a part of. */
  bytes(length: number): Uint8Array;
  /** An evenly drawn whole number from 0 to limit - 1. */
  below(limit: number): number;
}

class SystemRandom implements Random {
  bytes(length: number): Uint8Array {
    return randomFillSync(new Uint8Array(length));
  }

  below(limit: number): number {
    return Math.floor(Math.random() * limit);
  }
}

export const systemRandom: Random = new SystemRandom();
