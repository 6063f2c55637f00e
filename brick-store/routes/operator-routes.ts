/** What an operator asks: where a file is, who holds what, how the brick is. */
import type { LockRow } from '../../wire/messages.js';
import type { BrickContext } from '../brick-context.js';
import type { Handlers } from '../handlers.js';

/** An answer stays within a frame. */
const rowsPerAnswerMax = 2000;

export function operatorRoutes(
  context: BrickContext,
  facts: { pid: number; upMs: () => number; isRecovering: () => boolean },
): Pick<Handlers, 'locate' | 'listLocks' | 'status' | 'namesOf'> {
  const { state, locks, sessions, source, name } = context.parts;
  return {
    locate: async (_session, { file }) => {
      await source.committing(file);
      if (state.isHere(file)) return { place: 'here', moved: undefined };
      const moved = state.redirect(file);
      return moved ? { place: 'moved', moved } : { place: 'absent', moved: undefined };
    },
    listLocks: (_session, { file, skip, limit }) => {
      const rows: LockRow[] = [];
      let at = 0;
      for (const row of locks.rows(file)) {
        at += 1;
        if (at <= skip) continue;
        if (rows.length === Math.min(limit, rowsPerAnswerMax)) return { locks: rows, more: true };
        rows.push(row);
      }
      return { locks: rows, more: false };
    },
    status: () => ({
      brick: name,
      pid: facts.pid,
      upMs: Math.round(facts.upMs()),
      state: facts.isRecovering() ? 'recovering' : 'open',
      files: state.fileCount(),
      clients: [...sessions.all()].map((session) => {
        const { locks: held, waiters } = locks.counts(session.client);
        return {
          client: session.client,
          role: session.role,
          title: session.title,
          host: session.host,
          pid: session.pid,
          state: session.isAlive ? 'alive' : 'lost',
          locks: held,
          waiters,
          opens: [...session.opens.values()].reduce((sum, opens) => sum + opens, 0),
        };
      }),
      migrations: source.reports().slice(-200),
    }),
    namesOf: (_session, { file }) => context.reading(file, () => state.names.namesOf({ file })),
  };
}
