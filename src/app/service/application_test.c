/* What an application is made of, and what becomes of it when memory is out. */
#include "app/service/application.h"

#include <errno.h>
#include <unistd.h>

#include <plait/plait.h>

#include "base/memory.h"
#include "tests/check.h"

/* ---- a plugin ---- */

typedef struct values {
    bool loud, given;
    const char *name;
    pl_texts files;
    uint64_t count, size;
    double seconds;
} values;

static const pl_option table[] = {
    {"loud", .kind = PL_OPTION_FLAG, PL_OPTION(values, loud), .help = "Say more"},
    {"name", .kind = PL_OPTION_TEXT, .value = "NAME", PL_OPTION(values, name), .help = "Who"},
    {"file", .kind = PL_OPTION_TEXTS, .value = "FILE", PL_OPTION(values, files), .help = "What"},
    {"count", .kind = PL_OPTION_COUNT, .value = "N", PL_OPTION(values, count),
     .given = offsetof(values, given), .help = "How many"},
    {"size", .kind = PL_OPTION_SIZE, .value = "BYTES", .preset = "2K", PL_OPTION(values, size),
     .help = "How much"},
    {"seconds", .kind = PL_OPTION_SECONDS, .value = "S", PL_OPTION(values, seconds),
     .help = "How long"},
    {.name = NULL},
};

static const values *made_with;

static int make(pl_service *parent, const char *name, const void *options, pl_service **ret_service,
                pl_failure **reterr_failure)
{
    made_with = options;
    if (made_with->loud) {
        *reterr_failure = PL_MADE(pl_failure_new(-EPERM, "being", NULL, "loud"));
        return -EPERM;
    }
    return pl_service_new(parent, NULL, name, ret_service);
}

static const pl_plugin plugin = {PL_PLUGIN,
                                 .name = "thing",
                                 .summary = "a thing",
                                 .options = table,
                                 .options_size = sizeof(values),
                                 .make = make};
static const pl_plugin *const plugins[] = {&plugin, NULL};

static pl_application *new_application(void)
{
    pl_application *application;

    PL_OK_(pl_application_new("Test", &application));
    return application;
}

/* ---- arguments ---- */

PL_TEST(values_as_arguments_read_into_the_same_values)
{
    char *argv[] = {"--loud", "--name",    "a b",       "--file=x",       "--file",
                    "-y",     "--count=0", "--size=3M", "--seconds=0.25", NULL};
    values first = {0}, second = {0};
    char why[256], **arguments;
    int at = 0;

    PL_OK_(pl_options_parse(table, argv, &at, &first, why, sizeof why));
    arguments = PL_MADE(pli_arguments_of(table, &first));
    at = 0;
    PL_OK_(pl_options_parse(table, arguments, &at, &second, why, sizeof why));
    PL_CHECK(!arguments[at]);
    PL_CHECK(second.loud && second.given);
    PL_STR_EQ(second.name, "a b");
    PL_EQ(second.files.n, 2);
    PL_STR_EQ(second.files.at[1], "-y");
    PL_EQ(second.size, 3 << 20);
    PL_CHECK(second.seconds == 0.25);
    pl_options_done(table, &first);
    pl_options_done(table, &second);
    pli_arguments_free(arguments);
}

PL_TEST(what_was_not_given_is_no_argument)
{
    char *argv[] = {NULL}, **arguments;
    values none = {0};
    char why[256];
    int at = 0;

    PL_OK_(pl_options_parse(table, argv, &at, &none, why, sizeof why));
    arguments = PL_MADE(pli_arguments_of(table, &none));
    PL_STR_EQ(arguments[0], "--size=2048");
    PL_STR_EQ(arguments[1], "--seconds=0.000000000");
    PL_STR_EQ(arguments[2], NULL);
    pli_arguments_free(arguments);
}

/* ---- what it is made of ---- */

