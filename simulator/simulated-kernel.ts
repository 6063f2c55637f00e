/**
 * The kernel door's twin: one mounted filesystem as its kernel sees it. Keeps the requests in flight, delivers them
 * to the mount's session in the kernel's order (INTERRUPT may overtake, RELEASE comes from the background), and ends
 * all of them with ENOTCONN when the mount dies. What processes do is in simulated-process.ts.
 *
 * The page cache is left out: every read(2) is a READ, as with direct_io, so what a process sees is what the mount
 * answered.
 */
import { constants } from 'node:os';
import type { FuseDevice } from '../mount/fuse/device.js';
import type { ClientId } from '../wire/ids.js';
import type { Facts } from './facts.js';
import type { Journal } from './journal.js';
import {
  forgetMessage,
  initMessage,
  interruptMessage,
  isOpening,
  type KernelReply,
  putUnique,
  replyHead,
} from './kernel-messages.js';
import type { Party } from './party.js';
import type { Scheduler, SeededRandom } from './scheduler.js';
import { SimulatedProcess } from './simulated-process.js';

const { errno } = constants;
const empty = Buffer.alloc(0);

interface InFlight {
  readonly resolve: (reply: KernelReply) => void;
  readonly isOpening: boolean;
  /** An INTERRUPT was sent for it. */
  interrupted: boolean;
}

export class SimulatedKernel implements FuseDevice {
  readonly mount: string;
  readonly facts: Facts;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly #journal: Journal;
  readonly #party: Party;
  readonly #inFlight = new Map<number, InFlight>();
  readonly processes = new Set<SimulatedProcess>();
  #client: ClientId | undefined;
  #onMessage: ((message: Buffer) => void) | undefined;
  #onEnd: (reason: string) => void = () => undefined;
  #isOpen = true;
  #nextUnique = 2;
  #lastDelivery = 0;
  #nextPid: number;
  #nextOpenFile = 1;
  /** Wrong answers of the mount: what a kernel would refuse or warn of. */
  readonly complaints: string[] = [];

  constructor(options: {
    mount: string;
    party: Party;
    facts: Facts;
    scheduler: Scheduler;
    random: SeededRandom;
    journal: Journal;
    firstPid: number;
  }) {
    this.mount = options.mount;
    this.facts = options.facts;
    this.scheduler = options.scheduler;
    this.random = options.random;
    this.#journal = options.journal;
    this.#party = options.party;
    this.#nextPid = options.firstPid;
    options.party.onCrash(() => this.#end());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Known when the mount has its volume. */
  get client(): ClientId {
    if (this.#client === undefined) throw new Error(`${this.mount} is not mounted yet`);
    return this.#client;
  }

  setClient(client: ClientId): void {
    this.#client = client;
    this.facts.tell('mountBegun', this.mount, client);
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  startProcess(): SimulatedProcess {
    const process = new SimulatedProcess(this, this.#nextPid++);
    this.processes.add(process);
    return process;
  }

  newOpenFileNumber(): number {
    return this.#nextOpenFile++;
  }

  log(text: () => string): void {
    this.#journal.line(this.mount, text);
  }

  /** @returns the number under which `interrupt` knows it, and the reply */
  send(message: Buffer): { unique: number; reply: Promise<KernelReply> } {
    const unique = this.#nextUnique;
    this.#nextUnique += 2;
    putUnique(message, unique);
    if (!this.#isOpen) return { unique, reply: Promise.resolve({ error: errno.ENOTCONN, body: empty }) };
    const reply = new Promise<KernelReply>((resolve) => {
      this.#inFlight.set(unique, { resolve, isOpening: isOpening(message), interrupted: false });
    });
    if (isOpening(message)) this.facts.tell('openBegun', this.mount);
    this.#deliver(message);
    return { unique, reply };
  }

  call(message: Buffer): Promise<KernelReply> {
    return this.send(message).reply;
  }

  /** RELEASE: nobody waits for it, and it may come later than what is sent after it. */
  sendInBackground(message: Buffer): void {
    if (!this.random.chance(0.3)) {
      void this.call(message);
      return;
    }
    this.scheduler.after(this.random.between(0, 2), () => void this.call(message));
  }

  forget(nodeid: number, lookups: number): void {
    const message = forgetMessage(nodeid, lookups);
    putUnique(message, this.#nextUnique);
    this.#nextUnique += 2;
    if (this.#isOpen) this.#deliver(message);
  }

  /** A signal for whoever waits for `unique`; repeated while the mount does not know that request yet (EAGAIN). */
  interrupt(unique: number): void {
    const call = this.#inFlight.get(unique);
    if (call === undefined) return;
    call.interrupted = true;
    const message = interruptMessage(unique);
    // The kernel gives an INTERRUPT the number of its request with the lowest bit set (FUSE_INT_REQ_BIT).
    putUnique(message, unique + 1);
    this.scheduler.after(this.random.between(0, 0.05), () => {
      if (this.#inFlight.has(unique)) this.#receive(message);
    });
  }

  // ---- FuseDevice ---------------------------------------------------------------------------------------------------

  start(onMessage: (message: Buffer) => void, onEnd: (reason: string) => void): void {
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
    void this.call(initMessage());
  }

  reply(head: Buffer, data?: Uint8Array): void {
    if (!this.#isOpen || !this.#party.isAlive) return;
    const { unique, error } = replyHead(head);
    if (unique % 2 === 1) {
      if (error === errno.EAGAIN) this.#interruptAgain(unique - 1);
      return;
    }
    const call = this.#inFlight.get(unique);
    if (call === undefined) {
      this.complaints.push(`an answer to request ${unique}, which is not waited for`);
      return;
    }
    if (error < 0 || error >= 512) this.complaints.push(`an answer with error ${error}`);
    if (error === errno.EINTR && !call.interrupted) this.complaints.push('EINTR without a signal');
    this.#inFlight.delete(unique);
    if (call.isOpening) this.facts.tell('openEnded', this.mount);
    this.#journal.mark(this.mount, unique, error);
    const inline = head.subarray(16);
    const body = data === undefined ? inline : Buffer.concat([inline, data]);
    call.resolve({ error, body });
  }

  notify(_message: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.scheduler.after(0.01, () => {
        if (this.#party.isAlive) resolve();
      });
    });
  }

  unmount(): Promise<'unmounted' | 'detached'> {
    this.#end();
    return Promise.resolve('unmounted');
  }

  close(): void {
    this.#end();
  }

  #interruptAgain(unique: number): void {
    this.scheduler.after(0.02, () => this.interrupt(unique));
  }

  #deliver(message: Buffer): void {
    const at = Math.max(this.#lastDelivery, this.scheduler.now + this.random.between(0.005, 0.03));
    this.#lastDelivery = at;
    this.scheduler.after(at - this.scheduler.now, () => this.#receive(message));
  }

  #receive(message: Buffer): void {
    if (this.#isOpen && this.#party.isAlive) this.#onMessage?.(message);
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#client !== undefined) this.facts.tell('mountGone', this.mount, this.#client);
    const calls = [...this.#inFlight.values()];
    this.#inFlight.clear();
    this.scheduler.after(0.01, () => {
      for (const call of calls) call.resolve({ error: errno.ENOTCONN, body: empty });
      if (this.#party.isAlive) this.#onEnd('the filesystem was unmounted');
    });
  }
}
