/**
 * Names. They are decided at once, in the order of arrival: what they need to see is in the store's records. Where an
 * inode that is here gains or loses a name, the file's queue is passed first, since a frozen file must not change.
 */
import type { Answer, Request } from '../../wire/messages.js';
import type { BrickContext } from '../brick-context.js';
import type { Handlers } from '../handlers.js';
import type { Session } from '../sessions.js';

/** To be called from inside the queue of the file. */
function removeEntry(
  context: BrickContext,
  session: Session,
  body: Request<'removeEntry'>,
  seq: number,
): Promise<Answer<'removeEntry'>> {
  const { arrivals, state } = context.parts;
  const plan = state.removeEntry(body, arrivals.isAwaited(body.file));
  return context.commit(session, seq, 'removeEntry', plan).then((answer) => {
    if (answer.linkDropped) context.deleteIfUnused(body.file);
    return answer;
  });
}

export function nameRoutes(
  context: BrickContext,
): Pick<
  Handlers,
  | 'lookup'
  | 'create'
  | 'makeDirectory'
  | 'removeDirectory'
  | 'putEntry'
  | 'removeEntry'
  | 'renameEntry'
  | 'addName'
  | 'dropName'
  | 'listDirectory'
  | 'readLayout'
> {
  const { queue, state } = context.parts;
  const { names } = state;

  const create = (session: Session, body: Request<'create'>, seq: number): ReturnType<Handlers['create']> => {
    const existing = state.entryOf(body.parent, body.name)?.file;
    if (existing === undefined) return createNow(session, body, seq);
    // Opening what exists counts a handle of it, which a freeze must not miss.
    return queue.run(existing, () =>
      state.entryOf(body.parent, body.name)?.file === existing
        ? createNow(session, body, seq)
        : create(session, body, seq),
    );
  };

  const createNow = (session: Session, body: Request<'create'>, seq: number) => {
    const plan = names.create(body);
    const { file } = plan.answer.entry;
    const counts = body.open && plan.answer.attributes !== undefined;
    if (counts) state.addOpens(session, file, 1);
    const written = context.commit(session, seq, 'create', plan);
    if (counts) written.catch(() => state.addOpens(session, file, -1));
    return written;
  };

  const rename = (
    session: Session,
    body: Request<'renameEntry'>,
    seq: number,
  ): ReturnType<Handlers['renameEntry']> => {
    const replaced = state.entryOf(body.newParent, body.newName)?.file;
    const run = (): ReturnType<Handlers['renameEntry']> => {
      // While this waited for one of the two, the other may have been frozen, or another file put at the new name.
      const isOther = state.entryOf(body.newParent, body.newName)?.file !== replaced;
      if (isOther || queue.isHeld(body.file)) return rename(session, body, seq);
      const plan = names.renameEntry(body);
      return context.commit(session, seq, 'renameEntry', plan).then((answer) => {
        if (answer.linkDropped && answer.replaced !== undefined) context.deleteIfUnused(answer.replaced.file);
        return answer;
      });
    };
    return queue.run(body.file, () => (replaced === undefined ? run() : queue.run(replaced, run)));
  };

  return {
    lookup: (_session, body) => names.lookup(body),
    create,
    makeDirectory: (session, body, seq) =>
      context.commit(session, seq, 'makeDirectory', names.makeDirectory(body)),
    removeDirectory: (session, body, seq) =>
      context.commit(session, seq, 'removeDirectory', names.removeDirectory(body)),
    putEntry: (session, body, seq) => context.commit(session, seq, 'putEntry', names.putEntry(body)),
    removeEntry: (session, body, seq) => queue.run(body.file, () => removeEntry(context, session, body, seq)),
    renameEntry: rename,
    addName: (session, body, seq) =>
      context.change(session, seq, 'addName', body.file, () => names.addName(body)),
    dropName: async (session, body, seq) => {
      const answer = await context.change(session, seq, 'dropName', body.file, () => names.dropName(body));
      if (answer.nlink === 0) context.deleteIfUnused(body.file);
      return answer;
    },
    listDirectory: (_session, body) => names.listDirectory(body),
    readLayout: (_session, body) => names.readLayout(body),
  };
}
