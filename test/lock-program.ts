/**
 * Random programs of lock calls by several processes, none of which waits, and how one is carried out in a folder. The
 * answers are text; two folders whose filesystems treat locks alike give the same text. Numbers of processes and of
 * descriptors are told as places, so that they can be compared.
 */
import { join } from 'node:path';
import fc from 'fast-check';
import { type Kind, LockProcess, type Start, type Type } from '../conformance/lock-process.js';
import { errnoOf } from './opened-file.js';

const files = ['one', 'two'] as const;
const processes = 3;
const childrenMax = 2;

export type Step = { readonly who: number } & (
  | { readonly op: 'open'; readonly file: number; readonly mode: 'r' | 'w' | 'rw' }
  | { readonly op: 'close' | 'dup'; readonly fd: number }
  | {
      readonly op: 'lock' | 'test';
      readonly fd: number;
      readonly kind: Kind;
      readonly type: Type;
      readonly range: Range;
    }
  | { readonly op: 'unlock'; readonly fd: number; readonly kind: Kind; readonly range: Range }
  | { readonly op: 'fork' | 'exec' | 'end' | 'kill' }
  | { readonly op: 'size'; readonly fd: number; readonly bytes: number }
);

interface Range {
  readonly start: Start;
  readonly length: bigint;
}

const end = 2n ** 63n - 1n;
/** Few bytes, so that ranges meet; and what is special: far away, backwards, to the end, from elsewhere. */
const range: fc.Arbitrary<Range> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ start: fc.bigInt(0n, 12n), length: fc.bigInt(0n, 6n) }) },
  { weight: 1, arbitrary: fc.record({ start: fc.bigInt(4n, 16n), length: fc.bigInt(-6n, -1n) }) },
  { weight: 1, arbitrary: fc.record({ start: fc.bigInt(end - 6n, end), length: fc.bigInt(-3n, 3n) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      start: fc.constantFrom<Start>('cur0', 'cur3', 'end0', 'end-4', 'end5', 'cur-1'),
      length: fc.bigInt(-2n, 5n),
    }),
  },
);
const who = fc.nat({ max: processes + processes * childrenMax - 1 });
const fd = fc.nat({ max: 3 });
const kind = fc.constantFrom<Kind>('posix', 'posix', 'ofd', 'flock');
const type = fc.constantFrom<Type>('read', 'write');

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('open' as const),
      who,
      file: fc.constantFrom(0, 0, 0, 1),
      mode: fc.constantFrom<'r' | 'w' | 'rw'>('rw', 'rw', 'rw', 'rw', 'r', 'w'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('close' as const, 'dup' as const), who, fd }) },
  {
    weight: 20,
    arbitrary: fc.record({
      op: fc.constantFrom('lock' as const, 'lock' as const, 'test' as const),
      who,
      fd,
      kind,
      type,
      range,
    }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('unlock' as const), who, fd, kind, range }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constantFrom('fork' as const, 'fork' as const, 'exec' as const, 'end' as const, 'kill' as const),
      who,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('size' as const), who, fd, bytes: fc.nat({ max: 20 }) }),
  },
);

/** Processes open the file first: without that most steps would be idle. */
export const program: fc.Arbitrary<Step[]> = fc
  .array(step, { minLength: 20, maxLength: 60, size: 'max' })
  .map((steps) => [
    ...Array.from(
      { length: processes },
      (_, one) => ({ op: 'open', who: one, file: 0, mode: 'rw' }) as const,
    ),
    ...steps,
  ]);

export const describe = (step: Step): string =>
  JSON.stringify(step, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));

interface Actor {
  readonly process: LockProcess;
  readonly fds: number[];
  readonly isChild: boolean;
  isParent: boolean;
}

