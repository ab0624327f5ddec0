#!/usr/bin/env python3
"""plaitd is upgraded while it serves: nobody is refused, nothing is lost or repeated, and what can't be upgraded goes on. Speaks TAP.

    tests/upgrade_test.py [NAME...]         only the tests that have NAME in their names

PLAIT_CLIENTS=N and PLAIT_UPGRADES=N say how many there are under load (1000 and 10).
"""
import contextlib
import json
import os
import queue
import re
import resource
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import tap

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.realpath(os.environ.get("PLAIT_BUILD", os.path.join(TOP, "build")))
PLAITD = os.path.join(BUILD, "plaitd")
PLUGINS = os.path.join(BUILD, "tests/plugins")
CLIENTS = int(os.environ.get("PLAIT_CLIENTS", "1000"))
UPGRADES = int(os.environ.get("PLAIT_UPGRADES", "10"))
PATIENCE_S = 60  # for what must happen; nothing waits this long when all is well
LISTEN = "tcp:0:interface=127.0.0.1"


# --- Processes -------------------------------------------------------------------------------------------


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def wait_for_end(pid):
    """Of a process that is no child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = select.select([fd], [], [], PATIENCE_S)[0]
    os.close(fd)
    assert ended, f"process {pid} has not ended"


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].startswith(" Z")


def listeners(port):
    """The processes that hold the listening socket of that port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        inodes = {line.split()[9] for line in table if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"}
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}")[8:-1] in inodes:
                        found.add(int(pid))
    return found


class Server:
    """A plaitd in the foreground; what it and its successors log can be waited for."""

    def __init__(self, folder, *arguments, program=PLAITD, backend="epoll", **more):
        self.entries, self.seen, self.pids = queue.Queue(), [], []
        self.process = subprocess.Popen([program, "-n", "-r", backend, "--log-format", "json", *arguments], cwd=folder, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True, **more)
        self.pids.append(self.process.pid)
        self.reader = threading.Thread(target=self.read_log)
        self.reader.start()

    def read_log(self):
        for line in self.process.stderr:
            self.entries.put(json.loads(line) if line.startswith("{") else {"message": line})
        self.entries.put(None)

    def wait_for(self, *messages):
        while True:
            entry = self.entries.get(timeout=PATIENCE_S)
            assert entry is not None, f"it ended and never said one of {messages!r}: {self.seen}"
            self.seen.append(entry)
            if entry["message"] in messages:
                return entry

    def port(self):
        return int(self.wait_for("listening")["address"].rsplit(":", 1)[1])

    def ask_for_upgrade(self):
        os.kill(self.pids[-1], signal.SIGUSR2)

    def upgrade(self):
        """The number of the process that serves from now on."""
        self.ask_for_upgrade()
        entry = self.wait_for("handed over", "failed; this process goes on")
        assert entry["message"] == "handed over", entry
        self.pids.append(entry["pid"])
        return entry["pid"]

    def fail_to_upgrade(self):
        self.ask_for_upgrade()
        entry = self.wait_for("handed over", "failed; this process goes on")
        assert entry["message"] == "failed; this process goes on", entry
        return entry["why"]

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in self.pids[1:]:  # whose numbers came from the log of the process that started them
            with contextlib.suppress(AssertionError):
                wait_for_end(pid)
        self.reader.join()
        self.process.stderr.close()


# --- Clients ---------------------------------------------------------------------------------------------


def fibonacci(n):
    numbers = [2, 3]
    while len(numbers) < n:
        numbers.append(numbers[-2] + numbers[-1])
    return numbers[:n]


