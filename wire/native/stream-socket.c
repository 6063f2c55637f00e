/*
 * A connected stream socket in the event loop, with one read and one write call a message. node:net spends more on
 * its streams than the kernel does on a short message. Bytes in, bytes out, errno as numbers; it knows no address and
 * no frame. The one caller is adopted-socket.ts, which has the sockets from node:net.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <node_api.h>
#include <uv.h>

#define ADDON "stream-socket"
#include "../../host/native/check.h"
#include "../../host/native/linger.h"

/* Reads of a full buffer in one turn of the event loop, so that others get their turn too. */
enum { READS_PER_TURN = 4 };

typedef struct {
  napi_env env;
  int fd;
  bool closing;
  bool wants_room;
  uv_poll_t poll;
  napi_async_context context;
  napi_ref buffer_ref;
  napi_ref on_read;
  napi_ref on_room;
  uint8_t *buffer;
  size_t buffer_bytes;
} stream;

static void on_event(uv_poll_t *poll, int status, int events);
static void env_ends(void *data);

static void watch(stream *s) { uv_poll_start(&s->poll, UV_READABLE | (s->wants_room ? UV_WRITABLE : 0), on_event); }

static void on_closed(uv_handle_t *handle) {
  stream *s = handle->data;
  if (s->env != NULL) {
    napi_handle_scope scope;
    napi_open_handle_scope(s->env, &scope);
    napi_remove_env_cleanup_hook(s->env, env_ends, s);
    napi_delete_reference(s->env, s->buffer_ref);
    napi_delete_reference(s->env, s->on_read);
    napi_delete_reference(s->env, s->on_room);
    napi_async_destroy(s->env, s->context);
    napi_close_handle_scope(s->env, scope);
  }
  close(s->fd);
  free(s);
}

/* The external outlives the struct: adopted-socket.ts never uses it again. The callback that runs still needs it. */
static void end(stream *s) {
  if (s->closing) return;
  s->closing = true;
  uv_poll_stop(&s->poll);
  uv_close((uv_handle_t *)&s->poll, on_closed);
}

/* The process is on its way out; the loop may turn a few times more. */
static void env_ends(void *data) {
  stream *s = data;
  if (!s->closing) uv_poll_stop(&s->poll);
  uv_prepare_stop(&linger.before_sleep);
  s->env = NULL;
}

/* Calls JavaScript with one number, and runs what that set going; what it throws becomes an uncaught exception. */
static void call(stream *s, napi_ref function_ref, int64_t value, napi_value *result) {
  napi_env env = s->env;
  napi_value function, receiver, argument;
  *result = NULL;
  napi_get_reference_value(env, function_ref, &function);
  napi_get_global(env, &receiver);
  napi_create_int64(env, value, &argument);
  napi_status status = napi_make_callback(env, s->context, receiver, function, 1, &argument, result);
  if (status == napi_pending_exception) {
    napi_value error;
    *result = NULL;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  } else if (status != napi_ok) { /* the process is on its way out: no JavaScript runs any more */
    *result = NULL;
    uv_poll_stop(&s->poll);
  }
}

/* A buffer is what JavaScript wants to read into from now on: it kept the one before. */
static void take_buffer(stream *s, napi_value result) {
  napi_valuetype type;
  if (result == NULL || s->closing) return;
  if (napi_typeof(s->env, result, &type) != napi_ok || type != napi_object) return;
  void *bytes;
  size_t length;
  if (napi_get_buffer_info(s->env, result, &bytes, &length) != napi_ok) return;
  napi_delete_reference(s->env, s->buffer_ref);
  napi_create_reference(s->env, result, 1, &s->buffer_ref);
  s->buffer = bytes;
  s->buffer_bytes = length;
}

static void on_event(uv_poll_t *poll, int status, int events) {
  stream *s = poll->data;
  napi_handle_scope scope;
  napi_value result;
  if (status < 0) events = UV_READABLE; /* read(2) says what it is */
  napi_open_handle_scope(s->env, &scope);
  if (events & UV_WRITABLE) call(s, s->on_room, 0, &result);
  for (int reads = 0; (events & UV_READABLE) && !s->closing && reads < READS_PER_TURN; reads++) {
    ssize_t got;
    size_t room = s->buffer_bytes;
    do got = read(s->fd, s->buffer, room);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) break;
    call(s, s->on_read, got < 0 ? -errno : got, &result);
    take_buffer(s, result);
    if (got < (ssize_t)room) break;
  }
  napi_close_handle_scope(s->env, scope);
}

