/*
 * Variables that each thread has for itself.
 *
 * Initial-exec: a load and no call, also within the shared library. glibc keeps room for the few bytes when the library is loaded late.
 */
#ifndef PLI_BASE_THREAD_LOCAL_H
#define PLI_BASE_THREAD_LOCAL_H

#include <plait/base.h>

#ifdef __GLIBC__
#define PLI_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define PLI_THREAD_LOCAL _Thread_local
#endif

#endif
