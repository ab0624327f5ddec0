/*
 * The live weblog: the hits of one or more access logs, as a stream of XML elements to any number of clients.
 */
#ifndef PLI_WEBLOG_WEBLOG_H
#define PLI_WEBLOG_WEBLOG_H

#include <plait/plugin.h>

/* What the options of the service are read into. */
typedef struct pli_weblog_options {
    pl_texts logs;
    pl_texts listen; /* endpoints of clients that are told */
    pl_texts pull;   /* endpoints of clients that ask */
    double interval_s;
    uint64_t replay;
    bool replay_given; /* if not: none, or all with from_start */
    bool from_start;
    const char *format;
    uint64_t backlog_bytes;
} pli_weblog_options;

extern const pl_plugin pli_weblog_plugin;

#endif
