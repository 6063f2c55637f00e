/*
 * An ordinary process that opens, locks, waits, reads and writes on command: the subject of lock experiments.
 * It must do exactly one system call for each lock command and hide nothing of its outcome.
 *
 * Commands come one a line on standard input, one answer line for each goes to standard output:
 *
 *   open r|rw PATH                                   ok FD
 *   close FD                                         ok
 *   dup FD                                           ok FD
 *   lock FD posix|ofd|flock read|write START LENGTH try|wait     granted | refused
 *   unlock FD posix|ofd|flock START LENGTH           ok
 *   test FD posix|ofd read|write START LENGTH        free | held read|write START LENGTH PID
 *   write FD OFFSET TEXT                             ok BYTES
 *   read FD OFFSET LENGTH                            ok HEX
 *   size FD                                          ok BYTES
 *
 * What failed is answered `error NAME text`, with NAME of errno(3). The process ends when its input ends, and with
 * it its locks. `lock … wait` blocks the whole process, as it does any program.
 * Driven by lock-process.ts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { bytes_max = 1 << 20 };

static void answer_error(void)
{
	int error = errno;
	const char *name = strerrorname_np(error);
	printf("error %s %s\n", name ? name : "EUNKNOWN", strerror(error));
}

static void answer_number(long long result)
{
	if (result < 0)
		answer_error();
	else
		printf("ok %lld\n", result);
}

static void answer_done(int result)
{
	if (result < 0)
		answer_error();
	else
		puts("ok");
}

static int is(const char *word, const char *expected)
{
	return strcmp(word, expected) == 0;
}

static struct flock range_of(const char *type, const char *start, const char *length)
{
	struct flock range = {
		.l_type = is(type, "read") ? F_RDLCK : is(type, "write") ? F_WRLCK : F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = strtoll(start, NULL, 10),
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

static void answer_lock(int result)
{
	if (result == 0)
		puts("granted");
	else if (errno == EAGAIN || errno == EACCES)
		puts("refused");
	else
		answer_error();
}

static void test_lock(int fd, const char *kind, const char *type, const char *start, const char *length)
{
	struct flock range = range_of(type, start, length);
	if (fcntl(fd, is(kind, "ofd") ? F_OFD_GETLK : F_GETLK, &range) < 0)
		answer_error();
	else if (range.l_type == F_UNLCK)
		puts("free");
	else
		printf("held %s %lld %lld %d\n", range.l_type == F_RDLCK ? "read" : "write",
		       (long long)range.l_start, (long long)range.l_len, (int)range.l_pid);
}

static void read_bytes(int fd, off_t offset, size_t length)
{
	static unsigned char bytes[bytes_max];
	ssize_t got = pread(fd, bytes, length < bytes_max ? length : bytes_max, offset);
	if (got < 0) {
		answer_error();
		return;
	}
	fputs("ok ", stdout);
	for (ssize_t at = 0; at < got; at++)
		printf("%02x", bytes[at]);
	putchar('\n');
}

static void answer_size(int fd)
{
	struct stat found;
	answer_number(fstat(fd, &found) < 0 ? -1 : (long long)found.st_size);
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

static int carry_out(char *line)
{
	char *word[8] = { 0 };
	if (strncmp(line, "open ", 5) == 0) {
		split(line, word, 3);
		answer_number(word[2] ? open(word[2], is(word[1], "r") ? O_RDONLY : O_RDWR | O_CREAT, 0644) : (errno = EINVAL, -1));
		return 1;
	}
	if (strncmp(line, "write ", 6) == 0) {
		split(line, word, 4);
		answer_number(word[3] ? pwrite(atoi(word[1]), word[3], strlen(word[3]), strtoll(word[2], NULL, 10)) : (errno = EINVAL, -1));
		return 1;
	}
	int count = split(line, word, 8);
	int fd = count > 1 ? atoi(word[1]) : -1;
	if (is(word[0], "lock") && count == 7)
		answer_lock(set_lock(fd, word[2], word[3], word[4], word[5], is(word[6], "wait")));
	else if (is(word[0], "unlock") && count == 5)
		answer_done(set_lock(fd, word[2], "none", word[3], word[4], 0));
	else if (is(word[0], "test") && count == 6)
		test_lock(fd, word[2], word[3], word[4], word[5]);
	else if (is(word[0], "read") && count == 4)
		read_bytes(fd, strtoll(word[2], NULL, 10), strtoull(word[3], NULL, 10));
	else if (is(word[0], "close") && count == 2)
		answer_done(close(fd));
	else if (is(word[0], "dup") && count == 2)
		answer_number(dup(fd));
	else if (is(word[0], "size") && count == 2)
		answer_size(fd);
	else
		return 0;
	return 1;
}

int main(void)
{
	char *line = NULL;
	size_t space = 0;
	ssize_t length;

	/* Also when it is blocked in a lock: who drives it is gone, so nobody would end it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((length = getline(&line, &space, stdin)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		if (!carry_out(line))
			puts("error EINVAL not a command");
		fflush(stdout);
	}
	free(line);
	return 0;
}
