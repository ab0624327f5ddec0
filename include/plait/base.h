/**
 * @file base.h
 * What every other header needs: visibility, "look at the result", and slices.
 */
#ifndef PLAIT_BASE_H
#define PLAIT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define PL_BEGIN extern "C" {
#define PL_END   }
#else
#define PL_BEGIN
#define PL_END
#endif

#define PL_API  __attribute__((visibility("default")))
#define PL_MUST __attribute__((warn_unused_result))
/** Says to the compiler that parameter `f` is a format as of printf(), for what begins at parameter `va`. */
#define PL_PRINTF(f, va) __attribute__((format(printf, f, va)))

/** The version of the headers, as major * 10000 + minor * 100 + patch. */
#define PL_VERSION 100

#define PL_STRING_(x) #x
/** `x`, when it is a macro what that stands for, as a literal. */
#define PL_STRING(x) PL_STRING_(x)

/** Where the program was when it made something, for the messages about it: "file.c:12". */
#define PL_HERE (__FILE__ ":" PL_STRING(__LINE__))

/** The object of type `type` whose `member` is at `ptr`. */
#define pl_container_of(ptr, type, member)                                                         \
    ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))

PL_BEGIN

/**
 * The version of the library that is running, in the form of PL_VERSION. A program that compares the
 * two learns whether it runs with the library whose headers it was built with.
 *
 * Where: any thread, at any time.
 * Returns: major * 10000 + minor * 100 + patch.
 * Since: 0.1
 */
PL_API int pl_version(void);

/**
 * Bytes that somebody else owns. They need not end in NUL; `ptr` may be NULL when `len` is 0.
 * Whoever hands out a slice says how long it is valid.
 */
typedef struct pl_slice {
    const char *ptr;
    size_t len;
} pl_slice;

/** The `len` bytes at `ptr`. */
static inline pl_slice pl_slice_of(const void *ptr, size_t len)
{
    pl_slice s;

    s.ptr = (const char *) ptr;
    s.len = len;
    return s;
}

/** The bytes of a C string, without its NUL. */
static inline pl_slice pl_str(const char *text)
{
    return pl_slice_of(text, strlen(text));
}

/** Whether both have the same bytes. */
static inline bool pl_slice_equal(pl_slice a, pl_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/** What is left of `s` after its first `n` bytes; nothing when it has fewer. */
static inline pl_slice pl_slice_from(pl_slice s, size_t n)
{
    return n < s.len ? pl_slice_of(s.ptr + n, s.len - n) : pl_slice_of(NULL, 0);
}

/** The first `n` bytes of `s`, or all of it when it has fewer. */
static inline pl_slice pl_slice_first(pl_slice s, size_t n)
{
    return pl_slice_of(s.ptr, n < s.len ? n : s.len);
}

/**
 * Writes `slice` as a C string that can be printed: a control byte (NUL, newline, escape ...) as "\xHH", all else as it is.
 *
 * Writes at most `size` bytes (at least 1) with the NUL. What does not fit is left out; an escape is never cut.
 * Where: any thread, at any time. Returns: `text`. Since: 0.1
 */
PL_API char *pl_slice_text(pl_slice slice, char *text, size_t size);

/** Says in the source that a result was looked at and does not matter here. */
static inline void pl_ignore(int result)
{
    (void) result;
}

PL_END

#endif
