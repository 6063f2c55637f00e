/**
 * Makes the kernel forget what it has cached of a file that changed elsewhere. Called where a lock or an open is
 * about to be answered and the file's counter is not the one that the kernel's pages are known for (page-cache.ts).
 */
import { asRefusal } from '../../wire/errors.js';
import { invalidateInode, storePages } from '../fuse/reply.js';
import type { Inode } from '../inode-table.js';
import type { Context } from './context.js';

/**
 * Drops the pages, the size and the times, and resolves when they are gone. `change` is the counter that was seen
 * before. A page whose READ is in flight is waited for and dropped too (invalidate_inode_pages2_range); a READ that
 * is sent later was sent after the counter was seen, so what it brings is new enough.
 */
export const dropCache = async (context: Context, inode: Inode, change: number): Promise<void> => {
  await context.device.notify(invalidateInode(inode.nodeid));
  if (context.files.hasAppender(inode)) await growForAppend(context, inode);
  inode.pages.dropped(change);
};

/**
 * The kernel appends at the size that it has in mind and asks nobody (fuse_cache_write_iter without writeback), so
 * after the drop it must be told how far the file has grown. NOTIFY_STORE of the last byte does that; the byte is the
 * true one, because the rest of its page may be taken as zeroes (fuse_notify_store). It cannot make a file shorter.
 */
const growForAppend = async (context: Context, inode: Inode): Promise<void> => {
  try {
    const { size } = await context.volume.attributes(inode.file);
    if (size === 0) return;
    const { data } = await context.volume.read(inode.file, size - 1, 1);
    if (data.byteLength === 1) await context.device.notify(storePages(inode.nodeid, size - 1, data));
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal === undefined) throw error;
    context.trace.warn('mount.append-size', { file: inode.file, reason: refusal.message });
  }
};
