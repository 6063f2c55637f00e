/**
 * Locks, and the two moments at which locks die: FLUSH (a process closes a descriptor) and RELEASE (an open file is
 * closed for good). The rules follow what the kernel sends (fs/fuse/file.c, fs/locks.c; docs/FUSE.md has the table).
 * Who holds what is decided by a brick; nothing here waits for another request's lock.
 */

import type { LockOutcome, LockRequest } from '../../dht/volume.js';
import { Refusal } from '../../wire/errors.js';
import { lockReply, okReply, type Reply } from '../fuse/reply.js';
import type { LockBody, RequestOf } from '../fuse/request.js';
import { type Call, interruptedRefusal } from '../fuse/session.js';
import type { Inode } from '../inode-table.js';
import { PendingRequest } from '../lock-users.js';
import type { OpenFile } from '../open-files.js';
import type { Context } from './context.js';
import { dropCache, writeBackStores } from './refresh.js';

const lockRequest = (file: OpenFile, body: LockBody, wait: boolean): LockRequest => {
  if (body.type === 'unlock') throw new Refusal('EINVAL');
  return {
    file: file.inode.file,
    owner: body.owner,
    kind: body.flock ? 'flock' : 'posix',
    type: body.type,
    start: body.start,
    end: body.end,
    pid: body.pid,
    wait,
  };
};

export const setLock = (
  context: Context,
  request: RequestOf<'SETLK'> | RequestOf<'SETLKW'>,
  call: Call,
): Promise<Reply> => {
  const file = context.files.file(request.fh);
  if (request.type === 'unlock') {
    const { owner, flock, start, end } = request;
    const unlock = (): Promise<Reply> =>
      context.volume.unlock(file.inode.file, owner, flock ? 'flock' : 'posix', start, end).then(okReply);
    const written = writeBackStores(context, file.inode, request.head.pid);
    return written === undefined ? unlock() : written.then(unlock);
  }
  const { inode } = file;
  const wanted =
    request.op === 'SETLKW'
      ? { ...lockRequest(file, request, true), isProcessOwner: () => isProcessOwner(context, request) }
      : lockRequest(file, request, false);
  const start = (): Promise<Reply> => lock(context, inode, wanted, call, pending, request.head.pid);
  const { released } = inode.locks;
  // A downgrade lets others read what was stored.
  const written =
    request.type === 'read' && inode.locks.has(request.owner)
      ? writeBackStores(context, inode, request.head.pid)
      : undefined;
  const before = written === undefined ? released : Promise.all([released, written]).then(() => undefined);
  const reply = before?.then(start);
  const pending = new PendingRequest(request.owner, !wanted.wait);
  file.lockOwners.add(request.owner);
  inode.locks.began(request.owner, request.fh, pending);
  return (reply ?? start()).then(
    (answer) => {
      inode.locks.answered(pending);
      return answer;
    },
    (error: unknown) => {
      inode.locks.answered(pending);
      throw error;
    },
  );
};

/**
 * Only a process can be in a deadlock, and nothing in a request tells its lock from an OFD lock. Two things are proof:
 * another open file with this owner, and the call that the thread sleeps in. Without proof there is no EDEADLK.
 */
const isProcessOwner = async (context: Context, request: RequestOf<'SETLKW'>): Promise<boolean> => {
  if (request.flock) return false;
  if (context.files.isUsedElsewhere(request.owner, request.fh)) return true;
  return (await context.device.blockedCall?.(request.head.pid)) === 'process';
};

const lock = (
  context: Context,
  inode: Inode,
  wanted: LockRequest,
  call: Call,
  pending: PendingRequest,
  thread: number,
): Promise<Reply> => {
  // Interrupted while a RELEASE had to be waited for: the brick never hears of it.
  if (call.interrupted && wanted.wait) throw interruptedRefusal(call);
  const asked = context.volume.lock(wanted, wanted.wait ? context.tickets.take(wanted) : undefined);
  if (wanted.wait)
    call.onInterrupt = () => {
      pending.ends = true;
      asked.cancel();
    };
  return asked.outcome.then((outcome) => outcomeReply(context, inode, wanted, call, outcome, thread));
};

const outcomeReply = (
  context: Context,
  inode: Inode,
  wanted: LockRequest,
  call: Call,
  outcome: LockOutcome,
  thread: number,
): Reply | Promise<Reply> => {
  switch (outcome.outcome) {
    case 'granted':
      // Also after an INTERRUPT: the grant came first. The process sees the lock, and then its signal.
      if (inode.pages.isCurrent(outcome.change)) return okReply();
      return dropCache(context, inode, outcome.change, thread).then(okReply);
    case 'conflict':
      throw new Refusal('EAGAIN');
    case 'deadlock':
      throw new Refusal('EDEADLK');
    case 'cancelled':
      if (outcome.ticket !== undefined && call.interrupted) context.tickets.keep(wanted, outcome.ticket);
      throw interruptedRefusal(call);
  }
};

/** F_GETLK. The kernel turns a range that ends before its start into EIO (convert_fuse_file_lock): never send one. */
export const getLock = async (context: Context, request: RequestOf<'GETLK'>): Promise<Reply> => {
  const file = context.files.file(request.fh);
  const wanted = lockRequest(file, request, false);
  if (file.inode.locks.released !== undefined) await file.inode.locks.released;
  return lockReply(await context.volume.testLock(wanted));
};

/**
 * Some descriptor was closed: the closing process's posix locks on the file go, whichever descriptor it locked
 * through. Sent for every close, lock or no lock, so the brick is asked only where that owner used a lock here. It
 * goes behind that owner's requests that are about to be answered, so that no grant slips in after it; but not behind
 * a thread's F_SETLKW, which may take for ever and which close(2) does not end on Linux either.
 */
export const flush = (context: Context, { head, owner }: RequestOf<'FLUSH'>): Reply | Promise<Reply> => {
  const inode = context.inodes.get(head.nodeid);
  if (!inode.locks.has(owner)) return okReply();
  return flushOwner(context, inode, owner);
};

const flushOwner = async (context: Context, inode: Inode, owner: LockBody['owner']): Promise<Reply> => {
  const ending = inode.locks.ending(owner);
  if (ending.length > 0) await Promise.all(ending);
  const handles = inode.locks.flushing(owner);
  for (const fh of handles) context.files.find(fh)?.lockOwners.delete(owner);
  try {
    await context.volume.flushOwner(inode.file, owner);
  } catch (error) {
    inode.locks.notFlushed(owner, handles);
    for (const fh of handles) context.files.find(fh)?.lockOwners.add(owner);
    throw error;
  }
  return okReply();
};

/**
 * The last close of an open file. No unlock is ever sent for OFD locks: the owners that were seen only through this
 * handle are what is left to drop. close(2) has returned by now, so lock requests that come next must find these
 * locks gone: they wait for the answer.
 */
export const release = (context: Context, { fh }: RequestOf<'RELEASE'>): Promise<Reply> => {
  const file = context.files.file(fh);
  const { inode } = file;
  context.files.close(file);
  const owners = inode.locks.closed(fh, file.lockOwners);
  const released = context.volume.release(inode.file, owners);
  if (owners.length > 0)
    inode.locks.releasing(
      released.catch((error: unknown) =>
        context.trace.warn('mount.release', {
          file: inode.file,
          owners: owners.length,
          reason: String(error),
        }),
      ),
    );
  return released.then(okReply);
};
