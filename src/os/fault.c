#include "os/fault.h"

#include <errno.h>

PLI_THREAD_LOCAL bool pli_faults_on;

static const struct {
    const char *name;
    int error;
} calls[PLI_CALLS] = {
    [PLI_CALL_SOCKET] = {"socket", -EMFILE},
    [PLI_CALL_BIND] = {"bind", -EADDRINUSE},
    [PLI_CALL_LISTEN] = {"listen", -EADDRINUSE},
    [PLI_CALL_ACCEPT] = {"accept", -EMFILE},
    [PLI_CALL_CONNECT] = {"connect", -ENETUNREACH},
    [PLI_CALL_RECEIVE] = {"receive", -ENOBUFS},
    [PLI_CALL_SEND] = {"send", -ENOBUFS},
    [PLI_CALL_SHUTDOWN] = {"shutdown", -ENOTCONN},
    [PLI_CALL_OPTION] = {"option", -ENOPROTOOPT},
    [PLI_CALL_NAME] = {"name", -ENOBUFS},
    [PLI_CALL_DESCRIPTOR] = {"descriptor", -EMFILE},
    [PLI_CALL_WAIT] = {"wait", -EINTR},
    [PLI_CALL_WATCH] = {"watch", -ENOSPC},
    [PLI_CALL_RING] = {"ring", -ENOMEM},
    [PLI_CALL_WAKE] = {"wake", -EMFILE},
    [PLI_CALL_SIGNALS] = {"signals", -EMFILE},
    [PLI_CALL_THREAD] = {"thread", -EAGAIN},
    [PLI_CALL_MAP] = {"map", -ENOMEM},
    [PLI_CALL_RESOLVE] = {"resolve", -EAGAIN},
    [PLI_CALL_INTERFACE] = {"interface", -EMFILE},
    [PLI_CALL_FILE_OPEN] = {"file open", -EMFILE},
    [PLI_CALL_FILE_INFO] = {"file info", -EACCES},
    [PLI_CALL_FILE_READ] = {"file read", -EIO},
    [PLI_CALL_FILE_WRITE] = {"file write", -ENOSPC},
    [PLI_CALL_FILE_SYNC] = {"file sync", -EIO},
    [PLI_CALL_FILE_CHANGE] = {"file change", -EROFS},
    [PLI_CALL_NOTIFY] = {"notify", -EMFILE},
    [PLI_CALL_PROCESS] = {"process", -EAGAIN},
};

static PLI_THREAD_LOCAL struct {
    bool counting;
    struct {
        uint64_t count, fail_at;
        bool for_ever;
    } calls[PLI_CALLS];
    pli_fault_fn *ask;
    void *ask_arg;
} own;

static void own_changed(void)
{
    pli_faults_on = own.counting || own.ask;
    for (pli_call call = 0; call < PLI_CALLS; ++call)
        pli_faults_on |= own.calls[call].fail_at != 0;
}

void pli_fault_at(pli_call call, uint64_t n, bool for_ever)
{
    own.calls[call].fail_at = n ? own.calls[call].count + n : 0;
    own.calls[call].for_ever = for_ever;
    own_changed();
}

void pli_fault_count(bool on)
{
    for (pli_call call = 0; on && call < PLI_CALLS; ++call)
        own.calls[call].count = 0;
    own.counting = on;
    own_changed();
}

void pli_fault_ask(pli_fault_fn *fn, void *arg)
{
    own.ask = fn;
    own.ask_arg = arg;
    own_changed();
}

uint64_t pli_fault_counted(pli_call call)
{
    return own.calls[call].count;
}

const char *pli_call_name(pli_call call)
{
    return calls[call].name;
}

int pli_fault_slow(pli_call call)
{
    uint64_t n = ++own.calls[call].count, at = own.calls[call].fail_at;
    bool fails = at && (own.calls[call].for_ever ? n >= at : n == at);

    if (own.ask)
        fails |= own.ask(own.ask_arg, call);
    return fails ? calls[call].error : 0;
}
