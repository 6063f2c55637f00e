/**
 * The links of one client to all bricks of a volume, started and closed together.
 *
 * Decides which address and credentials each link gets, and says in one line which bricks do not answer. It never
 * decides what to send. Mounts use it through graph.ts; the migrator and the command line use `connectBricks`.
 */
import type { Clock } from '../host/clock.js';
import type { Random } from '../host/random.js';
import type { Trace } from '../host/trace.js';
import { Refusal } from '../wire/errors.js';
import { type BrickName, type ClientId, hexOf } from '../wire/ids.js';
import { reconnectMsDefault } from '../wire/limits.js';
import { BrickLink } from '../wire/link.js';
import type { Answer, EventBody, EventName, Request } from '../wire/messages.js';
import type { Network } from '../wire/network.js';
import type { BrickEntry, VolumeFile } from './volume-file.js';

export type ReclaimSend = (op: 'reclaim', body: Request<'reclaim'>) => Promise<Answer<'reclaim'>>;

export interface ConnectOptions {
  /** With absolute paths: see `inFolder` of volume-file.ts. */
  readonly volumeFile: VolumeFile;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly role: 'mount' | 'tool';
  /** For people: what this client is, for example the mountpoint. */
  readonly title: string;
  readonly host: string;
  readonly pid: number;
  /** How long an operation waits for a brick that cannot be reached. */
  readonly giveUpMs?: number;
  /** Called for each brick that does not answer at the start; absent, that is an error. Its link goes on trying. */
  readonly onMissing?: (brick: BrickName, error: Error) => void;
}

/** What the owner of the links does when something happens to one of them. */
export interface LinkEvents {
  reclaim(brick: BrickName, send: ReclaimSend): Promise<void>;
  event<E extends EventName>(brick: BrickName, name: E, body: EventBody<E>): void;
  fenced(brick: BrickName): void;
}

/** Enough for a person who waits at a terminal. */
const toolGiveUpMs = 5_000;

export class BrickLinks {
  readonly client: ClientId;
  /** In the order of volume.json; those that were added since come last. */
  readonly names: BrickName[];
  readonly giveUpMs: number;
  readonly #links = new Map<BrickName, BrickLink>();
  readonly #whenUp = new Map<BrickName, (() => void)[]>();
  readonly #whenKnown = new Map<BrickName, (() => void)[]>();
  readonly #options: ConnectOptions;
  readonly #events: LinkEvents | undefined;
  #closed = false;

  constructor(options: ConnectOptions, events?: LinkEvents) {
    this.#options = options;
    this.#events = events;
    this.client = hexOf(options.random.bytes(16)) as ClientId;
    this.giveUpMs = options.giveUpMs ?? (options.role === 'tool' ? toolGiveUpMs : reconnectMsDefault);
    this.names = options.volumeFile.bricks.map((brick) => brick.name);
    for (const brick of options.volumeFile.bricks) {
      this.#links.set(brick.name, this.#link(brick.name, brick.address, events));
    }
  }

  /** Bricks of a newer volume.json: files may move there before this client changes to its new graph. */
  add(bricks: readonly BrickEntry[]): void {
    for (const { name, address } of bricks) {
      if (this.#closed || this.#links.has(name)) continue;
      const link = this.#link(name, address, this.#events);
      this.#links.set(name, link);
      this.names.push(name);
      link.start().catch((error: unknown) => {
        this.#options.trace.warn('added brick not reached', { brick: name, error: String(error) });
      });
      for (const go of this.#whenKnown.get(name) ?? []) go();
      this.#whenKnown.delete(name);
    }
  }

  /**
   * Undefined where the brick is known. Else resolves when it is added, or when an operation gives up: somebody who has
   * read a newer volume.json spoke of it, and this client will read it too.
   */
  whenKnown(brick: BrickName): Promise<void> | undefined {
    if (this.#links.has(brick) || this.#closed) return undefined;
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(this.giveUpMs, resolve);
      const waiting = this.#whenKnown.get(brick) ?? [];
      waiting.push(() => {
        timer.stop();
        resolve();
      });
      this.#whenKnown.set(brick, waiting);
    });
  }

  #link(brick: BrickName, address: string, events: LinkEvents | undefined): BrickLink {
    const { volumeFile, network, clock, random, trace, role, title, host, pid } = this.#options;
    return new BrickLink({
      network,
      address,
      clock,
      random,
      trace,
      hello: {
        volume: volumeFile.volume,
        brick,
        secret: volumeFile.secret,
        client: this.client,
        role,
        title,
        host,
        pid,
      },
      giveUpMs: this.giveUpMs,
      onState: (state) => {
        if (state !== 'up' && state !== 'closed') return;
        const waiting = this.#whenUp.get(brick) ?? [];
        this.#whenUp.delete(brick);
        for (const go of waiting) go();
      },
      ...(events === undefined
        ? {}
        : {
            onReclaim: (send: ReclaimSend) => events.reclaim(brick, send),
            onEvent: <E extends EventName>(name: E, body: EventBody<E>) => events.event(brick, name, body),
            onFenced: () => events.fenced(brick),
          }),
    });
  }

