/**
 * What goes wrong in a run, drawn from its seed: for each kind of fault how often, from never to all the time. Knows
 * nothing of what the processes do. `calm` ends all of it: the network heals, disks work, every party is up.
 */
import type { BrickName, FileId } from '../wire/ids.js';
import type { FactListener, StepFact } from './facts.js';
import type { Operators } from './migrations.js';
import type { SeededRandom } from './scheduler.js';
import type { SimulatedCluster } from './simulated-cluster.js';

export interface FaultRates {
  /** Per second. */
  readonly brickCrash: number;
  readonly powerLoss: number;
  readonly mountCrash: number;
  readonly toolCrash: number;
  readonly partition: number;
  readonly cut: number;
  readonly diskFailure: number;
  readonly diskFull: number;
  /** At each step of a migration. */
  readonly atStep: number;
  /** Longest time until a crashed party is started again, and until a partition heals. */
  readonly downMsMax: number;
  readonly isSlowNetwork: boolean;
  readonly isSlowDisk: boolean;
}

export function drawFaultRates(random: SeededRandom): FaultRates {
  const rate = (usual: number, wild: number): number => {
    const draw = random.below(10);
    return draw < 5 ? 0 : draw < 9 ? random.between(0, usual) : random.between(usual, wild);
  };
  return {
    brickCrash: rate(0.3, 2),
    powerLoss: rate(0.1, 1),
    mountCrash: rate(0.1, 0.5),
    toolCrash: rate(0.3, 2),
    partition: rate(0.3, 2),
    cut: rate(1, 10),
    diskFailure: rate(0.2, 1),
    diskFull: rate(0.1, 0.5),
    atStep: rate(0.1, 0.5),
    downMsMax: random.pick([20, 300, 3000, 15_000]),
    isSlowNetwork: random.chance(0.3),
    isSlowDisk: random.chance(0.3),
  };
}

export const noFaults: FaultRates = {
  brickCrash: 0,
  powerLoss: 0,
  mountCrash: 0,
  toolCrash: 0,
  partition: 0,
  cut: 0,
  diskFailure: 0,
  diskFull: 0,
  atStep: 0,
  downMsMax: 100,
  isSlowNetwork: false,
  isSlowDisk: false,
};

/** Of each step of a migration: whom a fault hit there. The link that is cut off is one of the source or the target. */
export const stepColumns = ['source crashed', 'target crashed', 'migrator crashed', 'cut off'] as const;
type StepColumn = (typeof stepColumns)[number];

/** Steps that fewer migrations take than the first ones, and how much likelier a fault is there. */
const rareSteps: ReadonlyMap<StepFact['to'], number> = new Map([
  ['handover', 1.3],
  ['ready', 1.5],
  ['committed', 1.3],
  ['aborted', 4],
  ['dropped', 4],
  ['open', 1.5],
  ['opened', 1.5],
  ['tidied', 2],
]);
const atStepMax = 0.8;

/** Longest pause between two looks of a fault that hardly ever comes. */
const pauseMsMax = 60_000;

export class FaultInjector implements FactListener {
  readonly #cluster: SimulatedCluster;
  readonly #random: SeededRandom;
  readonly #rates: FaultRates;
  readonly #operators: Operators;
  #isCalm = false;
  #restarts = 0;
  /** `source copy: target crashed` and the like, with how often. */
  readonly counts = new Map<string, number>();

  constructor(options: {
    cluster: SimulatedCluster;
    random: SeededRandom;
    rates: FaultRates;
    operators: Operators;
  }) {
    this.#cluster = options.cluster;
    this.#random = options.random;
    this.#rates = options.rates;
    this.#operators = options.operators;
  }

  start(): void {
    const { weather } = this.#cluster.network;
    const rates = this.#rates;
    if (rates.isSlowNetwork) {
      this.#cluster.network.weather = { ...weather, delayMsMax: 3, slowChance: 0.05, slowMs: 300 };
    }
    if (rates.isSlowDisk) {
      for (const { disk } of this.#cluster.bricks.values()) {
        Object.assign(disk.speed, { writeMsMin: 0.1, writeMsMax: 8, syncMs: 10 });
      }
    }
    this.#every(rates.brickCrash, () => this.#crashBrick(this.#anyBrick(), false));
    this.#every(rates.powerLoss, () => this.#crashBrick(this.#anyBrick(), true));
    this.#every(rates.mountCrash, () => this.#crashMount());
    this.#every(rates.toolCrash, () => this.#crashTool());
    this.#every(rates.partition, () => this.#partition(this.#anyParty(), this.#anyBrick()));
    this.#every(rates.cut, () => this.#cut(this.#anyParty(), this.#anyBrick()));
    this.#every(rates.diskFailure, () => this.#failDisk(this.#anyBrick()));
    this.#every(rates.diskFull, () => this.#fillDisk(this.#anyBrick()));
  }

