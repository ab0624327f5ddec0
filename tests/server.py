"""The real plaitd for the test scripts: run in a folder, waited for, and gone when its test is over.

`run` is for one that ends by itself, `Server` for one in the foreground, `background` for one that goes there.
"""
import contextlib
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

from tap import BUILD, PATIENCE_S, Skip

PLAITD = os.path.join(BUILD, "plaitd")
PLUGINS = os.path.join(BUILD, "tests/plugins")
LISTEN = "tcp:0:interface=127.0.0.1"
END_S = 3  # for a plaitd whose test is over, before it is asked again, and killed at last


# --- Files -----------------------------------------------------------------------------------------------


def text_of(path):
    """Of a fifo: all that its writer says before it closes."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text=""):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def port_in(log):
    """The last that plaitd tells of in its log, of whatever format. It is there, and whole, when plaitd has said that it is ready."""
    return int(re.findall(r"\baddress\W+127\.0\.0\.1:(\d+)", text_of(log))[-1])


def wait_for_text(path, text):
    """The first line with that text in a file that somebody writes, and that need not be there yet. The kernel (inotify) tells `tail` of each change."""
    with subprocess.Popen(["tail", "-n", "+1", "-F", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as follower:
        patience = threading.Timer(PATIENCE_S, follower.kill)
        patience.start()
        try:
            found = next((line for line in follower.stdout if text in line), None)
        finally:
            patience.cancel()
            follower.kill()
    assert found, f"{path} never had {text!r}"
    return found


# --- Processes -------------------------------------------------------------------------------------------


def wait_until(is_so):
    """Looks again and again. For that alone of which nobody is told when it happens: that a program has room for one more again, or has read what was written,
    or that a thread has given itself its name."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.005)


def is_readable(fd, seconds=0):
    """Also of a descriptor beyond those that select() takes."""
    one = select.poll()
    one.register(fd, select.POLLIN)
    return bool(one.poll(seconds * 1000))


def wait_until_readable(fd):
    assert is_readable(fd, PATIENCE_S), "nothing came"


def open_process(pid):
    """A pidfd, or None when it has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def wait_for_end(pid):
    """Of a process that is no child."""
    if (fd := open_process(pid)) is not None:
        wait_until_readable(fd)
        os.close(fd)


def end(process):
    """Kills what a pidfd stands for, unless it has ended, and gives the pidfd back."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    wait_until_readable(process)
    os.close(process)


def stop(pid, signum=signal.SIGTERM):
    os.kill(pid, signum)
    wait_for_end(pid)


def status_of(pid):
    return dict(line.split(":\t", 1) for line in text_of(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def memory_of(pid):
    """Bytes."""
    return int(status_of(pid)["VmRSS"].split()[0]) * 1024


# --- plaitd ----------------------------------------------------------------------------------------------


def needs_root():
    if os.geteuid() != 0:
        raise Skip("only root can do that")


def run(*arguments, folder=None, program=PLAITD, **more):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **more)
    print(f"{os.path.basename(program)} {' '.join(arguments)[:500]} -> {done.returncode}: {done.stderr[:500]!r}", file=sys.stderr)
    return done.returncode, done.stdout, done.stderr


def backends(*wanted):
    """(name, "can be had" or why not) of these, or of all."""
    found = dict(line.split(None, 1) for line in run("--help-reactors")[1].splitlines()[1:])
    return [(name, found[name]) for name in wanted or found]


class Process(subprocess.Popen):
    """A child that is not left behind."""

    def __exit__(self, *error):
        if self.poll() is None:
            self.kill()
        super().__exit__(*error)


class Server:
    """A plaitd in the foreground, or another program that takes its options, or what `before` makes of it. What it logs can be waited for, and is shown when its
    test fails."""

    def __init__(self, folder, *arguments, backend="auto", program=PLAITD, before=(), **more):
        self.entries, self.seen, self.said = queue.Queue(), [], []
        self.process = Process([*before, program, "-n", "-r", backend, "--log-format", "json", *arguments], cwd=folder, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True, **more)
        self.reader = threading.Thread(target=self.read_log)
        self.reader.start()

    def read_log(self):
        for line in self.process.stderr:
            self.said.append(line)
            self.entries.put(json.loads(line) if line.startswith("{") else {"message": line.rstrip("\n")})
        self.entries.put(None)

    def wait_for(self, *messages, **fields):
        """The next entry with one of these messages and with these fields."""
        while (entry := self.entries.get(timeout=PATIENCE_S)) is not None:
            self.seen.append(entry)
            if entry["message"] in messages and fields.items() <= entry.items():
                return entry
        self.entries.put(None)
        raise AssertionError(f"it ended and never said {' or '.join(messages)!r} with {fields}")

    def rest(self):
        """What it says to its end."""
        return list(iter(lambda: self.entries.get(timeout=PATIENCE_S), None))

    def port(self, **fields):
        return int(self.wait_for("listening", **fields)["address"].rsplit(":", 1)[1])

    def stop(self, signum=signal.SIGTERM):
        """Its exit status."""
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)

    def __enter__(self):
        return self

    def end_in_order(self):
        """Such that it says what it has run, or has forgotten to free; the second signal is for one that waits for its clients."""
        for _ in range(2):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(END_S)

    def __exit__(self, kind, *more):
        if not kind:
            self.end_in_order()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.__exit__(kind, *more)
        if kind:
            print("".join(f"plaitd: {line}" for line in self.said[-100:]), end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def background(folder, *arguments, pidfile="plaitd.pid", **more):
    """A plaitd in the background; gives its number. In the end neither it is left nor a successor of it."""
    status, out, err = run(*arguments, folder=folder, **more)
    assert (status, out) == (0, ""), (status, out, err)
    pid = int(text_of(f"{folder}/{pidfile}"))
    first = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        with contextlib.suppress(OSError):  # most often all has ended, and there is no pidfile
            now = int(text_of(f"{folder}/{pidfile}"))
            if now != pid and os.path.samefile(f"/proc/{now}/cwd", folder):
                end(os.pidfd_open(now))
        end(first)


class Datagrams:
    """A socket at a path, that of a supervisor or of the system's log."""

    def __init__(self, path):
        self.path, self.got = path, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(PATIENCE_S)

    def environment(self, **more):
        """Of a program that this is the supervisor of."""
        return {**os.environ, "NOTIFY_SOCKET": self.path.replace("\0", "@"), **more}

    def hear(self):
        self.got.append(self.socket.recv(65536).decode())
        return self.got[-1]

    def wait_for(self, text):
        while text not in self.hear():
            pass
        return self.got[-1]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()
