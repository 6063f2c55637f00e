/**
 * The rules of the layout, each a pure function from source files to complaints. They look at the syntax tree, so
 * that comments and strings are never taken for code. tidy.test.ts runs them over the repository, and each one over
 * a sample that breaks it.
 */
import { basename, dirname, join, normalize } from 'node:path';
import ts from 'typescript';

export interface SourceText {
  /** From the root of the repository, for example `wire/codec.ts`. */
  readonly path: string;
  readonly text: string;
}

export const fileLinesMax = 450;
export const functionLinesMax = 80;

/** A folder `testing` holds what the tests of the folder above share. */
const isTest = (path: string): boolean =>
  path.endsWith('.test.ts') || path.startsWith('test/') || path.includes('/testing/');
const folderOf = (path: string): string => path.split('/')[0]!;
const parse = ({ path, text }: SourceText): ts.SourceFile =>
  ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

const lineOf = (file: ts.SourceFile, node: ts.Node): number =>
  file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;

/** Every module that a file names, with its line: imports, re-exports, `import()`, and `new URL('./x.js', …)`. */
function modulesOf(source: SourceText): { module: string; line: number }[] {
  const file = parse(source);
  const found: { module: string; line: number }[] = [];
  walk(file, (node) => {
    let named: ts.Expression | undefined;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) named = node.moduleSpecifier;
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      named = node.arguments[0];
    else if (ts.isNewExpression(node) && node.expression.getText(file) === 'URL') named = node.arguments?.[0];
    if (named && ts.isStringLiteral(named)) found.push({ module: named.text, line: lineOf(file, node) });
  });
  return found;
}

/** The source file that a relative module names. */
const targetOf = (path: string, module: string): string =>
  normalize(join(dirname(path), module)).replace(/\.js$/, '.ts');

/** Folder > folders that it may import from. What is not listed (bin, test, benchmark) may import from all. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  host: [],
  wire: ['host'],
  dht: ['wire', 'host'],
  'brick-store': ['wire', 'host'],
  mount: ['dht', 'wire', 'host'],
  migrator: ['dht', 'wire', 'host'],
  conformance: ['host'],
  simulator: ['mount', 'migrator', 'brick-store', 'dht', 'wire', 'host'],
  dashboard: ['migrator', 'dht', 'wire', 'host'],
};

export function importsGoOneWay(sources: readonly SourceText[]): string[] {
  const complaints: string[] = [];
  for (const source of sources) {
    const from = folderOf(source.path);
    const allowed = mayImport[from];
    if (!allowed || isTest(source.path)) continue;
    for (const { module, line } of modulesOf(source)) {
      if (!module.startsWith('.')) continue;
      const to = folderOf(targetOf(source.path, module));
      if (to !== from && to !== '..' && !allowed.includes(to))
        complaints.push(`${source.path}:${line}: ${from} may not import from ${to} (${module})`);
    }
  }
  return complaints;
}

/** What only a door may touch, and what to use instead. */
const outside: Readonly<Record<string, string>> = {
  'Date.now': 'Clock of host/clock.ts',
  'performance.now': 'Clock of host/clock.ts',
  'process.hrtime': 'Clock of host/clock.ts',
  setTimeout: 'Clock of host/clock.ts',
  setInterval: 'Clock of host/clock.ts',
  setImmediate: 'Clock of host/clock.ts',
  'Math.random': 'Random of host/random.ts',
};
const outsideModules: Readonly<Record<string, string>> = {
  'node:net': 'Network of wire/network.ts',
  'node:dgram': 'Network of wire/network.ts',
  'node:fs': 'Store of brick-store/store.ts',
  'node:fs/promises': 'Store of brick-store/store.ts',
  'node:child_process': 'a door of its own',
  'node:timers': 'Clock of host/clock.ts',
  'node:timers/promises': 'Clock of host/clock.ts',
};

const doors = new Set([
  'host/clock.ts',
  'host/random.ts',
  'wire/socket-network.ts',
  'brick-store/level-store.ts',
  'brick-store/disk-reserve.ts',
  'mount/fuse/kernel-device.ts',
  // setImmediate between two events lets promises settle; no real time gets in.
  'simulator/scheduler.ts',
  'mount/fuse/process-maps.ts',
  'simulator/scheduler.ts',
]);
/** Folders that are outside themselves. */
const outsideFolders = new Set(['bin', 'test', 'conformance', 'benchmark', 'dashboard']);

