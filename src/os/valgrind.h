/* What valgrind is told, and asked, where its header was there at compile time; outside of valgrind these are a few instructions that do nothing. */
#ifndef PLI_OS_VALGRIND_H
#define PLI_OS_VALGRIND_H

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND                 0
#define VALGRIND_STACK_REGISTER(start, end) 0u
#define VALGRIND_STACK_DEREGISTER(id)       ((void) (id))
#endif

#endif
