#include <plait/plait.h>

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <plait/sim.h>

#include "base/memory.h"
#include "os/fault.h"
#include "os/sim/sim.h"
#include "reactor/reactor.h"
#include "tests/check.h"

static pl_reactor *reactor;
static pl_scope *scope;

/* ---- the programs, as scripts of a simulated host ---- */

static int sim_cat(void *arg)
{
    pl_sim_peer *in = pl_sim_given(0), *out = pl_sim_given(1);
    char bytes[4096];
    ptrdiff_t n;

    (void) arg;
    while ((n = pl_sim_hear(in, bytes, sizeof bytes)) > 0)
        if (pl_sim_say(out ? out : in, pl_slice_of(bytes, (size_t) n)) < 0)
            return 1;
    return 0;
}

static int sim_sleep(void *arg)
{
    (void) arg;
    pl_sim_sleep(1000);
    return 0;
}

/* sh -c SCRIPT, of which it knows a few. */
static int sim_sh(void *arg)
{
    char *const *argv = arg;
    pl_sim_peer *out = pl_sim_given(1), *err = pl_sim_given(2);

    if (strcmp(argv[2], "exit 7") == 0)
        return 7;
    if (strcmp(argv[2], "echo out; echo err >&2; exit 3") == 0) {
        pl_ignore(pl_sim_say(out, pl_str("out\n")));
        pl_ignore(pl_sim_say(err, pl_str("err\n")));
        return 3;
    }
    if (strcmp(argv[2], "while :; do echo more; done") == 0)
        while (pl_sim_say(out, pl_str("more\n")) == 0)
            ;
    return 127;
}

