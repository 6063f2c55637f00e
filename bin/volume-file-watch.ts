/**
 * Notices that volume.json changed. Decides nothing: whoever watches is told of every newer version, once.
 * Called by mount-command.ts.
 */
import { type FSWatcher, unwatchFile, watch, watchFile } from 'node:fs';
import { basename, join } from 'node:path';
import type { Trace } from '../host/trace.js';
import { openVolumeFolder, type VolumeFolder } from './volume-folder.js';

/** Where the kernel tells nothing (a network filesystem, another machine's change), a look at the file does. */
const lookEveryMs = 2000;

/** Answers how to stop. A file that is missing or broken is logged, and looked at again when it changes. */
export function watchVolumeFile(
  place: VolumeFolder,
  trace: Trace,
  changed: (newer: VolumeFolder) => void,
): () => void {
  const path = join(place.folder, 'volume.json');
  let { version } = place.volume;
  const look = (): void => {
    let found: VolumeFolder;
    try {
      found = openVolumeFolder(place.folder);
    } catch (error) {
      trace.warn('volume.json cannot be read', { path, reason: (error as Error).message });
      return;
    }
    if (found.volume.version <= version) return;
    version = found.volume.version;
    trace.info('volume.json changed', { version });
    changed(found);
  };
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(place.folder, (_event, name) => {
      if (name === basename(path)) look();
    });
    watcher.on('error', (error) => trace.warn('volume folder not watched', { reason: error.message }));
  } catch (error) {
    trace.warn('volume folder not watched', { reason: (error as Error).message });
  }
  watchFile(path, { interval: lookEveryMs, persistent: false }, look);
  return () => {
    watcher?.close();
    unwatchFile(path, look);
  };
}
