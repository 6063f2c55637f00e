/*
 * An ordinary process that opens, locks, maps, forks and execs on command: the subject of lock experiments.
 * It must do exactly one system call for each lock command and hide nothing of its outcome.
 *
 * Commands come one a line on standard input, one answer line for each goes to standard output:
 *
 *   open r|w|rw|a PATH                               ok FD      (w, rw and a make the file; a appends)
 *   close FD    cloexec FD                           ok
 *   dup FD                                           ok FD
 *   lock FD posix|ofd|flock read|write START LENGTH try|wait     granted | refused
 *   unlock FD posix|ofd|flock START LENGTH           ok
 *   test FD posix|ofd read|write START LENGTH        free | held read|write START LENGTH PID WHENCE
 *   write FD OFFSET TEXT    append FD TEXT           ok BYTES
 *   read FD OFFSET LENGTH                            ok HEX
 *   size FD    seek FD OFFSET                        ok NUMBER
 *   truncate FD SIZE                                 ok
 *   map FD LENGTH                                    ok MAPPING
 *   peek MAPPING OFFSET LENGTH                       ok HEX
 *   poke MAPPING OFFSET TEXT                         ok         (a store to shared memory, nothing else)
 *   handle SIGNAL restart|interrupt                  ok         (a handler that counts, with SA_RESTART or without)
 *   signals                                          ok COUNT
 *   thread COMMAND                                   ok THREAD  (a thread carries out any command that is not of this group)
 *   join THREAD                                      the thread's answer
 *   fork SLOT                                        ok PID     (the child goes on with its own commands over descriptor SLOT)
 *   reap PID                                         ok STATUS  (waits until the child is gone; minus the signal that ended it)
 *   exec                                             ok         (this program again, in this process)
 *
 * START may begin with `cur` or `end`, as l_whence: `end-10`. What failed is answered `error NAME text`, with NAME of
 * errno(3). The process ends when its input ends, and with it its locks. `lock ... wait` blocks the thread that calls
 * it, as it does in any program. Driven by lock-process.ts; `lock-process SLOTS` was given so many more descriptors.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Slots are moved out of the way, so that opened files get the numbers that they have in any program. */
enum { bytes_max = 1 << 20, line_max = 1 << 17, threads_max = 64, maps_max = 16, slot_first = 200 };

static volatile sig_atomic_t signals_seen;
static int slots;

static struct {
	pthread_t id;
	char *command;
	char *answer;
	size_t answer_bytes;
} threads[threads_max];
static int threads_started;

static struct {
	unsigned char *at;
	size_t length;
} maps[maps_max];
static int maps_made;

static void answer_error(FILE *out)
{
	int error = errno;
	const char *name = strerrorname_np(error);
	fprintf(out, "error %s %s\n", name ? name : "EUNKNOWN", strerror(error));
}

static void answer_wrong(FILE *out)
{
	errno = EINVAL;
	answer_error(out);
}

static void answer_number(FILE *out, long long result)
{
	if (result < 0)
		answer_error(out);
	else
		fprintf(out, "ok %lld\n", result);
}

static void answer_done(FILE *out, int result)
{
	if (result < 0)
		answer_error(out);
	else
		fputs("ok\n", out);
}

static int is(const char *word, const char *expected)
{
	return strcmp(word, expected) == 0;
}

static struct flock range_of(const char *type, const char *start, const char *length)
{
	int current = strncmp(start, "cur", 3) == 0, end = strncmp(start, "end", 3) == 0;
	struct flock range = {
		.l_type = is(type, "read") ? F_RDLCK : is(type, "write") ? F_WRLCK : F_UNLCK,
		.l_whence = current ? SEEK_CUR : end ? SEEK_END : SEEK_SET,
		.l_start = strtoll(start + (current || end ? 3 : 0), NULL, 10),
		.l_len = strtoll(length, NULL, 10),
	};
	return range;
}

static int set_lock(int fd, const char *kind, const char *type, const char *start, const char *length, int wait)
{
	if (is(kind, "flock")) {
		int how = is(type, "read") ? LOCK_SH : is(type, "write") ? LOCK_EX : LOCK_UN;
		return flock(fd, wait ? how : how | LOCK_NB);
	}
	struct flock range = range_of(type, start, length);
	if (is(kind, "ofd"))
		return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range);
	return fcntl(fd, wait ? F_SETLKW : F_SETLK, &range);
}

static void answer_lock(FILE *out, int result)
{
	if (result == 0)
		fputs("granted\n", out);
	else if (errno == EAGAIN || errno == EACCES)
		fputs("refused\n", out);
	else
		answer_error(out);
}

