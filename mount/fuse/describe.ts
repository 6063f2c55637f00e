/**
 * Any request or answer as one line, for traces, logs and failed tests. Printed from the parsed request itself, so
 * that no opcode can be forgotten here.
 */
import { type ByteText, displayText } from '../../wire/ids.js';
import type { FuseRequest, UnknownRequest } from './request.js';

const textMembers = new Set(['name', 'newName', 'target']);

const show = (key: string, value: unknown): string => {
  if (value instanceof Uint8Array) return `${key}=[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return `${key}=[${value.length}]`;
  if (textMembers.has(key)) return `${key}=${JSON.stringify(displayText(value as ByteText))}`;
  if (key === 'flags' || key === 'valid' || key === 'mode') return `${key}=0${Number(value).toString(8)}`;
  return `${key}=${String(value)}`;
};

/** `SETLKW #36 node 2 pid 4711 fh=1 owner=00… start=0 end=9 type=write flock=false` */
export const describeRequest = (request: FuseRequest | UnknownRequest): string => {
  const { op, head, ...body } = request;
  const members = Object.entries(body).map(([key, value]) => show(key, value));
  return [op, `#${head.unique}`, `node ${head.nodeid}`, `pid ${head.pid}`, ...members].join(' ');
};