  step({ side, to, file, source, target }: StepFact): void {
    const chance = Math.min(this.#rates.atStep * (rareSteps.get(to) ?? 1), atStepMax);
    if (this.#isCalm || !this.#random.chance(chance)) return;
    const column = this.#random.pick(stepColumns);
    if (this.#hit(column, file, source, target)) this.#count(`${side} ${to}: ${column}`);
  }

  /** @returns whether there was something to hit */
  #hit(column: StepColumn, file: FileId, source: BrickName, target: BrickName): boolean {
    switch (column) {
      case 'source crashed':
        return this.#crashBrick(source, this.#random.chance(0.3));
      case 'target crashed':
        return this.#crashBrick(target, this.#random.chance(0.3));
      case 'migrator crashed':
        return this.#crashTool(file);
      case 'cut off': {
        const [brick, other] = this.#random.pick([
          [source, target],
          [source, this.#anyParty()],
          [target, this.#anyParty()],
        ] as const);
        return this.#random.chance(0.5) ? this.#partition(other, brick) : this.#cut(other, brick);
      }
    }
  }

  /** Ends every fault; resolves when all bricks are being started. */
  async calm(): Promise<void> {
    this.#isCalm = true;
    const { network, bricks } = this.#cluster;
    network.weather = { ...network.weather, slowChance: 0, delayMsMax: 0.2 };
    network.heal();
    for (const [name, { disk }] of bricks) {
      disk.isFull = false;
      Object.assign(disk.speed, { writeMsMin: 0.02, writeMsMax: 0.1, syncMs: 0.5 });
      await this.#cluster.startBrick(name);
    }
  }

  // ---- one fault each -----------------------------------------------------------------------------------------------

  #crashBrick(brick: BrickName, power: boolean): boolean {
    if (!this.#cluster.isBrickUp(brick)) return false;
    this.#count(power ? 'brick lost power' : 'brick crashed');
    this.#cluster.crashBrick(brick, power);
    this.#later(() => this.#cluster.startBrick(brick));
    return true;
  }

  #crashMount(): void {
    const names = [...this.#cluster.mounts.keys()];
    if (names.length === 0) return;
    const name = this.#random.pick(names);
    this.#count('mount crashed');
    this.#cluster.crashMount(name);
    this.#later(async () => {
      await this.#cluster.startMount(`${name.split('.')[0]}.${++this.#restarts}`);
    });
  }

  #crashTool(moves?: FileId): boolean {
    if (!this.#operators.crashOne(moves)) return false;
    this.#count('migrator crashed');
    return true;
  }

  #partition(a: string, b: BrickName): boolean {
    if (a === b || this.#cluster.network.isPartitioned(a, b)) return false;
    this.#count('partition');
    this.#cluster.journal.line(a, () => `CUT OFF from ${b}`);
    this.#cluster.network.partition(a, b);
    this.#later(async () => this.#cluster.network.heal(a, b));
    return true;
  }

  #cut(a: string, b: BrickName): boolean {
    if (a === b) return false;
    this.#count('connection reset');
    this.#cluster.journal.line(a, () => `RESET with ${b}`);
    this.#cluster.network.cut(a, b);
    return true;
  }

  #failDisk(brick: BrickName): void {
    const { store } = this.#cluster.brick(brick);
    if (store === undefined || !this.#cluster.isBrickUp(brick)) return;
    this.#count('disk failed');
    this.#cluster.journal.line(brick, () => 'DISK FAILS');
    this.#cluster.facts.tell('diskTrouble', brick);
    store.fail(this.#random.chance(0.5) ? 'ENOSPC' : 'EIO', this.#random.between(1, 50));
  }

  #fillDisk(brick: BrickName): void {
    const { disk } = this.#cluster.brick(brick);
    if (disk.isFull) return;
    this.#count('disk full');
    this.#cluster.journal.line(brick, () => 'DISK FULL');
    this.#cluster.facts.tell('diskTrouble', brick);
    disk.isFull = true;
    this.#later(async () => {
      disk.isFull = false;
    });
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  #every(perSecond: number, run: () => void): void {
    if (perSecond <= 0) return;
    const pause = (): number =>
      Math.min(pauseMsMax, (-Math.log(1 - this.#random.between(0, 0.999)) / perSecond) * 1000);
    const again = (): void => {
      this.#cluster.scheduler.after(pause(), () => {
        if (this.#isCalm) return;
        run();
        again();
      });
    };
    again();
  }

  #later(run: () => Promise<void>): void {
    this.#cluster.scheduler.after(this.#random.between(1, this.#rates.downMsMax), () => {
      if (this.#isCalm) return;
      run().catch((error: unknown) => this.#cluster.fault(error));
    });
  }

  #anyBrick(): BrickName {
    return this.#random.pick([...this.#cluster.bricks.keys()]);
  }

  #anyParty(): string {
    const tools = this.#operators.tools.flatMap((tool) => (tool === undefined ? [] : [tool.party.name]));
    return this.#random.pick([...this.#cluster.bricks.keys(), ...this.#cluster.mounts.keys(), ...tools]);
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}
