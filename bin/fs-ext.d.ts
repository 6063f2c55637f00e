/** The part of fs-ext 2.1.1 that is used here; it ships no types. Its locks always cover the whole file. */
declare module 'fs-ext' {
  type Done = (error: NodeJS.ErrnoException | null) => void;
  export function fcntl(fd: number, command: 'setlk' | 'setlkw', argument: number, done: Done): void;
  export function flock(fd: number, flags: 'sh' | 'ex' | 'shnb' | 'exnb' | 'un', done: Done): void;
  export const constants: { readonly F_RDLCK: number; readonly F_WRLCK: number; readonly F_UNLCK: number };
}
