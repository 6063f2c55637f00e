/**
 * A volume of fake bricks with any number of clients, for tests of dht: time stands still unless the test moves it,
 * chance is counted up, and the network is in memory.
 */

import { type DistributedVolume, openVolume } from '../dht/distributed-volume.js';
import { brickOf, plainLayout } from '../dht/layout.js';
import { hashName } from '../dht/name-hash.js';
import type { LockRequest } from '../dht/volume.js';
import type { VolumeFile } from '../dht/volume-file.js';
import type { Random } from '../host/random.js';
import { silentTrace, type Trace } from '../host/trace.js';
import {
  type BrickName,
  type ByteText,
  byteTextFromUtf8,
  type FileId,
  type LkOwner,
  rootFileId,
} from '../wire/ids.js';
import { ManualClock, settle } from './doors/manual-clock.js';
import { PipeNetwork } from './doors/pipe-network.js';
import { FakeBrick } from './fake-brick.js';

export const owner = (number: number): LkOwner => number.toString(16).padStart(16, '0') as LkOwner;
export const plainFile = {
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  rdev: 0,
  symlink: undefined,
} as const;

/** A write lock of owner 1 on bytes 0..9 that waits, with changes. */
export const lockOf = (file: FileId, change: Partial<LockRequest> = {}): LockRequest => ({
  file,
  owner: owner(1),
  kind: 'posix',
  type: 'write',
  start: 0n,
  end: 9n,
  pid: 1,
  wait: true,
  ...change,
});

export class FakeVolume {
  readonly clock = new ManualClock();
  readonly network = new PipeNetwork(() => this.clock.now());
  readonly bricks: readonly FakeBrick[];
  readonly warnings: string[] = [];
  readonly #volumes: DistributedVolume[] = [];
  #drawn = 0;

  private constructor(count: number) {
    this.bricks = Array.from({ length: count }, (_, at) => new FakeBrick(`brick-${at + 1}`, this.network));
  }

  static async start(count = 3): Promise<FakeVolume> {
    const volume = new FakeVolume(count);
    await Promise.all(volume.bricks.map((brick) => brick.start()));
    return volume;
  }

  get names(): BrickName[] {
    return this.bricks.map((brick) => brick.name);
  }

  brick(name: BrickName): FakeBrick {
    return this.bricks.find((brick) => brick.name === name)!;
  }

  /** Another than the named ones. */
  otherThan(...bricks: FakeBrick[]): FakeBrick {
    return this.bricks.find((brick) => !bricks.includes(brick))!;
  }

  volumeFile(change: Partial<VolumeFile> = {}): VolumeFile {
    return {
      format: 1,
      volume: '1'.repeat(32),
      name: 'fake',
      secret: 'x',
      graceMs: 10_000,
      freezeMs: 250,
      attrTimeoutMs: 1000,
      version: 1,
      bricks: this.bricks.map(({ name, address }) => ({ name, address, folder: `/${name}` })),
      ...change,
    };
  }

  async mount(change: Partial<VolumeFile> = {}, giveUpMs = 10_000): Promise<DistributedVolume> {
    const volumeFile = this.volumeFile(change);
    const random: Random = {
      bytes: (length) => {
        this.#drawn += 1;
        return new Uint8Array(Buffer.from(this.#drawn.toString(16).padStart(length * 2, 'a'), 'hex'));
      },
      below: () => 0,
    };
    const note = (event: string): number => this.warnings.push(event);
    const trace: Trace = { ...silentTrace, warn: note, error: note };
    const opened = openVolume({
      volumeFile,
      network: this.network,
      clock: this.clock,
      random,
      trace,
      role: 'mount',
      title: 'test',
      host: 'here',
      pid: 1,
      giveUpMs,
    });
    const volume = await this.settled(opened);
    this.#volumes.push(volume);
    return volume;
  }

  /** Lets everything run until the promise is settled, without moving the time on. */
  async settled<T>(work: Promise<T>): Promise<T> {
    await settle();
    return work;
  }

  /** The brick that a name of a directory (the root unless said) hashes to. */
  hashed(name: string, parent: FileId = rootFileId): FakeBrick {
    const brick = brickOf(plainLayout(parent, this.names), hashName(byteTextFromUtf8(name)));
    return this.brick(brick!);
  }

  /** A fresh name that hashes to the brick. */
  nameOn(brick: FakeBrick, parent: FileId = rootFileId): ByteText {
    for (;;) {
      this.#drawn += 1;
      const name = `name${this.#drawn}`;
      if (this.hashed(name, parent) === brick) return byteTextFromUtf8(name);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#volumes.map((volume) => volume.close()));
    await Promise.all(this.bricks.map((brick) => brick.stop()));
  }
}