/** Carries the program out on files of its own. @returns one line a step */
export async function carryOut(steps: readonly Step[], folder: string, run: string): Promise<string[]> {
  const actors: Actor[] = [];
  const all: LockProcess[] = [];
  try {
    for (let at = 0; at < processes; at++) {
      const process = LockProcess.start(childrenMax);
      all.push(process);
      actors.push({ process, fds: [], isChild: false, isParent: false });
    }
    const answers: string[] = [];
    for (const step of steps)
      answers.push(await carryOutStep(step, actors, all, (file) => join(folder, `${run}-${files[file]}`)));
    return answers;
  } finally {
    await Promise.all(all.map(leave));
  }
}

async function leave(process: LockProcess): Promise<void> {
  try {
    process.signal('SIGKILL');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error;
  }
  await process.left;
}

async function carryOutStep(
  step: Step,
  actors: Actor[],
  all: LockProcess[],
  pathOf: (file: number) => string,
): Promise<string> {
  const actor = actors[step.who];
  if (actor === undefined) return 'nobody';
  const { process, fds } = actor;
  switch (step.op) {
    case 'open': {
      const opened = await errnoOf(process.open(pathOf(step.file), step.mode));
      if (Number.isInteger(Number(opened))) fds.push(Number(opened));
      return `descriptor ${opened}`;
    }
    case 'fork': {
      if (actor.isChild || all.length - processes >= childrenMax) return 'no more children';
      const child = await process.fork();
      all.push(child);
      actors.push({ process: child, fds: [...fds], isChild: true, isParent: false });
      actor.isParent = true;
      return 'forked';
    }
    case 'exec':
      return errnoOf(process.exec().then(() => 'exec'));
    case 'end':
    case 'kill':
      // Its children's end would be nobody's to wait for.
      if (actor.isParent) return 'it has children';
      actors.splice(actors.indexOf(actor), 1);
      await (step.op === 'end' ? process.end() : process.kill());
      return 'ended';
    default: {
      const fd = fds[step.fd % (fds.length || 1)];
      return fd === undefined ? 'nothing open' : carryOutOn(step, fd, actor, all);
    }
  }
}

type OnDescriptor = Exclude<Step, { op: 'open' | 'fork' | 'exec' | 'end' | 'kill' }>;

async function carryOutOn(
  step: OnDescriptor,
  fd: number,
  { process, fds }: Actor,
  all: readonly LockProcess[],
): Promise<string> {
  switch (step.op) {
    case 'close':
      fds.splice(fds.indexOf(fd), 1);
      return errnoOf(process.close(fd).then(() => 'closed'));
    case 'dup': {
      const copy = await process.dup(fd);
      fds.push(copy);
      return `descriptor ${copy}`;
    }
    case 'lock':
      return errnoOf(process.lock(fd, step.kind, step.type, step.range.start, step.range.length));
    case 'unlock':
      return errnoOf(
        process.unlock(fd, step.kind, step.range.start, step.range.length).then(() => 'unlocked'),
      );
    case 'size':
      return errnoOf(process.truncate(fd, step.bytes).then(() => 'truncated'));
    case 'test': {
      if (step.kind === 'flock') return 'flock has no test';
      const tested = process.test(fd, step.kind, step.type, step.range.start, step.range.length);
      return errnoOf(
        tested.then((held) => {
          if (held === undefined) return 'free';
          // Through FUSE, F_OFD_GETLK never tells the process (fuse_getlk leaves FL_OFDLCK of the question set).
          const holder = step.kind === 'ofd' ? '-' : all.findIndex(({ pid }) => pid === held.pid);
          return `${held.type} ${held.start} ${held.length} by ${holder}`;
        }),
      );
    }
  }
}

/**
 * Whether two answers say the same, where `native` is what a filesystem of Linux itself said. An OFD lock has no
 * process there (-1); FUSE cannot say so, and names one.
 */
export const isSame = (native: string, other: string): boolean =>
  native === other || (native.endsWith(' by -1') && other.replace(/ by \d+$/, ' by -1') === native);
