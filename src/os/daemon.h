/*
 * What a daemon asks of its system: to go into the background, where it stands and who it is, and to speak to those who look after it.
 *
 * Little of it is for a simulated process, which is refused the rest.
 */
#ifndef PLI_OS_DAEMON_H
#define PLI_OS_DAEMON_H

#include <plait/base.h>

/* ---- into the background ---- */

/*
 * Forks twice, with a session of its own between: the daemon has no terminal and gets none. Its standard input and output are /dev/null; standard error stays until pli_daemon_tell(). No thread and no
 * ring may exist. Returns: 0 in the daemon, 1 in the process that called, or a negative errno there; `*ret_fd` is for pli_daemon_tell() or pli_daemon_await().
 */
PL_MUST int pli_daemon_fork(int *ret_fd);
/* In the daemon: tells how the start went, and leaves standard error. */
void pli_daemon_tell(int fd, uint8_t status);
/* In the one that called: waits for that. Returns: the status, or -ECHILD when the daemon has ended without a word. */
PL_MUST int pli_daemon_await(int fd);

/* ---- where it stands ---- */

void pli_umask(unsigned mask);
PL_MUST int pli_folder_enter(const char *path);
/* The root of all paths from now on, which is also where it stands then. */
PL_MUST int pli_folder_enter_as_root(const char *path);

/* ---- the process ---- */

uint32_t pli_process_id(void);
/* Waits for the end of another process. Returns: 0: it has ended, or there is none of that number; PL_E_TIMED_OUT; a negative errno. */
PL_MUST int pli_process_await(uint32_t pid, double seconds);
/* What ps(1) shows; 15 bytes. */
void pli_process_set_name(const char *name);
bool pli_is_terminal(int fd);
/* The signal does from now on what it does to a program that knows nothing of it; also one that has come meanwhile. */
void pli_signal_set_default(int signal);
/* Sends this process a signal, as somebody else would. */
void pli_process_tell_itself(int signal);
/* Ends this process by the signal, unless that is one that ends nobody. What looks for leaks at the end of a program does so before. */
void pli_process_end_by(int signal);

/* ---- who it is ---- */

typedef struct pli_identity {
    bool has_uid, has_gid;
    uint32_t uid, gid;
    char name[64]; /* of the user, by which its groups are found; "": unknown */
} pli_identity;

/* By name or number; the group is the user's own where it has one. Returns: 0; -ENOENT: there is none; a negative errno. */
PL_MUST int pli_identity_set_user(pli_identity *self, const char *user);
PL_MUST int pli_identity_set_group(pli_identity *self, const char *group);
/*
 * Becomes that one for good: groups, gid, uid, all capabilities, in that order; and checks that there is no way back. `effective` changes nothing but the effective ids, and can be taken back. To be called while
 * there is one thread. Returns: 0; -EPERM; -ENOTRECOVERABLE: what was given up could be had again.
 */
PL_MUST int pli_identity_become(const pli_identity *self, bool effective);
/* No program that this process runs gets more rights by its file's. Returns: 0 or a negative errno. */
PL_MUST int pli_privileges_fix(void);

/* Gives a file to that one. Returns: 0 or a negative errno. */
int pli_file_give(int fd, const pli_identity *to);
/* The same for a socket that this process has just made at `path`. Returns: 0; -EEXIST: something else has taken its place; a negative errno. */
PL_MUST int pli_socket_file_give(const char *path, const pli_identity *to);

/* ---- those who look after it ---- */

/* A socket that speaks to the datagram socket at a path, or "@" and an abstract name; it never waits. Returns: a descriptor or a negative errno. */
PL_MUST int pli_teller_open(const char *path);
/* Returns: 0 or a negative errno. */
int pli_teller_say(int fd, pl_slice message);

#endif
