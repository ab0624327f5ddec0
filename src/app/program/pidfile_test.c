#include "app/program/pidfile.h"

#include <errno.h>
#include <sys/stat.h>

#include <plait/error.h>

#include "os/fault.h"
#include "tests/check.h"

static char path[64];

static void begin(void)
{
    char folder[] = "/tmp/plait-pidfile-XXXXXX";

    PL_CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pid", folder);
}

static void finish(void)
{
    unlink(path);
    *strrchr(path, '/') = '\0';
    PL_EQ(rmdir(path), 0);
}

static size_t size_of_it(void)
{
    struct stat st;

    return stat(path, &st) == 0 ? (size_t) st.st_size : 0;
}

PL_TEST(pidfile_is_there_while_it_is_held_and_gone_afterwards)
{
    pl_failure *failure = NULL;
    pli_pidfile file;
    struct stat st;

    begin();
    PL_EQ(pli_pidfile_take(&file, path, &failure), 0);
    PL_CHECK(size_of_it() > 1);
    pli_pidfile_drop(&file);
    PL_EQ(stat(path, &st), -1);
    finish();
}

PL_TEST(pidfile_that_cannot_be_looked_at_is_an_error_and_not_waited_for)
{
    PL_SKIP_TORTURED();
    begin();
    for (uint64_t n = 1; n <= 2; ++n) { /* by its descriptor, by its name */
        pl_failure *failure = NULL;
        pli_pidfile file;

        pli_fault_at(PLI_CALL_FILE_INFO, n, true);
        PL_EQ(pli_pidfile_take(&file, path, &failure), -EACCES);
        pli_fault_at(PLI_CALL_FILE_INFO, 0, false);
        PL_EQ(pl_failure_code(failure), -EACCES);
        PL_EQ(file.fd, -1);
        pl_failure_unref(failure);
    }
    finish();
}

PL_TEST_MAIN
