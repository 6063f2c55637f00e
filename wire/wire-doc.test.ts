/**
 * docs/WIRE.md ends with tables of all messages, events and refusals. They are written from messages.ts and errors.ts,
 * and this test compares them: `WRITE_DOCS=1 node dist/wire/wire-doc.test.js` writes them anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { refusals } from './errors.js';
import type { Field, Fields } from './fields.js';
import { events, messages } from './messages.js';

const begin = '<!-- from here on written by wire/wire-doc.test.ts -->';

const cell = (text: string): string => text.replaceAll('|', '\\|');
const fieldsText = (fields: Fields): string =>
  cell(
    Object.entries(fields)
      .map(([name, field]) => (field.label === name ? name : `${name}: ${field.label}`))
      .join(', ') || '—',
  );

/** Every record that a field holds, however deep. */
function recordsOf(fields: Fields, found: Map<string, Fields>): void {
  for (const field of Object.values(fields)) {
    let within: Field<unknown> = field;
    while (within.inner) within = within.inner;
    if (within.members && !found.has(within.label)) {
      found.set(within.label, within.members);
      recordsOf(within.members, found);
    }
  }
}

function tables(): string {
  const rows = Object.entries(messages).sort(([, one], [, other]) => one.op - other.op);
  const records = new Map<string, Fields>();
  for (const [, { request, answer }] of rows) {
    recordsOf(request, records);
    recordsOf(answer, records);
  }
  return [
    begin,
    '',
    '## All messages',
    '',
    '| number | message | from | durable | request | answer |',
    '|---|---|---|---|---|---|',
    ...rows.map(
      ([name, { op, roles, durable, request, answer }]) =>
        `| ${op} | \`${name}\` | ${roles.join(', ')} | ${durable ? 'yes' : ''} | ${fieldsText(request)} | ${fieldsText(answer)} |`,
    ),
    '',
    '### Records in them',
    '',
    '| record | fields |',
    '|---|---|',
    ...[...records].map(([label, members]) => `| ${label} | ${fieldsText(members)} |`),
    '',
    '## All events',
    '',
    '| number | event | fields |',
    '|---|---|---|',
    ...Object.entries(events).map(
      ([name, { event, body }]) => `| ${event} | \`${name}\` | ${fieldsText(body)} |`,
    ),
    '',
    '## All refusals',
    '',
    '| code | means |',
    '|---|---|',
    ...Object.entries(refusals).map(([code, [, text]]) => `| ${code} | ${text} |`),
    '',
  ].join('\n');
}

t.test('docs/WIRE.md names every message, event and refusal as it is', async (t) => {
  const path = new URL(
    import.meta.url.endsWith('.ts') ? '../docs/WIRE.md' : '../../docs/WIRE.md',
    import.meta.url,
  );
  const page = readFileSync(path, 'utf8');
  const told = page.indexOf(begin) < 0 ? page : page.slice(0, page.indexOf(begin));
  if (process.env.WRITE_DOCS) writeFileSync(path, `${told}${tables()}`);
  t.equal(
    readFileSync(path, 'utf8').slice(told.length),
    tables(),
    'WRITE_DOCS=1 node dist/wire/wire-doc.test.js writes it',
  );
  for (const [name, { op }] of Object.entries(messages)) t.match(tables(), `| ${op} | \`${name}\` |`);
});
