/*
 * The load: ordinary system calls of ordinary processes, timed one by one from outside of what is measured.
 *
 *     load WORK FOLDER COUNT
 *
 * does COUNT operations of one kind (each of its processes does so many) in files of its own in FOLDER, and leaves
 * nothing there. On standard output: `hash HEX`, of what the calls answered and of the content that was read, the
 * same on every filesystem that did the same work; `wall NS`, the time of all of them together; then one line of
 * nanoseconds for each operation. Exit 2 with one line on standard error: this filesystem cannot do that work.
 *
 * It must touch nothing but FOLDER, and time nothing but the work: files are made, and processes started, before the
 * clock runs. Run by load.ts.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  PROCESSES_MAX = 4,
  PAGE_BYTES = 4096,
  REQUEST_BYTES = 1 << 20,
  /* Longer than any filesystem here lets the kernel use a name without asking again (they say one second). */
  COLD_NS = 1200 * 1000 * 1000,
  /* Long enough for the other process to have reached its F_SETLKW. */
  SETTLE_NS = 300 * 1000,
};

/* Shared by all processes of one load. */
struct shared {
  atomic_uint ready;
  atomic_uint go;
  atomic_int holder;      /* handover: which process believes that it has the byte, or -1 */
  atomic_uint announced;  /* handover: how often a process said that it goes to wait */
  atomic_uint taken;      /* handover: how often the byte went over */
  atomic_ullong freed_at; /* handover: when the byte was last given up */
  uint64_t hash[PROCESSES_MAX];
  uint64_t begin[PROCESSES_MAX];
  uint64_t end[PROCESSES_MAX];
  uint32_t ns[];          /* count for each process, one process after the other */
};

static struct shared *shared;
static const char *folder;
static char path[4096 + 64];
static unsigned count;
static unsigned processes;

static void fail(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(status);
}

/* A call that must work. */
static int64_t must(int64_t result, const char *what) {
  if (result < 0) fail(1, "%s in %s: %s", what, folder, strerror(errno));
  return result;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void pause_ns(uint64_t ns) {
  struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) continue;
}

/* FNV-1a, eight bytes a step. */
static void fold(uint64_t *hash, uint64_t value) { *hash = (*hash ^ value) * 0x100000001b3u; }

static void fold_bytes(uint64_t *hash, const uint8_t *bytes, size_t length) {
  for (size_t at = 0; at + 8 <= length; at += 8) {
    uint64_t word;
    memcpy(&word, bytes + at, sizeof word);
    fold(hash, word);
  }
}

static const char *file_name(const char *name, unsigned number) {
  static char text[sizeof path];
  snprintf(text, sizeof text, "%s/%s-%u", folder, name, number);
  return text;
}

/* fcntl on one byte; a failure that is no refusal ends the load. */
static int lock_byte(int fd, int command, short type, off_t byte) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  int result = fcntl(fd, command, &lock);
  if (result != 0 && errno != EAGAIN && errno != EACCES) fail(1, "fcntl in %s: %s", folder, strerror(errno));
  return result;
}

static void lock_or_give_up(int fd, int command, off_t byte) {
  if (lock_byte(fd, command, F_WRLCK, byte) != 0) fail(2, "a lock on a byte that nobody holds was refused");
}

static void unlock(int fd, off_t byte) {
  if (lock_byte(fd, F_SETLK, F_UNLCK, byte) != 0) fail(2, "an unlock was refused");
}

/* All processes are here before any goes on. */
static void start_together(unsigned me) {
  atomic_fetch_add(&shared->ready, 1);
  while (atomic_load(&shared->ready) < processes) pause_ns(50 * 1000);
  shared->begin[me] = now();
}

typedef struct {
  unsigned me;
  int fd;
  uint64_t hash;
  uint32_t *ns;
} worker;

/* ---- the works ---------------------------------------------------------------------------------------------- */

/* Each process its own byte of one file: nobody is ever in anybody's way. */
static void lock_pairs(worker *w) {
  off_t byte = 10 * w->me;
  for (unsigned n = 0; n < count / 10 + 1; n++) {
    lock_or_give_up(w->fd, F_SETLK, byte);
    unlock(w->fd, byte);
  }
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    uint64_t begin = now();
    lock_or_give_up(w->fd, F_SETLK, byte);
    unlock(w->fd, byte);
    w->ns[n] = (uint32_t)(now() - begin);
    fold(&w->hash, n);
  }
}

