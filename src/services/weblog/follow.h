/*
 * The lines that are appended to a log, however it is rotated. No loop: whoever uses it says when to look.
 *
 * Two steps, so that the caller decides what happens in between: a survey finds out which files there are and how far they reach; a read takes the lines
 * up to there and not further.
 *
 * - Rename: when another file stands under the log's name, the one before is read to its end first, and goes on being looked at until it has not
 *   grown for `linger_ns` (servers write to it until they have been told, and end their requests), eight of them at most.
 * - Two renames between two surveys: when the file before now is NAME.2, what is NAME.1 came in between, and is read. With other names (dates), or when it is gone or compressed
 *   already, nothing shows that it was ever there, and its lines are lost.
 * - Truncation: the file is shorter than what was read, or what was read last is no longer what stands there. It is read from its start. Lines that were
 *   truncated away before they were read are lost, as they are to everybody.
 * - A line counts when its newline is there. What stands behind the last newline of a file that is truncated or given up is taken as a line: nobody
 *   will complete it.
 * - A file that is there at first is read from its last newline on (so a line that is being written then is whole), or from its start. One that appears later
 *   is read from its start. One that can't be opened at first is read, once it can be, from where it ended then.
 * - A line longer than the limit is passed over, and counted. So are NULs before a line: holes that a writer leaves who goes on
 *   at his old place after a truncation.
 *
 * - A line for which its taker has no memory waits, and so does all that comes after it. When a rotated file can't be read or taken for as long as `linger_ns`, it is given up.
 *
 * Reading blocks: a log is on a local disk, mostly in the page cache, and a read is bounded by the caller.
 */
#ifndef PLI_WEBLOG_FOLLOW_H
#define PLI_WEBLOG_FOLLOW_H

#include <plait/handover.h>

typedef struct pli_follow pli_follow;

typedef struct pli_follow_options {
    const char *path;      /* copied */
    bool from_start;       /* what is in the file at first is new, too */
    size_t line_bytes_max; /* without the newline; 0: 1 MiB */
    int64_t linger_ns;     /* 0: one minute */
    /* A line without its newline; valid until it returns. False: it can't be taken now, and comes again with the next read after the next survey. */
    bool (*line)(pl_slice line, void *arg);
    void *arg;
} pli_follow_options;

/* All are only ever counted up. */
typedef struct pli_follow_counts {
    uint64_t lines, bytes;
    uint64_t too_long; /* lines that were passed over */
    uint64_t opened;   /* files */
    uint64_t
        missed; /* files that came and went between two surveys, as names tell, and could not be opened */
    uint64_t truncated;
} pli_follow_counts;

/* Returns: NULL when memory is out. */
PL_MUST pli_follow *pli_follow_new(const pli_follow_options *options);
/* NULL is allowed. Returns: NULL. */
pli_follow *pli_follow_free(pli_follow *follow);

/*
 * Looks at what stands under the log's name and how far the files reach. `now_ns` is of any clock that does not go back.
 * Returns: 0; why there is no such file to read now: -ENOENT, -EACCES, -EISDIR, -EINVAL (no regular file), or another errno.
 */
PL_MUST int pli_follow_survey(pli_follow *follow, int64_t now_ns);

/* Whether the last survey found something that is not read yet. */
bool pli_follow_pending(const pli_follow *follow);

/* Reads up to `bytes_max` bytes of what the last survey found, and calls `line`. Returns: whether there is more. */
bool pli_follow_read(pli_follow *follow, size_t bytes_max);

const pli_follow_counts *pli_follow_counted(const pli_follow *follow);

/* For a process that takes the place of this one: which files there are, open as they are, and how far each was read. Returns: 0, -ENOMEM. */
PL_MUST int pli_follow_save(pli_follow *follow, pl_handover *to);
/* In place of what a new one has found by itself. Returns: 0, -ENOMEM, PL_E_DAMAGED. */
PL_MUST int pli_follow_restore(pli_follow *follow, const pl_handover *from);

#endif