export function onlyDoorsTouchOutside(sources: readonly SourceText[]): string[] {
  const complaints: string[] = [];
  for (const source of sources) {
    if (isTest(source.path) || doors.has(source.path) || outsideFolders.has(folderOf(source.path))) continue;
    for (const { module, line } of modulesOf(source)) {
      const instead = outsideModules[module];
      if (instead) complaints.push(`${source.path}:${line}: ${module} is for doors only: use ${instead}`);
    }
    const file = parse(source);
    walk(file, (node) => {
      const isName =
        ts.isPropertyAccessExpression(node) ||
        (ts.isIdentifier(node) && ts.isCallExpression(node.parent) && node.parent.expression === node);
      if (!isName) return;
      const name = node.getText(file).replace(/^globalThis\./, '');
      const instead = Object.hasOwn(outside, name) ? outside[name] : undefined;
      if (instead)
        complaints.push(`${source.path}:${lineOf(file, node)}: ${name} is for doors only: use ${instead}`);
    });
  }
  return complaints;
}

/** @param roots files that are started, not imported */
export function everyFileIsUsed(sources: readonly SourceText[], roots: readonly string[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const waiting = sources
    .map(({ path }) => path)
    .filter((path) => roots.includes(path) || path.endsWith('.test.ts'));
  const used = new Set(waiting);
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const { module } of modulesOf(byPath.get(path)!)) {
      const target = module.startsWith('.') ? targetOf(path, module) : '';
      if (!byPath.has(target) || used.has(target)) continue;
      used.add(target);
      waiting.push(target);
    }
  }
  return sources
    .filter(({ path }) => !used.has(path) && !path.endsWith('.d.ts'))
    .map(({ path }) => `${path}: nothing imports it, neither a command nor a test`);
}

export function everyNameIsOnce(sources: readonly SourceText[]): string[] {
  const first = new Map<string, string>();
  const complaints: string[] = [];
  for (const { path } of sources) {
    // A benchmark is named after what it measures.
    if (folderOf(path) === 'benchmark') continue;
    const other = first.get(basename(path));
    if (other) complaints.push(`${path}: ${other} has the same name`);
    else first.set(basename(path), path);
  }
  return complaints;
}

export function sizesAreBounded(sources: readonly SourceText[]): string[] {
  const complaints: string[] = [];
  for (const source of sources) {
    const lines = source.text.split('\n').length;
    if (lines > fileLinesMax) complaints.push(`${source.path}: ${lines} lines, at most ${fileLinesMax}`);
    // Lists of checks are one function of many short ones.
    if (isTest(source.path) || source.path.startsWith('conformance/checks/')) continue;
    const file = parse(source);
    walk(file, (node) => {
      if (!ts.isFunctionLike(node) || !('body' in node) || !node.body) return;
      const length = node.getText(file).split('\n').length;
      if (length > functionLinesMax)
        complaints.push(
          `${source.path}:${lineOf(file, node)}: a function of ${length} lines, at most ${functionLinesMax}`,
        );
    });
  }
  return complaints;
}

export const everyFileOpensWithItsPurpose = (sources: readonly SourceText[]): string[] =>
  sources
    .filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text))
    .map(({ path }) => `${path}: it does not open with a comment that says what it decides`);

/** Written in parts so that this file does not complain of itself. */
const unfinished = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);
const silenced = new RegExp(
  ['biome-' + 'ignore', 'eslint-' + 'disable', '@ts-' + '(ignore|nocheck|expect-error)'].join('|'),
);

export function nothingIsLeftForLater(sources: readonly SourceText[]): string[] {
  const complaints: string[] = [];
  for (const { path, text } of sources)
    for (const [at, line] of text.split('\n').entries()) {
      if (unfinished.test(line)) complaints.push(`${path}:${at + 1}: finish it, or write an issue`);
      if (silenced.test(line))
        complaints.push(`${path}:${at + 1}: mend what the tool says instead of silencing it`);
    }
  return complaints;
}

/** `c.ts`, `b/c.ts` and `a/b/c.ts` of `a/b/c.ts`. */
function endsOf(path: string): string[] {
  const parts = path.split('/');
  return parts.map((_, at) => parts.slice(at).join('/'));
}

/** Source files and pages that a page names, with or without their folders, must exist. */
export function pagesNameWhatExists(pages: readonly SourceText[], paths: readonly string[]): string[] {
  const known = new Set(paths.flatMap(endsOf));
  const complaints: string[] = [];
  for (const { path, text } of pages)
    for (const [at, line] of text.split('\n').entries())
      for (const [name] of line.matchAll(
        /(?<![\w/:.*-])[\w./-]*[\w-]\.(?:test\.|property\.test\.)?(?:ts|mjs|md)\b/g,
      )) {
        const tidy = normalize(name);
        const beside = normalize(join(dirname(path), name));
        if (!known.has(tidy) && !known.has(beside)) complaints.push(`${path}:${at + 1}: there is no ${name}`);
      }
  return complaints;
}
