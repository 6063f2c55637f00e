/**
 * Invariant 6 for names: who was told that a name was made finds it, on every mount, and who was told that it is gone
 * does not. A call that failed may have taken effect or not; after a loss of power names that no fsync covered may be
 * gone or back. Names are changed by one process at a time.
 */
import type { FactListener } from '../facts.js';
import type { Violations } from './violation.js';

export class Names implements FactListener {
  readonly #violations: Violations;
  /** Only of names of which it is known. */
  readonly #isThere = new Map<string, boolean>();
  /** What was known when the last change of the name began. */
  readonly #before = new Map<string, boolean>();
  /** Names by their last change: false where a loss of power came before its end, which may have undone a part. */
  readonly #changing = new Map<string, boolean>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  nameLooked(mount: string, name: string, isThere: boolean): void {
    const known = this.#isThere.get(name);
    if (known === undefined || known === isThere) return;
    this.#violations.add(
      'content',
      `${mount} ${isThere ? 'found' : 'did not find'} the name ${name}, which was ${known ? 'made' : 'removed'} before`,
    );
  }

  nameChanging(name: string): void {
    const known = this.#isThere.get(name);
    if (known === undefined) this.#before.delete(name);
    else this.#before.set(name, known);
    this.#isThere.delete(name);
    this.#changing.set(name, true);
  }

  nameMissed(mount: string, name: string): void {
    if (this.#before.get(name) === true)
      this.#violations.add('content', `${mount} could not change the name ${name}, which was made before`);
    this.#isThere.set(name, false);
  }

  nameChanged(name: string, isThere: boolean): void {
    if (this.#changing.get(name) === true) this.#isThere.set(name, isThere);
  }

  powerLost(): void {
    this.#isThere.clear();
    this.#before.clear();
    for (const name of this.#changing.keys()) this.#changing.set(name, false);
  }
}
