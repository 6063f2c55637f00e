/**
 * What is mounted where, and whether a folder can become a mountpoint. Reads /proc/self/mountinfo and never asks the
 * mounted filesystem itself: a dead mount would answer ENOTCONN, a stuck one nothing. Called by the mount and umount
 * commands and by the story.
 */
import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { Failure, isSystemError } from './failure.js';

export const fuseType = 'fuse.lockferry';

export interface Mounted {
  readonly point: string;
  readonly type: string;
  readonly source: string;
}

/** mountinfo writes space, tab, newline and backslash as octal escapes (proc_pid_mountinfo(5)); names are bytes. */
const unescapeOctal = (text: string): string =>
  Buffer.from(
    text.replace(/\\([0-7]{3})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
    'latin1',
  ).toString('utf8');

/** Line: `36 35 98:0 /root /point options optional-fields - type source superoptions`. */
export function parseMountinfo(text: string): Mounted[] {
  const found: Mounted[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ');
    const point = left?.split(' ')[4];
    const [type, source] = right?.split(' ') ?? [];
    if (point && type) found.push({ point: unescapeOctal(point), type, source: unescapeOctal(source ?? '') });
  }
  return found;
}

const mountsNow = (): Mounted[] => parseMountinfo(readFileSync('/proc/self/mountinfo', 'latin1'));

/** The path as the kernel names it, without touching what is mounted on its last part. */
export function kernelPath(path: string): string {
  const full = resolve(path);
  if (full === '/') return full;
  try {
    return join(realpathSync(dirname(full)), basename(full));
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ENOTCONN')) return full;
    throw error;
  }
}

/** The topmost mount on exactly this path. */
export function mountedAt(path: string): Mounted | undefined {
  const mounts = mountsNow();
  const direct = mounts.findLast((mount) => mount.point === kernelPath(path));
  if (direct) return direct;
  // The last part may be a symbolic link to a mountpoint.
  try {
    const real = realpathSync(path);
    return mounts.findLast((mount) => mount.point === real);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ENOTCONN', 'EACCES')) return undefined;
    throw error;
  }
}

/** Lockferry mounts at or below a folder, the innermost last. */
export function lockferryMountsBelow(folder: string): Mounted[] {
  const top = kernelPath(folder);
  return mountsNow().filter(
    ({ point, type }) => type === fuseType && (point === top || point.startsWith(`${top}/`)),
  );
}

export const hasCommand = (name: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch (error) {
      if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return false;
      throw error;
    }
  });

/** @throws Failure mountpoint where this machine or this user cannot mount FUSE */
export function checkCanMount(): void {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    if (isSystemError(error, 'ENOENT'))
      throw new Failure(
        'mountpoint',
        'There is no /dev/fuse',
        'Load the module (modprobe fuse); in a container: --device /dev/fuse --cap-add SYS_ADMIN',
      );
    if (isSystemError(error, 'EACCES', 'EPERM'))
      throw new Failure(
        'mountpoint',
        '/dev/fuse may not be opened by you',
        'Run this as root, or let your user open it',
      );
    throw error;
  }
  if (process.getuid?.() !== 0 && !hasCommand('fusermount3'))
    throw new Failure(
      'mountpoint',
      'Only root may mount, and fusermount3 is not installed',
      'apt-get install fuse3, or run this as root',
    );
}

/** @returns the path to mount on, as the kernel will name it. @throws Failure mountpoint or notFound */
export function checkMountpoint(path: string): string {
  const mounted = mountedAt(path);
  if (mounted) {
    const what = mounted.type === fuseType ? `volume "${mounted.source}"` : `a ${mounted.type} filesystem`;
    throw new Failure(
      'mountpoint',
      `${path} is already the mountpoint of ${what}`,
      `Choose another folder, or: lockferry umount ${path}`,
    );
  }
  try {
    if (!statSync(path).isDirectory())
      throw new Failure('mountpoint', `${path} is not a folder`, 'Choose a folder to mount on');
    return realpathSync(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR'))
      throw new Failure(
        'notFound',
        `The mountpoint ${path} does not exist`,
        `Make it with: mkdir -p ${path}`,
      );
    if (isSystemError(error, 'ENOTCONN'))
      throw new Failure(
        'mountpoint',
        `${path} is inside a mount whose process died`,
        'Unmount that first: lockferry umount MOUNTPOINT',
      );
    throw error;
  }
}
