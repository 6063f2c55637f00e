/*
 * Mounting through fusermount3, the setuid program for users other than root: it mounts, and sends the descriptor of
 * /dev/fuse over a socket that it finds in `_FUSE_COMMFD`. Knows nothing of JavaScript.
 */
#define _GNU_SOURCE
#include "fusermount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The descriptor that fusermount3 sends over `_FUSE_COMMFD`, or -errno. */
static int receive_descriptor(int channel) {
  char byte;
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got;
  do got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (header == NULL || header->cmsg_type != SCM_RIGHTS) return -EPERM; /* it says why on stderr */
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? fd : -errno;
}

/* Runs the helper with the channel that it sends the descriptor over; what it says on stderr goes to `said`. */
static int spawn_helper(pid_t *child, char *const arguments[], int channel, int said) {
  char variable[64];
  size_t count = 0;
  while (environ[count] != NULL) count++;
  char **environment = calloc(count + 2, sizeof *environment);
  if (environment == NULL) return ENOMEM;
  memcpy(environment, environ, count * sizeof *environment);
  snprintf(variable, sizeof variable, "_FUSE_COMMFD=%d", channel);
  environment[count] = variable;
  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error == 0) {
    error = posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
    if (error == 0) error = posix_spawnp(child, arguments[0], &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
  }
  free(environment);
  return error;
}

int fusermount(char *program, char *target, char *options, char *text, size_t text_bytes, size_t *length) {
  int ends[2], says[2];
  *length = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  if (pipe2(says, O_CLOEXEC) != 0) {
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    return -error;
  }
  fcntl(ends[1], F_SETFD, 0);
  char *arguments[] = {program, "-o", options, "--", target, NULL};
  pid_t child;
  int error = spawn_helper(&child, arguments, ends[1], says[1]);
  close(ends[1]);
  close(says[1]);
  int fd = error != 0 ? -error : receive_descriptor(ends[0]);
  close(ends[0]);
  if (error == 0) {
    /* Until it ends. One that gave the descriptor has nothing to say, and may stay. */
    for (ssize_t got; fd < 0 && *length < text_bytes;) {
      got = read(says[0], text + *length, text_bytes - *length);
      if (got > 0) *length += (size_t)got;
      else if (got == 0 || errno != EINTR) break;
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
  }
  close(says[0]);
  return fd;
}
