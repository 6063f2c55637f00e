/** Moves: the migrator's requests to a source, and what source and target say to each other. */
import type { BrickContext } from '../brick-context.js';
import { type Handlers, nothing } from '../handlers.js';

export function migrationRoutes(
  context: BrickContext,
): Pick<
  Handlers,
  | 'migrate'
  | 'migrationStatus'
  | 'migrationCancel'
  | 'showMove'
  | 'stagePrepare'
  | 'stageContent'
  | 'stageLocks'
  | 'stageReady'
  | 'stageOpen'
  | 'stageAbort'
  | 'migrationOutcome'
> {
  const { source, target, state } = context.parts;
  const done = (work: Promise<void>): Promise<typeof nothing> => work.then(() => nothing);
  return {
    // Behind whatever holds the file: one that has just arrived is seen before its locks are in the table.
    migrate: (session, body) => context.atHome(session, body.file, () => done(source.start(body))),
    migrationStatus: (_session, { file, migration }) => ({
      report: source.report(file, migration, state.redirect(file)),
    }),
    migrationCancel: (_session, body) => {
      source.cancel(body.migration);
      return nothing;
    },
    showMove: (_session, body) => {
      target.shown(body.migration, body.file);
      return nothing;
    },
    stagePrepare: (_session, body) => done(target.prepare(body)),
    stageContent: (_session, body) => done(target.content(body)),
    stageLocks: (_session, body) => done(target.locks(body)),
    stageReady: (_session, body) => done(target.ready(body)),
    stageOpen: (_session, body) => done(target.open(body.migration, body.file)),
    stageAbort: (_session, body) => done(target.abort(body.migration, body.file)),
    migrationOutcome: (_session, body) => ({
      outcome: source.outcome(body.migration, state.redirect(body.file)),
    }),
  };
}
