/**
 * The C programs of the benchmark, compiled into build/benchmark when their source is newer. Each is one file; what
 * it needs beyond libc is said here. Called by load.ts and contestants.ts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** From dist/benchmark. */
const root = fileURLToPath(new URL('../..', import.meta.url));

const programs = {
  load: { header: undefined, package: undefined, flags: [] },
  'null-fuse': {
    header: '/usr/include/fuse3/fuse_lowlevel.h',
    package: 'libfuse3-dev',
    flags: ['-I/usr/include/fuse3', '-lfuse3', '-lpthread'],
  },
} as const;

/** @throws Error with one line for people: a package is missing, or what the compiler said */
export function programPath(name: keyof typeof programs): string {
  const { header, package: debianPackage, flags } = programs[name];
  const source = join(root, 'benchmark', `${name}.c`);
  const program = join(root, 'build', 'benchmark', name);
  if (existsSync(program) && statSync(program).mtimeMs >= statSync(source).mtimeMs) return program;
  if (header !== undefined && !existsSync(header))
    throw new Error(
      `${name} needs ${debianPackage}, which is not installed: apt-get install ${debianPackage}`,
    );
  mkdirSync(dirname(program), { recursive: true });
  const arguments_ = [
    '-std=gnu11',
    '-O2',
    '-Wall',
    '-Wextra',
    '-D_GNU_SOURCE',
    '-o',
    program,
    source,
    ...flags,
  ];
  const compiled = spawnSync('gcc', arguments_, { encoding: 'utf8' });
  if (compiled.status !== 0)
    throw new Error(`${name}.c was not compiled: ${compiled.stderr || compiled.error?.message}`);
  return program;
}