static void test_lock(FILE *out, int fd, const char *kind, const char *type, const char *start, const char *length)
{
	struct flock range = range_of(type, start, length);
	if (fcntl(fd, is(kind, "ofd") ? F_OFD_GETLK : F_GETLK, &range) < 0)
		answer_error(out);
	else if (range.l_type == F_UNLCK)
		fputs("free\n", out);
	else
		fprintf(out, "held %s %lld %lld %d %d\n", range.l_type == F_RDLCK ? "read" : "write",
			(long long)range.l_start, (long long)range.l_len, (int)range.l_pid, (int)range.l_whence);
}

static void answer_bytes(FILE *out, const unsigned char *bytes, ssize_t count)
{
	if (count < 0) {
		answer_error(out);
		return;
	}
	fputs("ok ", out);
	for (ssize_t at = 0; at < count; at++)
		fprintf(out, "%02x", bytes[at]);
	fputc('\n', out);
}

static void read_bytes(FILE *out, int fd, off_t offset, size_t length)
{
	static unsigned char bytes[bytes_max];
	answer_bytes(out, bytes, pread(fd, bytes, length < bytes_max ? length : bytes_max, offset));
}

static void answer_size(FILE *out, int fd)
{
	struct stat found;
	answer_number(out, fstat(fd, &found) < 0 ? -1 : (long long)found.st_size);
}

static void open_file(FILE *out, const char *mode, const char *path)
{
	int flags = is(mode, "r")   ? O_RDONLY
		    : is(mode, "w") ? O_WRONLY | O_CREAT
		    : is(mode, "a") ? O_RDWR | O_CREAT | O_APPEND
				    : O_RDWR | O_CREAT;
	answer_number(out, open(path, flags, 0644));
}

static void map_file(FILE *out, int fd, size_t length)
{
	if (maps_made == maps_max) {
		answer_wrong(out);
		return;
	}
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		answer_error(out);
		return;
	}
	maps[maps_made].at = at;
	maps[maps_made].length = length;
	fprintf(out, "ok %d\n", maps_made++);
}

static void use_map(FILE *out, int map, size_t offset, size_t length, const char *text)
{
	if (map < 0 || map >= maps_made || offset + length > maps[map].length) {
		answer_wrong(out);
		return;
	}
	if (text == NULL) {
		answer_bytes(out, maps[map].at + offset, (ssize_t)length);
		return;
	}
	memcpy(maps[map].at + offset, text, length);
	fputs("ok\n", out);
}

static void count_signal(int number)
{
	(void)number;
	signals_seen++;
}

static void handle(FILE *out, const char *name, const char *how)
{
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = is(how, "restart") ? SA_RESTART : 0 };
	answer_done(out, sigaction(is(name, "SIGUSR1") ? SIGUSR1 : SIGUSR2, &action, NULL));
}

/* word[0] is the command; the last word keeps its spaces. */
static int split(char *line, char **word, int words)
{
	int count = 0;
	while (line && count < words - 1)
		word[count++] = strsep(&line, " ");
	if (line)
		word[count++] = line;
	return count;
}

/* Commands whose last word is a path or a text. */
static int carry_out_text(FILE *out, char *line)
{
	char *word[4] = { 0 };
	if (strncmp(line, "open ", 5) == 0 && split(line, word, 3) == 3)
		open_file(out, word[1], word[2]);
	else if (strncmp(line, "write ", 6) == 0 && split(line, word, 4) == 4)
		answer_number(out, pwrite(atoi(word[1]), word[3], strlen(word[3]), strtoll(word[2], NULL, 10)));
	else if (strncmp(line, "append ", 7) == 0 && split(line, word, 3) == 3)
		answer_number(out, write(atoi(word[1]), word[2], strlen(word[2])));
	else if (strncmp(line, "poke ", 5) == 0 && split(line, word, 4) == 4)
		use_map(out, atoi(word[1]), strtoull(word[2], NULL, 10), strlen(word[3]), word[3]);
	else
		return 0;
	return 1;
}

static int carry_out(FILE *out, char *line)
{
	char *word[8] = { 0 };
	if (carry_out_text(out, line))
		return 1;
	int count = split(line, word, 8);
	int fd = count > 1 ? atoi(word[1]) : -1;
	if (is(word[0], "lock") && count == 7)
		answer_lock(out, set_lock(fd, word[2], word[3], word[4], word[5], is(word[6], "wait")));
	else if (is(word[0], "unlock") && count == 5)
		answer_done(out, set_lock(fd, word[2], "none", word[3], word[4], 0));
	else if (is(word[0], "test") && count == 6)
		test_lock(out, fd, word[2], word[3], word[4], word[5]);
	else if (is(word[0], "read") && count == 4)
		read_bytes(out, fd, strtoll(word[2], NULL, 10), strtoull(word[3], NULL, 10));
	else if (is(word[0], "peek") && count == 4)
		use_map(out, fd, strtoull(word[2], NULL, 10), strtoull(word[3], NULL, 10), NULL);
	else if (is(word[0], "map") && count == 3)
		map_file(out, fd, strtoull(word[2], NULL, 10));
	else if (is(word[0], "close") && count == 2)
		answer_done(out, close(fd));
	else if (is(word[0], "cloexec") && count == 2)
		answer_done(out, fcntl(fd, F_SETFD, FD_CLOEXEC));
	else if (is(word[0], "dup") && count == 2)
		answer_number(out, dup(fd));
	else if (is(word[0], "size") && count == 2)
		answer_size(out, fd);
	else if (is(word[0], "seek") && count == 3)
		answer_number(out, lseek(fd, strtoll(word[2], NULL, 10), SEEK_SET));
	else if (is(word[0], "truncate") && count == 3)
		answer_done(out, ftruncate(fd, strtoll(word[2], NULL, 10)));
	else if (is(word[0], "handle") && count == 3)
		handle(out, word[1], word[2]);
	else if (is(word[0], "signals"))
		fprintf(out, "ok %d\n", (int)signals_seen);
	else
		return 0;
	return 1;
}

