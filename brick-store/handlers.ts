/** The shape of a brick's answer to each message; brick.ts joins the routes into one table, complete by its type. */
import type { Answer, Op, Request } from '../wire/messages.js';
import type { Session } from './sessions.js';

export type Handler<O extends Op> = (
  session: Session,
  body: Request<O>,
  seq: number,
) => Answer<O> | Promise<Answer<O>>;

export type Handlers = { readonly [O in Op]: Handler<O> };

/** The body of an answer without fields. */
export const nothing = {};
