/** What concerns two files, or a file that a name does not name any more, waits for every freeze that it meets. */
import t from 'tap';
import type { ByteText, FileId } from '../../wire/ids.js';
import { rootFileId } from '../../wire/ids.js';
import type { Request } from '../../wire/messages.js';
import { BrickContext, type BrickParts } from '../brick-context.js';
import { FileQueue } from '../file-queue.js';
import { Session } from '../sessions.js';
import { nameRoutes } from './name-routes.js';

const one = '1'.repeat(32) as FileId;
const other = '2'.repeat(32) as FileId;
const session = new Session('c'.repeat(32) as never, 1, 'mount', 'mount', 'here', 1);

function setUp() {
  const queue = new FileQueue();
  const entries = new Map<string, FileId>([
    ['one', one],
    ['other', other],
  ]);
  const done: string[] = [];
  const parts = {
    queue,
    store: { repairing: undefined, write: async () => undefined },
    records: { answerOps: () => [] },
    state: {
      entryOf: (_parent: FileId, name: ByteText) => {
        const file = entries.get(name);
        return file && { file };
      },
      addOpens: () => undefined,
      names: {
        renameEntry: () => {
          done.push('renamed');
          return { ops: [], answer: { replaced: undefined, linkDropped: false, linkLeft: false } };
        },
        create: ({ name }: Request<'create'>) => {
          done.push('created');
          return { ops: [], answer: { entry: { file: entries.get(name) ?? one }, attributes: undefined } };
        },
      },
    },
  };
  const routes = nameRoutes(new BrickContext(parts as unknown as BrickParts));
  return { queue, entries, done, routes };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('a rename that waited for the file it replaces waits for the renamed one, too', async (t) => {
  const { queue, done, routes } = setUp();
  const names = { name: 'one' as ByteText, newName: 'other' as ByteText };
  const body = { parent: rootFileId, newParent: rootFileId, file: one, noReplace: false, ...names };
  const letOther = queue.hold(other);
  const renaming = Promise.resolve(routes.renameEntry(session, body, 1));
  const letOne = queue.hold(one);
  letOther();
  await turn();
  t.same(done, [], 'the file is frozen by now');
  letOne();
  await renaming;
  t.same(done, ['renamed']);
});

t.test('a create that opens what exists waits for the file that has the name by then', async (t) => {
  const { queue, entries, done, routes } = setUp();
  const body = { parent: rootFileId, name: 'one' as ByteText, open: true } as Request<'create'>;
  const letOne = queue.hold(one);
  const creating = Promise.resolve(routes.create(session, body, 1));
  entries.set('one', other);
  const letOther = queue.hold(other);
  letOne();
  await turn();
  t.same(done, []);
  letOther();
  await creating;
  t.same(done, ['created']);
});