/* Another process holds bytes 0 to 9; this one asks who has byte 5. */
static void get_lock(worker *w) {
  int ends[2];
  must(pipe(ends), "pipe");
  pid_t holder = (pid_t)must(fork(), "fork");
  struct flock ten = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
  if (holder == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(fcntl(w->fd, F_SETLK, &ten), "fcntl(F_SETLK)");
    must(write(ends[1], "x", 1), "write to a pipe");
    for (;;) pause();
  }
  char byte;
  must(read(ends[0], &byte, 1), "read from a pipe");
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
    uint64_t begin = now();
    int result = fcntl(w->fd, F_GETLK, &asked);
    w->ns[n] = (uint32_t)(now() - begin);
    must(result, "fcntl(F_GETLK)");
    fold(&w->hash, (uint64_t)asked.l_type);
    fold(&w->hash, (uint64_t)asked.l_start);
    fold(&w->hash, (uint64_t)asked.l_len);
    fold(&w->hash, asked.l_pid == holder);
  }
  kill(holder, SIGKILL);
  waitpid(holder, NULL, 0);
}

static void take_over(unsigned me) {
  int nobody = -1;
  if (!atomic_compare_exchange_strong(&shared->holder, &nobody, (int)me))
    fail(2, "does not exclude: two processes were granted the same byte");
}

/* Two processes want one byte in turn: from the unlock of the one to the return of the other's F_SETLKW. */
static void handover(worker *w) {
  /* Process 0 has the byte first; the other one goes to wait for it. */
  if (w->me == 0) {
    lock_or_give_up(w->fd, F_SETLK, 0);
    take_over(0);
  }
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    if (w->me == 1 || n > 0) {
      atomic_fetch_add(&shared->announced, 1);
      must(lock_byte(w->fd, F_SETLKW, F_WRLCK, 0), "fcntl(F_SETLKW)");
      uint64_t granted_at = now();
      take_over(w->me);
      w->ns[n] = (uint32_t)(granted_at - atomic_load(&shared->freed_at));
      atomic_fetch_add(&shared->taken, 1);
    } else {
      w->ns[n] = 0;
    }
    fold(&w->hash, n);
    /* The last unlock of process 1 has no one to go to. */
    unsigned waits = 2 * n + 1 + w->me;
    if (waits < 2 * count) {
      while (atomic_load(&shared->announced) < waits) pause_ns(20 * 1000);
      pause_ns(SETTLE_NS);
    }
    atomic_store(&shared->holder, -1);
    atomic_store(&shared->freed_at, now());
    unlock(w->fd, 0);
    /* Linux lets a process that comes back at once overtake the one that it has just woken. */
    while (waits < 2 * count && atomic_load(&shared->taken) < waits) pause_ns(20 * 1000);
  }
}

/* What a database does for a row: the lock, the page, the unlock. */
static void locked_writes(worker *w) {
  static uint8_t page[PAGE_BYTES];
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    memset(page, (int)n, sizeof page);
    off_t at = (off_t)(n % 64) * PAGE_BYTES;
    uint64_t begin = now();
    lock_or_give_up(w->fd, F_SETLKW, at);
    ssize_t written = pwrite(w->fd, page, sizeof page, at);
    unlock(w->fd, at);
    w->ns[n] = (uint32_t)(now() - begin);
    must(written, "write");
    fold(&w->hash, (uint64_t)written);
  }
  for (off_t at = 0; at < 64 && at < (off_t)count; at++) {
    must(pread(w->fd, page, sizeof page, at * PAGE_BYTES), "read");
    fold_bytes(&w->hash, page, sizeof page);
  }
}

static void create_unlink(worker *w) {
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    const char *name = file_name("made", n);
    uint64_t begin = now();
    int fd = (int)must(open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644), "open(O_CREAT | O_EXCL)");
    must(close(fd), "close");
    must(unlink(name), "unlink");
    w->ns[n] = (uint32_t)(now() - begin);
    fold(&w->hash, n);
  }
}

/* Names that exist and that the kernel has to ask for again. */
static void cold_stats(worker *w) {
  for (unsigned n = 0; n < count; n++)
    must(close((int)must(open(file_name("cold", n), O_CREAT | O_EXCL | O_RDWR, 0640), "open(O_CREAT | O_EXCL)")), "close");
  pause_ns(COLD_NS);
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    const char *name = file_name("cold", n);
    struct stat seen;
    uint64_t begin = now();
    int result = stat(name, &seen);
    w->ns[n] = (uint32_t)(now() - begin);
    must(result, "stat");
    fold(&w->hash, seen.st_mode);
    fold(&w->hash, (uint64_t)seen.st_size);
  }
  shared->end[w->me] = now();
  for (unsigned n = 0; n < count; n++) must(unlink(file_name("cold", n)), "unlink");
}

/* No page is like another, and none can be guessed from its place alone. */
static void fill(uint8_t *request, unsigned number) {
  uint64_t state = 0x9e3779b97f4a7c15u * (number + 1);
  for (size_t at = 0; at < REQUEST_BYTES; at += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(request + at, &state, sizeof state);
  }
}

static uint8_t *request_buffer(void) {
  return aligned_alloc(PAGE_BYTES, REQUEST_BYTES);
}

