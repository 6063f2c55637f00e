/** Sessions after their hello: goodbye, ping, and what a client tells a restarted brick. */
import { Refusal } from '../../wire/errors.js';
import type { Request } from '../../wire/messages.js';
import type { BrickContext } from '../brick-context.js';
import { type Handlers, nothing } from '../handlers.js';
import type { Session } from '../sessions.js';

export function sessionRoutes(
  context: BrickContext,
): Pick<Handlers, 'hello' | 'goodbye' | 'ping' | 'reclaim' | 'reclaimDone'> {
  const { sessions, locks, arrivals, state, target, trace } = context.parts;
  const reclaim = async (session: Session, body: Request<'reclaim'>): Promise<void> => {
    const { file } = body;
    if (target.reclaimed(session.client, file, body.opens)) return;
    // Locks that a move brought and that the client never spoke of here are on disk: they are the truth.
    const isKnown = arrivals.needsConfirm(session.client, file);
    await context.atHome(session, file, () => {
      state.setOpens(session, file, body.opens);
      if (isKnown) return;
      const refused = locks.add(file, mine(session, body.held), mine(session, body.waiting));
      if (refused.length === 0) return;
      trace.error('reclaim refused', { file, client: session.client, locks: refused.length });
      throw new Refusal(
        'EINVAL',
        `${refused.length} locks in file ${file} are held by other clients: ${session.title} lost them`,
      );
    });
  };
  return {
    hello: () => {
      throw new Refusal('EPROTO', 'hello comes once a connection');
    },
    goodbye: async (session, _body, seq) => {
      // The session is over before the answer leaves, so the answer goes straight to the connection.
      const { path } = session;
      await sessions.goodbye(session);
      path?.answer(seq, 'goodbye', nothing);
      return nothing;
    },
    ping: () => nothing,
    reclaim: (session, body) => {
      if (!session.awaitsReclaim)
        throw new Refusal('EINVAL', 'nothing is to be reclaimed: the brick did not restart');
      return reclaim(session, body).then(() => nothing);
    },
    reclaimDone: (session) => {
      sessions.reclaimed(session);
      return nothing;
    },
  };
}

/** A client reclaims for itself only. */
const mine = <L extends { readonly client: string }>(session: Session, locks: readonly L[]): L[] =>
  locks.filter((lock) => lock.client === session.client);
