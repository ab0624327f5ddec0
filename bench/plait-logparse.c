/*
 * How fast log lines become XML: `plait-logparse FILE` reads the file, and then parses and encodes
 * all its lines in memory, again and again until half a second of CPU time is used. Finding the
 * lines is part of what is timed, as is writing the elements one behind the other into a buffer of
 * a megabyte, which starts over when it is full. Prints {"lines":N,"cpu_seconds":S}: the lines of the file, and what one pass takes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../src/services/weblog/hit.h"

enum { OUT_BYTES = 1 << 20 };

static const double seconds_min = 0.5;

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static char *read_file(const char *name, size_t *ret_len)
{
    FILE *f = fopen(name, "rb");
    char *text = NULL;
    long len = -1;

    if (f && fseek(f, 0, SEEK_END) == 0)
        len = ftell(f);
    if (len >= 0)
        text = malloc((size_t) len + 1);
    if (text)
        rewind(f);
    if (text && fread(text, 1, (size_t) len, f) != (size_t) len) {
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    *ret_len = (size_t) len;
    return text;
}

/* One line into `out`, from `*used` on. Returns whether it was a hit. */
static bool encode_line(pl_slice text, char *out, size_t *used)
{
    pli_logline line;
    ptrdiff_t size;

    if (pli_logline_parse(text, PLI_LOGLINE_AUTO, &line) != PLI_LOGLINE_HIT)
        return false;
    size = pli_hit_encode(&line, out + *used, OUT_BYTES - *used);
    if (size < 0) {
        *used = 0;
        size = pli_hit_encode(&line, out, OUT_BYTES);
    }
    *used += size > 0 ? (size_t) size : 0;
    return size > 0;
}

static size_t encode_all(const char *text, size_t len, char *out, size_t *used, size_t *hits)
{
    const char *end = text + len;
    size_t lines = 0;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t) (end - text));
        const char *to = newline ? newline : end;

        *hits += encode_line(pl_slice_of(text, (size_t) (to - text)), out, used);
        lines++;
        text = to + 1;
    }
    return lines;
}

int main(int argc, char **argv)
{
    static char out[OUT_BYTES];
    size_t len, lines = 0, passes = 0, hits = 0, used = 0;
    double began, spent;
    char *text;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    text = read_file(argv[1], &len);
    if (!text || len == 0) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], text ? "empty" : strerror(errno));
        return 1;
    }
    began = cpu_seconds();
    do {
        lines = encode_all(text, len, out, &used, &hits), ++passes;
        spent = cpu_seconds() - began;
    } while (spent < seconds_min);
    if (hits == 0)
        fprintf(stderr, "%s: %s: not one line of it is a hit\n", argv[0], argv[1]);
    printf("{\"lines\":%zu,\"cpu_seconds\":%.6f}\n", lines, spent / (double) passes);
    free(text);
    return hits == 0;
}
