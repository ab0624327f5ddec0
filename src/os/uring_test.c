#include <errno.h>
#include <liburing.h>

#include "os/backend.h"
#include "tests/check.h"

/* The ring's operations pass any filter of system calls by. */
PL_TEST(ring_takes_the_operations_of_its_backend_and_no_others)
{
    static const unsigned own[] = {IORING_OP_RECV,    IORING_OP_SEND,  IORING_OP_ACCEPT,
                                   IORING_OP_CONNECT, IORING_OP_CLOSE, IORING_OP_POLL_ADD};
    static const unsigned others[] = {IORING_OP_NOP,    IORING_OP_OPENAT,   IORING_OP_OPENAT2,
                                      IORING_OP_READ,   IORING_OP_WRITE,    IORING_OP_RENAMEAT,
                                      IORING_OP_SOCKET, IORING_OP_UNLINKAT, IORING_OP_EPOLL_CTL};
    pli_backend *ring = NULL;
    int error = pli_backend_open("uring", &ring);

    if (error < 0)
        check_skip("no io_uring here");
    for (size_t i = 0; i < sizeof own / sizeof *own; ++i)
        PL_EQ(pli_uring_try(ring, own[i]), -EBADF);
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        PL_EQ(pli_uring_try(ring, others[i]), -EACCES);
    pli_backend_close(ring);
}

/* That it is the restriction which refuses, and not the kernel. */
PL_TEST(ring_of_somebody_else_takes_more)
{
    struct io_uring ring;
    struct io_uring_cqe *cqe;

    if (io_uring_queue_init(4, &ring, 0) < 0)
        check_skip("no io_uring here");
    io_uring_prep_nop(io_uring_get_sqe(&ring));
    PL_EQ(io_uring_submit_and_wait(&ring, 1), 1);
    PL_EQ(io_uring_peek_cqe(&ring, &cqe), 0);
    PL_EQ(cqe->res, 0);
    io_uring_queue_exit(&ring);
}

PL_TEST_MAIN
