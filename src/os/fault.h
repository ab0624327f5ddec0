/*
 * What can be asked of the system, by kind; and whether this time it is to fail.
 *
 * Each function of this floor that calls the kernel asks pli_fault() first, where the call stands. So a test can let the n-th call of a kind fail, for all n, and the
 * simulator fails them by chance. Nobody else asks for anything: tools/lint/banned sees to it.
 */
#ifndef PLI_OS_FAULT_H
#define PLI_OS_FAULT_H

#include "base/thread_local.h"

typedef enum pli_call {
    PLI_CALL_SOCKET,
    PLI_CALL_BIND,
    PLI_CALL_LISTEN,
    PLI_CALL_ACCEPT,
    PLI_CALL_CONNECT,
    PLI_CALL_RECEIVE,
    PLI_CALL_SEND,
    PLI_CALL_SHUTDOWN,
    PLI_CALL_OPTION,
    PLI_CALL_NAME,       /* getsockname, getpeername */
    PLI_CALL_DESCRIPTOR, /* dup, fcntl, what is it */
    PLI_CALL_WAIT,
    PLI_CALL_WATCH, /* adding to what is waited for, and taking off */
    PLI_CALL_RING,  /* setting up the backend */
    PLI_CALL_WAKE,
    PLI_CALL_SIGNALS,
    PLI_CALL_THREAD,
    PLI_CALL_MAP, /* memory for stacks */
    PLI_CALL_RESOLVE,
    PLI_CALL_INTERFACE,
    PLI_CALL_FILE_OPEN,
    PLI_CALL_FILE_INFO,
    PLI_CALL_FILE_READ,
    PLI_CALL_FILE_WRITE,
    PLI_CALL_FILE_SYNC,
    PLI_CALL_FILE_CHANGE, /* truncating, locking, names */
    PLI_CALL_NOTIFY,
    PLI_CALL_PROCESS, /* starting and awaiting processes, and what a daemon asks for */
    PLI_CALLS,
} pli_call;

/* Lets the n-th call of that kind on this thread fail (1 is the next) with its usual error, and those after it too when `for_ever`. 0: never. */
void pli_fault_at(pli_call call, uint64_t n, bool for_ever);
/* Counts calls from now on (they count while one is set to fail, too). Returns: how many of that kind there were since. */
void pli_fault_count(bool on);
uint64_t pli_fault_counted(pli_call call);
/* `fn` is asked at each call of this thread, when it has been counted, whether that one is to fail; NULL: nobody is. */
typedef bool pli_fault_fn(void *arg, pli_call call);
void pli_fault_ask(pli_fault_fn *fn, void *arg);
/* "socket", "file sync", ... */
const char *pli_call_name(pli_call call);

extern PLI_THREAD_LOCAL bool pli_faults_on;
int pli_fault_slow(pli_call call);

/* 0, or the negative errno with which this call is to fail. */
static inline int pli_fault(pli_call call)
{
    return __builtin_expect(pli_faults_on, 0) ? pli_fault_slow(call) : 0;
}

#endif
