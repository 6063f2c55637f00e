/**
 * What a party says of itself while it runs: one event a line, the same words in the log, in the tests and in the
 * simulator. The real sink is chosen in bin/ (pino); a party only calls these.
 */
export type TraceFields = Readonly<Record<string, string | number | bigint | boolean | undefined>>;

export interface Trace {
  /** Fine detail, off unless asked for. `isDebug` lets a hot path skip building the fields. */
  readonly isDebug: boolean;
  debug(event: string, fields?: TraceFields): void;
  info(event: string, fields?: TraceFields): void;
  /** Something went wrong that the party lives with: a bad frame, a lost connection, a full disk. */
  warn(event: string, fields?: TraceFields): void;
  error(event: string, fields?: TraceFields): void;
}

/** Says nothing. */
export const silentTrace: Trace = {
  isDebug: false,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
