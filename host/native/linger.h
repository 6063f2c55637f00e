/*
 * Looking a little longer before the event loop sleeps, for the addons that write to a descriptor and expect something
 * back. Each addon has its own: what comes back after one kind of write says nothing of another.
 *
 * What comes back after a write comes soon while there is traffic, and to sleep and be woken costs more than to wait:
 * on another core, which has gone idle, 20 to 40 microseconds for each wake-up, most of it paid by who wakes. So after
 * a write the loop looks a little longer before it sleeps. It does so after fewer and fewer writes where that is in
 * vain (nothing came), not needed (something is there already: several clients keep the loop busy), or in somebody's
 * way (this core was given to another thread meanwhile). A loop that writes nothing never lingers.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <uv.h>

enum {
  /* An answer, or the next request of a busy client, takes 10 to 30 microseconds. */
  LINGER_NS = 50 * 1000,
  /* No call of look_longer takes so long, unless another thread runs in between. */
  PREEMPTED_NS = 10 * 1000,
  /* Writes after which the loop does not linger, at most. */
  SKIPPED_MAX = 512,
};

static _Thread_local struct {
  uv_prepare_t before_sleep;
  bool ready;
  bool wrote;
  /* Writes left that it does not linger after; and how many they were. */
  unsigned skip;
  unsigned skipped;
} linger;

/* Whether it was worth it. */
static bool look_longer(int events) {
  struct epoll_event event;
  uint64_t begin = uv_hrtime(), before = begin;
  for (bool is_first = true;; is_first = false) {
    /* Level-triggered: the loop finds it again. */
    if (epoll_wait(events, &event, 1, 0) != 0) return !is_first;
    uint64_t now = uv_hrtime();
    if (now - before > PREEMPTED_NS || now - begin > LINGER_NS) return false;
    before = now;
  }
}

static void on_before_sleep(uv_prepare_t *handle) {
  if (!linger.wrote) return;
  linger.wrote = false;
  if (linger.skip > 0) {
    linger.skip--;
    return;
  }
  if (uv_backend_timeout(handle->loop) == 0) return; /* it is not about to sleep */
  bool was_worth_it = look_longer(uv_backend_fd(handle->loop));
  linger.skipped = was_worth_it ? linger.skipped / 2 : linger.skipped * 2 + 4;
  if (linger.skipped > SKIPPED_MAX) linger.skipped = SKIPPED_MAX;
  linger.skip = linger.skipped;
}

static void start_lingering(uv_loop_t *loop) {
  if (linger.ready) return;
  linger.ready = true;
  uv_prepare_init(loop, &linger.before_sleep);
  uv_prepare_start(&linger.before_sleep, on_before_sleep);
  uv_unref((uv_handle_t *)&linger.before_sleep);
}
