/*
 * Endpoint strings, as a server's and as a client's. A fault lies within the string; a path that was taken, quoted, is taken again.
 */
#include <plait/endpoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int parse_fn(const char *text, pl_endpoint *ret_endpoint, pl_endpoint_error *reterr_error);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_path(parse_fn *parse, const pl_endpoint *endpoint)
{
    char text[8 + 2 * sizeof endpoint->path] = "unix:";
    pl_endpoint again;

    pl_endpoint_quote(endpoint->path, text + 5, sizeof text - 5);
    check(parse(text, &again, NULL) == 0 && strcmp(again.path, endpoint->path) == 0);
}

static void parse_as(parse_fn *parse, const char *text)
{
    pl_endpoint endpoint;
    pl_endpoint_error error;

    if (parse(text, &endpoint, &error) == 0) {
        check(strlen(endpoint.host) < sizeof endpoint.host);
        if (endpoint.kind == PL_ENDPOINT_UNIX)
            check_path(parse, &endpoint);
    } else {
        check(error.at <= strlen(text));
        check(strlen(error.message) + 1 < sizeof error.message); /* none is cut */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    parse_as(pl_endpoint_parse_server, text);
    parse_as(pl_endpoint_parse_client, text);
    free(text);
    return 0;
}
