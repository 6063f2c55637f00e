/**
 * Fd migration: what an old graph's session has of a file becomes a new one's, in one step. Like every lock request
 * these wait for a freeze of the file, and are redirected where it moved.
 */
import type { Answer, Request } from '../../wire/messages.js';
import type { BrickContext } from '../brick-context.js';
import type { Handlers } from '../handlers.js';
import type { Session } from '../sessions.js';

export function lockHandleRoutes(context: BrickContext): Pick<Handlers, 'readLockinfo' | 'writeLockinfo'> {
  const { handles, locks, sessions, state, arrivals } = context.parts;
  const write = (
    session: Session,
    body: Request<'writeLockinfo'>,
  ): Answer<'writeLockinfo'> | Promise<Answer<'writeLockinfo'>> =>
    context.atHome(session, body.file, () => {
      const { file, token } = body;
      const from = handles.ownerOf(file, token);
      if (arrivals.needsConfirm(from, file)) {
        // The records of a move name the old client: they must not come back after a restart.
        return arrivals.confirm(from, file).then(() => write(session, body));
      }
      handles.forget(file, from);
      const old = sessions.get(from);
      const opens = old?.opens.get(file) ?? 0;
      state.addOpens(session, file, opens);
      if (old !== undefined) state.setOpens(old, file, 0);
      return { count: locks.rebind(file, from, session.client), opens };
    });
  return {
    readLockinfo: (session, { file }) =>
      context.atHome(session, file, () => ({
        token: handles.issue(file, session.client),
        count: locks.countsOf(file, session.client),
        opens: session.opens.get(file) ?? 0,
      })),
    writeLockinfo: write,
  };
}
