/* The Fibonacci server as an application: writes Fibonacci.tap, which `plaitd -n -f Fibonacci.tap` then serves. */
#include <stdio.h>

#include <plait/application.h>

typedef struct fib_options {
    const char *listen;
} fib_options;

static const pl_option options[] = {
    {"listen", .kind = PL_OPTION_TEXT, .value = "ENDPOINT", .preset = "tcp:8888",
     PL_OPTION(fib_options, listen), .wrong = pl_option_wrong_server,
     .help = "Where clients ask for numbers"},
    {.name = NULL},
};

static int save(const char *endpoint, pl_failure **reterr_failure)
{
    const char *arguments[] = {"--listen", endpoint, NULL};
    pl_application *application;
    int r = pl_application_new("Fibonacci", &application);

    if (r < 0)
        return r;
    r = pl_application_add(application, "fib", "fib", arguments);
    if (r == 0)
        r = pl_application_save(application, NULL, reterr_failure);
    pl_application_free(application);
    return r;
}

int main(int argc, char **argv)
{
    fib_options values = {NULL};
    pl_failure *failure = NULL;
    char why[512] = "expected only --listen ENDPOINT";
    int at = 1, r = pl_options_parse(options, argv, &at, &values, why, sizeof why);

    if (r < 0 || at < argc) {
        fprintf(stderr, "fib-server: %s\n", why);
        return 2;
    }
    r = save(values.listen, &failure);
    if (r < 0)
        fprintf(stderr, "fib-server: %s\n",
                failure ? pl_failure_format(failure, why, sizeof why) : pl_error_text(r));
    else
        puts("wrote Fibonacci.tap; now: plaitd -n -f Fibonacci.tap");
    pl_failure_unref(failure);
    return r < 0;
}
