/** The part of fuse-native 2.2.6 that is used here; it ships no types. Numbers are errno, negative; 0 is good. */
declare module 'fuse-native' {
  export interface Stat {
    readonly mode: number;
    readonly size: number;
    readonly nlink: number;
    readonly mtime: Date;
    readonly atime: Date;
    readonly ctime: Date;
  }
  type Done<T = undefined> = (code: number, value?: T) => void;
  export interface Operations {
    getattr?(path: string, done: Done<Stat>): void;
    readdir?(path: string, done: Done<string[]>): void;
    open?(path: string, flags: number, done: Done<number>): void;
    create?(path: string, mode: number, done: Done<number>): void;
    read?(path: string, fd: number, into: Buffer, length: number, offset: number, done: Done): void;
    write?(path: string, fd: number, bytes: Buffer, length: number, offset: number, done: Done): void;
    release?(path: string, fd: number, done: Done): void;
    rename?(from: string, to: string, done: Done): void;
    unlink?(path: string, done: Done): void;
  }
  export default class Fuse {
    static readonly ENOENT: number;
    constructor(mountpoint: string, operations: Operations, options?: { readonly bigWrites?: boolean });
    mount(done: (error: Error | null) => void): void;
    unmount(done: (error: Error | null) => void): void;
  }
}
