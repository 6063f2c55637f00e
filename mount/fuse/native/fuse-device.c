/*
 * The few system calls that Node has no words for: mount(2) of a fuse filesystem, umount2(2), the hand-over of the
 * descriptor by fusermount3, and a non-blocking /dev/fuse in the event loop with read and write in one call each.
 *
 * It knows nothing of the FUSE protocol and decides nothing: bytes in, bytes out, errno as numbers. The one caller is
 * kernel-device.ts.
 *
 * What runs where matters. Requests are read and replies written on the event loop: neither can block (a reply is
 * copied into the memory of a request that waits for it). A notification can: FUSE_NOTIFY_INVAL_INODE waits for the
 * lock of a page whose READ is unanswered (invalidate_inode_pages2_range), and the answer to that READ comes from
 * this very event loop. umount2 waits for written pages in the same way. So both run in libuv's thread pool.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include <node_api.h>
#include <uv.h>

#define ADDON "fuse-device"
#include "../../../host/native/check.h"
#include "../../../host/native/linger.h"
#include "fusermount.h"

/* Messages taken in one turn of the event loop, so that answers from the bricks get their turn too. */
enum { MESSAGES_PER_TURN = 64, TURNS_A_LOOK = 8, PATH_BYTES = 4096, OPTION_BYTES = 1024, REASON_BYTES = 1024 };

typedef struct {
  napi_env env;
  int fd;
  /* The poll handle, the caller, and each write in the thread pool; the descriptor closes when the last lets go, so
   * that no thread writes to a number that another file took over. */
  int users;
  bool watching;
  bool released;
  /* The last turn that looked for more than one message found more. */
  bool crowded;
  unsigned turns;
  uv_poll_t poll;
  napi_async_context context;
  napi_ref buffer_ref;
  napi_ref on_message;
  napi_ref on_end;
  uint8_t *buffer;
  size_t buffer_bytes;
} device;

typedef struct {
  napi_async_work work;
  napi_deferred deferred;
  device *device;
  uint8_t *bytes;
  size_t length;
  char path[PATH_BYTES];
  int flags;
  int error;
} job;

static napi_value number(napi_env env, int value) {
  napi_value result;
  return napi_create_int32(env, value, &result) == napi_ok ? result : NULL;
}

static void let_go(device *d) {
  if (--d->users > 0) return;
  close(d->fd);
  free(d);
}

static void on_poll_closed(uv_handle_t *handle) {
  device *d = handle->data;
  napi_handle_scope scope;
  napi_open_handle_scope(d->env, &scope);
  napi_delete_reference(d->env, d->buffer_ref);
  napi_delete_reference(d->env, d->on_message);
  napi_delete_reference(d->env, d->on_end);
  napi_async_destroy(d->env, d->context);
  napi_close_handle_scope(d->env, scope);
  let_go(d);
}

static void stop_watching(device *d) {
  if (!d->watching) return;
  d->watching = false;
  uv_poll_stop(&d->poll);
  uv_close((uv_handle_t *)&d->poll, on_poll_closed);
}

/*
 * Calls JavaScript with one number; what it throws becomes an uncaught exception. Only within the scope that
 * on_readable opens: promises go on when that closes, once for all messages of a turn.
 */
static void call(device *d, napi_ref function_ref, int value) {
  napi_env env = d->env;
  napi_handle_scope scope;
  napi_value function, receiver, result, argument = NULL;
  napi_open_handle_scope(env, &scope);
  argument = number(env, value);
  napi_get_reference_value(env, function_ref, &function);
  napi_get_undefined(env, &receiver);
  napi_status status = napi_call_function(env, receiver, function, 1, &argument, &result);
  if (status == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  } else if (status != napi_ok && status != napi_cannot_run_js) { /* the latter: the process is on its way out */
    napi_fatal_error("fuse-device", NAPI_AUTO_LENGTH, "a message could not be delivered", NAPI_AUTO_LENGTH);
  }
  napi_close_handle_scope(env, scope);
}

static void end(device *d, int error) {
  /* The references die with the poll handle, which closes on a later turn. */
  stop_watching(d);
  call(d, d->on_end, error);
}

