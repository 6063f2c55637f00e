/** Content. Reads never wait for a freeze: what they see cannot change during one. */
import type { BrickContext } from '../brick-context.js';
import type { Handlers } from '../handlers.js';

export function contentRoutes(
  context: BrickContext,
): Pick<Handlers, 'read' | 'write' | 'sync' | 'allocate' | 'seek' | 'space'> {
  const { state } = context.parts;
  const { content } = state;
  return {
    read: (_session, body) => context.reading(body.file, () => content.read(body)),
    write: (session, body, seq) =>
      context.change(session, seq, 'write', body.file, () => content.write(body)),
    sync: (_session, body) => context.reading(body.file, () => content.sync(body)),
    allocate: (session, body, seq) =>
      context.change(session, seq, 'allocate', body.file, () => content.allocate(body)),
    seek: (_session, body) => context.reading(body.file, () => content.seek(body)),
    space: () => content.space(),
  };
}
