/**
 * Every limit of the protocol, with its unit last in the name, and the relations that must hold between them.
 */

/** Largest frame: a 1 MiB read or write plus its header fields. A larger one closes the connection. */
export const frameBytesMax = 1024 * 1024 + 64 * 1024;
/** Largest read or write of one request. */
export const transferBytesMax = 1024 * 1024;
/** Bytes of one name in a directory (NAME_MAX). */
export const nameBytesMax = 255;
/** Bytes of an extended attribute's name and value (XATTR_NAME_MAX, XATTR_SIZE_MAX). */
export const xattrNameBytesMax = 255;
export const xattrValueBytesMax = 65_536;
/** Bytes of a symbolic link's target (PATH_MAX less its end). */
export const symlinkBytesMax = 4095;
/** Largest file: offsets are JavaScript numbers in the content path, exact up to here. */
export const fileBytesMax = Number.MAX_SAFE_INTEGER;
/** Content is stored in chunks of this size. See docs/DISK.md for how it was chosen. */
export const chunkBytes = 16 * 1024;

/** A held freeze of one file ends by itself after this long; the migration is then aborted. */
export const freezeMsDefault = 250;
/** How long a brick keeps the session of a client whose connection was lost. */
export const graceMsDefault = 10_000;
/** A client that has nothing to say says it this often, as a part of the grace. */
export const pingsPerGrace = 4;
/** A client waits this long for a brick that cannot be reached before its operations fail. */
export const reconnectMsDefault = graceMsDefault;

/** Redirects that one operation follows before it is given up as a loop. */
export const redirectsMax = 16;
/** Locks and waiters of one client on one brick; one more is refused with ENOLCK. */
export const locksPerClientMax = 4_000_000;
export const waitersPerClientMax = 100_000;
/** Waits in one chain that is searched for a deadlock (Linux follows 10: MAX_DEADLK_ITERATIONS in fs/locks.c). */
export const chainedWaitsMax = 64;
/** Requests of one client that a brick works on at once. */
export const requestsInFlightMax = 200_000;
/** Answers that one client leaves unread; past it the brick closes the connection, and keeps the session. */
export const unreadBytesMax = 256 * 1024 * 1024;

if (freezeMsDefault >= graceMsDefault) throw new Error('a freeze must end well before a grace does');
if (transferBytesMax + 4096 > frameBytesMax) throw new Error('a frame must hold a whole transfer');
