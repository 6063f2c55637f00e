/**
 * The states of one migration and the steps between them, as one table. The source, the target and the migrator
 * assert every change of state against it, and docs/MIGRATION.md is written from it.
 */

/** As the source sees it; the source is the only judge. */
export const sourcePhases = [
  'prepare',
  'copy',
  'freeze',
  'handover',
  'committed',
  'opened',
  'tidied',
  'aborted',
] as const;
export type SourcePhase = (typeof sourcePhases)[number];

/** As the target sees it. */
export const targetPhases = ['staged', 'ready', 'open', 'dropped'] as const;
export type TargetPhase = (typeof targetPhases)[number];

const sourceSteps: Readonly<Record<SourcePhase, readonly SourcePhase[]>> = {
  prepare: ['copy', 'aborted'],
  copy: ['freeze', 'aborted'],
  freeze: ['handover', 'aborted'],
  handover: ['committed', 'aborted'],
  committed: ['opened'],
  opened: ['tidied'],
  tidied: [],
  aborted: [],
};

const targetSteps: Readonly<Record<TargetPhase, readonly TargetPhase[]>> = {
  staged: ['ready', 'dropped'],
  ready: ['open', 'dropped'],
  open: [],
  dropped: [],
};

/** @throws Error where the step is not in the table: a bug, never an expected outcome */
export function assertSourceStep(from: SourcePhase, to: SourcePhase): void {
  if (!sourceSteps[from].includes(to))
    throw new Error(`a migration at its source cannot go from ${from} to ${to}`);
}

/** @throws Error where the step is not in the table */
export function assertTargetStep(from: TargetPhase, to: TargetPhase): void {
  if (!targetSteps[from].includes(to))
    throw new Error(`a migration at its target cannot go from ${from} to ${to}`);
}
