/**
 * The voice of the story: lines with the time since the start, headings, and checks that are counted. Colours only on
 * a terminal. Decides nothing; demo.ts asks it at the end whether all checks held.
 */
const isTerminal = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
const paint = (code: string, text: string): string => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text);

export class Narrator {
  readonly #startedAt = performance.now();
  #held = 0;
  readonly #broken: string[] = [];

  /** Milliseconds since the story began. */
  now(): number {
    return performance.now() - this.#startedAt;
  }

  heading(text: string): void {
    console.log(`\n${paint('1', text)}`);
  }

  say(text: string): void {
    console.log(`${paint('2', `${(this.now() / 1000).toFixed(2).padStart(7)} s`)}  ${text}`);
  }

  /** Says what was proved, or what was not, and counts it. */
  check(holds: boolean, claim: string, otherwise = ''): void {
    if (holds) {
      this.#held++;
      this.say(`${paint('32', 'ok')}    ${claim}`);
      return;
    }
    this.#broken.push(claim);
    this.say(`${paint('1;31', 'BROKEN')}  ${claim}${otherwise && `: ${otherwise}`}`);
  }

  get isUnbroken(): boolean {
    return this.#broken.length === 0;
  }

  summary(): string {
    const seconds = (this.now() / 1000).toFixed(1);
    if (this.isUnbroken) return paint('1;32', `All ${this.#held} checks held, in ${seconds} s.`);
    return paint(
      '1;31',
      `${this.#broken.length} of ${this.#held + this.#broken.length} checks did not hold: ${this.#broken.join('; ')}`,
    );
  }
}
