/**
 * The real sink of traces: pino JSON lines. Bricks and daemons log to a file of the volume's run folder, commands in
 * the foreground say only what went wrong. Called by every subcommand that runs a party.
 */
import { pino } from 'pino';
import type { Trace, TraceFields } from '../host/trace.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

/** LOCKFERRY_LOG, or what the command finds right. */
export function logLevel(otherwise: LogLevel): LogLevel {
  const asked = process.env.LOCKFERRY_LOG;
  return levels.find((level) => level === asked) ?? otherwise;
}

/**
 * Written synchronously to standard error: the last line before a crash is the one that is needed.
 * @param party who speaks, for example `brick-1` or `mount /mnt/a`
 */
export function openTrace(party: string, level: LogLevel): Trace {
  const log = pino(
    { level, base: { party, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
  return {
    isDebug: log.isLevelEnabled('debug'),
    debug: (event: string, fields?: TraceFields) => log.debug(fields ?? {}, event),
    info: (event: string, fields?: TraceFields) => log.info(fields ?? {}, event),
    warn: (event: string, fields?: TraceFields) => log.warn(fields ?? {}, event),
    error: (event: string, fields?: TraceFields) => log.error(fields ?? {}, event),
  };
}
