#include "net/endpoint.h"

static int read_failed(int code, const pl_endpoint_error *error, pl_failure **reterr_cause)
{
    if (code < 0)
        *reterr_cause = pl_failure_new(code, NULL, NULL, "%s", error->message);
    return code;
}

int pli_endpoint_read_server(const char *text, pl_endpoint *ret_endpoint, pl_failure **reterr_cause)
{
    pl_endpoint_error error;

    return read_failed(pl_endpoint_parse_server(text, ret_endpoint, &error), &error, reterr_cause);
}

int pli_endpoint_read_client(const char *text, pl_endpoint *ret_endpoint, pl_failure **reterr_cause)
{
    pl_endpoint_error error;

    return read_failed(pl_endpoint_parse_client(text, ret_endpoint, &error), &error, reterr_cause);
}

pl_failure *pli_endpoint_failure(int code, const char *doing, const char *text,
                                 pl_failure *take_cause)
{
    pl_failure *failure = pl_failure_new(code, doing, take_cause, "%s", text);

    pl_failure_unref(take_cause);
    return failure;
}

int pli_endpoint_failed(int code, const char *doing, const char *text, pl_failure *take_cause,
                        pl_failure **reterr_failure)
{
    pl_failure *failure = pli_endpoint_failure(code, doing, text, take_cause);

    if (reterr_failure)
        *reterr_failure = failure;
    else
        pl_failure_unref(failure);
    return code;
}

pl_failure *pli_endpoint_open_cause(int code, const char *kind)
{
    if (code == PL_E_SYNTAX)
        return pl_failure_new(code, NULL, NULL, "the zone of its address is no interface here");
    if (code == PL_E_UNSUPPORTED)
        return pl_failure_new(code, NULL, NULL, "it is no endpoint of %s", kind);
    return NULL;
}