class Client:
    """One that asks fib."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def send(self):
        self.socket.sendall(b"x")

    def answer(self):
        line = self.file.readline()
        assert line.endswith(b"\n"), f"the connection ended after {line!r}"
        return int(line)

    def ask(self):
        self.send()
        return self.answer()

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class Crowd(threading.Thread):
    """Many connections at once. `got(data)` of each says whether it asks again, by writing a byte."""

    def __init__(self, port, n, asks, answer_end=b"\n"):
        super().__init__()
        self.answer_end = answer_end
        self.sockets = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(n)]
        self.asks, self.rest, self.trouble = asks, False, []
        self.heard = {each: bytearray() for each in self.sockets}
        self.open = set(self.sockets)
        self.wake, self.woken = socket.socketpair()
        self.start()

    def hear(self, each):
        try:
            data = each.recv(1 << 18)
        except OSError as error:
            data = b""
            self.trouble.append(str(error))
        self.heard[each] += data
        if not data:
            self.open.discard(each)
            self.selector.unregister(each)
        elif self.asks and data.endswith(self.answer_end):
            if self.rest:
                self.resting.add(each)
            else:
                each.sendall(b"x")

    def run(self):
        self.selector, self.resting = selectors.DefaultSelector(), set()
        self.selector.register(self.woken, selectors.EVENT_READ)
        for each in self.sockets:
            self.selector.register(each, selectors.EVENT_READ)
            if self.asks:
                each.sendall(b"x")
        while self.open and not (self.rest and len(self.resting) == len(self.open)):
            for key, _ in self.selector.select(PATIENCE_S):
                if key.fileobj is self.woken:
                    self.woken.recv(1)
                else:
                    self.hear(key.fileobj)

    def stop_asking(self):
        """Returns when the last answers are there."""
        self.rest = True
        self.wake.send(b"x")
        self.join(PATIENCE_S)
        assert not self.is_alive(), f"{len(self.open) - len(self.resting)} got no answer"

    def close(self):
        for each in (*self.sockets, self.wake, self.woken):
            each.close()


# --- fib -------------------------------------------------------------------------------------------------


def connection_goes_on_in_the_new_process(folder, backend):
    with Server(folder, "fib", "--listen", LISTEN, backend=backend) as server:
        port = server.port()
        with Client(port) as client:
            assert [client.ask(), client.ask()] == [2, 3]
            pid = server.upgrade()
            assert pid != server.process.pid
            assert [client.ask(), client.ask()] == [5, 8]
            with Client(port) as other:
                assert other.ask() == 13
            server.upgrade()
            assert client.ask() == 21
        assert server.stop() == -signal.SIGTERM


def fib_is_upgraded_under_load(folder, backend):
    with Server(folder, "fib", "--listen", LISTEN, backend=backend) as server:
        port = server.port()
        crowd = Crowd(port, CLIENTS, asks=True)
        for _ in range(UPGRADES):
            server.upgrade()
            with Client(port) as stranger:
                stranger.send()
                stranger.answer()
        crowd.stop_asking()
        assert server.stop() == -signal.SIGTERM
        frozen = [entry["frozen_us"] for entry in server.seen if entry["message"] == "handed over"]
    assert not crowd.trouble and len(crowd.open) == CLIENTS, (crowd.trouble[:3], len(crowd.open))
    numbers = [int(line) for each in crowd.sockets for line in crowd.heard[each].split()]
    crowd.close()
    expected = fibonacci(len(numbers) + UPGRADES)
    assert len(set(numbers)) == len(numbers), "a number was given twice"
    assert set(numbers) <= set(expected), "a number was lost"
    print(f"# {len(numbers)} numbers, {UPGRADES} upgrades; frozen for {min(frozen) // 1000} to {max(frozen) // 1000} ms", file=sys.stderr)


# --- weblog ----------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """A web server: its log grows, and is rotated now and then."""

    def __init__(self, path):
        super().__init__()
        self.path, self.written, self.enough = path, 0, threading.Event()
        self.start()

    def run(self):
        file = open(self.path, "ab", buffering=0)
        while not self.enough.wait(0.002):
            line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /%d HTTP/1.1" 200 1 "-" "-"\n' % self.written
            cut = self.written % len(line)
            file.write(line[:cut])  # in two pieces, so that an upgrade finds lines that are not whole
            file.write(line[cut:])
            self.written += 1
            if self.written % 1000 == 0:
                os.rename(self.path, f"{self.path}.{self.written}")
                file.close()
                file = open(self.path, "ab", buffering=0)
        file.close()

    def stop(self):
        self.enough.set()
        self.join()


def hits_in(document):
    return [int(number) for number in re.findall(rb'"GET /(\d+) ', bytes(document))]


def weblog_is_upgraded_under_load(folder, backend):
    log = f"{folder}/access.log"
    writer = Writer(log)
    with Server(folder, "weblog", "--log", log, "--listen", LISTEN, "--pull", LISTEN, "--interval", "0", backend=backend) as server:
        push = Crowd(server.port(), CLIENTS // 10 * 9, asks=False)
        pull = Crowd(server.port(), CLIENTS // 10, asks=True, answer_end=b">")
        for _ in range(UPGRADES):
            server.upgrade()
        writer.stop()
        time.sleep(0.2)
        assert server.stop() == -signal.SIGTERM
        push.join(PATIENCE_S)
        pull.join(PATIENCE_S)
        frozen = [entry["frozen_us"] for entry in server.seen if entry["message"] == "handed over"]
    for crowd in (push, pull):
        assert not crowd.trouble and not crowd.open, (crowd.trouble[:3], len(crowd.open))
        for each in crowd.sockets:
            document = crowd.heard[each]
            assert document.startswith(b"<hits>") and document.endswith(b"</hits>"), (document[:100], document[-100:])
            hits = hits_in(document)
            assert hits == list(range(hits[0], writer.written)), f"{len(hits)} hits from {hits[0]}, of {writer.written}"
        crowd.close()
    print(f"# {writer.written} hits, {UPGRADES} upgrades; frozen for {min(frozen) // 1000} to {max(frozen) // 1000} ms", file=sys.stderr)


# --- Running them ----------------------------------------------------------------------------------------


def backends():
    done = subprocess.run([PLAITD, "--help-reactors"], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return {line.split()[0]: line.split(None, 1)[1] for line in done.stdout.splitlines()[1:]}


def on_backend(test, backend, state):
    def run(folder):
        if state != "can be had":
            raise tap.Skip(state)
        test(folder, backend)
    return f"{test.__name__}_on_{backend}", run


def tests():
    states = backends()
    for name, function in list(globals().items()):
        code = getattr(function, "__code__", None)
        names = code.co_varnames[:code.co_argcount] if code and function.__module__ == "__main__" else ()
        if names == ("folder", "backend"):
            for backend in ("uring", "epoll"):
                yield on_backend(function, backend, states[backend])
        elif names == ("folder",):
            yield name, function


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sys.exit(tap.main(tests()))
