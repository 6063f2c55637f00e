/** Names and sizes may change under a lock: it stays with the file, not with its name or its length. */
import { link, rename, unlink } from 'node:fs/promises';
import type { CheckMap } from '../check.js';
import type { Kind } from '../lock-process.js';

export const nameChecks = (kind: Kind): CheckMap => ({
  [`${kind}/unlinked-but-open`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.take('write', 0, 10);
      await unlink(bench.path());
      bench.expect('who has it open still', await b!.take('write', 0, 10), 'refused');
      const next = await bench.party(kind);
      bench.expect('a new file under the old name', await next.take('write', 0, 10), 'granted');
      const wait = await b!.wait('write', 0, 10);
      await a!.process.end();
      await bench.expectOutcome('a waiter on the unlinked file', wait, 'granted');
    },
  },
  [`${kind}/rename`]: {
    kind,
    async run(bench) {
      const a = await bench.party(kind);
      await a.take('write', 0, 10);
      await rename(bench.path(), bench.path('-renamed'));
      const b = await bench.party(kind, { name: '-renamed' });
      bench.expect('under the new name', await b.take('write', 0, 10), 'refused');
      const fresh = await bench.party(kind);
      bench.expect('a new file under the old name', await fresh.take('write', 0, 10), 'granted');
      await a.drop();
      bench.expect('after the unlock', await b.take('write', 0, 10), 'granted');
    },
  },
  [`${kind}/replaced-by-rename`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      const fresh = await bench.party(kind, { name: '-new' });
      await a!.take('write', 0, 10);
      await rename(bench.path('-new'), bench.path());
      bench.expect('the replaced file', await b!.take('write', 0, 10), 'refused');
      bench.expect('the file in its place', await fresh.take('write', 0, 10), 'granted');
      const named = await bench.party(kind);
      bench.expect('the same by its new name', await named.take('write', 0, 10), 'refused');
    },
  },
  [`${kind}/hard-link`]: {
    kind,
    async run(bench) {
      const a = await bench.party(kind);
      await a.take('write', 0, 10);
      await link(bench.path(), bench.path('-link'));
      const b = await bench.party(kind, { name: '-link' });
      bench.expect('by another name of the file', await b.take('write', 0, 10), 'refused');
      await unlink(bench.path());
      bench.expect('when the first name is gone', await b.take('write', 0, 10), 'refused');
    },
  },
  [`${kind}/truncate`]: {
    kind,
    async run(bench) {
      const [a, b] = await bench.parties(kind, 2);
      await a!.process.truncate(a!.fd, 100);
      await a!.take('write', 50, 10);
      await a!.process.truncate(a!.fd, 0);
      bench.expect('a lock behind the new end', await b!.take('write', 50, 10), 'refused');
    },
  },
});
