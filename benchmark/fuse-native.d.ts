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
    fgetattr?(path: string, fd: number, done: Done<Stat>): void;
    mkdir?(path: string, mode: number, done: Done): void;
    rmdir?(path: string, done: Done): void;
    chmod?(path: string, mode: number, done: Done): void;
    /** Times in milliseconds. */
    utimens?(path: string, atime: number, mtime: number, done: Done): void;
    truncate?(path: string, size: number, done: Done): void;
    ftruncate?(path: string, fd: number, size: number, done: Done): void;
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
    static readonly ENOTEMPTY: number;
    constructor(mountpoint: string, operations: Operations, options?: { readonly bigWrites?: boolean });
    mount(done: (error: Error | null) => void): void;
    unmount(done: (error: Error | null) => void): void;
  }
}
