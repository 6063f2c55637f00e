/**
 * The closed list of refusals, and their errno.
 *
 * A refusal is an expected answer ("no such name"), as errno is for a system call: it is thrown as `Refusal` and
 * passes through the layers untouched. Broken links and bugs are ordinary Errors.
 * Lock outcomes (granted, waiting, conflict) are values, not refusals.
 */
import { constants } from 'node:os';
import type { Moved } from './lock-types.js';

/** Codes that an application may see are named as in errno(3); the others stay between mount and bricks. */
export const refusals = {
  EPERM: [constants.errno.EPERM, 'operation not permitted'],
  ENOENT: [constants.errno.ENOENT, 'no such file or directory'],
  EINTR: [constants.errno.EINTR, 'interrupted'],
  EIO: [constants.errno.EIO, 'input/output error'],
  ENXIO: [constants.errno.ENXIO, 'no data or hole past this offset'],
  EBADF: [constants.errno.EBADF, 'the handle is no longer valid'],
  EAGAIN: [constants.errno.EAGAIN, 'held by another owner'],
  ENOMEM: [constants.errno.ENOMEM, 'out of memory'],
  EACCES: [constants.errno.EACCES, 'permission denied'],
  EBUSY: [constants.errno.EBUSY, 'busy'],
  EEXIST: [constants.errno.EEXIST, 'already exists'],
  ENOTDIR: [constants.errno.ENOTDIR, 'not a directory'],
  EISDIR: [constants.errno.EISDIR, 'is a directory'],
  EINVAL: [constants.errno.EINVAL, 'invalid argument'],
  EFBIG: [constants.errno.EFBIG, 'file too large'],
  ENOSPC: [constants.errno.ENOSPC, 'no space left on the disk of the brick'],
  EROFS: [constants.errno.EROFS, 'read-only'],
  EMLINK: [constants.errno.EMLINK, 'too many links'],
  ERANGE: [constants.errno.ERANGE, 'result too large for the buffer'],
  EDEADLK: [constants.errno.EDEADLK, 'waiting would be a deadlock'],
  ENAMETOOLONG: [constants.errno.ENAMETOOLONG, 'name too long'],
  ENOLCK: [constants.errno.ENOLCK, 'too many locks or waiters'],
  ENOSYS: [constants.errno.ENOSYS, 'not supported'],
  ENOTEMPTY: [constants.errno.ENOTEMPTY, 'directory not empty'],
  ENODATA: [constants.errno.ENODATA, 'no such extended attribute'],
  EOVERFLOW: [constants.errno.EOVERFLOW, 'value too large'],
  EOPNOTSUPP: [constants.errno.EOPNOTSUPP, 'operation not supported'],
  ENOTCONN: [constants.errno.ENOTCONN, 'the brick cannot be reached'],
  ETIMEDOUT: [constants.errno.ETIMEDOUT, 'timed out'],
  ESTALE: [constants.errno.ESTALE, 'the file is not on this brick'],
  /** The file moved; `moved` says where. Answered by a source brick from its REPLAY record. */
  EREMOTE: [constants.errno.EIO, 'the file moved to another brick'],
  /** The session was ended by the brick (grace over) and this incarnation is not obeyed any more. */
  EFENCED: [constants.errno.EIO, 'the brick ended this session'],
  /** The other side does not speak this protocol, or sent something that breaks its rules. */
  EPROTO: [constants.errno.EPROTO, 'protocol error'],
} as const satisfies Record<string, readonly [number, string]>;

export type RefusalCode = keyof typeof refusals;

export const isRefusalCode = (value: unknown): value is RefusalCode =>
  typeof value === 'string' && Object.hasOwn(refusals, value);

/** An expected "no". Built without a stack: it is an answer, made thousands of times a second, not a fault. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  /** Present exactly when code is EREMOTE. */
  readonly moved: Moved | undefined;

  constructor(code: RefusalCode, text?: string, moved?: Moved) {
    const depth = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(text ?? refusals[code][1]);
    Error.stackTraceLimit = depth;
    this.code = code;
    this.moved = moved;
  }

  /** The positive errno that an application sees. */
  get errno(): number {
    return refusals[this.code][0];
  }
}

/** The refusal in a caught value, or undefined where the value is a fault. */
export const asRefusal = (error: unknown): Refusal | undefined =>
  error instanceof Refusal ? error : undefined;
