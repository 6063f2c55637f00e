/** Locks: every one of these waits for a freeze of its file, in arrival order, F_GETLK too. */
import type { BrickContext } from '../brick-context.js';
import { type Handlers, nothing } from '../handlers.js';

export function lockRoutes(
  context: BrickContext,
): Pick<Handlers, 'lock' | 'unlock' | 'testLock' | 'cancelLock' | 'flushOwner'> {
  const { locks } = context.parts;
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
  };
}
