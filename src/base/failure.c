/*
 * Failures and the table of codes.
 *
 * Each code has a static failure of its own, so that failing never needs memory. Static failures have the count 0, which no counted one ever
 * has while somebody holds it.
 */
#include <plait/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"

struct pl_failure {
    uint32_t refs; /* 0: static */
    int code;
    const char *doing;
    pl_failure *cause;
    char detail[]; /* NUL-terminated; absent from the static ones */
};

typedef struct error_info {
    int code;
    const char *name, *text;
    bool retryable;
    pl_fault fault;
} error_info;

#define ROW(code, text, retryable, fault)                                                          \
    {                                                                                              \
        code, #code, text, retryable, PL_FAULT_##fault                                             \
    }

static const error_info errors[] = {
    ROW(PL_E_CLEAN, "connection closed", true, PEER),
    ROW(PL_E_LOST, "connection lost", true, PEER),
    ROW(PL_E_ABORTED, "connection aborted", true, PROGRAM),
    ROW(PL_E_TIMED_OUT, "timed out", true, SYSTEM),
    ROW(PL_E_REFUSED, "connection refused", true, PEER),
    ROW(PL_E_CANCELLED, "cancelled", true, PROGRAM),
    ROW(PL_E_ENDED, "its owner has ended", false, PROGRAM),
    ROW(PL_E_LIMIT, "limit reached", true, PROGRAM),
    ROW(PL_E_CLOSED, "closed", false, PROGRAM),
    ROW(PL_E_GONE, "no longer there", false, PROGRAM),
    ROW(PL_E_SYNTAX, "bad syntax", false, PROGRAM),
    ROW(PL_E_PROTOCOL, "protocol violated", false, PEER),
    ROW(PL_E_NAME, "name does not resolve", true, SYSTEM),
    ROW(PL_E_UNSUPPORTED, "not supported here", false, SYSTEM),
    ROW(PL_E_STATE, "not possible in this state", false, PROGRAM),
    ROW(PL_E_EMPTY, "nothing there", true, PROGRAM),
    ROW(PL_E_BUSY, "busy", true, PROGRAM),
    ROW(PL_E_DAMAGED, "damaged", false, SYSTEM),
    ROW(PL_E_NEWER, "made by a newer version", false, PROGRAM),
    ROW(PL_E_FOREIGN, "belongs to something else", false, PROGRAM),
    ROW(PL_E_HANDED_OVER, "handed over to the successor", false, PROGRAM),
    ROW(-EADDRINUSE, "address already in use", true, SYSTEM),
    ROW(-ENOMEM, "out of memory", true, SYSTEM),
    ROW(-EMFILE, "too many open files", true, SYSTEM),
    ROW(-ENFILE, "too many open files in the system", true, SYSTEM),
    ROW(-EAGAIN, "resource temporarily unavailable", true, SYSTEM),
    ROW(-EINTR, "interrupted", true, SYSTEM),
    ROW(-ENOBUFS, "no buffer space", true, SYSTEM),
    ROW(-ENETUNREACH, "network is unreachable", true, SYSTEM),
    ROW(-EHOSTUNREACH, "no route to host", true, SYSTEM),
};
#define N_ERRORS (sizeof errors / sizeof *errors)

/* Static failures: one for each row above, one for each errno, and one for what is neither. */
#define ERRNO_MAX 134
static pl_failure row_failures[N_ERRORS];
static pl_failure errno_failures[ERRNO_MAX];
static pl_failure unknown_failure = {.code = -EIO};

__attribute__((constructor)) static void fill_static_failures(void)
{
    for (size_t i = 0; i < N_ERRORS; ++i)
        row_failures[i].code = errors[i].code;
    for (int i = 0; i < ERRNO_MAX; ++i)
        errno_failures[i].code = -i;
}

static const error_info *find_row(int code)
{
    for (size_t i = 0; i < N_ERRORS; ++i)
        if (errors[i].code == code)
            return &errors[i];
    return NULL;
}

const char *pl_error_name(int code)
{
    const error_info *row = find_row(code);
    const char *name = code < 0 && code > -4096 ? strerrorname_np(-code) : NULL;

    if (name)
        return name;
    return row ? row->name : "unknown";
}

const char *pl_error_text(int code)
{
    const error_info *row = find_row(code);
    const char *text = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;

    if (row)
        return row->text;
    if (code == 0)
        return "no error";
    return text ? text : "unknown error";
}

bool pl_error_retryable(int code)
{
    const error_info *row = find_row(code);

    return row && row->retryable;
}

pl_fault pl_error_fault(int code)
{
    const error_info *row = find_row(code);

    return row ? row->fault : PL_FAULT_SYSTEM;
}

pl_failure *pl_failure_of(int code)
{
    const error_info *row = find_row(code);

    if (row)
        return &row_failures[row - errors];
    return code <= 0 && code > -ERRNO_MAX ? &errno_failures[-code] : &unknown_failure;
}

pl_failure *pl_failure_new(int code, const char *doing, const pl_failure *cause, const char *format,
                           ...)
{
    char detail[256] = "";
    pl_failure *failure;
    va_list ap;

    if (format) {
        va_start(ap, format);
        vsnprintf(detail, sizeof detail, format, ap);
        va_end(ap);
    }
    failure = pli_alloc_for(sizeof *failure + strlen(detail) + 1, __builtin_return_address(0));
    if (!failure)
        return pl_failure_of(code);
    *failure = (pl_failure){.refs = 1, .code = code, .doing = doing};
    failure->cause = cause ? pl_failure_ref(cause) : NULL;
    memcpy(failure->detail, detail, strlen(detail) + 1);
    return failure;
}

pl_failure *pl_failure_ref(const pl_failure *failure)
{
    pl_failure *counted = (pl_failure *) (uintptr_t) failure;

    if (counted->refs)
        ++counted->refs;
    return counted;
}

pl_failure *pl_failure_unref(pl_failure *failure)
{
    while (failure && failure->refs && --failure->refs == 0) {
        pl_failure *cause = failure->cause;

        pli_free(failure);
        failure = cause;
    }
    return NULL;
}

int pl_failure_code(const pl_failure *failure)
{
    return failure->code;
}

const char *pl_failure_doing(const pl_failure *failure)
{
    return failure->doing;
}

const char *pl_failure_detail(const pl_failure *failure)
{
    return failure->refs ? failure->detail : "";
}

const pl_failure *pl_failure_cause(const pl_failure *failure)
{
    return failure->cause;
}

/* "doing detail: " of one link of the chain. Returns: the length of all of it, as snprintf does. */
static int format_link(const pl_failure *failure, char *text, size_t size)
{
    const char *detail = pl_failure_detail(failure), *doing = failure->doing ? failure->doing : "";

    if (!*doing && !*detail)
        return 0;
    return snprintf(text, size, "%s%s%s: ", doing, *doing && *detail ? " " : "", detail);
}

char *pl_failure_format(const pl_failure *failure, char *text, size_t size)
{
    size_t at = 0;

    PLI_ASSERT(size > 0);
    text[0] = '\0';
    for (; failure && at < size; failure = failure->cause) {
        at += (size_t) format_link(failure, text + at, size - at);
        /* Only the last cause says what happened; those before it say during what. */
        if (at < size && (!failure->cause || failure->cause->code != failure->code))
            at += (size_t) snprintf(text + at, size - at, "%s%s", pl_error_text(failure->code),
                                    failure->cause ? ": " : "");
    }
    return text;
}
