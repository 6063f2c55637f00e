/** One inode: attributes, symbolic link, extended attributes, open and the last close of a handle. */
import type { BrickContext } from '../brick-context.js';
import { type Handlers, nothing } from '../handlers.js';

export function inodeRoutes(
  context: BrickContext,
): Pick<
  Handlers,
  | 'getAttributes'
  | 'setAttributes'
  | 'readSymlink'
  | 'getXattr'
  | 'setXattr'
  | 'listXattrs'
  | 'removeXattr'
  | 'open'
  | 'release'
> {
  const { state, locks } = context.parts;
  const { inodes } = state;
  return {
    getAttributes: (_session, body) => context.reading(body.file, () => inodes.getAttributes(body)),
    setAttributes: (session, body, seq) =>
      context.change(session, seq, 'setAttributes', body.file, () => inodes.setAttributes(body)),
    readSymlink: (_session, body) => context.reading(body.file, () => inodes.readSymlink(body)),
    getXattr: (_session, body) => context.reading(body.file, () => inodes.getXattr(body)),
    setXattr: (session, body, seq) =>
      context.change(session, seq, 'setXattr', body.file, () => inodes.setXattr(body)),
    listXattrs: (_session, body) => context.reading(body.file, () => inodes.listXattrs(body)),
    removeXattr: (session, body, seq) =>
      context.change(session, seq, 'removeXattr', body.file, () => inodes.removeXattr(body)),
    open: async (session, { file, truncate }, seq) => {
      const count = (): void => state.addOpens(session, file, 1);
      if (!truncate) {
        return context.atHome(session, file, () => {
          count();
          return inodes.getAttributes({ file });
        });
      }
      // The truncation and the handle are one step to everybody else.
      const plan = () => {
        count();
        return inodes.setAttributes({
          file,
          mode: undefined,
          uid: undefined,
          gid: undefined,
          size: 0,
          atimeNs: undefined,
          mtimeNs: undefined,
          atimeNow: false,
          mtimeNow: true,
        });
      };
      return context.change(session, seq, 'setAttributes', file, plan);
    },
    release: (session, { file, opens, owners }) =>
      context.atHome(session, file, () => {
        for (const owner of owners) locks.dropOwner(session.client, file, owner);
        state.addOpens(session, file, -opens);
        context.deleteIfUnused(file);
        return nothing;
      }),
  };
}
