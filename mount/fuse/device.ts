/**
 * The kernel door of a mount: messages of the FUSE protocol in, replies and notifications out. The real one is
 * kernel-device.ts; a simulated kernel implements the same. It knows no opcode.
 */
import type { BlockedCall } from './blocked-call.js';
import type { MappedFiles } from './process-maps.js';

export interface FuseDevice {
  /**
   * Begins to deliver. `onMessage` gets one whole message; its bytes are valid until it returns. `onEnd` is called
   * once, after the last message, with a line for people; after it nothing can be answered.
   */
  start(onMessage: (message: Buffer) => void, onEnd: (reason: string) => void): void;
  /**
   * Sends one reply: `head` begins with the reply's header, `data` follows it. Returns without waiting. A reply that
   * the kernel does not want any more (the request was aborted, the connection ended) is dropped silently.
   */
  reply(head: Buffer, data?: Uint8Array): void;
  /**
   * Sends one notification and resolves when the kernel has carried it out. Never blocks the caller: carrying it out
   * may need the reply to a request that is in flight. An inode that the kernel does not know is no error.
   */
  notify(message: Buffer): Promise<void>;
  /**
   * What kind of lock this thread waits for, by its number in a request's header. To be asked while its request is
   * unanswered. A device that cannot know leaves it out.
   */
  blockedCall?(thread: number): Promise<BlockedCall>;
  /**
   * What the process of this thread has mapped of this filesystem; undefined where that cannot be known, so that
   * anything may be. A device without mapped memory leaves it out.
   */
  mappedFiles?(thread: number): MappedFiles | Promise<MappedFiles | undefined>;
  /**
   * Takes the filesystem out of the tree. `detached`: it was busy, and lives on for those who use it; `onEnd` follows
   * when the last of them is gone.
   * @throws Error with a line for people where the kernel refuses
   */
  unmount(): Promise<'unmounted' | 'detached'>;
  /** Ends the connection at once: who waits for an answer gets ENOTCONN. onEnd follows if it did not come before. */
  close(): void;
}
