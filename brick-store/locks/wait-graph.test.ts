/** Cycles among waiting owners: found where they are, never where they are not. */
import fc from 'fast-check';
import t from 'tap';
import type { ClientId, LkOwner } from '../../wire/ids.js';
import type { LockOwner } from '../../wire/lock-types.js';
import { findCycle } from './wait-graph.js';

const ownerOf = (name: string): LockOwner => ({
  client: 'c'.repeat(32) as ClientId,
  owner: name.padStart(16, '0') as LkOwner,
});
const nameOf = ({ owner }: LockOwner): string => owner.replace(/^0+(?=.)/, '');

/** @param edges for example `ab bc ca`: a waits for b, and so on */
const cycleIn = (edges: string, from: string, openFiles = ''): string | undefined => {
  const pairs = edges.split(' ').filter((pair) => pair !== '');
  const cycle = findCycle(ownerOf(from), {
    waitsFor: (owner) => pairs.filter((pair) => pair[0] === nameOf(owner)).map((pair) => ownerOf(pair[1]!)),
    isProcessOwner: (owner) => !openFiles.includes(nameOf(owner)),
  });
  return cycle?.map(nameOf).join('');
};

t.test('two owners that wait for each other are a cycle', async (t) => {
  t.equal(cycleIn('ab ba', 'a'), 'ab');
});

t.test('the shortest of several cycles is answered', async (t) => {
  t.equal(cycleIn('ab bc cd da ca', 'a'), 'abc');
});

t.test('a chain is no cycle, and neither is a cycle that does not come back to the asker', async (t) => {
  t.equal(cycleIn('ab bc cd', 'a'), undefined);
  t.equal(cycleIn('ab bc cb', 'a'), undefined);
});

t.test('one of many holders is enough to close a cycle', async (t) => {
  t.equal(cycleIn('ab ac ad da', 'a'), 'ad');
});

t.test('no cycle leads through an open file description', async (t) => {
  t.equal(cycleIn('ab bc ca', 'a', 'b'), undefined);
  t.equal(cycleIn('ab ba', 'a', 'a'), undefined);
});

t.test('an owner does not wait for itself', async (t) => {
  t.equal(cycleIn('aa', 'a'), undefined);
});

t.test('a cycle is found exactly where the closure of the graph has one', async (t) => {
  const letters = 'abcdef';
  const edge = fc.tuple(fc.nat(5), fc.nat(5)).filter(([a, b]) => a !== b);
  fc.assert(
    fc.property(fc.array(edge, { maxLength: 12 }), fc.constantFrom('', 'c', 'cd'), (edges, openFiles) => {
      const reach = letters.split('').map(() => new Set<number>());
      const usable = edges.filter((pair) => pair.every((one) => !openFiles.includes(letters[one]!)));
      for (let round = 0; round < letters.length; round++) {
        for (const [a, b] of usable) for (const far of [b, ...reach[b]!]) reach[a]!.add(far);
      }
      const text = edges.map(([a, b]) => `${letters[a]}${letters[b]}`).join(' ');
      const cycle = cycleIn(text, 'a', openFiles);
      if ((cycle !== undefined) !== reach[0]!.has(0)) throw new Error(`${text}: ${cycle}`);
      const closed = `${cycle ?? ''}a`;
      for (let at = 0; cycle !== undefined && at < cycle.length; at++) {
        if (!text.includes(closed.slice(at, at + 2))) throw new Error(`${text}: no edge in ${cycle}`);
      }
    }),
    { numRuns: 2000 },
  );
  t.pass('2000 graphs');
});
