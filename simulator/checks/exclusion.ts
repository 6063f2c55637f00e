/** Invariant 1: no two conflicting locks are held at one time, as seen by the processes. */
import type { FactListener, LockAsk } from '../facts.js';
import type { Held, LockBook } from './lock-book.js';
import { isConflict } from './range-list.js';
import type { Violations } from './violation.js';

/** To be told after the book, which knows of the grant already. */
export class Exclusion implements FactListener {
  readonly #book: LockBook;
  readonly #violations: Violations;

  constructor(book: LockBook, violations: Violations) {
    this.#book = book;
    this.#violations = violations;
  }

  lockAnswered(ask: LockAsk, error: number): void {
    if (error !== 0 || this.#book.isDoubtful(ask)) return;
    for (const held of this.#book.held.values()) {
      if (held.ino !== ask.ino || held.kind !== ask.kind || held.doubtful || isSameOwner(held, ask)) continue;
      const against = held.ranges.find((range) => isConflict(range, ask));
      if (against === undefined) continue;
      this.#violations.add(
        'exclusion',
        `${ask.mount} owner ${ask.owner} was granted ${ask.kind} ${ask.type} ${ask.start}..${ask.end} of ` +
          `${ask.ino.toString(16)} while ${held.owner.mount} owner ${held.owner.owner} holds ` +
          `${against.type} ${against.start}..${against.end}`,
      );
    }
  }
}

const isSameOwner = (held: Held, ask: LockAsk): boolean =>
  held.owner.client === ask.client && held.owner.owner === ask.owner;
