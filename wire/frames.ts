/**
 * Frames on a byte stream: a length (u32, little-endian), then that many bytes of body. Bytes in, frames out; no I/O
 * and no meaning: bodies are read by codec.ts. Used at both ends of a connection (responder.ts, link.ts).
 *
 * The stream may be cut anywhere. A frame that arrived in one piece is handed out as a view of it; one that came in
 * pieces is joined once, when its last byte is there. A length out of bounds poisons the reader: there is no way to
 * find the next frame.
 */
import { frameBytesMax } from './limits.js';

/** Bytes of the length before each body. */
export const frameHeadBytes = 4;

/** The stream is not one of frames. The connection must be closed. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Writes the length of the body that follows the first four bytes of `frame`. */
export function sealFrame(frame: Uint8Array): void {
  const length = frame.byteLength - frameHeadBytes;
  frame[0] = length;
  frame[1] = length >>> 8;
  frame[2] = length >>> 16;
  frame[3] = length >>> 24;
}

const lengthAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

export class FrameReader {
  /** Pieces not handed out yet; the first is read from `#at`. */
  #pieces: Uint8Array[] = [];
  #at = 0;
  #available = 0;
  /** Body length of the frame that is being read; undefined while its head is not complete. */
  #length: number | undefined;

  /** Takes bytes over: the caller must not change them any more, since frames are views of them. */
  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    this.#pieces.push(bytes);
    this.#available += bytes.byteLength;
  }

  /**
   * The body of the next frame that is complete.
   * @throws FrameError on a length of 0 or over the limit
   */
  next(): Uint8Array | undefined {
    if (this.#length === undefined) {
      if (this.#available < frameHeadBytes) return undefined;
      this.#length = this.#takeLength();
    }
    const length = this.#length;
    if (length === 0 || length > frameBytesMax) {
      throw new FrameError(`a frame of ${length} bytes; it must be 1 to ${frameBytesMax}`);
    }
    if (this.#available < length) return undefined;
    this.#length = undefined;
    return this.#take(length);
  }

  #takeLength(): number {
    const first = this.#pieces[0]!;
    if (first.byteLength - this.#at >= frameHeadBytes) {
      const length = lengthAt(first, this.#at);
      this.#skip(frameHeadBytes);
      return length;
    }
    return lengthAt(this.#take(frameHeadBytes), 0);
  }

  #skip(length: number): void {
    this.#at += length;
    this.#available -= length;
    if (this.#at === this.#pieces[0]!.byteLength) {
      this.#pieces.shift();
      this.#at = 0;
    }
  }

  #take(length: number): Uint8Array {
    const first = this.#pieces[0]!;
    if (first.byteLength - this.#at >= length) {
      const view = first.subarray(this.#at, this.#at + length);
      this.#skip(length);
      return view;
    }
    return this.#join(length);
  }

  #join(length: number): Uint8Array {
    const joined = Buffer.allocUnsafe(length);
    let filled = 0;
    let used = 0;
    for (const piece of this.#pieces) {
      const part = piece.subarray(this.#at, this.#at + length - filled);
      joined.set(part, filled);
      filled += part.byteLength;
      this.#at += part.byteLength;
      if (this.#at < piece.byteLength) break;
      this.#at = 0;
      used += 1;
      if (filled === length) break;
    }
    this.#pieces.splice(0, used);
    this.#available -= length;
    return joined;
  }
}
