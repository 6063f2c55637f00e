/**
 * What a check is and what it says: the contract between the map of checks, the runner and `lockferry check`.
 * A check never prints and never decides about another check; everything it needs comes from its bench.
 */
import type { Bench } from './bench.js';
import type { Kind } from './lock-process.js';

/** `data`: what is read under a lock; `names`: files that lose or change their name while they are locked. */
export type CheckKind = Kind | 'data';

export interface Check {
  readonly kind: CheckKind;
  /** Runs only where a second directory was given that shows the same files. */
  readonly needs?: 'second';
  /** @throws Mismatch where something else was seen than Linux does on a local filesystem */
  run(bench: Bench): Promise<void>;
}

export type CheckMap = Readonly<Record<string, Check>>;

export type CheckResult = { readonly name: string; readonly kind: CheckKind; readonly ms: number } & (
  | { readonly outcome: 'passed'; readonly note: string | undefined }
  | { readonly outcome: 'failed'; readonly expected: string; readonly seen: string }
  | { readonly outcome: 'not supported'; readonly reason: string }
);

/** The filesystem did something else. */
export class Mismatch extends Error {
  override readonly name = 'Mismatch';
  readonly expected: string;
  readonly seen: string;

  constructor(expected: string, seen: string) {
    super(`expected ${expected}; seen: ${seen}`);
    this.expected = expected;
    this.seen = seen;
  }
}

/** The filesystem has no such thing, and says so. */
export class NotSupported extends Error {
  override readonly name = 'NotSupported';
}
