/**
 * The shape of one row of the contract (messages.ts), and who may send it. Decides nothing.
 */
import type { Fields } from './fields.js';

export type Role = 'mount' | 'tool' | 'brick';

export interface Row<Q extends Fields, A extends Fields> {
  readonly op: number;
  readonly request: Q;
  readonly answer: A;
  readonly durable: boolean;
  readonly roles: readonly Role[];
}

export const everyone = ['mount', 'tool', 'brick'] as const;
export const clients = ['mount', 'tool'] as const;
export const mounts = ['mount'] as const;
export const tools = ['tool'] as const;
export const bricks = ['brick'] as const;

export const row = <Q extends Fields, A extends Fields>(
  op: number,
  roles: readonly Role[],
  request: Q,
  answer: A,
  flags?: { durable: true },
): Row<Q, A> => ({ op, roles, request, answer, durable: flags?.durable ?? false });
