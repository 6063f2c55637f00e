/**
 * Processes are told only of errors that something explains. A brick that is out of reach is ENOTCONN, whatever the
 * cause. EIO is the end of a session or a failing disk; ENOSPC a disk. A file that is open is never unknown; whether
 * a name may be is judged by name-history.ts.
 */
import { constants } from 'node:os';
import type { FactListener } from '../facts.js';
import { errnoName } from '../simulated-process.js';
import type { Violations } from './violation.js';

const { errno } = constants;

const usual = new Set<number>([errno.EAGAIN, errno.EINTR, errno.ENOTCONN, errno.ENOENT]);

const changesOfNames = new Set(['create', 'link', 'rename', 'unlink']);

export class ErrorAnswers implements FactListener {
  readonly #violations: Violations;
  #hadDiskTrouble = false;
  #hadFence = false;
  #hadPowerLoss = false;
  /**
   * Names and inodes of one file lie on several bricks and are changed in steps. Who is cut off, dies or loses power
   * between two of them may leave an inode with a name too many (dht/name-operations.ts).
   */
  mayHaveLeftNames = false;
  /**
   * An open that was given up may have been counted, and one that is sent again to a brick which forgot its answer may
   * be counted twice, where the file moved in between; the count goes with the session, and moves with the file.
   */
  mayHaveLeftOpens = false;
  #opening = 0;

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  diskTrouble(): void {
    this.#hadDiskTrouble = true;
  }

  powerLost(): void {
    this.#hadPowerLoss = true;
    this.mayHaveLeftNames = true;
  }

  openBegun(): void {
    this.#opening += 1;
  }

  openEnded(): void {
    this.#opening -= 1;
  }

  brickGone(): void {
    if (this.#opening > 0) this.mayHaveLeftOpens = true;
  }

  mountGone(): void {
    this.mayHaveLeftNames = true;
  }

  fenced(): void {
    this.#hadFence = true;
  }

  callFailed(mount: string, call: string, error: number): void {
    if (/^(open|create)$/.test(call) && error === errno.ENOTCONN) this.mayHaveLeftOpens = true;
    if (changesOfNames.has(call) && error !== errno.ENOENT) this.mayHaveLeftNames = true;
    if (usual.has(error)) return;
    if (error === errno.ESTALE && this.#hadPowerLoss) return;
    if (error === errno.EIO && (this.#hadFence || this.#hadDiskTrouble || this.#hadPowerLoss)) return;
    if (error === errno.ENOSPC && this.#hadDiskTrouble) return;
    this.#violations.add('no fault', `${call} on ${mount} answered ${errnoName(error)} without a cause`);
  }
}
