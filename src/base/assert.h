/*
 * Two kinds of "this can't be".
 *
 * PLI_ASSERT states what the code itself must keep true; it is checked in builds without NDEBUG.
 * pli_misuse() is for what the program did wrong: it aborts with the story in builds without NDEBUG, and is
 * false in release builds, where the caller then leaves the state as it was.
 */
#ifndef PLI_BASE_ASSERT_H
#define PLI_BASE_ASSERT_H

#include <plait/base.h>

#ifdef NDEBUG
#define PLI_ASSERT(cond) ((void) sizeof(!(cond)))
#else
#define PLI_ASSERT(cond)                                                                           \
    ((cond) ? (void) 0 : pli_assert_failed(#cond, __FILE__ ":" PL_STRING(__LINE__)))
#endif

__attribute__((noreturn)) void pli_assert_failed(const char *what, const char *where);

/* Aborts with the text in debug builds; returns in release builds. */
void pli_misuse(const char *what);
/* The same of a thing that was made `where`; the text ends in what goes before that. */
void pli_misuse_at(const char *what, const char *where);

#endif