PL_TEST(names_of_applications_and_services_are_checked)
{
    pl_application *application = NULL;

    PL_EQ(pl_application_new("", &application), -EINVAL);
    PL_EQ(pl_application_new("../etc/passwd", &application), -EINVAL);
    application = new_application();
    PL_EQ(pl_application_add(application, "thing", "a/b", NULL), -EINVAL);
    PL_EQ(pl_application_add(application, "thing", "a", NULL), 0);
    PL_EQ(pl_application_add(application, "thing", "a", NULL), -EEXIST);
    pl_application_free(application);
}

PL_TEST(what_cannot_be_run_is_named)
{
    static const char *const bad[] = {"--nonsense", NULL}, *const rest[] = {"more", NULL};
    pl_application *application = new_application();
    char why[256];

    PL_OK_(pl_application_add(application, "nothing", "a", NULL));
    PL_EQ(pli_application_resolve(application, plugins, why, sizeof why), -EINVAL);
    PL_STR_EQ(why, "a: there is no service 'nothing' here");
    pl_application_free(application);
    application = new_application();
    PL_OK_(pl_application_add(application, "thing", "b", bad));
    PL_EQ(pli_application_resolve(application, plugins, why, sizeof why), -EINVAL);
    PL_STR_EQ(why, "b: there is no option --nonsense");
    pl_application_free(application);
    application = new_application();
    PL_OK_(pl_application_add(application, "thing", "c", rest));
    PL_EQ(pli_application_resolve(application, plugins, why, sizeof why), -EINVAL);
    PL_STR_EQ(why, "c: expected an option, not 'more'");
    pl_application_free(application);
}

PL_TEST(services_are_made_with_their_options_under_the_applications_name)
{
    static const char *const arguments[] = {"--name=x", NULL}, *const loud[] = {"--loud", NULL};
    pl_application *application = new_application();
    pl_failure *failure = NULL;
    pl_reactor *reactor;
    pl_service *root;
    char why[256];

    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_application_add(application, "thing", "a", arguments));
    PL_OK_(pli_application_resolve(application, plugins, why, sizeof why));
    PL_OK_(pli_application_make(application, pl_reactor_scope(reactor), &root, &failure));
    PL_STR_EQ(root->name, "Test");
    PL_CHECK(pl_service_find(root, "a"));
    PL_STR_EQ(made_with->name, "x");
    PL_OK_(pl_application_add(application, "thing", "b", loud));
    PL_OK_(pli_application_resolve(application, plugins, why, sizeof why));
    PL_EQ(pli_application_make(application, pl_reactor_scope(reactor), &root, &failure), -EPERM);
    pl_failure_format(failure, why, sizeof why);
    PL_CHECK(strstr(why, "b: being loud: "));
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
    pl_application_free(application);
}

/* ---- without memory ---- */

static int make_and_save(const char *path)
{
    static const char *const arguments[] = {"--name=x", NULL};
    pl_application *application = NULL, *again = NULL;
    pl_failure *failure = NULL;
    char why[256];
    int error = pl_application_new("Test", &application);

    if (error == 0)
        error = pl_application_set_user(application, "me", "us");
    if (error == 0)
        error = pl_application_add(application, "thing", "a", arguments);
    if (error == 0)
        error = pli_application_resolve(application, plugins, why, sizeof why);
    if (error == 0)
        error = pl_application_save(application, path, &failure);
    if (error == 0)
        error = pl_application_load(path, &again, &failure);
    if (error == 0)
        PL_EQ(again->n_entries, 1);
    pl_failure_unref(failure);
    pl_application_free(again);
    pl_application_free(application);
    return error;
}

PL_TEST(whichever_allocation_fails_it_is_told_and_nothing_is_left)
{
    char folder[] = "/tmp/plait-application-XXXXXX", path[64];
    uint64_t n = 0;
    int error;

    PL_CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/test.tap", folder);
    do {
        pli_alloc_fail_at(++n, false);
        error = make_and_save(path);
        pli_alloc_fail_at(0, false);
        if (error < 0)
            PL_EQ(error, -ENOMEM);
    } while (error < 0);
    PL_CHECK(n > 10);
    unlink(path);
    PL_EQ(rmdir(folder), 0);
}

PL_TEST_MAIN
