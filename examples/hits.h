/* For the examples: the lines of a web server's log (combined format) as XML elements. */
#ifndef HITS_H
#define HITS_H

#include <stdio.h>

#include <plait/plait.h>

enum { HITS_FIELDS = 9, HITS_FIELD_MAX = 4096, HITS_ELEMENT_MAX = HITS_FIELDS * HITS_FIELD_MAX };

/* Copies a field, [bracketed] or "quoted" or a word, as it may stand in an attribute. Returns what follows it. */
static inline const char *hits_field(const char *p, char *out)
{
    static const char special[] = "&<>\"", *const entity[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    const char end = *p == '[' ? ']' : *p == '"' ? '"' : ' ', *found;
    size_t n = 0;

    for (p += end != ' '; *p && *p != end; ++p) {
        p += *p == '\\' && (p[1] == '"' || p[1] == '\\');
        found = strchr(special, *p);
        if (n + 8 < HITS_FIELD_MAX && found)
            n += (size_t) snprintf(out + n, 8, "%s", entity[found - special]);
        else if (n + 8 < HITS_FIELD_MAX)
            out[n++] = *p >= ' ' && *p <= '~' ? *p : '?';
    }
    out[n] = '\0';
    p += *p == end;
    return p + (end != ' ' && *p == ' ');
}

/* The next hit in `log` as an element, with its newline cut off. Returns its length; 0: there is none yet. */
static inline size_t hits_next(FILE *log, char out[HITS_ELEMENT_MAX])
{
    char line[HITS_FIELD_MAX], field[HITS_FIELDS][HITS_FIELD_MAX];

    for (long start = ftell(log); fgets(line, sizeof line, log); start = ftell(log)) {
        char *newline = strchr(line, '\n');
        const char *p = line;

        if (!newline && strlen(line) + 1 < sizeof line) { /* it is still being written */
            fseek(log, start, SEEK_SET);
            return 0;
        }
        *(newline ? newline : line) = '\0'; /* one that is too long is no hit */
        for (int i = 0; i < HITS_FIELDS; ++i)
            p = hits_field(p, field[i]);
        if (strlen(field[5]) == 3) /* the status */
            return (size_t) snprintf(out, HITS_ELEMENT_MAX,
                                     "<hit ip=\"%s\" timestamp=\"%s\" request=\"%s\" status=\"%s\" "
                                     "bytes=\"%s\" referrer=\"%s\" agent=\"%s\"/>",
                                     field[0], field[3], field[4], field[5], field[6], field[7],
                                     field[8]);
    }
    clearerr(log); /* more may be appended */
    return 0;
}

/* Prints what a client did: "connected: 127.0.0.1:1234". */
static inline void hits_say(const char *what, pl_transport *client)
{
    char text[PL_ADDRESS_TEXT];
    pl_address peer;

    pl_peer(client, &peer);
    printf("%s: %s\n", what, pl_address_format(&peer, text, sizeof text));
}

#endif
