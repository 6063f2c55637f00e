/**
 * One graph: the connections of one client to the bricks of one version of volume.json, what was learned through
 * them, and the operations that use them, put together. Decides nothing itself.
 */
import type { Trace } from '../host/trace.js';
import type { ClientId, FileId } from '../wire/ids.js';
import type { Moved } from '../wire/lock-types.js';
import { BrickLinks, type ConnectOptions } from './brick-links.js';
import { Directories } from './directories.js';
import { DirectoryHealing } from './directory-healing.js';
import { DirectoryOperations } from './directory-operations.js';
import { DirectoryParts } from './directory-parts.js';
import { FileOperations } from './file-operations.js';
import { FileTraffic } from './file-traffic.js';
import { FileUses } from './file-uses.js';
import { HeldLocks } from './held-locks.js';
import { HomeCalls } from './home-calls.js';
import { LeftoverLocks } from './leftover-locks.js';
import { LockCalls, type LockContext } from './lock-context.js';
import { LockOperations } from './lock-operations.js';
import { NameCalls } from './name-calls.js';
import { NameOperations } from './name-operations.js';
import { OwnerLanes } from './owner-lanes.js';
import { Placement } from './placement.js';
import { Rename } from './rename.js';
import { SessionEvents } from './session-events.js';
import type { VolumeParts } from './volume-parts.js';
import { WaitProbes } from './wait-probes.js';

/** Files whose home is remembered; those in use are remembered beyond it. */
const placesMax = 262_144;

export class Graph {
  readonly links: BrickLinks;
  readonly names: NameOperations;
  readonly files: FileOperations;
  readonly directories: DirectoryOperations;
  readonly locks: LockOperations;
  readonly renames: Rename;
  readonly lockContext: LockContext;
  readonly known: Directories;
  readonly #lanes: OwnerLanes;
  #running = 0;
  readonly #probes: WaitProbes;

  /** @param before the graph that this one takes over from: what it knows of names and places helps this one */
  constructor(options: ConnectOptions, before?: Graph) {
    const { clock, random, trace } = options;
    const traffic = new FileTraffic();
    const held = new HeldLocks();
    const uses = new FileUses();
    const calls = new LockCalls();
    const placement = new Placement(
      placesMax,
      (file) => uses.opens(file) > 0 || held.has(file) || calls.hasWaits(file),
      (file, moved) => this.#showMove(file, moved, trace),
    );
    // The links tell the session events, which need the calls, which need the links.
    let events: SessionEvents | undefined;
    this.links = new BrickLinks(options, {
      reclaim: (brick, send) => events!.reclaim(brick, send),
      event: (brick, name, body) => events!.event(brick, name, body),
      fenced: (brick) => events!.fenced(brick),
    });
    const homes = new HomeCalls(this.links, placement, clock, trace);
    const lanes = new OwnerLanes(homes, this.links, clock, trace);
    const leftovers = new LeftoverLocks(held, lanes, calls);
    const probes = new WaitProbes({
      client: this.links.client,
      clock,
      trace,
      send: (brick, op, body) => (this.links.isUp(brick) ? this.links.at(brick).call(op, body) : undefined),
      holdsLocks: (owner) => held.holdsPosix(owner),
    });
    const context = { homes, placement, held, uses, lanes, leftovers, calls, traffic, probes, clock, trace };
    events = new SessionEvents(context, this.links.client);
    this.lockContext = context;
    const retired = options.volumeFile.retiredBricks;
    const directories = new Directories(this.links, retired, before?.known);
    this.known = directories;
    const parts: VolumeParts = {
      links: this.links,
      homes,
      placement,
      directories,
      directoryParts: new DirectoryParts(clock),
      uses,
      traffic,
      clock,
      random,
      trace,
    };
    const healing = new DirectoryHealing(parts);
    const names = new NameCalls(parts, healing);
    this.directories = new DirectoryOperations(parts, names, healing);
    this.files = new FileOperations(parts, this.directories);
    this.names = new NameOperations(parts, names, this.directories, this.files);
    this.renames = new Rename(parts, names, this.names, this.directories);
    this.locks = new LockOperations(context);
    this.#lanes = lanes;
    this.#probes = probes;
  }

  /** The source may die before it has told the target that it committed; whoever knows of it can. */
  #showMove(file: FileId, { target, migration }: Moved, trace: Trace): void {
    if (!this.links.names.includes(target)) return;
    this.links
      .at(target)
      .call('showMove', { file, migration })
      .catch((error: unknown) => trace.debug('move not shown', { file, target, error: String(error) }));
  }

  get client(): ClientId {
    return this.links.client;
  }

  /** Counts `work` as a request of this graph until it is settled, and hands it back. */
  during<T>(work: Promise<T>): Promise<T> {
    this.#running += 1;
    const ended = (): void => {
      this.#running -= 1;
    };
    work.then(ended, ended);
    return work;
  }

  /** Files in which this client has something, or is about to. */
  filesInUse(): Set<FileId> {
    const { calls, held, traffic, uses } = this.lockContext;
    return new Set([...uses.files(), ...held.files(), ...calls.filesWithWaits(), ...traffic.files()]);
  }

  isInUse(file: FileId): boolean {
    const { calls, held, lanes, traffic, uses } = this.lockContext;
    if (uses.opens(file) > 0 || held.has(file) || calls.hasWaits(file)) return true;
    return !traffic.isQuiet(file) || lanes.isFileBusy(file);
  }

  /** Nothing is under way, owed or open: the client of this graph may say goodbye. */
  get isIdle(): boolean {
    const { calls, lanes } = this.lockContext;
    if (this.#running > 0 || calls.size > 0 || !lanes.isIdle || !this.files.isIdle) return false;
    return this.filesInUse().size === 0;
  }

  start(): Promise<void> {
    return this.links.start();
  }

  /** Says goodbye to every brick; what was still being repeated in the background ends, for the session ends. */
  async close(): Promise<void> {
    this.#stop();
    await this.links.close();
  }

  /** As `close`, but bricks that are out of reach are told when they answer again; `close` puts an end to that. */
  async leave(): Promise<void> {
    this.#stop();
    await this.links.leave();
  }

  #stop(): void {
    this.#lanes.close();
    this.#probes.close();
    this.files.close();
  }
}
