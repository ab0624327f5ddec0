/*
 * Following a log from the loop: when to look, and how much to read in one turn. What is followed, and how rotation is dealt with, says follow.h.
 *
 * The kernel tells of changes (inotify, on the file and on the folder that it is in); besides, the log is looked at each second, for file systems that
 * tell nothing, and all that there is where inotify is not to be had. A turn reads 256 KiB at most, so that a long log keeps nobody waiting.
 *
 * What a look has found is read in the next turn and not at once: the connections that were made before a line was written are then there before the
 * line is.
 */
#ifndef PLI_WEBLOG_TAIL_H
#define PLI_WEBLOG_TAIL_H

#include <plait/scope.h>

#include "follow.h"

typedef struct pli_tail pli_tail;

/* All zero but the path and `line` is the default. */
typedef struct pli_tail_options {
    const char *path; /* copied */
    bool from_start;
    bool poll_only; /* without inotify */
    double poll_s;  /* 0: one second */
    size_t turn_bytes_max;
    size_t line_bytes_max;
    bool (*line)(pl_slice line, void *arg); /* as in follow.h */
    void *arg;
} pli_tail_options;

/*
 * Follows a log until `scope` ends. A log that is missing or can't be read is waited for, and the log says so.
 * Returns: 0; -ENOMEM; PL_E_ENDED; -EISDIR and -EINVAL: there stands something that no log can be.
 */
PL_MUST int pli_tail_new(pl_scope *scope, const pli_tail_options *options, pli_tail **ret_tail);

/* Reads what is there now, up to `bytes_max` bytes: at the end of a service. */
void pli_tail_drain(pli_tail *tail, size_t bytes_max);

const pli_follow_counts *pli_tail_counted(const pli_tail *tail);

/* As of pli_follow. */
PL_MUST int pli_tail_save(pli_tail *tail, pl_handover *to);
PL_MUST int pli_tail_restore(pli_tail *tail, const pl_handover *from);

#endif