static stream *stream_of(napi_env env, napi_value value) {
  stream *s = NULL;
  if (napi_get_value_external(env, value, (void **)&s) != napi_ok || s == NULL) {
    napi_throw_error(env, NULL, "stream-socket: not a socket");
    return NULL;
  }
  return s;
}

/*
 * adopt(fd, buffer, onRead(length), onRoom()): a copy of the descriptor, watched from now on; or an errno. onRead gets
 * the bytes that are in `buffer`, 0 at the end of the stream, or a negative errno; it may return another buffer to
 * read into. onRoom is called in each turn in which there is room, after a write that found none.
 */
static napi_value adopt(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value argv[4], name, result;
  int32_t fd;
  uv_loop_t *loop;
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(env, napi_get_value_int32(env, argv[0], &fd));
  stream *s = calloc(1, sizeof *s);
  int error = 0;
  if (s == NULL) {
    error = ENOMEM;
  } else if ((s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
    error = errno;
    free(s);
  }
  if (error != 0) {
    CHECK(env, napi_create_int32(env, error, &result));
    return result;
  }
  s->env = env;
  CHECK(env, napi_get_buffer_info(env, argv[1], (void **)&s->buffer, &s->buffer_bytes));
  CHECK(env, napi_create_string_utf8(env, "lockferry:stream-socket", NAPI_AUTO_LENGTH, &name));
  CHECK(env, napi_get_uv_event_loop(env, &loop));
  if (uv_poll_init(loop, &s->poll, s->fd) != 0) {
    napi_throw_error(env, NULL, "stream-socket: the event loop does not take the descriptor");
    close(s->fd);
    free(s);
    return NULL;
  }
  s->poll.data = s;
  CHECK(env, napi_async_init(env, NULL, name, &s->context));
  CHECK(env, napi_create_reference(env, argv[1], 1, &s->buffer_ref));
  CHECK(env, napi_create_reference(env, argv[2], 1, &s->on_read));
  CHECK(env, napi_create_reference(env, argv[3], 1, &s->on_room));
  CHECK(env, napi_add_env_cleanup_hook(env, env_ends, s));
  CHECK(env, napi_create_external(env, s, NULL, NULL, &result));
  watch(s);
  start_lingering(loop);
  return result;
}

/* write(socket, bytes, from): bytes that the kernel took, or a negative errno. Fewer than there are: onRoom follows. */
static napi_value write_some(napi_env env, napi_callback_info info) {
  size_t argc = 3, length;
  napi_value argv[3], result;
  uint8_t *bytes;
  uint32_t from;
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  stream *s = stream_of(env, argv[0]);
  if (s == NULL) return NULL;
  CHECK(env, napi_get_buffer_info(env, argv[1], (void **)&bytes, &length));
  CHECK(env, napi_get_value_uint32(env, argv[2], &from));
  ssize_t sent;
  do sent = send(s->fd, bytes + from, length - from, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  linger.wrote = true;
  int64_t answer = sent >= 0 ? sent : errno == EAGAIN ? 0 : -errno;
  bool wants_room = answer >= 0 && (size_t)answer < length - from;
  if (wants_room != s->wants_room && !s->closing) {
    s->wants_room = wants_room;
    watch(s);
  }
  CHECK(env, napi_create_int64(env, answer, &result));
  return result;
}

/* end(socket): the last word about it. */
static napi_value end_socket(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  CHECK(env, napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  stream *s = stream_of(env, argv[0]);
  if (s != NULL) end(s);
  return NULL;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor members[] = {
      {"adopt", NULL, adopt, NULL, NULL, NULL, napi_enumerable, NULL},
      {"write", NULL, write_some, NULL, NULL, NULL, napi_enumerable, NULL},
      {"end", NULL, end_socket, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  CHECK(env, napi_define_properties(env, exports, sizeof members / sizeof *members, members));
  return exports;
}
