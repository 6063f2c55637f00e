/**
 * Nothing threw, no party met what it calls an error, and no mount gave its kernel an answer that a kernel would not
 * take. What a failing disk makes a party say is expected.
 */
import type { FactListener } from '../facts.js';
import type { Said } from '../journal.js';
import type { Violations } from './violation.js';

/** Errors that a fault of the run explains; the reason must be in the fields. */
const explained = /disk is full|disk failed|being mended|is stopping|ENOSPC/;

export class NoFault implements FactListener {
  readonly #violations: Violations;

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  said({ party, level, event, fields }: Said): void {
    if (level !== 'error') return;
    const text = Object.entries(fields)
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(' ');
    if (!explained.test(text)) this.#violations.add('no fault', `${party}: ${event} ${text}`);
  }
}
