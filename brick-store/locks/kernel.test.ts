/**
 * The lock table against the kernel: several processes make random fcntl and flock calls on a file of a local
 * filesystem; the same calls on the table must end the same way, down to which lock F_GETLK names.
 *
 * Calls that do not wait only, one process at a time, so that the order of calls is the same in both.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import type { ClientId, LkOwner } from '../../wire/ids.js';
import type { LockType } from '../../wire/lock-types.js';
import { checkInvariants } from './invariants.js';
import { LockTable } from './lock-table.js';

/** One line a call: process, call, type, start, end, and what the kernel answered. */
const driver = String.raw`
import fcntl, os, random, struct, sys
path, seed, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
LAST, SPAN, rnd = (1 << 63) - 1, 24, random.Random(seed)
open(path, 'w').close()
types = {'read': fcntl.F_RDLCK, 'write': fcntl.F_WRLCK, 'none': fcntl.F_UNLCK}
modes = {'read': fcntl.LOCK_SH, 'write': fcntl.LOCK_EX, 'none': fcntl.LOCK_UN}

def answer(fd, flock_fd, call, type, start, end):
    record = struct.pack('hhqqi4x', types[type], 0, start, 0 if end == LAST else end - start + 1, 0)
    try:
        if call == 'flock':
            fcntl.flock(flock_fd, modes[type] | fcntl.LOCK_NB)
        elif call == 'set':
            fcntl.fcntl(fd, fcntl.F_SETLK, record)
        else:
            found, _, at, length, pid = struct.unpack('hhqqi4x', fcntl.fcntl(fd, fcntl.F_GETLK, record))
            if found == fcntl.F_UNLCK: return 'free'
            kind = 'read' if found == fcntl.F_RDLCK else 'write'
            return f'{kind} {at}..{LAST if length == 0 else at + length - 1} {pid}'
        return 'granted'
    except BlockingIOError:
        return 'conflict'

def serve(requests, answers):
    fd, flock_fd = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    for line in os.fdopen(requests):
        call, type, start, end = line.split()
        os.write(answers, (answer(fd, flock_fd, call, type, int(start), int(end)) + '\n').encode())
    os._exit(0)

workers = []
for n in range(5):
    requests, answers = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        for worker in workers: os.close(worker[1])
        os.close(requests[1])
        serve(requests[0], answers[1])
    os.close(requests[0]); os.close(answers[1])
    workers.append((pid, requests[1], os.fdopen(answers[0])))

for _ in range(calls):
    who, chance = rnd.randrange(5), rnd.random()
    base = 0 if rnd.random() < 0.7 else LAST - SPAN
    start = base + rnd.randrange(SPAN)
    end = LAST if rnd.random() < 0.05 else min(LAST, start + rnd.randrange(8))
    call = 'flock' if chance < 0.15 else 'set' if chance < 0.6 else 'get'
    type = rnd.choice(['read', 'write'] if call == 'get' else ['read', 'read', 'write', 'none', 'none'])
    pid, requests, answers = workers[who]
    os.write(requests, f'{call} {type} {start} {end}\n'.encode())
    said = answers.readline().strip()
    for n, worker in enumerate(workers): said = said.replace(f' {worker[0]}', f' process {n}')
    print(who, call, type, start, end, said)
for pid, requests, answers in workers:
    os.close(requests); os.waitpid(pid, 0)
`;

const client = 'a'.repeat(32) as ClientId;

const tableSays = (table: LockTable, line: string): string => {
  const [who, call, type, start, end] = line.split(' ') as [string, string, string, string, string];
  const owner = who.padStart(16, '0') as LkOwner;
  const kind = call === 'flock' ? 'flock' : 'posix';
  const range = { kind, start: BigInt(start), end: BigInt(end), client, owner } as const;
  if (call === 'get') {
    const found = table.test({ ...range, type: type as LockType });
    return found === undefined ? 'free' : `${found.type} ${found.start}..${found.end} process ${found.pid}`;
  }
  if (type === 'none') {
    table.unlock(kind, client, owner, range.start, range.end);
    return 'granted';
  }
  return table.lock({ ...range, type: type as LockType, pid: Number(who), wait: false }).outcome;
};

t.test('10,000 random calls of five processes end as in the kernel', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'lockferry-kernel-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const seed = process.env.LOCKFERRY_SEED ?? `${process.pid}`;
  t.comment(`LOCKFERRY_SEED=${seed}`);
  const args = ['-c', driver, join(folder, 'file'), seed, '10000'];
  const { stdout } = await promisify(execFile)('python3', args, { maxBuffer: 64 * 1024 * 1024 });
  const table = new LockTable();
  const lines = stdout.trimEnd().split('\n');
  t.equal(lines.length, 10_000);
  let named = 0;
  for (const [at, line] of lines.entries()) {
    const kernel = line.split(' ').slice(5).join(' ');
    const said = tableSays(table, line);
    if (said !== kernel) return t.fail(`call ${at}, ${line}: the table says ${said}`);
    if (said.includes('process')) named++;
  }
  checkInvariants(table);
  t.ok(named > 500, `F_GETLK named ${named} locks`);
});
