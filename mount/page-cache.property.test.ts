/**
 * Goal: whenever PageState says that the kernel's cache is current, every cached page is. Method: a file of two
 * pages at a brick, a kernel that caches, locks and drops pages as Linux does, and requests that are sent, carried out
 * and answered at separate moments in any order that a kernel allows. The model knows what each page holds; PageState
 * only hears counters.
 */
import fc from 'fast-check';
import t from 'tap';
import { PageState } from './page-cache.js';

interface Request {
  readonly kind: 'read' | 'write';
  readonly page: number;
  readonly value: number;
  readonly begun: number;
  done: { change: number; value: number } | undefined;
}

class Model {
  readonly state = new PageState();
  readonly brick = [0, 0];
  change = 0;
  readonly cached = new Map<number, number>();
  inFlight: Request[] = [];
  dropping: { change: number; reads: Request[] } | undefined;
  /** How often the cache was found current with something in it: the property must not hold for want of cases. */
  currentCount = 0;
  #value = 1;

  constructor() {
    this.state.attributesSent(0);
  }

  step(choice: number, page: number, at: number): void {
    const request = this.inFlight[at % Math.max(this.inFlight.length, 1)];
    switch (choice) {
      case 0: {
        this.brick[page] = this.#value++;
        this.change++;
        break;
      }
      case 1:
        this.#read(page);
        break;
      case 2:
        this.#write(page);
        break;
      case 3:
      case 4:
        if (request !== undefined && request.done === undefined) this.#carryOut(request);
        break;
      case 5:
      case 6:
        if (request?.done !== undefined) this.#answer(request, request.done);
        break;
      case 7:
        // Memory pressure: any page that no READ has locked, also one whose WRITE is in flight.
        if (!this.#isReading(page)) this.cached.delete(page);
        break;
      default:
        this.#grant();
    }
  }

  #isReading(page: number): boolean {
    return this.inFlight.some((request) => request.kind === 'read' && request.page === page);
  }

  #read(page: number): void {
    if (this.cached.has(page) || this.#isReading(page)) return;
    this.inFlight.push({ kind: 'read', page, value: 0, begun: 0, done: undefined });
  }

  /** The kernel copies into the page, unlocks it, and then sends the WRITE. */
  #write(page: number): void {
    const busy = this.inFlight.some((request) => request.page === page);
    if (busy) return;
    const value = this.#value++;
    this.cached.set(page, value);
    this.inFlight.push({ kind: 'write', page, value, begun: this.state.beginWrite(), done: undefined });
  }

  #carryOut(request: Request): void {
    if (request.kind === 'write') {
      this.brick[request.page] = request.value;
      this.change++;
    }
    request.done = { change: this.change, value: this.brick[request.page]! };
  }

  #answer(request: Request, done: { change: number; value: number }): void {
    this.inFlight = this.inFlight.filter((other) => other !== request);
    if (request.kind === 'write') this.state.writeAnswered(request.begun, done.change);
    else {
      this.state.readAnswered(done.change);
      // A page that was locked when the drop came by is dropped as soon as it is unlocked.
      if (this.dropping?.reads.includes(request) !== true) this.cached.set(request.page, done.value);
    }
    this.#finishDrop();
  }

  #grant(): void {
    // Only a lock holder's writes count: who is granted a lock has no write of its own on the way.
    if (this.inFlight.some((request) => request.kind === 'write')) return;
    if (this.state.isCurrent(this.change)) {
      for (const [page, value] of this.cached)
        if (value !== this.brick[page])
          throw new Error(`page ${page} holds ${value}, the brick ${this.brick[page]}`);
      if (this.cached.size > 0) this.currentCount++;
    } else if (this.dropping === undefined) {
      this.cached.clear();
      this.dropping = { change: this.change, reads: this.inFlight.filter(({ kind }) => kind === 'read') };
      this.#finishDrop();
    }
  }

  #finishDrop(): void {
    if (this.dropping?.reads.some((read) => this.inFlight.includes(read)) !== false) return;
    this.state.dropped(this.dropping.change);
    this.dropping = undefined;
  }
}

t.test('a cache that is called current is current', (t) => {
  let currentCount = 0;
  // Writes of others are rarer than the rest, so that the cache has a chance to be right.
  const choice = fc.constantFrom(0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9);
  const step = fc.tuple(choice, fc.nat(1), fc.nat(2));
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 50, size: 'max' }), (steps) => {
      const model = new Model();
      for (const [choice, page, at] of steps) model.step(choice, page, at);
      currentCount += model.currentCount;
    }),
    { numRuns: 30_000 },
  );
  t.ok(currentCount > 1000, `found current ${currentCount} times`);
  t.end();
});

t.test('own writes that are answered out of order close the gap', (t) => {
  const state = new PageState();
  state.attributesSent(5);
  const begun = [state.beginWrite(), state.beginWrite(), state.beginWrite()] as const;
  state.writeAnswered(begun[2], 8);
  state.writeAnswered(begun[1], 7);
  t.notOk(state.isCurrent(8));
  state.writeAnswered(begun[0], 6);
  t.ok(state.isCurrent(8));
  t.end();
});

t.test("another mount's write between two of ours is not skipped over", (t) => {
  const state = new PageState();
  state.attributesSent(5);
  const begun = state.beginWrite();
  state.writeAnswered(begun, 6);
  state.writeAnswered(begun, 8);
  t.notOk(state.isCurrent(8));
  state.dropped(8);
  t.ok(state.isCurrent(8));
  state.attributesSent(7);
  t.notOk(state.isCurrent(8), 'attributes from before came late');
  t.end();
});
