/**
 * How much garbage a long-running process lets lie. V8 starts a full collection when memory has grown by a part of
 * what is in use; in a process that uses 10 MiB, that is after some eight requests of 1 MiB, and the collections took
 * half of the time of a large write. So a fixed amount may lie about instead, whatever is in use. Called once by the
 * commands that serve: brick and mount.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';

const garbageBytes = 128 * 1024 * 1024;
/** V8's own rule lets the memory in use grow by at most this (v8/src/heap/memory-controller.h). */
const ownPercentMax = 300;

/** What may be added to the memory in use before it is collected; undefined: as V8 finds right. */
export function growthPercent(usedBytes: number): number | undefined {
  // In steps: the flag need not be set for every small change.
  const percent = 100 * Math.floor(garbageBytes / usedBytes);
  return percent > ownPercentMax ? percent : undefined;
}

/** Looked at after each collection, also of young memory only: long before a growing process is collected in full. */
export function tolerateGarbage(): void {
  let set: number | undefined;
  const adjust = (): void => {
    const percent = growthPercent(getHeapStatistics().used_heap_size) ?? 0;
    // 0 is V8's word for its own rule.
    if (percent === set) return;
    set = percent;
    setFlagsFromString(`--heap-growing-percent=${percent}`);
  };
  adjust();
  new PerformanceObserver(adjust).observe({ entryTypes: ['gc'] });
}
