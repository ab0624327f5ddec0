/* Which descriptors a process has: for tests that look for those that were left open. */
#ifndef PLI_OS_DESCRIPTORS_H
#define PLI_OS_DESCRIPTORS_H

#include <plait/base.h>

/* Lists them, in no order. Returns: how many there are; those beyond `max` are not listed. */
size_t pli_descriptors(int *fds, size_t max);
/* The same of the real process, also within a world: what it opened without Plait. */
size_t pli_descriptors_outside(int *fds, size_t max);
/* Of a descriptor and what it stands for: another one when its number was closed and given to another file, socket or pipe. */
uint64_t pli_descriptor_id(int fd);
/* What a descriptor stands for, as text. Returns: `text`. */
char *pli_descriptor_describe(int fd, char *text, size_t size);

#endif
