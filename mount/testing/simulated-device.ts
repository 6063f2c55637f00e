/**
 * A kernel in a few lines: sends requests as bytes and keeps the replies as bytes. It drops what the real one drops:
 * answers to requests that it does not wait for.
 */

import { inHeader, type Opcode, opcodes } from '../fuse/abi.js';
import type { FuseDevice } from '../fuse/device.js';
import { putU64 } from '../fuse/reply.js';

export interface SimulatedReply {
  readonly unique: number;
  readonly error: number;
  readonly body: Buffer;
}

export class SimulatedDevice implements FuseDevice {
  readonly replies: SimulatedReply[] = [];
  readonly notifications: Buffer[] = [];
  /** Resolves when the kernel has carried a notification out. */
  carryOut: () => Promise<void> = () => Promise.resolve();
  #onMessage: (message: Buffer) => void = () => undefined;
  #onEnd: (reason: string) => void = () => undefined;

  start(onMessage: (message: Buffer) => void, onEnd: (reason: string) => void): void {
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
  }

  send(op: Opcode | number, unique: number, body: Uint8Array, nodeid = 1): void {
    const message = Buffer.alloc(inHeader.bytes + body.length);
    message.writeUInt32LE(message.length, inHeader.len);
    message.writeUInt32LE(typeof op === 'number' ? op : opcodes[op], inHeader.opcode);
    putU64(message, unique, inHeader.unique);
    putU64(message, nodeid, inHeader.nodeid);
    message.set(body, inHeader.bytes);
    this.#onMessage(message);
    // The real buffer is used again for the next message.
    message.fill(0xee);
  }

  reply(head: Buffer, data?: Uint8Array): void {
    const message = Buffer.concat([head, data ?? Buffer.alloc(0)]);
    if (message.readUInt32LE(0) !== message.length)
      throw new Error('EINVAL: the length in the header is wrong');
    this.replies.push({
      unique: Number(message.readBigUInt64LE(8)),
      error: message.readInt32LE(4),
      body: message.subarray(16),
    });
  }

  async notify(message: Buffer): Promise<void> {
    this.notifications.push(message);
    await this.carryOut();
  }

  async unmount(): Promise<'unmounted' | 'detached'> {
    this.close();
    return 'unmounted';
  }

  close(): void {
    this.#onEnd('closed');
  }
}
