/**
 * A whole volume in one process: real bricks, mounts and migrators on simulated doors. Decides nothing; builds
 * parties, crashes them and starts them again when told to. Faults come from faults.ts or a scenario, work from
 * workload.ts or a scenario, and what is wrong is said by checks/.
 */
import { runBrick } from '../brick-store/server.js';
import { BrickLinks, type ConnectOptions } from '../dht/brick-links.js';
import { type DistributedVolume, openVolume } from '../dht/distributed-volume.js';
import { plainLayout } from '../dht/layout.js';
import type { BrickEntry, VolumeFile } from '../dht/volume-file.js';
import { type MigrateOptions, migrateFile } from '../migrator/migrator.js';
import { Mount } from '../mount/mount.js';
import type { BrickName, ClientId, FileId, MigrationId } from '../wire/ids.js';
import { rootFileId } from '../wire/ids.js';
import type { BrickLink } from '../wire/link.js';
import type { MigrationReport } from '../wire/messages.js';
import type { SourcePhase, TargetPhase } from '../wire/migration-steps.js';
import { Disk, type FailingStore } from './crashing-store.js';
import { Facts } from './facts.js';
import { Journal } from './journal.js';
import { LossyNetwork } from './lossy-network.js';
import { Party } from './party.js';
import { Scheduler, SeededRandom } from './scheduler.js';
import { SimulatedKernel } from './simulated-kernel.js';

export interface ClusterOptions {
  readonly seed: number;
  readonly bricks: number;
  readonly graceMs: number;
  readonly freezeMs: number;
  readonly keepsLines: boolean;
}

export interface SimulatedBrick {
  readonly name: BrickName;
  readonly disk: Disk;
  party: Party;
  store: FailingStore | undefined;
}

export interface SimulatedMount {
  readonly name: string;
  readonly party: Party;
  readonly kernel: SimulatedKernel;
  readonly mount: Mount;
  readonly volume: DistributedVolume;
  /** How many changes to a newer graph are under way. */
  graphChanges: number;
}

/** A tool of an operator: it migrates files and asks bricks. */
export interface SimulatedTool {
  readonly name: string;
  readonly party: Party;
  readonly links: ReadonlyMap<BrickName, BrickLink>;
  readonly volume: DistributedVolume;
  /** Of the volume.json that it has read. */
  readonly version: number;
}

const brickDebugIsCheap = true;

