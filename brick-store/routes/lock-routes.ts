/** Locks: every one of these waits for a freeze of its file, in arrival order, F_GETLK too. */

import { Refusal } from '../../wire/errors.js';
import type { FileId } from '../../wire/ids.js';
import type { BrickContext } from '../brick-context.js';
import { DeadlockSearch } from '../deadlock-search.js';
import { type Handlers, nothing } from '../handlers.js';
import type { Session } from '../sessions.js';

export function lockRoutes(
  context: BrickContext,
): Pick<
  Handlers,
  'lock' | 'unlock' | 'testLock' | 'cancelLock' | 'flushOwner' | 'probe' | 'confirmCycle' | 'queueState'
> {
  const { locks, sessions, trace } = context.parts;
  const search = new DeadlockSearch({
    locks,
    trace,
    tell: (client, name, body) => sessions.get(client)?.event(name, body),
  });
  const atWait = (session: Session, wait: { file: FileId } | undefined, look: () => void) => {
    if (wait === undefined) throw new Refusal('EINVAL', 'there is no such wait in the chain');
    return context.atHome(session, wait.file, () => {
      look();
      return nothing;
    });
  };
  return {
    lock: (session, body, seq) => context.atHome(session, body.file, () => locks.lock(session, seq, body)),
    unlock: (session, body) =>
      context.atHome(session, body.file, () => {
        locks.unlock(session, body);
        return nothing;
      }),
    testLock: (session, body) =>
      context.atHome(session, body.file, () => ({ conflict: locks.test(session, body) })),
    cancelLock: (session, body) =>
      context.atHome(session, body.file, () => {
        locks.cancel(session, body.file, body.seq);
        return nothing;
      }),
    flushOwner: (session, body) =>
      context.atHome(session, body.file, () => {
        locks.dropOwner(session.client, body.file, body.owner, 'posix');
        return nothing;
      }),
    probe: (session, body) => atWait(session, body.chain.at(-1), () => search.probe(session.client, body)),
    confirmCycle: (session, body) =>
      atWait(session, body.ring[body.at], () => search.confirm(session.client, body)),
    queueState: (session, body) =>
      context.atHome(session, body.file, () => search.queueState(session.client, body)),
  };
}
