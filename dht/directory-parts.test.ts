/** Which of two answers about a directory counts. */
import t from 'tap';
import { ManualClock } from '../test/doors/manual-clock.js';
import { type BrickName, rootFileId } from '../wire/ids.js';
import type { Attributes } from '../wire/messages.js';
import { DirectoryParts } from './directory-parts.js';

const brick = 'brick-1' as BrickName;
const at = (change: number): Attributes => ({ file: rootFileId, change }) as Attributes;

t.test(
  'an answer that was overtaken by a newer one does not count, nor one from before a change',
  async (t) => {
    const clock = new ManualClock();
    const parts = new DirectoryParts(clock);
    const [first, second] = [parts.asks(rootFileId), parts.asks(rootFileId)];
    parts.note(second, brick, at(2));
    parts.note(first, brick, at(1));
    t.match(parts.part(rootFileId, brick, 10), { change: 2 });
    t.equal(parts.part(rootFileId, brick, 0), undefined);
    const before = parts.asks(rootFileId);
    parts.forgetAll();
    parts.note(before, brick, at(3));
    t.equal(parts.part(rootFileId, brick, 10), undefined);
  },
);

t.test('a counter that begins anew is believed after a second', async (t) => {
  const clock = new ManualClock();
  const parts = new DirectoryParts(clock);
  parts.note(parts.asks(rootFileId), brick, at(9));
  await clock.advance(1000);
  parts.note(parts.asks(rootFileId), brick, at(1));
  t.match(parts.part(rootFileId, brick, 10), { change: 1 });
});
