/** What a check found: which invariant, when, and in words what was seen. */
export interface Violation {
  readonly check: CheckName;
  readonly atMs: number;
  readonly text: string;
}

/** The invariants, in the order of docs/SIMULATOR.md, and `no fault`: nothing threw and no party met a bug. */
export const checkNames = [
  'exclusion',
  'no lock lost',
  'no ghost lock',
  'ticket order',
  'no waiter forgotten',
  'content',
  'one home',
  'everything settles',
  'no fault',
] as const;
export type CheckName = (typeof checkNames)[number];

/** The first few are enough: what follows a violation is mostly its consequence. */
const violationsMax = 20;

export class Violations {
  readonly all: Violation[] = [];
  readonly #now: () => number;
  readonly #onFound: (violation: Violation) => void;

  constructor(now: () => number, onFound: (violation: Violation) => void) {
    this.#now = now;
    this.#onFound = onFound;
  }

  add(check: CheckName, text: string): void {
    if (this.all.length >= violationsMax) return;
    const violation = { check, atMs: this.#now(), text };
    this.all.push(violation);
    this.#onFound(violation);
  }
}
