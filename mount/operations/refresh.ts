/**
 * Makes the kernel forget what it has cached of a file that changed elsewhere. Called where a lock or an open is
 * about to be answered and the file's counter is not the one that the kernel's pages are known for (page-cache.ts).
 */
import { asRefusal } from '../../wire/errors.js';
import type { MappedFiles } from '../fuse/process-maps.js';
import { inodeNumber, invalidateInode, storePages } from '../fuse/reply.js';
import type { Inode } from '../inode-table.js';
import type { Context } from './context.js';

/**
 * Drops the pages, the size and the times, and resolves when they are gone. `change` is the counter that was seen
 * before. A page whose READ is in flight is waited for and dropped too (invalidate_inode_pages2_range); a READ that
 * is sent later was sent after the counter was seen, so what it brings is new enough.
 */
export const dropCache = async (
  context: Context,
  inode: Inode,
  change: number,
  thread?: number,
): Promise<void> => {
  inode.pages.dropping();
  await context.device.notify(invalidateInode(inode.nodeid));
  if (context.files.hasAppender(inode) || (await hasMapped(context, inode, thread)))
    await grow(context, inode);
  inode.pages.dropped(change);
};

/**
 * Before an unlock leaves the mount: what the thread's process stored into mapped pages of the file is written back,
 * so that the next holder sees it. The kernel itself does that at close, never at an unlock. Undefined where nothing
 * can be there, which is known without asking anybody in all but a few cases.
 */
export const writeBackStores = (
  context: Context,
  inode: Inode,
  thread: number,
): Promise<void> | undefined => {
  if (!inode.pages.hasPages || !context.files.hasStorer(inode)) return undefined;
  const mapped = context.device.mappedFiles?.(thread);
  if (mapped === undefined) return undefined;
  if (mapped instanceof Promise) return mapped.then((found) => launder(context, inode, found));
  return launder(context, inode, mapped);
};

/** Invalidating writes dirty pages first and waits for it (invalidate_inode_pages2_range, fuse_launder_folio). */
const launder = (
  context: Context,
  inode: Inode,
  mapped: MappedFiles | undefined,
): Promise<void> | undefined => {
  if (mapped !== undefined && !mapped.stored.has(String(inodeNumber(inode.file)))) return undefined;
  inode.pages.dropping();
  return context.device.notify(invalidateInode(inode.nodeid));
};

const hasMapped = async (context: Context, inode: Inode, thread: number | undefined): Promise<boolean> => {
  if (thread === undefined || context.device.mappedFiles === undefined) return false;
  const mapped = await context.device.mappedFiles(thread);
  return mapped === undefined || mapped.seen.has(String(inodeNumber(inode.file)));
};

/**
 * The kernel appends at the size that it has in mind and asks nobody (fuse_cache_write_iter without writeback), and
 * gives SIGBUS for a mapped page behind it (filemap_fault), so
 * after the drop it must be told how far the file has grown. NOTIFY_STORE of the last byte does that; the byte is the
 * true one, because the rest of its page may be taken as zeroes (fuse_notify_store). It cannot make a file shorter.
 */
const grow = async (context: Context, inode: Inode): Promise<void> => {
  try {
    const { size } = await context.volume.attributes(inode.file);
    // Nothing makes the kernel's size smaller but attributes that it asks for: content.ts mends what it appends.
    inode.cutTo = size;
    if (size === 0) return;
    const { data } = await context.volume.read(inode.file, size - 1, 1);
    if (data.byteLength !== 1) return;
    await context.device.notify(storePages(inode.nodeid, size - 1, data));
    inode.pages.pagesStored();
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal === undefined) throw error;
    context.trace.warn('mount.size', { file: inode.file, reason: refusal.message });
  }
};
