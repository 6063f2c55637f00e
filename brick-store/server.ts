/**
 * A brick as a server: listens, greets, and ties connections to sessions. Decides who may connect (protocol, volume,
 * name, secret) and nothing else; what requests do is in brick.ts.
 */
import type { Clock } from '../host/clock.js';
import type { Random } from '../host/random.js';
import type { Trace } from '../host/trace.js';
import { asRefusal, Refusal } from '../wire/errors.js';
import { type BrickName, type ClientId, hexOf } from '../wire/ids.js';
import { reconnectMsDefault } from '../wire/limits.js';
import { BrickLink } from '../wire/link.js';
import { type HashRange, messages, protocolVersion, type Request } from '../wire/messages.js';
import type { Address, Connection, Network } from '../wire/network.js';
import { type IncomingRequest, Responder } from '../wire/responder.js';
import { Brick } from './brick.js';
import { formatBrick } from './format.js';
import type { Session } from './sessions.js';
import type { Store } from './store.js';

export interface BrickConfig {
  readonly volume: string;
  readonly secret: string;
  readonly name: BrickName;
  readonly address: Address;
  readonly graceMs: number;
  /** How names of the root directory are spread; the same for every brick. */
  readonly rootLayout: readonly HashRange[];
  /** Whose the root directory is when it is made. */
  readonly rootOwner: { readonly uid: number; readonly gid: number };
  /** The bricks of the volume, as they are when it is asked: moves go straight from brick to brick. */
  readonly bricks: { get(name: BrickName): Address | undefined };
  /** For people, in `status` and in the logs of others. */
  readonly host: string;
  readonly pid: number;
}

export interface BrickDoors {
  readonly store: Store;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
}

export interface RunningBrick {
  readonly address: Address;
  /** Ends connections, finishes nothing that is under way, and closes the store. */
  close(): Promise<void>;
}

/** @throws Error with a line for people: the address is taken, or the store is of another volume or brick */
export async function runBrick(config: BrickConfig, doors: BrickDoors): Promise<RunningBrick> {
  await formatBrick(doors.store, {
    volume: config.volume,
    brick: config.name,
    layout: config.rootLayout,
    ...config.rootOwner,
    timeNs: doors.clock.wallNs(),
  });
  const peers = new Peers(config, doors);
  const brick = await Brick.open({
    name: config.name,
    pid: config.pid,
    graceMs: config.graceMs,
    store: doors.store,
    clock: doors.clock,
    random: doors.random,
    trace: doors.trace,
    peer: (name) => peers.link(name),
  });
  const connections = new Set<Greeter>();
  const accept = (connection: Connection): void => {
    const greeter = new Greeter(connection, config, brick, doors.trace, () => connections.delete(greeter));
    connections.add(greeter);
  };
  const listener = await doors.network.listen(config.address, accept);
  doors.trace.info('brick serves', { brick: config.name, address: listener.address });
  return {
    address: listener.address,
    close: async () => {
      await listener.close();
      for (const one of connections) one.close('the brick stops');
      peers.close();
      await brick.close();
    },
  };
}

/** One connection: first hello, then requests of the session that hello named. */
class Greeter {
  readonly #config: BrickConfig;
  readonly #brick: Brick;
  readonly #trace: Trace;
  readonly #responder: Responder;
  readonly #onEnd: () => void;
  #session: Session | undefined;
  #greeted = false;
  #closedFor: string | undefined;

  constructor(connection: Connection, config: BrickConfig, brick: Brick, trace: Trace, onEnd: () => void) {
    this.#config = config;
    this.#brick = brick;
    this.#trace = trace;
    this.#onEnd = onEnd;
    this.#responder = new Responder(connection, trace, {
      onRequest: (_responder, request) => this.#request(request),
      onClose: (_responder, reason) => this.#closed(reason),
    });
  }

  close(reason: string): void {
    this.#responder.close(reason);
  }

  #request(request: IncomingRequest): void {
    if (request.op === 'hello') {
      this.#hello(request.seq, request.body);
      return;
    }
    const session = this.#session;
    if (session === undefined || session.ended) {
      this.#responder.close(`${request.op} came before hello`);
      return;
    }
    if (!messages[request.op].roles.includes(session.role)) {
      this.#responder.refuse(
        request.seq,
        new Refusal('EPERM', `a ${session.role} may not send ${request.op}`),
      );
      return;
    }
    this.#brick.request(session, request);
  }

  #hello(seq: number, body: Request<'hello'>): void {
    const no = this.#whyNot(body);
    if (no !== undefined) {
      this.#trace.warn('hello refused', {
        peer: this.#responder.peer,
        title: body.title,
        reason: no.message,
      });
      this.#responder.refuse(seq, no);
      return;
    }
    this.#greeted = true;
    this.#brick.sessions.hello(body, this.#responder).then(
      ({ session, state }) => {
        this.#session = session;
        if (this.#closedFor !== undefined)
          this.#brick.sessions.disconnected(session, this.#responder, this.#closedFor);
        this.#responder.answer(seq, 'hello', { session: state, graceMs: this.#config.graceMs });
      },
      (error: unknown) => {
        this.#greeted = false;
        this.#responder.refuse(seq, asRefusal(error) ?? new Refusal('EIO', String(error)));
      },
    );
  }

  #whyNot(body: Request<'hello'>): Refusal | undefined {
    const { volume, name, secret } = this.#config;
    if (this.#greeted) return new Refusal('EPROTO', 'hello comes once a connection');
    if (body.protocol !== protocolVersion) {
      return new Refusal(
        'EPROTO',
        `${name} speaks protocol ${protocolVersion}, ${body.title} speaks ${body.protocol}`,
      );
    }
    if (body.volume !== volume || body.brick !== name) {
      return new Refusal(
        'EPROTO',
        `this is ${name} of volume ${volume}, not ${body.brick} of ${body.volume}`,
      );
    }
    if (body.secret !== secret)
      return new Refusal('EACCES', `${body.title} does not know the secret of the volume`);
    return undefined;
  }

  #closed(reason: string): void {
    this.#onEnd();
    this.#closedFor = reason;
    if (this.#session !== undefined)
      this.#brick.sessions.disconnected(this.#session, this.#responder, reason);
  }
}

/** Links to the other bricks, made when a move first needs one. */
class Peers {
  readonly #config: BrickConfig;
  readonly #doors: BrickDoors;
  readonly #client: ClientId;
  readonly #links = new Map<BrickName, BrickLink>();

  constructor(config: BrickConfig, doors: BrickDoors) {
    this.#config = config;
    this.#doors = doors;
    this.#client = hexOf(doors.random.bytes(16)) as ClientId;
  }

  link(name: BrickName): BrickLink {
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    const config = this.#config;
    const doors = this.#doors;
    const address = config.bricks.get(name);
    if (address === undefined) throw new Refusal('EINVAL', `there is no brick ${name} in this volume`);
    const link = new BrickLink({
      network: doors.network,
      address,
      clock: doors.clock,
      random: doors.random,
      trace: doors.trace,
      hello: {
        volume: config.volume,
        brick: name,
        secret: config.secret,
        client: this.#client,
        role: 'brick',
        title: config.name,
        host: config.host,
        pid: config.pid,
      },
      giveUpMs: reconnectMsDefault,
    });
    this.#links.set(name, link);
    link.start().catch((error: unknown) => {
      doors.trace.warn('brick not reached', { brick: name, error: String(error) });
    });
    return link;
  }

  close(): void {
    for (const link of this.#links.values()) link.abandon();
  }
}
