/**
 * A brick that is a script, and a BrickLink to it, over a network within the process and a clock that the test moves.
 * The brick notes what it gets and answers as told.
 */
import type { Test } from 'tap';
import { silentTrace } from '../../host/trace.js';
import type { Refusal } from '../../wire/errors.js';
import type { BrickName, ClientId, FileId, LkOwner } from '../../wire/ids.js';
import type { BrickLinkOptions, LinkState } from '../../wire/link.js';
import { BrickLink } from '../../wire/link.js';
import type { Answer, Request } from '../../wire/messages.js';
import { type IncomingRequest, Responder } from '../../wire/responder.js';
import { ManualClock, settle } from './manual-clock.js';
import { PipeNetwork } from './pipe-network.js';

export const address = 'unix:/brick-1';
export const file = 'f'.repeat(32) as FileId;
export const hello: BrickLinkOptions['hello'] = {
  volume: 'v',
  brick: 'brick-1' as BrickName,
  secret: 's',
  client: 'c'.repeat(32) as ClientId,
  role: 'mount',
  title: 'test',
  host: 'here',
  pid: 1,
};
export const waitingLock: Request<'lock'> = {
  file,
  owner: '0'.repeat(16) as LkOwner,
  kind: 'posix',
  type: 'write',
  start: 0n,
  end: 9n,
  pid: 1,
  wait: true,
  ticket: undefined,
};

export class ScriptedBrick {
  readonly network: PipeNetwork;
  /** All but hello, over all connections, as `op seq`. */
  readonly got: string[] = [];
  readonly requests: IncomingRequest[] = [];
  readonly hellos: Request<'hello'>[] = [];
  readonly closes: string[] = [];
  session: Answer<'hello'>['session'] = 'new';
  refusal: Refusal | undefined;
  graceMs = 10_000;
  /** Answers pings, sync, reclaims and goodbye at once, else leaves them to the test. */
  isPrompt = true;
  current: Responder | undefined;

  constructor(network: PipeNetwork) {
    this.network = network;
  }

  listen(): Promise<unknown> {
    return this.network.listen(address, (connection) => {
      this.current = new Responder(connection, silentTrace, {
        onRequest: (responder, request) => this.#take(responder, request),
        onClose: (_responder, reason) => void this.closes.push(reason),
      });
    });
  }

  #take(responder: Responder, request: IncomingRequest): void {
    if (request.op === 'hello') {
      this.hellos.push(request.body);
      if (this.refusal) responder.refuse(request.seq, this.refusal);
      else responder.answer(request.seq, 'hello', { session: this.session, graceMs: this.graceMs });
      return;
    }
    this.got.push(`${request.op} ${request.seq}`);
    this.requests.push(request);
    if (this.isPrompt && request.op !== 'lock') responder.answer(request.seq, request.op, {} as never);
  }
}

export async function setUp(options: Partial<BrickLinkOptions> = {}) {
  const clock = new ManualClock();
  const network = new PipeNetwork(() => clock.now());
  const brick = new ScriptedBrick(network);
  await brick.listen();
  const states: LinkState[] = [];
  const link = new BrickLink({
    network,
    address,
    clock,
    random: { bytes: (length) => new Uint8Array(length), below: () => 0 },
    trace: silentTrace,
    hello,
    giveUpMs: 10_000,
    onState: (state) => void states.push(state),
    ...options,
  });
  return { clock, network, brick, states, link };
}

/** Begins a call, and keeps what became of it. */
export function watch(answer: Promise<unknown>): { outcome: string } {
  const watched = { outcome: 'open' };
  answer.then(
    () => {
      watched.outcome = 'answered';
    },
    (error: Refusal) => {
      watched.outcome = error.code ?? String(error);
    },
  );
  return watched;
}

/** Ends the link whatever became of the test, and sees that it left nothing running. */
export function endsClean(t: Test, { link, clock, network }: Awaited<ReturnType<typeof setUp>>): void {
  t.teardown(async () => {
    link.abandon();
    await settle();
    if (clock.timers > 0) throw new Error(`${clock.timers} timers are left`);
    if (network.openConnections > 0) throw new Error('a connection is left');
  });
}