static void *run_thread(void *given)
{
	int at = (int)(long)given;
	FILE *out = open_memstream(&threads[at].answer, &threads[at].answer_bytes);
	if (!carry_out(out, threads[at].command))
		answer_wrong(out);
	fclose(out);
	return NULL;
}

static void start_thread(FILE *out, const char *command)
{
	int at = threads_started;
	if (at == threads_max) {
		answer_wrong(out);
		return;
	}
	threads[at].command = strdup(command);
	errno = pthread_create(&threads[at].id, NULL, run_thread, (void *)(long)at);
	if (errno)
		answer_error(out);
	else
		fprintf(out, "ok %d\n", threads_started++);
}

static void join_thread(FILE *out, int at)
{
	if (at < 0 || at >= threads_started || threads[at].answer_bytes == (size_t)-1) {
		answer_wrong(out);
		return;
	}
	pthread_join(threads[at].id, NULL);
	fputs(threads[at].answer, out);
	threads[at].answer_bytes = (size_t)-1;
}

static char buffered[line_max];
static size_t buffered_bytes;

static void fork_child(FILE *out, int slot)
{
	int channel = slot_first + slot;
	pid_t pid = fork();
	if (pid != 0) {
		close(channel);
		answer_number(out, pid);
		return;
	}
	/* What was read ahead is for the parent. */
	buffered_bytes = 0;
	dup2(channel, STDIN_FILENO);
	dup2(channel, STDOUT_FILENO);
	close(channel);
}

static void reap(FILE *out, pid_t pid)
{
	int status;
	pid_t found;
	while ((found = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		continue;
	if (found < 0)
		answer_error(out);
	else
		fprintf(out, "ok %d\n", WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
}

static void run_again(FILE *out)
{
	char count[16];
	snprintf(count, sizeof count, "%d", slots);
	char *arguments[] = { "lock-process", count, "again", NULL };
	fflush(out);
	execv("/proc/self/exe", arguments);
	answer_error(out);
}

/* Commands that are the whole process's business. */
static int carry_out_process(FILE *out, char *line)
{
	if (strncmp(line, "thread ", 7) == 0)
		start_thread(out, line + 7);
	else if (strncmp(line, "join ", 5) == 0)
		join_thread(out, atoi(line + 5));
	else if (strncmp(line, "fork ", 5) == 0)
		fork_child(out, atoi(line + 5));
	else if (strncmp(line, "reap ", 5) == 0)
		reap(out, atoi(line + 5));
	else if (is(line, "exec"))
		run_again(out);
	else
		return 0;
	return 1;
}

/* The next command, or NULL when the input ended. Unbuffered stdio would read a byte at a time; stdio's own buffer
 * would be the child's too after fork. */
static char *next_line(void)
{
	static char line[line_max];
	for (;;) {
		char *end = memchr(buffered, '\n', buffered_bytes);
		if (end != NULL) {
			size_t length = (size_t)(end - buffered);
			memcpy(line, buffered, length);
			line[length] = '\0';
			buffered_bytes -= length + 1;
			memmove(buffered, end + 1, buffered_bytes);
			return line;
		}
		if (buffered_bytes == sizeof buffered)
			return NULL;
		ssize_t got = read(STDIN_FILENO, buffered + buffered_bytes, sizeof buffered - buffered_bytes);
		if (got > 0)
			buffered_bytes += (size_t)got;
		else if (got == 0 || errno != EINTR)
			return NULL;
	}
}

int main(int count, char **argument)
{
	char *line;

	slots = count > 1 ? atoi(argument[1]) : 0;
	if (count > 2)
		puts("ok");
	else
		for (int slot = 0; slot < slots; slot++) {
			dup2(3 + slot, slot_first + slot);
			close(3 + slot);
		}
	/* Also when it is blocked in a lock: who drives it is gone, so nobody would end it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fflush(stdout);
	while ((line = next_line()) != NULL) {
		if (!carry_out_process(stdout, line) && !carry_out(stdout, line))
			puts("error EINVAL not a command");
		fflush(stdout);
	}
	return 0;
}
