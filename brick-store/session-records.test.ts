/** Answers kept for a session that ended go, and no others. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { silentTrace } from '../host/trace.js';
import type { ClientId } from '../wire/ids.js';
import { openLevelStore } from './level-store.js';
import { answerKey } from './records/keys.js';
import { answerRecord } from './records/session-record.js';
import { SessionRecords } from './session-records.js';
import { Session } from './sessions.js';

const gone = '1'.repeat(32) as ClientId;
const known = '2'.repeat(32) as ClientId;

t.test('a start removes the answers of clients that have no session', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lf-session-records-'));
  const store = await openLevelStore(folder, { ballastBytes: 0 });
  t.teardown(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  const value = answerRecord.encode({ reply: Buffer.from('any') });
  const keys = [answerKey(gone, 1), answerKey(gone, 2), answerKey(known, 1)];
  await store.write(keys.map((key) => ({ type: 'put', key, value })));
  await new SessionRecords(store, silentTrace).forgetAnswersOfOthers((client) => client === known);
  t.same(
    keys.map((key) => store.get(key) !== undefined),
    [false, false, true],
  );
});

t.test('the end of a session takes no answer of the one that came after it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lf-session-records-'));
  const store = await openLevelStore(folder, { ballastBytes: 0 });
  t.teardown(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  const records = new SessionRecords(store, silentTrace);
  const value = answerRecord.encode({ reply: Buffer.from('old') });
  const keys = [answerKey(known, 1), answerKey(known, 2)];
  await store.write(keys.map((key) => ({ type: 'put', key, value })));
  const live = new Session(known, 2, 'mount', 'the client again', 'host', 1);
  await store.write(records.answerOps(live, 1, 'dropName', { nlink: 0 }));
  await records.forgetAnswers(known, () => live);
  t.same(
    keys.map((key) => store.get(key) !== undefined),
    [true, false],
  );
});
