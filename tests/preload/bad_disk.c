/* A disk that breaks: while the file $BAD_DISK is there, nothing can be synced. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_unless_broken(long call, int fd)
{
    const char *sign = getenv("BAD_DISK");

    if (sign && access(sign, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int) syscall(call, fd);
}

int fsync(int fd)
{
    return sync_unless_broken(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_unless_broken(SYS_fdatasync, fd);
}
