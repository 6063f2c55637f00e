/**
 * The repository keeps its own rules. First each rule against a sample that breaks it, so that a rule which sees
 * nothing is noticed; then all of them against the repository.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import {
  everyFileIsUsed,
  everyFileOpensWithItsPurpose,
  everyNameIsOnce,
  fileLinesMax,
  functionLinesMax,
  importsGoOneWay,
  nothingIsLeftForLater,
  onlyDoorsTouchOutside,
  pagesNameWhatExists,
  type SourceText,
  sizesAreBounded,
} from './tidy-rules.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const notOurs = /^(node_modules|dist[^/]*|build|volume|\.git|\.tap)(\/|$)/;

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (notOurs.test(relative(root, path))) return [];
    return entry.isDirectory() ? filesBelow(path) : [relative(root, path)];
  });
}

const paths = filesBelow(root).sort();
const read = (path: string): SourceText => ({ path, text: readFileSync(join(root, path), 'utf8') });
const sources = paths.filter((path) => path.endsWith('.ts')).map(read);
const pages = paths.filter((path) => path.endsWith('.md')).map(read);
const roots = ['bin/cli.ts', 'bin/demo.ts', ...paths.filter((path) => /^benchmark\/[^/]+\.ts$/.test(path))];

const sample = (path: string, text: string): SourceText => ({ path, text });

t.test('each rule sees what breaks it', async (t) => {
  t.match(importsGoOneWay([sample('wire/a.ts', "import { x } from '../dht/b.js';")]), [
    /wire may not import from dht/,
  ]);
  t.match(importsGoOneWay([sample('dht/a.ts', "const x = await import('../mount/b.js');")]), [/dht may not/]);
  t.same(importsGoOneWay([sample('mount/a.ts', "import { x } from '../dht/b.js';")]), []);

  t.match(onlyDoorsTouchOutside([sample('dht/a.ts', 'const now = Date.now();')]), [/Date\.now is for doors/]);
  t.match(onlyDoorsTouchOutside([sample('dht/a.ts', 'globalThis.setTimeout(go, 1);')]), [
    /setTimeout is for doors/,
  ]);
  t.match(onlyDoorsTouchOutside([sample('dht/a.ts', 'const draw = Math.random;')]), [
    /Math\.random is for doors/,
  ]);
  t.match(onlyDoorsTouchOutside([sample('mount/a.ts', "import { readFileSync } from 'node:fs';")]), [
    /node:fs is/,
  ]);
  t.same(onlyDoorsTouchOutside([sample('dht/a.ts', '// Date.now()\nconst text = "Math.random()";')]), []);
  t.same(onlyDoorsTouchOutside([sample('host/clock.ts', 'const now = Date.now();')]), []);

  const chain = [
    sample('bin/cli.ts', "import '../a/b.js';"),
    sample('a/b.ts', ''),
    sample('a/unused.ts', ''),
  ];
  t.match(everyFileIsUsed(chain, ['bin/cli.ts']), [/^a\/unused\.ts/]);
  t.match(everyNameIsOnce([sample('a/x.ts', ''), sample('b/x.ts', '')]), [
    /b\/x\.ts: a\/x\.ts has the same name/,
  ]);

  const long = `function f() {\n${'g();\n'.repeat(functionLinesMax)}}`;
  t.match(sizesAreBounded([sample('a/x.ts', long)]), [/a function of/]);
  t.match(sizesAreBounded([sample('a/x.ts', '\n'.repeat(fileLinesMax + 1))]), [/lines, at most/]);
  t.match(everyFileOpensWithItsPurpose([sample('a/x.ts', 'const x = 1;')]), [/does not open with/]);
  t.match(nothingIsLeftForLater([sample('a/x.ts', `// ${'TO'}${'DO'} later`)]), [/finish it/]);
  t.match(nothingIsLeftForLater([sample('a/x.ts', `// biome-${'ignore'} lint`)]), [/instead of silencing/]);
  t.match(pagesNameWhatExists([sample('docs/A.md', 'see `wire/gone.ts`')], ['wire/here.ts']), [
    /no wire\/gone\.ts/,
  ]);
  t.same(
    pagesNameWhatExists(
      [sample('docs/A.md', 'see here.ts, wire/here.ts, B.md')],
      ['wire/here.ts', 'docs/B.md'],
    ),
    [],
  );
});

t.test('the repository keeps the rules', async (t) => {
  t.ok(sources.length > 50, 'the sources were found');
  t.same(importsGoOneWay(sources), [], 'imports go one way');
  t.same(onlyDoorsTouchOutside(sources), [], 'only doors touch time, chance, network, disk and processes');
  t.same(everyFileIsUsed(sources, roots), [], 'every file is used');
  t.same(everyNameIsOnce(sources), [], 'no two files have one name');
  t.same(sizesAreBounded(sources), [], 'files and functions are short enough');
  t.same(everyFileOpensWithItsPurpose(sources), [], 'every file opens with its purpose');
  t.same(nothingIsLeftForLater(sources), [], 'nothing is left for later');
  t.same(pagesNameWhatExists(pages, paths), [], 'pages name what exists');
});
