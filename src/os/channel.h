/*
 * A channel between two processes of one program: messages with descriptors, and both ends see when the other is gone.
 */
#ifndef PLI_OS_CHANNEL_H
#define PLI_OS_CHANNEL_H

#include <plait/base.h>

/* The most descriptors of one message: what Linux takes. */
#define PLI_CHANNEL_FDS_MAX 250

/* Both ends, close-on-exec. Returns: 0 or a negative errno. */
PL_MUST int pli_channel_open(int ret_ends[2]);

/*
 * Sends one message with copies of `n` descriptors; waits for room up to `timeout_ms`.
 * Returns: 0; PL_E_TIMED_OUT; -EPIPE: the other end is gone; a negative errno.
 */
PL_MUST int pli_channel_send(int fd, pl_slice message, const int *fds, size_t n, int timeout_ms);

/* What a message brought. Its descriptors are the receiver's, and close-on-exec. */
typedef struct pli_channel_got {
    size_t size;
    int fds[PLI_CHANNEL_FDS_MAX];
    size_t n_fds;
} pli_channel_got;

/*
 * Receives one message into `room`; waits for it up to `timeout_ms` (negative: for ever, 0: not at all). One that is larger is cut.
 * Returns: 0; PL_E_TIMED_OUT; PL_E_CLOSED: the other end is gone, and all that it has sent was heard; -EMFILE: there was no room for its descriptors, and it is lost; a negative errno. After less than 0
 * there are no descriptors.
 */
PL_MUST int pli_channel_receive(int fd, void *room, size_t size, int timeout_ms,
                                pli_channel_got *ret_got);

#endif
