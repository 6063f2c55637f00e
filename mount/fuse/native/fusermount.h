#pragma once
#include <stddef.h>

/*
 * Runs `program -o options -- target`. The descriptor of the mount, or -errno. Where the program refused and said why,
 * that is in `text`, `*length` bytes of it without a final zero; otherwise `*length` is 0.
 */
int fusermount(char *program, char *target, char *options, char *text, size_t text_bytes, size_t *length);
