/* Channels, of the kernel and of a world: a backend of the test is one or the other. */
#include "os/channel.h"

#include <errno.h>
#include <sys/resource.h>

#include <plait/sim.h>

#include "os/fence.h"
#include "os/file.h"
#include "os/sim/guest.h"
#include "tests/check.h"

#define MOMENT_MS 10

static int ends[2];

static void channel_open(void)
{
    PL_EQ(pli_channel_open(ends), 0);
}

static void channel_close(int end)
{
    pli_file_close(ends[end]);
    ends[end] = -1;
}

static int send_text(int end, const char *text, const int *fds, size_t n)
{
    return pli_channel_send(ends[end], pl_str(text), fds, n, MOMENT_MS);
}

/* The next message at that end, as text. Returns: as pli_channel_receive(). */
static int receive_text(int end, char text[64], pli_channel_got *ret_got)
{
    int error = pli_channel_receive(ends[end], text, 63, MOMENT_MS, ret_got);

    text[error == 0 ? ret_got->size : 0] = '\0';
    return error;
}

static void expect_text(int end, const char *expected)
{
    char text[64];
    pli_channel_got got;

    PL_EQ(receive_text(end, text, &got), 0);
    PL_STR_EQ(text, expected);
    PL_EQ(got.n_fds, 0);
}

/* What is there now under the lowest free number of this process: that number. */
static int lowest_free(void)
{
    int fd = pli_file_open_nameless();

    PL_CHECK(fd >= 0);
    pli_file_close(fd);
    return fd;
}

PL_TEST_EACH_BACKEND(channel_keeps_messages_apart_and_in_order)
{
    channel_open();
    PL_EQ(send_text(0, "one", NULL, 0), 0);
    PL_EQ(send_text(0, "two", NULL, 0), 0);
    PL_EQ(send_text(1, "back", NULL, 0), 0);
    expect_text(1, "one");
    expect_text(1, "two");
    expect_text(0, "back");
    channel_close(0);
    channel_close(1);
}

PL_TEST_EACH_BACKEND(channel_times_out_when_nobody_says_or_hears_anything)
{
    char text[64];
    pli_channel_got got;
    int error = 0;

    channel_open();
    PL_EQ(receive_text(0, text, &got), PL_E_TIMED_OUT);
    for (int i = 0; error == 0 && i < 100000; ++i)
        error = send_text(0, "and on", NULL, 0);
    PL_EQ(error, PL_E_TIMED_OUT);
    expect_text(1, "and on");
    PL_EQ(send_text(0, "there is room again", NULL, 0), 0);
    channel_close(0);
    channel_close(1);
}

PL_TEST_EACH_BACKEND(channel_cuts_a_message_that_is_larger_than_the_room_for_it)
{
    char room[3];
    pli_channel_got got;

    channel_open();
    PL_EQ(send_text(0, "one", NULL, 0), 0);
    PL_EQ(send_text(0, "two and more", NULL, 0), 0);
    PL_EQ(send_text(0, "three", NULL, 0), 0);
    expect_text(1, "one");
    PL_EQ(pli_channel_receive(ends[1], room, sizeof room, MOMENT_MS, &got), 0);
    PL_EQ(got.size, 3);
    expect_text(1, "three");
    channel_close(0);
    channel_close(1);
}

PL_TEST_EACH_BACKEND(channel_brings_descriptors_that_stay_when_the_sender_has_closed_its_own)
{
    int file = pli_file_open_nameless();
    char text[64];
    pli_channel_got got;

    channel_open();
    PL_EQ(pli_file_write_at(file, 0, pl_str("kept")), 0);
    PL_EQ(send_text(0, "a file", &file, 1), 0);
    pli_file_close(file);
    channel_close(0);
    PL_EQ(receive_text(1, text, &got), 0);
    PL_EQ(got.n_fds, 1);
    PL_EQ(pli_file_read_at(got.fds[0], 0, text, sizeof text, NULL, 0), 4);
    PL_CHECK(memcmp(text, "kept", 4) == 0);
    pli_file_close(got.fds[0]);
    PL_EQ(receive_text(1, text, &got), PL_E_CLOSED);
    channel_close(1);
}

PL_TEST_EACH_BACKEND(channel_whose_other_end_is_gone_says_so)
{
    char text[64];
    pli_channel_got got;

    channel_open();
    channel_close(0);
    PL_EQ(send_text(1, "anybody?", NULL, 0), -EPIPE);
    PL_EQ(receive_text(1, text, &got), PL_E_CLOSED);
    channel_close(1);
}

PL_TEST_EACH_BACKEND(last_words_are_heard_of_one_that_has_gone_without_hearing_all)
{
    char text[64];
    pli_channel_got got;

    channel_open();
    PL_EQ(send_text(1, "that it does not hear", NULL, 0), 0);
    PL_EQ(send_text(0, "this is why", NULL, 0), 0);
    channel_close(0);
    expect_text(1, "this is why");
    PL_EQ(receive_text(1, text, &got), PL_E_CLOSED);
    channel_close(1);
}

/* From now on there is room for `n` descriptors more. */
static void leave_room_for(int n, struct rlimit *before)
{
    struct rlimit limit;

    if (pli_sim_running()) {
        pl_sim_fault_at(pli_sim_running(), PL_SIM_EMFILE, (uint64_t) n + 1, false);
        return;
    }
    PL_EQ(getrlimit(RLIMIT_NOFILE, before), 0);
    limit = (struct rlimit){(rlim_t) (lowest_free() + n), before->rlim_max};
    PL_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void leave_all_room(const struct rlimit *before)
{
    if (!pli_sim_running())
        PL_EQ(setrlimit(RLIMIT_NOFILE, before), 0);
}

PL_TEST_EACH_BACKEND(descriptors_for_which_there_is_no_room_are_an_error_and_none_is_left_open)
{
    int file = pli_file_open_nameless(), three[3] = {file, file, file}, free_before;
    struct rlimit before;
    char text[64];
    pli_channel_got got;
    int error;

    if (check_in_valgrind() && !pli_sim_here)
        PL_SKIP("valgrind has a limit of descriptors of its own");
    channel_open();
    PL_EQ(send_text(0, "three", three, 3), 0);
    PL_EQ(send_text(0, "and on", NULL, 0), 0);
    free_before = lowest_free();
    leave_room_for(2, &before);
    error = receive_text(1, text, &got);
    leave_all_room(&before);
    PL_EQ(error, -EMFILE);
    PL_EQ(lowest_free(), free_before);
    expect_text(1, "and on");
    pli_file_close(file);
    channel_close(0);
    channel_close(1);
}

PL_TEST_MAIN
