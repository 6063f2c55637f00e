/** Every check by its name: the kind it is about, then what it checks. Read by the runner and by tests. */
import type { CheckMap } from '../check.js';
import { dataChecks } from './data.js';
import { deadlockChecks } from './deadlock.js';
import { flockChecks } from './flock.js';
import { nameChecks } from './names.js';
import { posixCloseChecks, processChecks } from './processes.js';
import { rangeChecks } from './ranges.js';
import { scopeChecks, secondRangeChecks } from './scope.js';
import { rangeWaitingChecks, waitingChecks } from './waiting.js';

const order = ['posix', 'ofd', 'flock', 'data'] as const;

const unordered: CheckMap = {
  ...rangeChecks('posix'),
  ...rangeChecks('ofd'),
  ...flockChecks,
  ...waitingChecks('posix'),
  ...waitingChecks('ofd'),
  ...waitingChecks('flock'),
  ...rangeWaitingChecks('posix'),
  ...rangeWaitingChecks('ofd'),
  ...processChecks('posix'),
  ...processChecks('ofd'),
  ...processChecks('flock'),
  ...posixCloseChecks,
  ...nameChecks('posix'),
  ...nameChecks('ofd'),
  ...nameChecks('flock'),
  ...deadlockChecks,
  ...scopeChecks('posix'),
  ...scopeChecks('ofd'),
  ...scopeChecks('flock'),
  ...secondRangeChecks('posix'),
  ...secondRangeChecks('ofd'),
  ...dataChecks,
};

export const checks: CheckMap = Object.fromEntries(
  order.flatMap((kind) => Object.entries(unordered).filter(([, check]) => check.kind === kind)),
);
