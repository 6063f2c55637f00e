/**
 * The record of a run: what each party said and what the doors did, as one line an event when they are wanted, and
 * always as one running hash, by which two runs are compared. Decides nothing.
 */
import type { Trace, TraceFields } from '../host/trace.js';
import type { Scheduler } from './scheduler.js';

export interface Said {
  readonly party: string;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly fields: TraceFields;
}

const linesMax = 200_000;

export class Journal {
  readonly #scheduler: Scheduler;
  readonly #keepsLines: boolean;
  readonly lines: string[] = [];
  #hash = 0x811c9dc5;
  readonly #listeners: ((said: Said) => void)[] = [];

  constructor(scheduler: Scheduler, keepsLines: boolean) {
    this.#scheduler = scheduler;
    this.#keepsLines = keepsLines;
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  get keepsLines(): boolean {
    return this.#keepsLines;
  }

  onSaid(listener: (said: Said) => void): void {
    this.#listeners.push(listener);
  }

  /** Something happened; numbers and words that tell it from anything else. */
  mark(what: string, a = 0, b = 0): void {
    this.#mix(what);
    this.#mixNumber(a);
    this.#mixNumber(b);
    this.#mixNumber(this.#scheduler.now * 1000);
  }

  /** A line for people; `text` is only asked for where lines are kept. */
  line(party: string, text: () => string): void {
    if (!this.#keepsLines || this.lines.length >= linesMax) return;
    this.lines.push(`${this.#scheduler.now.toFixed(3).padStart(11)} ${party.padEnd(10)} ${text()}`);
  }

  say(said: Said): void {
    if (said.level !== 'debug') this.mark(said.party + said.event);
    this.line(said.party, () => `${said.level} ${said.event} ${describeFields(said.fields)}`);
    for (const listener of this.#listeners) listener(said);
  }

  traceOf(party: string, isDebug: boolean, isAlive: () => boolean): Trace {
    const say =
      (level: Said['level']) =>
      (event: string, fields: TraceFields = {}): void => {
        if (isAlive()) this.say({ party, level, event, fields });
      };
    return {
      isDebug: isDebug || this.#keepsLines,
      debug: say('debug'),
      info: say('info'),
      warn: say('warn'),
      error: say('error'),
    };
  }

  #mix(text: string): void {
    let hash = this.#hash;
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    this.#hash = hash;
  }

  #mixNumber(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value | 0), 0x01000193);
  }
}

const describeFields = (fields: TraceFields): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(' ');
