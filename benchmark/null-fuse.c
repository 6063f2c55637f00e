/*
 * The floor: the least that a filesystem in user space can cost on this machine. One thread, files in memory in one
 * folder, and every lock granted at once, whoever holds what: it answers the kernel and does nothing else.
 *
 *     null-fuse MOUNTPOINT        serves until SIGTERM or umount
 *
 * Never a filesystem to use: its locks do not exclude. Compiled and run by contestants.ts.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 4096, NAME_BYTES = 64 };
/* Seconds: as long as the other contestants let the kernel use a name. */
static const double fresh_s = 1.0;

/* Inode number: place in this table, plus FUSE_ROOT_ID + 1. */
static struct file {
  char name[NAME_BYTES]; /* "" without a name */
  uint8_t *content;
  size_t size, room;
  mode_t mode;
  uint64_t lookups;      /* of the kernel, minus what it forgot */
} files[FILES_MAX];
static fuse_ino_t used; /* the places from here on were never used */
static struct flock last_lock = {.l_type = F_UNLCK};

static struct file *file_of(fuse_ino_t ino) { return &files[ino - FUSE_ROOT_ID - 1]; }

static struct file *named(const char *name) {
  for (fuse_ino_t at = 0; at < used; at++)
    if (strcmp(files[at].name, name) == 0) return &files[at];
  return NULL;
}

static struct stat stat_of(fuse_ino_t ino) {
  struct stat seen = {.st_ino = ino, .st_nlink = 1, .st_mode = S_IFDIR | 0777};
  if (ino == FUSE_ROOT_ID) return seen;
  seen.st_mode = file_of(ino)->mode;
  seen.st_size = (off_t)file_of(ino)->size;
  return seen;
}

static struct fuse_entry_param entry_of(struct file *file) {
  struct fuse_entry_param entry = {.attr_timeout = fresh_s, .entry_timeout = fresh_s};
  entry.ino = (fuse_ino_t)(file - files) + FUSE_ROOT_ID + 1;
  entry.attr = stat_of(entry.ino);
  file->lookups++;
  return entry;
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
  (void)parent;
  struct file *file = named(name);
  if (file == NULL) {
    fuse_reply_err(req, ENOENT);
    return;
  }
  struct fuse_entry_param entry = entry_of(file);
  fuse_reply_entry(req, &entry);
}

static void null_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
  if (ino != FUSE_ROOT_ID) {
    struct file *file = file_of(ino);
    file->lookups -= count;
    if (file->lookups == 0 && file->name[0] == 0) {
      free(file->content);
      memset(file, 0, sizeof *file);
    }
  }
  fuse_reply_none(req);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
  (void)open;
  struct stat seen = stat_of(ino);
  fuse_reply_attr(req, &seen, fresh_s);
}

static void null_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int which, struct fuse_file_info *open) {
  (void)wanted;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) fuse_reply_err(req, ENOSYS);
  else null_getattr(req, ino, open);
}

static void null_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *open) {
  (void)parent;
  struct file *file = files;
  while (file < files + FILES_MAX && (file->lookups > 0 || file->name[0] != 0)) file++;
  if (file == files + FILES_MAX || strlen(name) >= NAME_BYTES) {
    fuse_reply_err(req, ENOSPC);
    return;
  }
  if ((fuse_ino_t)(file - files) >= used) used = (fuse_ino_t)(file - files) + 1;
  strcpy(file->name, name);
  file->mode = S_IFREG | (mode & 07777);
  struct fuse_entry_param entry = entry_of(file);
  fuse_reply_create(req, &entry, open);
}

static void null_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
  (void)parent;
  struct file *file = named(name);
  if (file != NULL) file->name[0] = 0;
  fuse_reply_err(req, file == NULL ? ENOENT : 0);
}

static void null_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *open) {
  (void)open;
  struct file *file = file_of(ino);
  size_t from = (size_t)offset < file->size ? (size_t)offset : file->size;
  size_t length = size < file->size - from ? size : file->size - from;
  fuse_reply_buf(req, (const char *)file->content + from, length);
}

static void null_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                       struct fuse_file_info *open) {
  (void)open;
  struct file *file = file_of(ino);
  size_t end = (size_t)offset + size;
  if (end > file->room) {
    size_t room = end > 2 * file->room ? end : 2 * file->room;
    uint8_t *content = realloc(file->content, room);
    if (content == NULL) {
      fuse_reply_err(req, ENOSPC);
      return;
    }
    memset(content + file->room, 0, room - file->room);
    file->content = content;
    file->room = room;
  }
  memcpy(file->content + offset, bytes, size);
  if (end > file->size) file->size = end;
  fuse_reply_write(req, size);
}

static void null_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open, struct flock *lock) {
  (void)ino;
  (void)open;
  (void)lock;
  fuse_reply_lock(req, &last_lock);
}

static void null_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open, struct flock *lock, int sleep) {
  (void)ino;
  (void)open;
  (void)sleep;
  last_lock = *lock;
  fuse_reply_err(req, 0);
}

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
  (void)ino;
  fuse_reply_open(req, open);
}

static void null_done(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
  (void)ino;
  (void)open;
  fuse_reply_err(req, 0);
}

static void null_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *open) {
  (void)data_only;
  null_done(req, ino, open);
}

static void null_init(void *data, struct fuse_conn_info *connection) {
  (void)data;
  connection->max_readahead = 1 << 20;
}

static const struct fuse_lowlevel_ops operations = {
    .init = null_init,     .lookup = null_lookup, .forget = null_forget,  .getattr = null_getattr,
    .setattr = null_setattr, .create = null_create, .unlink = null_unlink,  .open = null_open,
    .read = null_read,     .write = null_write,   .flush = null_done,     .release = null_done,
    .fsync = null_fsync,   .getlk = null_getlk,   .setlk = null_setlk,
};

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: null-fuse MOUNTPOINT\n");
    return 64;
  }
  char *options[] = {argv[0], "-o", "fsname=null-fuse", NULL};
  struct fuse_args arguments = FUSE_ARGS_INIT(3, options);
  struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
  if (session == NULL || fuse_set_signal_handlers(session) != 0) return 1;
  if (fuse_session_mount(session, argv[1]) != 0) return 1;
  int ended = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_remove_signal_handlers(session);
  fuse_session_destroy(session);
  fuse_opt_free_args(&arguments);
  return ended < 0 ? 1 : 0;
}
