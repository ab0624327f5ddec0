/*
 * Fences around a process, which it puts up itself and can't take down again: Landlock (which files, which ports) and seccomp (which system calls). They hold for the thread that puts them up
 * and the threads that it starts later; so there may be no other.
 *
 * A kernel fences in what its version of Landlock knows, and no more; with none of it there is none.
 */
#ifndef PLI_OS_FENCE_H
#define PLI_OS_FENCE_H

#include <plait/base.h>

/* What may be done to a file, or to a folder and all in it. */
enum {
    PLI_FENCE_READ = 1,
    PLI_FENCE_WRITE = 2,  /* also making, renaming and taking off what is in a folder */
    PLI_FENCE_REMOVE = 4, /* taking off what is in a folder */
};

/* Begins one. `connect`: TCP connections may be made; ports may not be bound in any case. Returns: a descriptor, PL_E_UNSUPPORTED, or a negative errno; `*ret_version` is the kernel's. */
PL_MUST int pli_fence_open(bool connect, int *ret_version);
/* Leaves a gate open. Returns: 0, -ENOENT, or another negative errno. */
PL_MUST int pli_fence_allow(int fence, const char *path, unsigned access);
/* Closes it around this thread. The descriptor is to be closed by the caller. Returns: 0 or a negative errno. */
PL_MUST int pli_fence_close(int fence);

/* A file without a name. Returns: a descriptor or a negative errno. */
PL_MUST int pli_file_open_nameless(void);
/* Whether system calls can be fenced in here: not where a sanitizer needs its own. */
bool pli_calls_can_be_fenced(void);
/* Puts up the filter of system calls that is in the file (what seccomp_export_bpf() writes). Returns: 0 or a negative errno. */
PL_MUST int pli_calls_fence(int file);

#endif
