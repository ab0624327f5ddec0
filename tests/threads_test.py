#!/usr/bin/env python3
"""plaitd --threads: several reactors, each in a thread of its own. Speaks TAP."""
import functools
import os
import re
import signal
import socket
import subprocess
import sys

import tap
from clients import connect
from server import LISTEN, PLAITD, Server, backends, run, text_of, wait_until, write
from tap import PATIENCE_S, equal

LISTENING = "0A"  # as /proc/net/tcp has it
HIT = '192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /{} HTTP/1.0" 200 5 "-" "x"\n'


class Weblog(Server):
    """plaitd --threads N weblog, in a folder that has its log."""

    def __init__(self, folder, threads, backend):
        self.log = os.path.join(folder, "access.log")
        write(self.log)
        super().__init__(folder, "--threads", str(threads), "weblog", "--interval", "0", "--log", self.log, "--listen", LISTEN, backend=backend)
        self.threads = threads

    @functools.cached_property
    def at(self):
        """Its port; when each thread serves it."""
        port = self.port()
        for _ in range(self.threads):
            self.wait_for("running", ns="reactor")
        return port

    def connect(self):
        client = connect(self.at)
        equal(client.recv(6, socket.MSG_WAITALL), b"<hits>")
        return client

    def append(self, numbers):
        with open(self.log, "a", encoding="utf-8") as file:
            file.write("".join(map(HIT.format, numbers)))


def hear(client, last):
    """The numbers of the hits up to `last`, or with None to the end of the document."""
    text = b""
    end = b"</hits>" if last is None else b"GET /%d HTTP/1.0" % last
    while end not in text or not text.endswith(b">"):
        got = client.recv(65536)
        assert got, "the document has no end"
        text += got
    return [int(number) for number in re.findall(rb"GET /(\d+) ", text)]


# ---------------------------------------------------------------------------------------------------


def every_client_of_every_thread_sees_every_hit_once(folder, backend):
    with Weblog(folder, 4, backend) as server:
        clients = [server.connect() for _ in range(200)]
        server.append(range(1, 501))
        for client in clients:
            equal(hear(client, 500), list(range(1, 501)))
        server.append([501])
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            equal(hear(client, None)[-1:], [501])
        equal(server.process.wait(PATIENCE_S), -signal.SIGTERM)
        for client in clients:
            client.close()


def listening_sockets(port):
    entries = [line.split() for line in text_of("/proc/net/tcp").splitlines()[1:]]
    return sum(entry[1].endswith(f":{port:04X}") and entry[3] == LISTENING for entry in entries)


def each_thread_listens_by_itself(folder, backend):
    with Weblog(folder, 3, backend) as server:
        equal(listening_sockets(server.at), 3)
        tasks = f"/proc/{server.process.pid}/task"
        # Their watchdogs have the names of who has made them until they give themselves their own.
        wait_until(lambda: [text_of(f"{tasks}/{task}/comm") for task in os.listdir(tasks)].count("plait-reactor\n") == 2)


def one_thread_listens_alone(folder):
    with Weblog(folder, 1, "epoll") as server:
        equal(listening_sockets(server.at), 1)


def refused(said, *arguments, folder=None):
    status, _, err = run("-n", *arguments, folder=folder)
    equal(err.splitlines()[-1], f"plaitd: {said}")
    return status


def port_that_another_program_has_is_busy(folder):
    with Weblog(folder, 2, "epoll") as server:
        endpoint = f"tcp:{server.at}:interface=127.0.0.1"
        equal(refused(f"weblog: listening on {endpoint}: address already in use", "--threads", "2", "weblog", "--log", "access.log", "--listen", endpoint, folder=folder), 1)


def service_that_keeps_state_has_one_thread(folder):
    equal(refused("--threads: fib has to have one thread: not supported here", "--threads", "2", "fib", "--listen", LISTEN, folder=folder), 1)


def what_shows_one_reactor_is_refused(folder):
    said = "--control, --metrics and --profile show one reactor: not with --threads"
    equal(refused(said, "--threads", "2", "--metrics", LISTEN, "weblog", "--log", "x", folder=folder), 2)
    equal(refused(said, "--threads", "2", "--control", "c", "weblog", "--log", "x", folder=folder), 2)
    equal(refused(said, "--threads", "2", "--profile", "p", "weblog", "--log", "x", folder=folder), 2)
    equal(refused("--threads: expected at most 256", "--threads", "257", "weblog", "--log", "x", folder=folder), 2)
    equal(refused("--threads: expected at least 1, not '0'", "--threads", "0", "weblog", "--log", "x", folder=folder), 2)


def upgrade_is_refused_and_all_goes_on(folder):
    with Weblog(folder, 2, "epoll") as server:
        client = server.connect()
        server.process.send_signal(signal.SIGUSR2)
        assert "with --threads, connections can't be handed over" in server.wait_for("refused")["why"]
        server.append([1])
        equal(hear(client, 1), [1])
        client.close()


def thread_that_can_not_start_fails_the_start(folder):
    """Threads have 4 GiB of stack each, of which there is no room for many."""
    limits = "ulimit -s 4194304; ulimit -v 8388608"
    if subprocess.run(["sh", "-c", f"{limits}; exec {PLAITD} --version"], capture_output=True, timeout=PATIENCE_S, check=False).returncode:
        raise tap.Skip("this build does not run in 8 GiB")
    done = subprocess.run(["sh", "-c", f"{limits}; exec {PLAITD} -n --threads 8 weblog --log x --listen {LISTEN}"], capture_output=True,
                          text=True, timeout=PATIENCE_S, cwd=folder, check=False)
    equal(done.returncode, 1)
    assert "plaitd: starting a thread: resource temporarily unavailable" in done.stderr.splitlines(), done.stderr


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals(), backends("uring", "epoll"))))
