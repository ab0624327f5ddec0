#include "os/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <plait/error.h>

#include "os/fault.h"
#include "os/file.h"
#include "os/sim/file.h"

/* Numbers of our own: the headers of a system may be older than its kernel. */
#define CALL_CREATE   444
#define CALL_ADD_RULE 445
#define CALL_RESTRICT 446
#define GET_VERSION   1u
#define RULE_PATH     1

enum {
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_REG = 1 << 8,
    FS_TRUNCATE = 1 << 14,
    FS_ALL_1 = (1 << 13) - 1, /* what version 1 knows */
    FS_REFER = 1 << 13,       /* 2 */
    FS_TRUNCATE_3 = FS_TRUNCATE,
    FS_IOCTL_DEV = 1 << 15, /* 5 */
    NET_BIND_TCP = 1 << 0,  /* 4 */
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_SIGNAL = 1 << 1, /* 6 */
    FS_OF_FILES = FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
};

typedef struct ruleset {
    uint64_t fs, net, scoped;
} ruleset;

typedef struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed)) path_rule;

static int may_ask(void)
{
    int error = pli_fault(PLI_CALL_PROCESS);

    return error || !pli_sim_here ? error : PL_E_UNSUPPORTED;
}

static int answer(long result)
{
    return result < 0 ? -errno : (int) result;
}

/* ---- files ---- */

static int version_of_kernel(void)
{
    long version = syscall(CALL_CREATE, NULL, 0, GET_VERSION);

    return version < 1 ? PL_E_UNSUPPORTED : (int) version;
}

/* All files' rights that a version knows. */
static uint64_t fs_known(int version)
{
    return FS_ALL_1 | (version >= 2 ? FS_REFER : 0u) | (version >= 3 ? FS_TRUNCATE_3 : 0u) |
           (version >= 5 ? FS_IOCTL_DEV : 0u);
}

int pli_fence_open(bool connect, int *ret_version)
{
    ruleset rules = {0};
    size_t size = sizeof rules.fs;
    int error = may_ask(), version;

    if (error)
        return error;
    version = *ret_version = version_of_kernel();
    if (version < 0)
        return version;
    rules.fs = fs_known(version);
    if (version >= 4) {
        rules.net = NET_BIND_TCP | (connect ? 0u : NET_CONNECT_TCP);
        size += sizeof rules.net;
    }
    if (version >= 6) {
        rules.scoped = SCOPE_SIGNAL;
        size += sizeof rules.scoped;
    }
    return answer(syscall(CALL_CREATE, &rules, size, 0)); /* it is made close-on-exec */
}

static uint64_t fs_rights(unsigned access, bool folder, int version)
{
    uint64_t rights = 0;

    if (access & PLI_FENCE_READ)
        rights |= FS_READ_FILE | FS_READ_DIR;
    if (access & PLI_FENCE_WRITE)
        rights |= FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG | FS_REMOVE_FILE;
    if (access & PLI_FENCE_REMOVE)
        rights |= FS_REMOVE_FILE;
    return rights & fs_known(version) & (folder ? ~0ull : FS_OF_FILES);
}

int pli_fence_allow(int fence, const char *path, unsigned access)
{
    path_rule rule = {0};
    struct stat st;
    int error = may_ask();

    if (error)
        return error;
    rule.fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.fd < 0)
        return -errno;
    error = answer(fstat(rule.fd, &st));
    if (!error) {
        rule.allowed = fs_rights(access, S_ISDIR(st.st_mode), version_of_kernel());
        error = answer(syscall(CALL_ADD_RULE, fence, RULE_PATH, &rule, 0));
    }
    close(rule.fd);
    return error;
}

int pli_fence_close(int fence)
{
    int error = may_ask();

    return error ? error : answer(syscall(CALL_RESTRICT, fence, 0));
}

/* ---- system calls ---- */

int pli_file_open_nameless(void)
{
    int error = pli_fault(PLI_CALL_FILE_OPEN);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_open_nameless();
    return answer(memfd_create("plait", MFD_CLOEXEC));
}

bool pli_calls_can_be_fenced(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    return !pli_sim_here;
#endif
}

int pli_calls_fence(int file)
{
    struct sock_filter filter[1024];
    ssize_t n = pli_file_read_at(file, 0, filter, sizeof filter, NULL, 0);
    struct sock_fprog program = {.filter = filter};
    int error = may_ask();

    if (error || n < 0)
        return error ? error : (int) n;
    if (!n || (size_t) n == sizeof filter || (size_t) n % sizeof *filter)
        return -E2BIG;
    program.len = (unsigned short) ((size_t) n / sizeof *filter);
    return answer(
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
}
