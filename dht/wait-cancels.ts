/**
 * The requests to end one wait that its brick did not acknowledge yet, so that they can be taken back when the process
 * waits again after all. Used by lock-call.ts, which decides both. It never ends a wait that moved: the lock request
 * itself gets the same redirect or refusal, and is dealt with there.
 */
import type { Trace } from '../host/trace.js';
import type { BrickName, FileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';

/** A request as a brick knows it. */
export interface Sent {
  readonly brick: BrickName;
  readonly link: BrickLink;
  readonly seq: number;
}

export class WaitCancels {
  readonly #unanswered = new Set<{ readonly link: BrickLink; readonly seq: number }>();

  send({ link, seq, brick }: Sent, file: FileId, trace: Trace): void {
    const call = link.callNumbered('cancelLock', { file, seq });
    const cancel = { link, seq: call.seq };
    this.#unanswered.add(cancel);
    call.answer
      .catch((error: unknown) => trace.debug('cancel refused', { file, brick, error: String(error) }))
      .finally(() => this.#unanswered.delete(cancel));
  }

  /** None is sent again. One that had arrived may still end the wait. */
  takeBack(): void {
    for (const { link, seq } of this.#unanswered) link.forget(seq);
  }
}
