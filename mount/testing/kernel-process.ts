/**
 * A real process that makes system calls on a mount when it is told to. The test's own process must not: it is the
 * one that answers the kernel, and would wait for itself. Python, because it has every call and no build.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Runs each line (JSON text of Python code): an expression's value is answered, an OSError as its errno. */
const program = `
import ctypes, errno, fcntl, json, mmap, os, signal, stat, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)

class Flock(ctypes.Structure):
    _fields_ = [('type', ctypes.c_short), ('whence', ctypes.c_short), ('start', ctypes.c_int64),
                ('len', ctypes.c_int64), ('pid', ctypes.c_int)]

SETLK, SETLKW, GETLK, OFD_GETLK, OFD_SETLK, OFD_SETLKW = 6, 7, 5, 36, 37, 38
R, W, U = 0, 1, 2

# Straight to the C library: Python's own calls hide EINTR. Answers 0 or an errno.
def lock(fd, type, start=0, len=0, wait=False, ofd=False):
    l = Flock(type, 0, start, len, 0)
    cmd = (OFD_SETLKW if wait else OFD_SETLK) if ofd else (SETLKW if wait else SETLK)
    return 0 if libc.fcntl(fd, cmd, ctypes.byref(l)) == 0 else ctypes.get_errno()

def getlk(fd, type, start=0, len=0):
    l = Flock(type, 0, start, len, 0)
    if libc.fcntl(fd, GETLK, ctypes.byref(l)) != 0: return ctypes.get_errno()
    return None if l.type == U else [l.type, l.start, l.len, l.pid]

def flock(fd, how):
    return 0 if libc.flock(fd, how) == 0 else ctypes.get_errno()

def on_alarm(seconds, restart):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, not restart)
    signal.setitimer(signal.ITIMER_REAL, seconds)

def put(path, data, mode='wb'):
    with open(path, mode, buffering=0) as f: return f.write(data)

def get(path):
    with open(path, 'rb', buffering=0) as f: return f.read().decode('latin1')

scope = globals()
for line in sys.stdin:
    code = json.loads(line)
    try:
        try: value = eval(code, scope)
        except SyntaxError: value = exec(code, scope)
        if isinstance(value, bytes): value = value.decode('latin1')
        if isinstance(value, os.stat_result): value = {k: getattr(value, k) for k in dir(value) if k.startswith('st_')}
        answer = {'value': value}
    except OSError as e: answer = {'errno': errno.errorcode.get(e.errno, str(e.errno))}
    except Exception as e: answer = {'fault': repr(e)}
    print(json.dumps(answer), flush=True)
`;

export class KernelProcess {
  readonly #child: ChildProcess;
  readonly #answers: ((line: string | undefined) => void)[] = [];
  readonly exited: Promise<void>;

  constructor(cwd: string) {
    // Starts outside the mount and enters it by path: its start must not depend on the mount.
    this.#child = spawn('python3', ['-c', program], { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: this.#child.stdout! });
    lines.on('line', (line) => this.#answers.shift()?.(line));
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', () => {
        for (const answer of this.#answers.splice(0)) answer(undefined);
        resolve();
      });
    });
    this.#child.stdin!.on('error', () => undefined);
    this.run(`os.chdir(${JSON.stringify(cwd)})`).catch(() => undefined);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The value of a Python expression, or `errno: NAME` where the system call failed. */
  async run(code: string): Promise<unknown> {
    const line = await new Promise<string | undefined>((resolve) => {
      this.#answers.push(resolve);
      this.#child.stdin!.write(`${JSON.stringify(code)}\n`);
    });
    if (line === undefined) throw new Error(`the process ended before it answered: ${code}`);
    const answer = JSON.parse(line) as { value?: unknown; errno?: string; fault?: string };
    if (answer.fault !== undefined) throw new Error(`${answer.fault}: ${code}`);
    return answer.errno === undefined ? answer.value : `errno: ${answer.errno}`;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }
}
