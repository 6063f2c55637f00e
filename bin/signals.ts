/**
 * The wish to end: SIGINT, SIGTERM, SIGHUP. The first one asks; later ones while the answer is being carried out are
 * not heard, because a clean-up that is cut short leaves mounts and processes behind.
 */
const wishes = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Resolves with the first signal from now on. Until the process ends, none of them ends it by itself. */
export function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const name of wishes) process.on(name, () => resolve(name));
  });
}
