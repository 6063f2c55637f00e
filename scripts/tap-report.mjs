/**
 * Reads the TAP of `tap run` line by line: counts test points, keeps what failed in a form for people.
 *
 * Counted are leaves: assertions, and tests without assertions (skipped ones). A test or a file is counted itself only
 * when it failed and nothing inside it did: a crash, a time-out, a plan that was not kept. No I/O.
 * Called by test.mjs, one instance a run.
 */

const pointLine = /^( *)(not )?ok\b(?: (\d+))?(?: -)?\s*(.*)$/;
const subtestLine = /^( *)# Subtest: (.*)$/;
const directive = /\s+#\s*(SKIP|TODO)\b\s*(.*)$/i;
const commentLine = /^ *# (?!Subtest:|time=|\{ total)(.*)$/;
const timeNote = /\s+# time=([0-9.]+)ms/;

export class TapReport {
  passed = 0;
  failed = 0;
  skipped = 0;
  /** @type {{ title: string[], detail: string[] }[]} */
  failures = [];
  /** What the tests of a file that failed said of themselves. @type {{ name: string, lines: string[] }[]} */
  comments = [];
  /** @type {{ title: string, reason: string }[]} */
  skips = [];
  /** Finished files since the last call of `takeFiles`. */
  #files = [];
  /** Open subtests from the file inwards; `failed` counts failed leaves inside. */
  #open = [];
  #detail;
  #detailIndent = 0;
  /** Of the file that runs. */
  #said = [];

  /** @param {string} line without its line end */
  line(line) {
    if (this.#readDetail(line)) return;
    const subtest = subtestLine.exec(line);
    if (subtest) {
      const depth = subtest[1].length / 4;
      this.#open.length = Math.min(this.#open.length, depth);
      this.#open.push({ name: subtest[2].trim(), failed: 0, leaves: 0 });
      return;
    }
    const comment = commentLine.exec(line);
    if (comment) this.#said.push(comment[1]);
    const bail = /^\s*Bail out!(.*)$/.exec(line);
    if (bail) this.#fail(['Bail out!'], [bail[1].trim()]);
    const point = pointLine.exec(line);
    if (point && point[1].length % 4 === 0)
      this.#point(point[1].length / 4, point[2] === undefined, point[4]);
  }

  takeFiles() {
    return this.#files.splice(0);
  }

  #readDetail(line) {
    if (this.#detail) {
      if (line.trim() === '...' && line.indexOf('...') === this.#detailIndent) this.#detail = undefined;
      else this.#detail.push(line.slice(this.#detailIndent));
      return true;
    }
    if (line.trim() !== '---') return false;
    this.#detailIndent = line.indexOf('---');
    this.#detail = this.#lastFailure ?? [];
    return true;
  }

  /** Where the diagnostics of the last point go. */
  #lastFailure;

  #point(depth, ok, rest) {
    this.#lastFailure = undefined;
    const time = timeNote.exec(rest);
    const told = directive.exec(rest.replace(timeNote, ''));
    const name = rest.replace(timeNote, '').replace(directive, '').trim();
    const parent = this.#open[depth];
    this.#open.length = Math.min(this.#open.length, depth);
    const path = [...this.#open.map((open) => open.name), name];
    // The closing point of a subtest: what is inside was counted. Failing with nothing failed inside is a failure itself.
    const isLeaf = parent === undefined || (parent.leaves === 0 && told !== null);
    const kind = told?.[1].toUpperCase();
    if (kind === 'SKIP') {
      this.skipped++;
      this.skips.push({ title: path.join(' > '), reason: told[2].trim() });
    } else if (kind === 'TODO') this.#fail(path, ['a test that is marked TODO counts as failed']);
    else if (ok) this.passed += isLeaf ? 1 : 0;
    else if (isLeaf || parent.failed === 0) this.#fail(path, []);
    const last = this.#open.at(-1);
    if (last) last.leaves++;
    if (depth === 0) {
      if (!ok && this.#said.length > 0) this.comments.push({ name, lines: this.#said });
      this.#said = [];
      this.#files.push({
        name,
        ok,
        ms: time ? Number(time[1]) : 0,
        skipReason: kind === 'SKIP' ? told[2] : undefined,
      });
    }
  }

  #fail(title, detail) {
    this.failed++;
    for (const open of this.#open) open.failed++;
    this.#lastFailure = detail;
    this.failures.push({ title, detail });
  }
}

/** The parts of a point's diagnostics that help a person: not the source excerpt, not how node was called. */
export function readableDetail(detail) {
  const hidden = new Set(['source', 'stdio', 'cwd', 'externalID', 'command', 'args', 'jobId', 'at']);
  const kept = [];
  let hide = false;
  for (const line of detail) {
    const key = /^([A-Za-z]+):/.exec(line)?.[1];
    if (key) hide = hidden.has(key);
    if (!hide && line.trim() !== '') kept.push(line);
  }
  return kept;
}
