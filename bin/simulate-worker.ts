/** A thread of `lockferry simulate`: runs the seeds that it is sent, one after the other, and answers each. */
import { parentPort } from 'node:worker_threads';
import { summaryOf } from '../simulator/report.js';
import { simulate } from '../simulator/simulation.js';

/** A promise that nobody waited for failed: a bug of the run that is under way. */
let unhandled: unknown;
process.on('unhandledRejection', (error) => {
  unhandled ??= error;
});

async function runSeed(seed: number): Promise<void> {
  unhandled = undefined;
  const summary = summaryOf(await simulate({ seed }));
  const text = unhandled instanceof Error ? (unhandled.stack ?? unhandled.message) : String(unhandled);
  const fault = {
    check: 'no fault' as const,
    atMs: summary.virtualMs,
    text: `a rejection was not handled: ${text}`,
  };
  parentPort?.postMessage(
    unhandled === undefined ? summary : { ...summary, violations: [...summary.violations, fault] },
  );
}

parentPort?.on('message', (seed: number) => {
  runSeed(seed).catch((error: unknown) => {
    throw error;
  });
});