static void write_all(worker *w, bool timed) {
  uint8_t *request = request_buffer();
  for (unsigned n = 0; n < count; n++) {
    fill(request, n);
    uint64_t begin = now();
    ssize_t written = pwrite(w->fd, request, REQUEST_BYTES, (off_t)n * REQUEST_BYTES);
    if (timed) w->ns[n] = (uint32_t)(now() - begin);
    must(written, "write");
    fold(&w->hash, (uint64_t)written);
  }
  free(request);
}

static void bulk_write(worker *w) {
  start_together(w->me);
  write_all(w, true);
}

/* Written, made durable, and dropped from the page cache of this file before it is read. */
static void bulk_read(worker *w) {
  uint8_t *request = request_buffer();
  write_all(w, false);
  if (fsync(w->fd) != 0 && errno != ENOSYS) must(-1, "fsync");
  must(-posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED), "posix_fadvise(POSIX_FADV_DONTNEED)");
  start_together(w->me);
  for (unsigned n = 0; n < count; n++) {
    uint64_t begin = now();
    ssize_t got = pread(w->fd, request, REQUEST_BYTES, (off_t)n * REQUEST_BYTES);
    w->ns[n] = (uint32_t)(now() - begin);
    must(got, "read");
    fold_bytes(&w->hash, request, (size_t)got);
  }
  free(request);
}

static const struct work {
  const char *name;
  unsigned processes;
  void (*run)(worker *);
} works[] = {
    {"lock-1", 1, lock_pairs},
    {"lock-4", 4, lock_pairs},
    {"getlk", 1, get_lock},
    {"handover", 2, handover},
    {"lock-write", 1, locked_writes},
    {"create", 1, create_unlink},
    {"stat", 1, cold_stats},
    {"write", 1, bulk_write},
    {"read", 1, bulk_read},
};

/* ---- processes ---------------------------------------------------------------------------------------------- */

static int run_worker(const struct work *work, unsigned me) {
  worker w = {.me = me, .hash = 0xcbf29ce484222325u, .ns = shared->ns + (size_t)me * count};
  w.fd = (int)must(open(path, O_RDWR | O_CLOEXEC), "open");
  work->run(&w);
  if (shared->end[me] == 0) shared->end[me] = now();
  shared->hash[me] = w.hash;
  must(close(w.fd), "close");
  return 0;
}

static int run_workers(const struct work *work) {
  pid_t children[PROCESSES_MAX];
  for (unsigned me = 0; me < processes; me++) {
    children[me] = (pid_t)must(fork(), "fork");
    if (children[me] == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      exit(run_worker(work, me));
    }
  }
  int worst = 0;
  for (unsigned ended = 0; ended < processes; ended++) {
    int status = 0;
    pid_t child = (pid_t)must(wait(&status), "wait");
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : worst;
    if (code == 0) continue;
    if (worst == 0)
      for (unsigned other = 0; other < processes; other++)
        if (children[other] != child) kill(children[other], SIGKILL);
    worst = code;
  }
  return worst;
}

static void report(void) {
  uint64_t hash = 0xcbf29ce484222325u, begin = UINT64_MAX, end = 0;
  for (unsigned me = 0; me < processes; me++) {
    fold(&hash, shared->hash[me]);
    if (shared->begin[me] < begin) begin = shared->begin[me];
    if (shared->end[me] > end) end = shared->end[me];
  }
  printf("hash %016llx\nwall %llu\n", (unsigned long long)hash, (unsigned long long)(end - begin));
  /* 0: what could not be timed (the first holder of a handover waited for nobody). */
  for (size_t at = 0; at < (size_t)processes * count; at++)
    if (shared->ns[at] > 0) printf("%u\n", shared->ns[at]);
}

int main(int argc, char **argv) {
  if (argc != 4) fail(64, "usage: load WORK FOLDER COUNT");
  const struct work *work = NULL;
  for (size_t at = 0; at < sizeof works / sizeof *works; at++)
    if (strcmp(works[at].name, argv[1]) == 0) work = &works[at];
  folder = argv[2];
  count = (unsigned)strtoul(argv[3], NULL, 10);
  if (work == NULL || count == 0) fail(64, "load: no such work, or nothing to do: %s %s", argv[1], argv[3]);
  processes = work->processes;
  size_t bytes = sizeof *shared + sizeof(uint32_t) * count * processes;
  shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail(1, "mmap: %s", strerror(errno));
  atomic_store(&shared->holder, -1);
  snprintf(path, sizeof path, "%s", file_name("load", 0));
  must(close((int)must(open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644), "open(O_CREAT | O_EXCL)")), "close");
  int status = run_workers(work);
  must(unlink(path), "unlink");
  if (status == 0) report();
  return status;
}