export class SimulatedCluster {
  readonly scheduler = new Scheduler();
  readonly facts = new Facts();
  readonly journal: Journal;
  readonly network: LossyNetwork;
  readonly bricks = new Map<BrickName, SimulatedBrick>();
  readonly disks = new Map<BrickName, Disk>();
  readonly mounts = new Map<string, SimulatedMount>();
  readonly options: ClusterOptions;
  /** As it is on disk: who read it before it changed goes on with what it read. */
  volumeFile: VolumeFile;
  /** Exceptions that no code caught: bugs. */
  readonly faults: string[] = [];
  #runs = 0;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.journal = new Journal(this.scheduler, options.keepsLines);
    this.scheduler.onFault = (error) => this.fault(error);
    this.network = new LossyNetwork(this.scheduler, this.journal, new SeededRandom(options.seed, 'network'));
    const names = Array.from({ length: options.bricks }, (_, at) => `brick-${at + 1}` as BrickName);
    this.volumeFile = {
      format: 1,
      volume: 'a'.repeat(32),
      name: 'simulated',
      secret: 'secret',
      graceMs: options.graceMs,
      freezeMs: options.freezeMs,
      attrTimeoutMs: 1000,
      bricks: names.map(entryOf),
      version: 1,
    };
    for (const name of names) this.bricks.set(name, this.#newBrick(name));
    this.journal.onSaid((said) => this.#hear(said.party, said.event, said.fields));
    this.journal.onSaid((said) => this.facts.tell('said', said));
  }

  fault(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.journal.line('FAULT', () => text);
    this.faults.push(text);
  }

  random(stream: string): SeededRandom {
    return new SeededRandom(this.options.seed, stream);
  }

  /** Runs the simulation until `work` is done. @throws what it throws, or Error where nothing is left to happen */
  run<T>(work: () => Promise<T>, untilMs?: number): Promise<T> {
    return this.scheduler.drive(work(), untilMs);
  }

  // ---- bricks -------------------------------------------------------------------------------------------------------

  brick(name: BrickName): SimulatedBrick {
    const brick = this.bricks.get(name);
    if (brick === undefined) throw new Error(`there is no ${name}`);
    return brick;
  }

  /** Resolves when it listens. Does nothing where it runs. */
  async startBrick(name: BrickName): Promise<void> {
    const brick = this.brick(name);
    if (brick.store !== undefined && brick.party.isAlive) return;
    const party = this.#party(name, brickDebugIsCheap);
    brick.party = party;
    const store = brick.disk.openStore(party);
    brick.store = store as FailingStore;
    const { volume, secret, bricks, rootBricks, graceMs } = this.volumeFile;
    this.journal.line(name, () => 'starts');
    await runBrick(
      {
        volume,
        secret,
        name,
        address: `unix:/${name}`,
        graceMs,
        rootLayout: plainLayout(rootFileId, rootBricks ?? bricks.map((entry) => entry.name)),
        rootOwner: { uid: 0, gid: 0 },
        bricks: { get: (peer) => joined(this.volumeFile).find((entry) => entry.name === peer)?.address },
        host: 'simulated',
        pid: this.#runs,
      },
      {
        store,
        network: this.network.of(party),
        clock: party.clock,
        random: party.random,
        trace: party.trace,
      },
    );
  }

  /** kill -9, or with `power` the loss of its machine's power. */
  crashBrick(name: BrickName, power = false): void {
    const brick = this.brick(name);
    if (!brick.party.isAlive || brick.store === undefined) return;
    this.journal.line(name, () => (power ? 'LOSES POWER' : 'CRASHES'));
    this.journal.mark(`${name} crash`);
    brick.party.crash();
    this.network.dropParty(brick.party, power);
    if (power) brick.disk.losePower();
    else brick.disk.forgetNotDurable();
    this.facts.tell('brickGone', name);
    if (power) this.facts.tell('powerLost', name);
  }

  isBrickUp(name: BrickName): boolean {
    const brick = this.brick(name);
    return brick.store !== undefined && brick.party.isAlive;
  }

  // ---- mounts -------------------------------------------------------------------------------------------------------

  async startMount(name: string): Promise<SimulatedMount> {
    const party = this.#party(name, false);
    const kernel = new SimulatedKernel({
      mount: name,
      party,
      facts: this.facts,
      scheduler: this.scheduler,
      random: this.random(`kernel ${name}`),
      journal: this.journal,
      firstPid: 1000 * (this.#runs + 1),
    });
    const options = this.#connectOptions(party, 'mount', name);
    const volume = await openVolume(options);
    kernel.setClient(volume.client);
    const mount = new Mount({ device: kernel, volume, clock: party.clock, trace: party.trace });
    const mounted: SimulatedMount = { name, party, kernel, mount, volume, graphChanges: 0 };
    this.mounts.set(name, mounted);
    await mount.start();
    if (options.volumeFile !== this.volumeFile) void this.changeGraph(mounted);
    return mounted;
  }

  /** The mount reads volume.json again. Resolves when the old graph is done with; never where the mount crashes. */
  async changeGraph(mounted: SimulatedMount): Promise<void> {
    mounted.graphChanges += 1;
    try {
      await mounted.volume.switchTo(this.volumeFile);
    } catch (error) {
      this.fault(error);
    }
    mounted.graphChanges -= 1;
  }

  crashMount(name: string): void {
    const mounted = this.mounts.get(name);
    if (mounted === undefined || !mounted.party.isAlive) return;
    this.journal.line(name, () => 'CRASHES');
    this.journal.mark(`${name} crash`);
    mounted.party.crash();
    this.network.dropParty(mounted.party, false);
    this.mounts.delete(name);
  }

  // ---- the volume ---------------------------------------------------------------------------------------------------

  /** volume.json is another from now on; nobody has read it yet. */
  changeVolume(change: Partial<VolumeFile>): void {
    this.volumeFile = { ...this.volumeFile, ...change, version: this.volumeFile.version + 1 };
    this.journal.line(
      'volume',
      () => `VERSION ${this.volumeFile.version}: ${Object.keys(change).join(', ')}`,
    );
    this.journal.mark('volume changed', this.volumeFile.version);
  }

  /**
   * One brick more, in the steps of `lockferry volume add-brick`: it is started, gets every directory, and is then one
   * of the bricks. Takes up one that was left in the middle. @refuses what a brick refused, as that command does
   */
  async addBrick(): Promise<BrickName> {
    if ((this.volumeFile.joiningBricks ?? []).length === 0) {
      const name = `brick-${this.bricks.size + 1}` as BrickName;
      this.volumeFile = { ...this.volumeFile, joiningBricks: [entryOf(name)] };
      this.bricks.set(name, this.#newBrick(name));
    }
    const bricks = joined(this.volumeFile);
    const { name } = bricks.at(-1)!;
    await this.startBrick(name);
    const party = this.#party(`adding ${name}`, false);
    const options = this.#connectOptions(party, 'tool', party.name);
    const volume = await openVolume({ ...options, volumeFile: { ...this.volumeFile, bricks } });
    try {
      await volume.spreadDirectories(name);
    } finally {
      await volume.close();
    }
    const rootBricks = this.volumeFile.rootBricks ?? this.volumeFile.bricks.map((entry) => entry.name);
    this.changeVolume({ bricks, joiningBricks: [], rootBricks });
    return name;
  }

  // ---- tools --------------------------------------------------------------------------------------------------------

  async startTool(name: string): Promise<SimulatedTool> {
    const party = this.#party(name, false);
    const { version } = this.volumeFile;
    const volume = await openVolume(this.#connectOptions(party, 'tool', name));
    const links = new BrickLinks(this.#connectOptions(party, 'tool', `${name} links`));
    await links.start();
    return { name, party, links: links.asMap(), volume, version };
  }

  crashTool(tool: SimulatedTool): void {
    if (!tool.party.isAlive) return;
    this.journal.line(tool.name, () => 'CRASHES');
    tool.party.crash();
    this.network.dropParty(tool.party, false);
  }

  migrate(
    tool: SimulatedTool,
    file: FileId,
    target: BrickName,
    options: Partial<Pick<MigrateOptions, 'freezeMs' | 'onProgress' | 'isCancelled'>> = {},
  ): Promise<MigrationReport> {
    const { party, links, volume } = tool;
    return migrateFile({
      links,
      volume,
      file,
      target,
      freezeMs: this.options.freezeMs,
      clock: party.clock,
      random: party.random,
      ...options,
    });
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  #newBrick(name: BrickName): SimulatedBrick {
    const disk = new Disk(this.scheduler, this.journal, this.random(`disk ${name}`), {
      changed: (ops) => this.facts.tell('stored', name, ops),
      reopened: () => this.facts.tell('storeReopened', name),
    });
    this.disks.set(name, disk);
    return { name, disk, party: this.#party(name, false), store: undefined };
  }

  /** Each run of a party draws from a stream of its own. */
  #party(name: string, isDebug: boolean): Party {
    this.#runs += 1;
    const { scheduler, journal } = this;
    return new Party({ name, scheduler, journal, seed: this.options.seed + 7919 * this.#runs, isDebug });
  }

  #connectOptions(party: Party, role: 'mount' | 'tool', title: string): ConnectOptions {
    return {
      volumeFile: this.volumeFile,
      network: this.network.of(party),
      clock: party.clock,
      random: party.random,
      trace: party.trace,
      role,
      title,
      host: 'simulated',
      pid: 1,
      onMissing: (brick, error) =>
        party.trace.info('brick missing at start', { brick, error: error.message }),
    };
  }

  #hear(party: string, event: string, fields: Readonly<Record<string, unknown>>): void {
    if (event === 'migration step') {
      this.facts.tell('step', {
        migration: String(fields.migration) as MigrationId,
        file: String(fields.file) as FileId,
        source: String(fields.source ?? party) as BrickName,
        target: String(fields.target ?? party) as BrickName,
        side: fields.side === 'target' ? 'target' : 'source',
        to: String(fields.to) as SourcePhase | TargetPhase,
      });
    } else if (event === 'session expired' && this.bricks.has(party as BrickName)) {
      this.facts.tell('fenced', party as BrickName, String(fields.client) as ClientId);
    } else if (event === 'graph switch begins') {
      const { client } = this.mounts.get(party)!.kernel;
      this.facts.tell('graphBegun', party, client, String(fields.to) as ClientId);
    } else if (event === 'graph switch ends') this.facts.tell('graphEnded', String(fields.from) as ClientId);
  }
}

const entryOf = (name: BrickName): BrickEntry => ({ name, address: `unix:/${name}`, folder: `/${name}` });

const joined = ({ bricks, joiningBricks = [] }: VolumeFile): readonly BrickEntry[] => [
  ...bricks,
  ...joiningBricks,
];
