/**
 * What the system call that a thread is blocked in says of the owner of the lock it waits for. A request to a FUSE
 * filesystem does not: F_SETLKW and F_OFD_SETLKW arrive alike (fs/fuse/file.c, fuse_lk_fill). While the request is
 * unanswered its thread sleeps in that very call, so this is proof, where it can be read at all. Pure; kernel-device.ts
 * reads.
 */

/** `process`: F_SETLKW. `open file`: F_OFD_SETLKW. */
export type BlockedCall = 'process' | 'open file' | 'unknown';

/** The second argument of fcntl(2); include/uapi/asm-generic/fcntl.h. F_SETLKW64 is what 32-bit programs call. */
const commands: Readonly<Record<string, BlockedCall>> = {
  '0x7': 'process',
  '0xe': 'process',
  '0x26': 'open file',
};

/**
 * @param text of /proc/PID/task/TID/syscall, proc(5): the number of the call and its arguments in hexadecimal;
 *   `running` where the thread does not sleep
 */
export const blockedCall = (text: string): BlockedCall => commands[text.split(' ')[2] ?? ''] ?? 'unknown';