static void read_messages(device *d) {
  /* One process at a time is the common case: its request costs no second read(2) that only says EAGAIN. The poll is
   * level-triggered, so what is not read now comes in the next turn. */
  int most = d->crowded || d->turns++ % TURNS_A_LOOK == 0 ? MESSAGES_PER_TURN : 1;
  d->crowded = false;
  for (int taken = 0; taken < most && d->watching;) {
    ssize_t got = read(d->fd, d->buffer, d->buffer_bytes);
    if (got > 0) {
      d->crowded = ++taken > 1;
      call(d, d->on_message, (int)got);
    } else if (got == 0) {
      end(d, 0);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR && errno != ENOENT) { /* ENOENT: that request was aborted while it was read */
      end(d, errno);
    }
  }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  device *d = poll->data;
  napi_handle_scope handles;
  napi_callback_scope scope;
  napi_value resource;
  (void)status; /* libuv turns POLLERR of a dead connection into a status; read(2) says what it is */
  (void)events;
  napi_open_handle_scope(d->env, &handles);
  napi_create_object(d->env, &resource);
  if (napi_open_callback_scope(d->env, resource, d->context, &scope) == napi_ok) {
    read_messages(d);
    napi_close_callback_scope(d->env, scope);
  } else { /* the process is on its way out: no JavaScript runs any more */
    stop_watching(d);
  }
  napi_close_handle_scope(d->env, handles);
}

static device *device_of(napi_env env, napi_value value) {
  device *d = NULL;
  if (napi_get_value_external(env, value, (void **)&d) != napi_ok || d == NULL || d->released) {
    napi_throw_error(env, NULL, "fuse-device: the device is closed");
    return NULL;
  }
  return d;
}

static napi_value wrap(napi_env env, int fd) {
  if (fd < 0) return number(env, -fd);
  device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    close(fd);
    return number(env, ENOMEM);
  }
  d->env = env;
  d->fd = fd;
  d->users = 1;
  napi_value result;
  CHECK(env, napi_create_external(env, d, NULL, NULL, &result));
  return result;
}

/* mount(mountpoint, type, source, options): a device, or an errno. `options` are the kernel's, without fd=. */
static napi_value mount_direct(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value argv[4];
  char target[PATH_BYTES], type[256], source[256], options[OPTION_BYTES], all[OPTION_BYTES + 32];
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[0], target, sizeof target, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[1], type, sizeof type, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[2], source, sizeof source, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[3], options, sizeof options, NULL));
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return number(env, errno);
  snprintf(all, sizeof all, "fd=%d,%s", fd, options);
  if (mount(source, target, type, MS_NOSUID | MS_NODEV, all) != 0) {
    int error = errno;
    close(fd);
    return number(env, error);
  }
  return wrap(env, fd);
}

/*
 * mountByHelper(program, mountpoint, options): as mount, through the setuid program; for users other than root. Where
 * the program refused and said why: that text.
 */
static napi_value mount_by_helper(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3];
  char program[PATH_BYTES], target[PATH_BYTES], options[OPTION_BYTES];
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[0], program, sizeof program, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[1], target, sizeof target, NULL));
  CHECK(env, napi_get_value_string_utf8(env, argv[2], options, sizeof options, NULL));
  char text[REASON_BYTES];
  size_t length;
  int fd = fusermount(program, target, options, text, sizeof text, &length);
  if (length == 0) return wrap(env, fd);
  napi_value reason;
  CHECK(env, napi_create_string_utf8(env, text, length, &reason));
  return reason;
}

/* watch(device, buffer, onMessage(length), onEnd(errno)): reads into `buffer`, one message a call. */
static napi_value watch(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value argv[4], name;
  uv_loop_t *loop;
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  device *d = device_of(env, argv[0]);
  if (d == NULL) return NULL;
  if (d->watching) {
    napi_throw_error(env, NULL, "fuse-device: the device is being watched already");
    return NULL;
  }
  CHECK(env, napi_get_buffer_info(env, argv[1], (void **)&d->buffer, &d->buffer_bytes));
  CHECK(env, napi_create_string_utf8(env, "lockferry:fuse-device", NAPI_AUTO_LENGTH, &name));
  CHECK(env, napi_get_uv_event_loop(env, &loop));
  if (uv_poll_init(loop, &d->poll, d->fd) != 0) {
    napi_throw_error(env, NULL, "fuse-device: the event loop does not take the descriptor");
    return NULL;
  }
  d->poll.data = d;
  d->watching = true;
  d->users++;
  CHECK(env, napi_async_init(env, NULL, name, &d->context));
  CHECK(env, napi_create_reference(env, argv[1], 1, &d->buffer_ref));
  CHECK(env, napi_create_reference(env, argv[2], 1, &d->on_message));
  CHECK(env, napi_create_reference(env, argv[3], 1, &d->on_end));
  uv_poll_start(&d->poll, UV_READABLE, on_readable);
  start_lingering(loop);
  return NULL;
}

