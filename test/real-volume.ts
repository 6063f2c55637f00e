/**
 * A volume of real bricks for tests: real services and LevelDB in a temporary folder, in one process, with a network
 * in memory. Everything it started ends with the test.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { openLevelStore } from '../brick-store/level-store.js';
import { type RunningBrick, runBrick } from '../brick-store/server.js';
import { type ConnectOptions, connectBricks } from '../dht/brick-links.js';
import { type DistributedVolume, openVolume } from '../dht/distributed-volume.js';
import { brickOf, plainLayout } from '../dht/layout.js';
import { hashName } from '../dht/name-hash.js';
import type { VolumeFile } from '../dht/volume-file.js';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { silentTrace } from '../host/trace.js';
import { migrateFile } from '../migrator/migrator.js';
import { type BrickName, type ByteText, type FileId, rootFileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { LockRow } from '../wire/messages.js';
import { PipeNetwork } from './doors/pipe-network.js';
import { plainFile } from './fake-volume.js';

export const names = ['brick-1', 'brick-2', 'brick-3'] as BrickName[];
export const volumeFile: VolumeFile = {
  format: 1,
  volume: '1'.repeat(32),
  name: 'real',
  secret: 'shh',
  graceMs: 5000,
  freezeMs: 1000,
  attrTimeoutMs: 1000,
  version: 1,
  bricks: names.map((name) => ({ name, address: `unix:/${name}`, folder: `/${name}` })),
};

export class RealVolume {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lockferry-dht-'));
  readonly #network = new PipeNetwork();
  readonly #bricks = new Map<BrickName, RunningBrick>();
  readonly #volumes: DistributedVolume[] = [];
  #tools: Map<BrickName, BrickLink> = new Map();
  /** As a mount that starts now reads it. */
  volumeFile: VolumeFile = volumeFile;

  static async start(t: Test): Promise<RealVolume> {
    const real = new RealVolume();
    t.teardown(() => real.#close());
    for (const name of names) await real.startBrick(name);
    real.#tools = await connectBricks({ ...real.#options, role: 'tool' });
    return real;
  }

  get #options() {
    return {
      volumeFile: this.volumeFile,
      network: this.#network,
      clock: systemClock,
      random: systemRandom,
      trace: silentTrace,
      role: 'mount' as const,
      title: 'test',
      host: 'here',
      pid: process.pid,
    };
  }

  async startBrick(name: BrickName): Promise<void> {
    const store = await openLevelStore(join(this.#folder, name));
    const config = {
      volume: volumeFile.volume,
      secret: volumeFile.secret,
      name,
      address: `unix:/${name}`,
      graceMs: this.volumeFile.graceMs,
      rootLayout: plainLayout(rootFileId, names),
      rootOwner: { uid: 0, gid: 0 },
      bricks: {
        get: (one: BrickName) => this.volumeFile.bricks.find((brick) => brick.name === one)?.address,
      },
      host: 'here',
      pid: process.pid,
    };
    const doors = {
      store,
      network: this.#network,
      clock: systemClock,
      random: systemRandom,
      trace: silentTrace,
    };
    this.#bricks.set(name, await runBrick(config, doors));
  }

  /** The session of a tool ends with its connection: what it asks meanwhile is refused, so it asks something first. */
  async restart(name: BrickName): Promise<void> {
    await this.#bricks.get(name)!.close();
    await this.startBrick(name);
    await this.#tools
      .get(name)!
      .call('ping', {})
      .catch(() => undefined);
  }

  /** A change of volume.json, which mounts have not noticed yet. */
  change(change: Partial<VolumeFile> = {}): VolumeFile {
    this.volumeFile = { ...this.volumeFile, ...change, version: this.volumeFile.version + 1 };
    return this.volumeFile;
  }

  async addBrick(name: BrickName): Promise<VolumeFile> {
    const before = this.volumeFile;
    const bricks = [...before.bricks, { name, address: `unix:/${name}`, folder: `/${name}` }];
    const changed = this.change({ bricks });
    await this.startBrick(name);
    for (const link of this.#tools.values()) await link.close();
    this.#tools = await connectBricks({ ...this.#options, role: 'tool' });
    return changed;
  }

  stop(name: BrickName): Promise<void> {
    return this.#bricks.get(name)!.close();
  }

  /** Clients that have a session at the brick. */
  async clients(name: BrickName): Promise<string[]> {
    const { clients } = await this.#tools.get(name)!.call('status', {});
    return clients.filter(({ role }) => role === 'mount').map(({ client }) => client);
  }

  /** The bare sessions of one more mount. */
  async links(t: Test): Promise<Map<BrickName, BrickLink>> {
    const links = await connectBricks(this.#options);
    t.teardown(() => {
      for (const link of links.values()) link.abandon();
    });
    return links;
  }

  async locks(file: FileId): Promise<LockRow[]> {
    const rows: LockRow[] = [];
    for (const link of this.#tools.values()) {
      rows.push(...(await link.call('listLocks', { file, skip: 0, limit: 1000 })).locks);
    }
    return rows;
  }

  async mount(change: Partial<ConnectOptions> = {}): Promise<DistributedVolume> {
    const volume = await openVolume({ ...this.#options, ...change });
    this.#volumes.push(volume);
    return volume;
  }

  async move(volume: DistributedVolume, file: FileId, target: BrickName): Promise<void> {
    const report = await migrateFile({
      links: this.#tools,
      volume,
      file,
      target,
      freezeMs: volumeFile.freezeMs,
      clock: systemClock,
      random: systemRandom,
    });
    if (report.phase === 'aborted') throw new Error(`the move was aborted: ${report.reason}`);
  }

  async waiters(file: FileId): Promise<number[]> {
    const tickets: number[] = [];
    for (const link of this.#tools.values()) {
      const { locks } = await link.call('listLocks', { file, skip: 0, limit: 100 });
      for (const lock of locks) if (lock.state === 'waiting') tickets.push(lock.ticket!);
    }
    return tickets;
  }

  /** Resolves when so many wait, on whatever brick. */
  async untilWaiting(file: FileId, count: number): Promise<void> {
    for (let tries = 0; (await this.waiters(file)).length !== count; tries++) {
      if (tries > 500)
        throw new Error(`${count} waiters are expected, there are ${(await this.waiters(file)).length}`);
      await systemClock.sleep(10);
    }
  }

  async #close(): Promise<void> {
    await Promise.all(this.#volumes.map((volume) => volume.close()));
    for (const link of this.#tools.values()) await link.close();
    for (const brick of this.#bricks.values()) await brick.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A name that hashes to the brick; another for each `at`. */
export const nameOn = (brick: BrickName, parent: FileId, at: number): ByteText => {
  for (let number = at * 1000; ; number++) {
    const name = `n${number}` as ByteText;
    if (brickOf(plainLayout(parent, names), hashName(name)) === brick) return name;
  }
};

export const make = async (volume: DistributedVolume, name: ByteText, open = false): Promise<FileId> =>
  (await volume.create(rootFileId, name, plainFile, { exclusive: true, open })).attributes.file;