  /** @throws Refusal EIO where the volume has no such brick: a file went to a brick that volume.json does not list */
  at(brick: BrickName): BrickLink {
    const link = this.#links.get(brick);
    if (link === undefined) {
      throw new Refusal(
        'EIO',
        `brick "${brick}" is not in the volume that this client knows (version ${this.#options.volumeFile.version})`,
      );
    }
    return link;
  }

  isUp(brick: BrickName): boolean {
    return this.#links.get(brick)?.state === 'up';
  }

  /** Resolves as soon as the link is up (or closed for good). */
  whenUp(brick: BrickName): Promise<void> {
    const state = this.#links.get(brick)?.state;
    if (state === undefined || state === 'up' || state === 'closed') return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = this.#whenUp.get(brick) ?? [];
      waiting.push(resolve);
      this.#whenUp.set(brick, waiting);
    });
  }

  /** @throws Error which names every brick that does not answer; then nothing stays open */
  async start(): Promise<void> {
    const results = await Promise.allSettled([...this.#links.values()].map((link) => link.start()));
    const missing: string[] = [];
    for (const [at, result] of results.entries()) {
      if (result.status === 'fulfilled') continue;
      const brick = this.names[at]!;
      const error = result.reason instanceof Error ? result.reason : new Error(String(result.reason));
      if (this.#options.onMissing !== undefined) this.#options.onMissing(brick, error);
      else missing.push(`${brick} (${error.message})`);
    }
    if (missing.length === 0) return;
    this.abandon();
    throw new Error(
      `volume "${this.#options.volumeFile.name}": ${missing.length} of ${this.names.length} bricks do not answer: ` +
        `${missing.join('; ')}. Start the volume, or look at the log of the brick.`,
    );
  }

  asMap(): Map<BrickName, BrickLink> {
    return new Map(this.#links);
  }

  /**
   * Says goodbye to every brick, to those out of reach as soon as they answer: a brick that restarts would wait a grace
   * for a client that is not told off. Ends early with `close` or `abandon`.
   */
  async leave(): Promise<void> {
    await Promise.all(
      [...this.#links].map(async ([brick, link]) => {
        await this.whenUp(brick);
        await link.close();
      }),
    );
    this.#releaseWaiting();
  }

  /** Says goodbye to every brick that answers. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    this.#releaseWaiting();
  }

  abandon(): void {
    this.#closed = true;
    for (const link of this.#links.values()) link.abandon();
    this.#releaseWaiting();
  }

  #releaseWaiting(): void {
    for (const waiting of this.#whenUp.values()) for (const go of waiting) go();
    this.#whenUp.clear();
    for (const waiting of this.#whenKnown.values()) for (const go of waiting) go();
    this.#whenKnown.clear();
  }
}

/**
 * Bare links for tools. With `onMissing` the map leaves out the bricks that did not answer.
 * The caller closes each link.
 */
export async function connectBricks(options: ConnectOptions): Promise<Map<BrickName, BrickLink>> {
  const missing = new Set<BrickName>();
  const { onMissing } = options;
  const links = new BrickLinks({
    ...options,
    ...(onMissing === undefined
      ? {}
      : {
          onMissing: (brick: BrickName, error: Error) => {
            missing.add(brick);
            onMissing(brick, error);
          },
        }),
  });
  await links.start();
  const map = links.asMap();
  for (const brick of missing) {
    map.get(brick)?.abandon();
    map.delete(brick);
  }
  return map;
}
