/** Every opcode, size and offset against the kernel's own header, read by the C compiler of this machine. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import * as abi from './abi.js';

const structs: Record<string, Record<string, number>> = {
  in_header: abi.inHeader,
  out_header: abi.outHeader,
  attr: abi.attr,
  entry_out: abi.entryOut,
  attr_out: abi.attrOut,
  init_out: abi.initOut,
  forget_in: abi.forgetIn,
  batch_forget_in: abi.batchForgetIn,
  forget_one: abi.forgetOne,
  getattr_in: abi.getattrIn,
  setattr_in: abi.setattrIn,
  mknod_in: abi.mknodIn,
  mkdir_in: abi.mkdirIn,
  rename_in: abi.renameIn,
  rename2_in: abi.rename2In,
  link_in: abi.linkIn,
  open_in: abi.openIn,
  open_out: abi.openOut,
  create_in: abi.createIn,
  release_in: abi.releaseIn,
  flush_in: abi.flushIn,
  read_in: abi.readIn,
  write_in: abi.writeIn,
  write_out: abi.writeOut,
  fsync_in: abi.fsyncIn,
  getxattr_in: abi.getxattrIn,
  getxattr_out: abi.getxattrOut,
  interrupt_in: abi.interruptIn,
  fallocate_in: abi.fallocateIn,
  lseek_in: abi.lseekIn,
  lseek_out: abi.lseekOut,
  notify_inval_inode_out: abi.notifyInvalInodeOut,
  notify_store_out: abi.notifyStoreOut,
};

/** maxBackground > max_background */
const kernelName = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

t.test('the tables are what include/uapi/linux/fuse.h says', (t) => {
  const checks: string[] = [];
  for (const [struct, fields] of Object.entries(structs))
    for (const [field, offset] of Object.entries(fields))
      checks.push(
        field === 'bytes'
          ? `sizeof(struct fuse_${struct}) == ${offset}`
          : `offsetof(struct fuse_${struct}, ${kernelName(field)}) == ${offset}`,
      );
  for (const [name, number] of Object.entries(abi.opcodes)) checks.push(`FUSE_${name} == ${number}`);
  for (const [name, bit] of Object.entries(abi.initFlags)) checks.push(`FUSE_${name} == ${bit >>> 0}u`);
  for (const [name, bit] of Object.entries(abi.setattrValid)) checks.push(`FATTR_${name} == ${bit}`);
  for (const [name, code] of Object.entries(abi.notifyCodes)) checks.push(`FUSE_NOTIFY_${name} == ${code}`);
  const lock = 'sizeof(struct fuse_file_lock)';
  checks.push(
    `sizeof(struct fuse_lk_in) == ${abi.lkIn.bytes} && ${lock} == ${abi.lkOut.bytes}`,
    `offsetof(struct fuse_lk_in, lk.type) == ${abi.lkIn.type} && offsetof(struct fuse_lk_in, lk_flags) == ${abi.lkIn.lkFlags}`,
    `offsetof(struct fuse_statfs_out, st.frsize) == ${abi.statfsOut.frsize}`,
    `sizeof(struct fuse_statfs_out) == ${abi.statfsOut.bytes}`,
    `FUSE_COMPAT_SETXATTR_IN_SIZE == ${abi.setxattrIn.bytes}`,
    `FUSE_NAME_OFFSET == ${abi.dirent.name} && FUSE_NAME_OFFSET_DIRENTPLUS == ${abi.direntplus.name}`,
    `FOPEN_KEEP_CACHE == ${abi.FOPEN_KEEP_CACHE} && FUSE_LK_FLOCK == ${abi.FUSE_LK_FLOCK}`,
    `FUSE_WRITE_KILL_SUIDGID == ${abi.FUSE_WRITE_KILL_SUIDGID} && FUSE_OPEN_KILL_SUIDGID == ${abi.FUSE_OPEN_KILL_SUIDGID}`,
    `O_EXCL == ${abi.O_EXCL} && O_TRUNC == ${abi.O_TRUNC} && O_APPEND == ${abi.O_APPEND}`,
    `F_RDLCK == ${abi.lockTypes.F_RDLCK} && F_WRLCK == ${abi.lockTypes.F_WRLCK} && F_UNLCK == ${abi.lockTypes.F_UNLCK}`,
  );
  const directory = mkdtempSync(join(tmpdir(), 'lockferry-abi-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const lines = checks.map((check) => `_Static_assert(${check}, "${check}");`);
  const source = ['#include <stddef.h>', '#include <fcntl.h>', '#include <linux/fuse.h>', ...lines].join(
    '\n',
  );
  writeFileSync(join(directory, 'abi.c'), `${source}\n`);
  t.doesNotThrow(() =>
    execFileSync('gcc', ['-fsyntax-only', join(directory, 'abi.c')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    }),
  );
  t.ok(checks.length > 200);
  t.end();
});
