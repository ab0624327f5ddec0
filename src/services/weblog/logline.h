/**
 * @file logline.h
 * One line of a web server's access log, taken apart. No I/O, no allocation, nothing kept.
 *
 *     common     ip ident user [timestamp] "request" status bytes
 *     combined   the same, and then "referrer" "agent"
 *
 * as Apache (%h %l %u %t "%r" %>s %b ...) and nginx ($remote_addr - $remote_user [$time_local] ...)
 * write them, one space between fields. Every line is parsed in time linear in its length, whatever
 * it holds.
 *
 * What counts as a hit, where the formats leave it open:
 * - `ip` is the first word: an IPv4 or IPv6 address, a host name, "unix:". It is not checked
 *   further than that it has no quote and no control byte in it (after a power cut a log may hold
 *   runs of NUL bytes).
 * - ident and user are skipped and may hold spaces, brackets and quotes. The timestamp is the first
 *   bracketed 17/May/2015:10:05:03 +0000 that a quote follows (`] "`): servers escape quotes in a
 *   user's name, so no user can forge one. If there is none in the line, any text without quotes,
 *   brackets and control bytes that stands in brackets before the line's first `] "` will do (a
 *   server with a date format of its own).
 * - A quoted field ends at the first quote that no backslash escapes. It may be empty (nginx logs
 *   "" for a request it could not read).
 * - `status` is three digits or `-`, `bytes` up to twenty digits or `-`.
 * - A line that was cut off inside its last field is a hit with what is left of it: in combined an
 *   agent without its closing quote, in common bytes with digits missing; `-` if none is left ("...
 *   200 " still has the space after the status, "... 200" does not and is no hit).
 * - Whatever follows the last field of the format is ignored: more fields (a vhost, nginx's
 *   forwarded-for, times), and in common also the referrer and the agent.
 * - With PLI_LOGLINE_AUTO a line is combined if two more quoted fields follow the bytes, of which
 *   the second may be cut off, and common if not. So a combined line cut off earlier, in the bytes
 *   or the referrer, is a hit without referrer and agent; with PLI_LOGLINE_COMBINED it is none.
 */
#ifndef PLI_WEBLOG_LOGLINE_H
#define PLI_WEBLOG_LOGLINE_H

#include <plait/base.h>

PL_BEGIN

/** The fields of a line, in the order in which a `<hit/>` has them. */
typedef enum pli_logline_field {
    PLI_LOGLINE_IP,
    PLI_LOGLINE_TIMESTAMP,
    PLI_LOGLINE_REQUEST,
    PLI_LOGLINE_STATUS,
    PLI_LOGLINE_BYTES,
    PLI_LOGLINE_REFERRER,
    PLI_LOGLINE_AGENT,
    PLI_LOGLINE_FIELDS
} pli_logline_field;

typedef enum pli_logline_format {
    PLI_LOGLINE_AUTO, /**< the default: told by each line */
    PLI_LOGLINE_COMMON,
    PLI_LOGLINE_COMBINED
} pli_logline_format;

/** Why a line is no hit; 0 if it is one. */
typedef enum pli_logline_verdict {
    PLI_LOGLINE_HIT = 0,
    PLI_LOGLINE_EMPTY,
    PLI_LOGLINE_BAD_IP,
    PLI_LOGLINE_NO_TIMESTAMP,
    PLI_LOGLINE_REQUEST_CUT,
    PLI_LOGLINE_BAD_STATUS,
    PLI_LOGLINE_BAD_BYTES,
    PLI_LOGLINE_NO_REFERRER,
    PLI_LOGLINE_NO_AGENT
} pli_logline_verdict;

/**
 * A parsed line. The fields are raw, with the log's own escapes, without the brackets or quotes
 * around them, and point into the line: they are valid as long as it is. One that the format does
 * not have is `-`.
 */
typedef struct pli_logline {
    pl_slice field[PLI_LOGLINE_FIELDS];
    unsigned escaped;  /**< bit 1u << i: field i has a backslash in it */
    const char *limit; /**< the line's end: up to here more than a field may be read, for speed */
} pli_logline;

/**
 * Parses one line, without its newline; a CR at its end is dropped. `ret_line` is written only for
 * a hit. Returns PLI_LOGLINE_HIT (0) or why not.
 */
PL_MUST pli_logline_verdict pli_logline_parse(pl_slice line, pli_logline_format format,
                                              pli_logline *ret_line);

/** A verdict in words, for the log: "no [timestamp] before a quoted request". Never NULL. */
const char *pli_logline_verdict_name(pli_logline_verdict verdict);

/** The format called `name` (auto, common, combined). Returns 0, or -1 if none is, `ret_format`
 * untouched. */
PL_MUST int pli_logline_format_named(pl_slice name, pli_logline_format *ret_format);

PL_END

#endif
