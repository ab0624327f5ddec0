/* Messages with descriptors between the processes of a host: os/channel.h, without its waiting. */
#ifndef PLI_OS_SIM_CHANNEL_H
#define PLI_OS_SIM_CHANNEL_H

#include <sys/types.h>

#include "os/channel.h"

PL_MUST int pli_sim_channel_open(int ret_ends[2]);
/* Returns: 0; -EAGAIN: there is no room; -EPIPE, -ECONNRESET: the other end is gone; -EBADF, -ENOBUFS, -EINTR. */
PL_MUST int pli_sim_channel_send(int fd, pl_slice message, const int *fds, size_t n);
/* Returns: the message's bytes; 0: the other end is gone; -EAGAIN, -ECONNRESET, -EBADF, -EINTR. `*ret_cut`: there was no room for all its descriptors in this process, and the others are lost. */
PL_MUST ssize_t pli_sim_channel_receive(int fd, void *room, size_t size, pli_channel_got *ret_got,
                                        bool *ret_cut);
/* Waits until there may be a message (or room for one), or until that time of the process's clock; 0: for ever. Returns: 0 or PL_E_TIMED_OUT. */
PL_MUST int pli_sim_channel_await(int fd, bool receives, int64_t until);

#endif