static void start(void)
{
    if (pl_sim_here()) {
        PL_OK_(pl_sim_install(pli_sim_host(), "cat", sim_cat));
        PL_OK_(pl_sim_install(pli_sim_host(), "sleep", sim_sleep));
        PL_OK_(pl_sim_install(pli_sim_host(), "sh", sim_sh));
    }
    PL_OK_(pl_reactor_new(&(pl_reactor_options){.seed = check_seed()}, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
}

/* ---- what is told ---- */

static unsigned n_exits, n_outputs, n_failures;
static pl_process_exit last_exit;
static int last_code;
static char last_out[256], last_err[256];

static pl_result exited(void *value, void *arg)
{
    (void) arg;
    ++n_exits;
    last_exit = *(const pl_process_exit *) value;
    return pl_value(NULL);
}

static pl_result has_run(void *value, void *arg)
{
    const pl_process_output *output = value;

    (void) arg;
    ++n_outputs;
    last_exit = output->exit;
    snprintf(last_out, sizeof last_out, "%.*s", (int) output->out.len, output->out.ptr);
    snprintf(last_err, sizeof last_err, "%.*s", (int) output->err.len, output->err.ptr);
    return pl_value(NULL);
}

static pl_result failed(const pl_failure *failure, void *arg)
{
    (void) arg;
    ++n_failures;
    last_code = pl_failure_code(failure);
    return pl_value(NULL);
}

/* Something happens, or is waited for; where it may never come, for two seconds only. */
static void turn(void)
{
    static int64_t begun;

    if (!check_is_impatient()) {
        PL_OK_(pl_reactor_turn(reactor, -1));
        return;
    }
    begun = begun ? begun : pl_now(reactor);
    PL_CHECK(pl_now(reactor) - begun < 2000000000);
    PL_OK_(pl_reactor_turn(reactor, 1));
}

static void turn_until(const unsigned *counter, unsigned n)
{
    while (*counter < n)
        turn();
}

/* A protocol that keeps what it hears. */
typedef struct listener {
    pl_protocol base;
} listener;

static char heard[65536];
static unsigned n_heard, n_made, n_lost;
static pl_transport *talk_to;

static int made(pl_protocol *self)
{
    ++n_made;
    talk_to = self->transport;
    return 0;
}

static void hear(pl_protocol *self, pl_slice in)
{
    (void) self;
    memcpy(heard + n_heard, in.ptr, in.len);
    n_heard += (unsigned) in.len;
}

static void lost(pl_protocol *self, const pl_failure *reason)
{
    (void) self;
    (void) reason;
    ++n_lost;
}

static const pl_protocol_ops talker_ops = {PL_PROTOCOL(listener), .connection_made = made,
                                           .connection_lost = lost};
static const pl_protocol_ops listener_ops = {PL_PROTOCOL(listener), .data_received = hear,
                                             .connection_lost = lost};
static const pl_protocol_ops both_ops = {PL_PROTOCOL(listener), .connection_made = made,
                                         .data_received = hear, .connection_lost = lost};

static const char *const cat[] = {"cat", NULL};
static const char *const sleeper[] = {"sleep", "1000", NULL};

static pl_process *start_watched(const pl_process_options *options)
{
    pl_process *process = NULL;

    PL_OK_(pl_process_start(scope, options, &process, NULL));
    PL_OK_(pl_add_callback(pl_process_exited(process), exited, NULL));
    return process;
}

/* ---- the tests ---- */

PL_TEST_EACH_BACKEND(process_is_spoken_with_over_connections)
{
    pl_process *process;

    start();
    process = start_watched(&(pl_process_options){
        .argv = cat,
        .in = {.connection = {.protocol = &talker_ops}},
        .out = {.connection = {.protocol = &listener_ops}},
    });
    PL_EQ(n_made, 0);
    turn_until(&n_made, 1);
    PL_CHECK(pl_process_transport(process, 0) == talk_to);
    PL_CHECK(pl_process_transport(process, 1));
    PL_CHECK(!pl_process_transport(process, 2));
    PL_OK_(pl_write_str(talk_to, "hello"));
    turn_until(&n_heard, 5);
    PL_SLICE_EQ(pl_slice_of(heard, n_heard), "hello");
    PL_OK_(pl_close_write(talk_to));
    turn_until(&n_exits, 1);
    turn_until(&n_lost, 2);
    PL_EQ(last_exit.status, 0);
    PL_EQ(last_exit.signal, 0);
    pl_reactor_free(reactor);
    PL_EQ(n_lost, 2);
}

PL_TEST_EACH_BACKEND(one_connection_can_be_input_and_output)
{
    pl_process *process;

    start();
    process = start_watched(&(pl_process_options){
        .argv = cat,
        .in = {.connection = {.protocol = &both_ops}},
        .out = {.kind = PL_STDIO_SAME},
    });
    turn_until(&n_made, 1);
    PL_CHECK(pl_process_transport(process, 1) == talk_to);
    PL_OK_(pl_write_str(talk_to, "there and back"));
    turn_until(&n_heard, 14);
    PL_OK_(pl_close_write(talk_to));
    turn_until(&n_exits, 1);
    turn_until(&n_lost, 1);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(status_and_signal_are_told_apart)
{
    static const char *const seven[] = {"sh", "-c", "exit 7", NULL};
    pl_process *process;

    start();
    start_watched(&(pl_process_options){.argv = seven});
    turn_until(&n_exits, 1);
    PL_EQ(last_exit.status, 7);
    PL_EQ(last_exit.signal, 0);
    process = start_watched(&(pl_process_options){.argv = sleeper});
    PL_OK_(pl_process_signal(process, SIGINT));
    turn_until(&n_exits, 2);
    PL_EQ(last_exit.status, 0);
    PL_EQ(last_exit.signal, SIGINT);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(process_that_is_stopped_ends_and_one_that_does_not_listen_is_killed)
{
    static const char *const deaf[] = {"sh", "-c", "trap '' TERM; echo deaf; exec sleep 1000",
                                       NULL};
    pl_process *process;

    PL_SKIP_ON_SIM("its scripts do not ignore signals");
    start();
    process = start_watched(&(pl_process_options){.argv = sleeper});
    PL_CHECK(pl_process_stop(process, 100) == pl_process_exited(process));
    turn_until(&n_exits, 1);
    PL_EQ(last_exit.signal, SIGTERM);
    process = start_watched(
        &(pl_process_options){.argv = deaf, .out = {.connection = {.protocol = &listener_ops}}});
    turn_until(&n_heard, 5);
    pl_process_stop(process, 0.01);
    turn_until(&n_exits, 2);
    PL_EQ(last_exit.signal, SIGKILL);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(process_is_killed_when_its_scope_ends)
{
    pl_process *process;
    unsigned ios;
    int number;

    start();
    PL_OK_(pl_reactor_turn(reactor, 0));
    ios = reactor->backend->ios.used;
    process = start_watched(
        &(pl_process_options){.argv = sleeper, .out = {.connection = {.protocol = &both_ops}}});
    number = pl_process_number(process);
    turn_until(&n_made, 1);
    pl_scope_end(scope);
    PL_EQ(n_lost, 1);
    while (reactor->backend->ios.used > ios) /* it has been reaped */
        turn();
    if (!pl_sim_here())
        PL_EQ(kill(number, 0), -1);
    PL_EQ(n_exits, 0);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(reactor_that_goes_takes_its_processes_along)
{
    pl_process *process;
    int number;

    start();
    process = start_watched(
        &(pl_process_options){.argv = sleeper, .in = {.connection = {.protocol = &talker_ops}}});
    number = pl_process_number(process);
    pl_reactor_free(reactor);
    PL_EQ(n_exits, 0);
    PL_EQ(n_made, 0);
    if (!pl_sim_here())
        PL_EQ(kill(number, 0), -1);
}

PL_TEST_EACH_BACKEND(program_that_can_not_be_run_is_named)
{
    static const char *const nothing[] = {"/nowhere/at-all", NULL};
    pl_failure *failure = NULL;
    pl_process *process = NULL;
    unsigned ios;
    char text[256];

    start();
    PL_OK_(pl_reactor_turn(reactor, 0));
    ios = reactor->backend->ios.used;
    PL_EQ(pl_process_start(scope, &(pl_process_options){.argv = nothing}, &process, &failure),
          -ENOENT);
    PL_CHECK(!process);
    PL_STR_EQ(pl_failure_format(failure, text, sizeof text),
              "running /nowhere/at-all: No such file or directory");
    failure = pl_failure_unref(failure);
    PL_EQ(pl_process_start(scope, &(pl_process_options){.argv = NULL}, NULL, NULL), -EINVAL);
    PL_EQ(pl_process_start(scope, &(pl_process_options){.argv = cat, .in = {.kind = PL_STDIO_SAME}},
                           NULL, NULL),
          -EINVAL);
    PL_OK_(pl_reactor_turn(reactor, 0));
    PL_EQ(reactor->backend->ios.used, ios);
    pl_reactor_free(reactor);
}

PL_TEST(user_who_is_not_there_is_named)
{
    pl_failure *failure = NULL;
    char text[256];

    start();
    PL_EQ(pl_process_start(scope, &(pl_process_options){.argv = cat, .user = "nobody-of-this-name"},
                           NULL, &failure),
          PL_E_NAME);
    PL_STR_EQ(pl_failure_format(failure, text, sizeof text),
              "becoming nobody-of-this-name: name does not resolve");
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
}

PL_TEST(folder_that_is_not_there_is_named)
{
    pl_failure *failure = NULL;
    char text[256];

    start();
    PL_EQ(pl_process_start(scope, &(pl_process_options){.argv = cat, .folder = "/nowhere"}, NULL,
                           &failure),
          -ENOENT);
    PL_STR_EQ(pl_failure_format(failure, text, sizeof text),
              "going into the folder /nowhere: No such file or directory");
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(program_is_run_to_its_end_and_what_it_said_is_told)
{
    static const char *const speaker[] = {"sh", "-c", "echo out; echo err >&2; exit 3", NULL};

    start();
    PL_OK_(pl_add_callbacks(pl_process_run(scope, &(pl_process_options){.argv = speaker}, NULL),
                            has_run, failed, NULL));
    turn_until(&n_outputs, 1);
    PL_STR_EQ(last_out, "out\n");
    PL_STR_EQ(last_err, "err\n");
    PL_EQ(last_exit.status, 3);
    PL_OK_(pl_add_callbacks(
        pl_process_run(scope, &(pl_process_options){.argv = cat},
                       &(pl_process_run_options){.input = pl_str("what it reads")}),
        has_run, failed, NULL));
    turn_until(&n_outputs, 2);
    PL_STR_EQ(last_out, "what it reads");
    PL_STR_EQ(last_err, "");
    PL_EQ(n_failures, 0);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(program_that_says_too_much_is_killed)
{
    static const char *const babbler[] = {"sh", "-c", "while :; do echo more; done", NULL};
    unsigned ios;

    start();
    PL_OK_(pl_reactor_turn(reactor, 0));
    ios = reactor->backend->ios.used;
    PL_OK_(pl_add_callbacks(pl_process_run(scope, &(pl_process_options){.argv = babbler},
                                           &(pl_process_run_options){.output_max = 10000}),
                            has_run, failed, NULL));
    turn_until(&n_failures, 1);
    PL_EQ(last_code, PL_E_LIMIT);
    while (reactor->backend->ios.used > ios)
        turn();
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(run_that_is_cancelled_or_takes_too_long_is_killed)
{
    pl_deferred *run;
    unsigned ios;

    start();
    PL_OK_(pl_reactor_turn(reactor, 0));
    ios = reactor->backend->ios.used;
    run = pl_process_run(scope, &(pl_process_options){.argv = sleeper}, NULL);
    PL_OK_(pl_add_callbacks(run, has_run, failed, NULL));
    pl_deferred_cancel(run);
    turn_until(&n_failures, 1);
    PL_EQ(last_code, PL_E_CANCELLED);
    run = pl_process_run(scope, &(pl_process_options){.argv = sleeper}, NULL);
    PL_OK_(pl_add_callbacks(run, has_run, failed, NULL));
    PL_OK_(pl_deferred_timeout(run, 0.01));
    turn_until(&n_failures, 2);
    PL_EQ(last_code, PL_E_TIMED_OUT);
    while (reactor->backend->ios.used > ios)
        turn();
    pl_reactor_free(reactor);
}

/* Whatever the n-th thing is that can't be had: an error, and nothing is left. */
PL_TEST_EACH_BACKEND(start_without_memory_or_descriptors_leaves_nothing)
{
    static const pli_call calls[] = {PLI_CALL_SOCKET, PLI_CALL_PROCESS, PLI_CALL_WATCH};
    const pl_process_options options = {.argv = sleeper,
                                        .in = {.connection = {.protocol = &talker_ops}},
                                        .out = {.connection = {.protocol = &listener_ops}}};
    unsigned n_failed = 0;

    start();
    for (size_t i = 0; i <= sizeof calls / sizeof *calls; ++i)
        for (unsigned n = 1; n < 40; ++n) {
            pl_scope *inner;
            int error;

            PL_OK_(pl_scope_new(scope, "inner", &inner));
            if (i)
                pli_fault_at(calls[i - 1], n, false);
            else
                pli_alloc_fail_at(n, false);
            error = pl_process_start(inner, &options, NULL, NULL);
            pli_alloc_fail_at(0, false);
            if (i)
                pli_fault_at(calls[i - 1], 0, false);
            n_failed += error < 0;
            pl_scope_end(inner);
            PL_OK_(pl_reactor_turn(reactor, 0));
            if (error == 0)
                break;
        }
    PL_CHECK(n_failed > 6);
    pl_reactor_free(reactor);
    if (!pl_sim_here()) {
        PL_EQ(waitpid(-1, NULL, WNOHANG), -1);
        PL_EQ(errno, ECHILD);
    }
}

/* ---- what only the real system shows ---- */

static char *run_real(const pl_process_options *options)
{
    n_outputs = 0;
    PL_OK_(pl_add_callbacks(pl_process_run(scope, options, NULL), has_run, failed, NULL));
    turn_until(&n_outputs, 1);
    return last_out;
}

PL_TEST(child_has_what_it_was_given_and_nothing_else)
{
    static const char *const script[] = {
        "sh", "-c", "pwd; echo $GREETING; cat <&3; ls /proc/self/fd | tr '\\n' ' '; exec 3<&-",
        NULL};
    static const char *const environment[] = {"GREETING=hello", "PATH=/usr/bin:/bin", NULL};
    int ends[2], other[2];

    start();
    PL_EQ(pipe(ends), 0); /* without O_CLOEXEC, as a library might have it */
    PL_EQ(pipe(other), 0);
    PL_EQ(write(ends[1], "from 3\n", 7), 7);
    close(ends[1]);
    PL_STR_EQ(run_real(&(pl_process_options){.argv = script,
                                             .environment = environment,
                                             .folder = "/usr",
                                             .fds = &ends[0],
                                             .n_fds = 1}),
              "/usr\nhello\nfrom 3\n0 1 2 3 4 "); /* 4 is ls's own */
    pl_reactor_free(reactor);
}

PL_TEST(signals_of_this_program_are_not_the_childs)
{
    static const char *const script[] = {
        "sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status | tr -d '\\t\\n'", NULL};

    start(); /* which blocks SIGINT and SIGTERM, and ignores SIGPIPE */
    PL_STR_EQ(run_real(&(pl_process_options){.argv = script}),
              "SigBlk:0000000000000000SigIgn:0000000000000000");
    pl_reactor_free(reactor);
}

PL_TEST(child_becomes_another)
{
    static const char *const script[] = {"sh", "-c", "echo $(id -u) $(id -g) $(id -G)", NULL};

    if (getuid() != 0)
        PL_SKIP("only root can become another");
    start();
    PL_STR_EQ(run_real(&(pl_process_options){.argv = script, .user = "65534", .group = "65533"}),
              "65534 65533 65533\n");
    pl_reactor_free(reactor);
}

PL_TEST(group_gets_the_signals)
{
    static const char *const script[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};
    pl_process *process;
    int grandchild;

    start();
    process = start_watched(&(pl_process_options){
        .argv = script, .out = {.connection = {.protocol = &listener_ops}}, .own_group = true});
    while (!memchr(heard, '\n', n_heard))
        turn();
    grandchild = (int) strtol(heard, NULL, 10);
    PL_CHECK(grandchild > 1);
    PL_EQ(kill(grandchild, 0), 0);
    pl_process_stop(process, 100);
    turn_until(&n_exits, 1);
    turn_until(&n_lost, 1); /* which the grandchild held */
    pl_reactor_free(reactor);
}

PL_TEST(orphan_gets_its_signal)
{
    int ends[2], status;
    char byte;
    pid_t child;

    PL_EQ(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        start();
        start_watched(&(pl_process_options){.argv = sleeper,
                                            .out = {.kind = PL_STDIO_FD, .fd = ends[1]},
                                            .orphan_signal = SIGKILL});
        raise(SIGKILL);
    }
    close(ends[1]);
    PL_EQ(waitpid(child, &status, 0), child);
    PL_EQ(read(ends[0], &byte, 1), 0); /* comes when the orphan has ended */
}

PL_TEST(large_input_and_output_pass)
{
    enum { SIZE = 600000 };
    char *bytes = malloc(SIZE);

    start();
    for (size_t i = 0; i < SIZE; ++i)
        bytes[i] = (char) ('a' + i % 26);
    PL_OK_(pl_add_callbacks(
        pl_process_run(scope,
                       &(pl_process_options){.argv = (const char *const[]){"wc", "-c", NULL}},
                       &(pl_process_run_options){.input = pl_slice_of(bytes, SIZE)}),
        has_run, failed, NULL));
    turn_until(&n_outputs, 1);
    PL_STR_EQ(last_out, "600000\n");
    free(bytes);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