/* reply(device, head, data?): one message in two parts, unjoined. Answers 0 or an errno. */
static napi_value reply(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3];
  struct iovec parts[2];
  int count = 1;
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  device *d = device_of(env, argv[0]);
  if (d == NULL) return NULL;
  CHECK(env, napi_get_buffer_info(env, argv[1], &parts[0].iov_base, &parts[0].iov_len));
  if (argc > 2) {
    napi_valuetype type;
    CHECK(env, napi_typeof(env, argv[2], &type));
    if (type == napi_object) {
      CHECK(env, napi_get_buffer_info(env, argv[2], &parts[1].iov_base, &parts[1].iov_len));
      if (parts[1].iov_len > 0) count = 2;
    }
  }
  linger.wrote = true;
  ssize_t written;
  do written = writev(d->fd, parts, count);
  while (written < 0 && errno == EINTR);
  return number(env, written < 0 ? errno : 0);
}

static void run_write(napi_env env, void *data) {
  (void)env;
  job *j = data;
  ssize_t written;
  do written = write(j->device->fd, j->bytes, j->length);
  while (written < 0 && errno == EINTR);
  j->error = written < 0 ? errno : 0;
}

static void run_unmount(napi_env env, void *data) {
  (void)env;
  job *j = data;
  j->error = umount2(j->path, j->flags) != 0 ? errno : 0;
}

static void finish(napi_env env, napi_status status, void *data) {
  job *j = data;
  napi_resolve_deferred(env, j->deferred, number(env, status == napi_ok ? j->error : ECANCELED));
  napi_delete_async_work(env, j->work);
  if (j->device != NULL) let_go(j->device);
  free(j->bytes);
  free(j);
}

/* A promise of 0 or an errno, kept by `run` in the thread pool. */
static napi_value start_job(napi_env env, job *j, napi_async_execute_callback run, const char *title) {
  napi_value promise, name;
  CHECK(env, napi_create_promise(env, &j->deferred, &promise));
  CHECK(env, napi_create_string_utf8(env, title, NAPI_AUTO_LENGTH, &name));
  CHECK(env, napi_create_async_work(env, NULL, name, run, finish, j, &j->work));
  CHECK(env, napi_queue_async_work(env, j->work));
  return promise;
}

static napi_value notify(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  void *bytes;
  size_t length;
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  device *d = device_of(env, argv[0]);
  if (d == NULL) return NULL;
  CHECK(env, napi_get_buffer_info(env, argv[1], &bytes, &length));
  job *j = calloc(1, sizeof *j);
  if (j == NULL || (j->bytes = malloc(length)) == NULL) {
    free(j);
    napi_throw_error(env, NULL, "fuse-device: out of memory");
    return NULL;
  }
  memcpy(j->bytes, bytes, length);
  j->length = length;
  j->device = d;
  d->users++;
  return start_job(env, j, run_write, "lockferry:fuse-notify");
}

static napi_value unmount(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  bool detach;
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  job *j = calloc(1, sizeof *j);
  if (j == NULL) return NULL;
  CHECK(env, napi_get_value_string_utf8(env, argv[0], j->path, sizeof j->path, NULL));
  CHECK(env, napi_get_value_bool(env, argv[1], &detach));
  j->flags = UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0);
  return start_job(env, j, run_unmount, "lockferry:fuse-unmount");
}

/* release(device): the last word about it. Once the descriptor closes, the kernel aborts the connection. */
static napi_value release(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  device *d = device_of(env, argv[0]);
  if (d == NULL) return NULL;
  stop_watching(d);
  /* The external outlives the struct: kernel-device.ts never uses it again. */
  d->released = true;
  let_go(d);
  return NULL;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor members[] = {
      {"mount", NULL, mount_direct, NULL, NULL, NULL, napi_enumerable, NULL},
      {"mountByHelper", NULL, mount_by_helper, NULL, NULL, NULL, napi_enumerable, NULL},
      {"watch", NULL, watch, NULL, NULL, NULL, napi_enumerable, NULL},
      {"reply", NULL, reply, NULL, NULL, NULL, napi_enumerable, NULL},
      {"notify", NULL, notify, NULL, NULL, NULL, napi_enumerable, NULL},
      {"unmount", NULL, unmount, NULL, NULL, NULL, napi_enumerable, NULL},
      {"release", NULL, release, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  CHECK(env, napi_define_properties(env, exports, sizeof members / sizeof *members, members));
  return exports;
}
