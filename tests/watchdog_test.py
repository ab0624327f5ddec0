#!/usr/bin/env python3
"""The watchdog of plaitd: callbacks that hold the reactor are named while they still do, and a supervisor hears nothing meanwhile. Speaks TAP."""
import inspect
import json
import os
import re
import select
import signal
import socket
import sys
import time

import tap
from control_test import Client
from daemon_test import LISTEN, PATIENCE_S, PLUGINS, Server, ask, background, port_in, stop, text_of

BLOCK = ("--plugin-dir", PLUGINS, "block", "--listen", LISTEN)
HOLDS, HELD = "a callback holds the reactor", "a callback held the reactor"


class Blocker:
    """A client of the service that holds the reactor."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)

    def begin(self, how, ms):
        self.socket.sendall(f"{how} {ms}\n".encode())

    def is_answered(self):
        return bool(select.select([self.socket], [], [], 0)[0])

    def wait(self):
        assert self.socket.recv(100) == b"done\n"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()


def entry_of(server, message, callback=r"block_client\.data_received"):
    """Of that callback: on a machine that has much to do, others may take their time as well."""
    while True:
        entry = server.wait_for(message)
        assert entry["ns"] == "watchdog" and entry["level"] == "warning", entry
        if re.fullmatch(callback, entry["callback"]):
            return entry


def callback_is_named_while_it_still_runs(folder):
    with Server(folder, *BLOCK) as server, Blocker(server.port()) as client:
        client.begin("sleep", 1500)
        entry = entry_of(server, HOLDS)
        assert not client.is_answered(), "it was named only when it had returned"
        assert entry["callback"] == "block_client.data_received" and 99 <= entry["ms"] < 1500, entry
        assert re.fullmatch(r"\d+\.\d+", entry["connection"]), entry
        assert entry["peer"] == "127.0.0.1:%d" % client.socket.getsockname()[1], entry
        assert re.search(r"block_for_a_while\+0x[0-9a-f]+ < block\.so\+0x[0-9a-f]+ < .*pli_reactor_turn", entry["backtrace"]), entry
        after = entry_of(server, HELD)
        assert after["callback"] == entry["callback"] and after["connection"] == entry["connection"] and after["ms"] >= 1490, after
        client.wait()


def each_kind_of_callback_is_named(folder):
    for how, name in (("busy", r"block_client\.data_received"), ("timer", r"timer of block\.so\+0x[0-9a-f]+"),
                      ("deferred", r"Deferred of .*block\.c:\d+"), ("fiber", r"fiber of block\.so\+0x[0-9a-f]+")):
        with Server(folder, "--slow", "0.02", *BLOCK) as server, Blocker(server.port()) as client:
            client.begin(how, 300)
            assert "block_for_a_while" in entry_of(server, HOLDS, name)["backtrace"]
            assert entry_of(server, HELD, name)["ms"] >= 295, "the ticks are measured to a thousandth or so"
            client.wait()


def threshold_is_as_told(folder):
    for slow, names in (("30", False), ("0", False), ("0.01", True)):
        with Server(folder, "--slow", slow, *BLOCK) as server, Blocker(server.port()) as client:
            server.wait_for("running")
            client.begin("sleep", 200)
            client.wait()
            client.socket.close()
            threads = [text_of(f"/proc/{server.process.pid}/task/{task}/comm") for task in os.listdir(f"/proc/{server.process.pid}/task")]
            assert ("plait-watchdog\n" in threads) == (slow != "0"), threads
            server.stop()
            while entry := server.entries.get(timeout=PATIENCE_S):
                server.seen.append(entry)
            assert names == any(entry["message"] in (HOLDS, HELD) for entry in server.seen), (slow, server.seen)


def slow_callbacks_are_counted(folder):
    with background(folder, "--slow", "0.01", *BLOCK), Client(f"{folder}/plaitd.control") as control:
        port = port_in(f"{folder}/plaitd.log")
        before = control.ask("status")["slow_callbacks"]
        for _ in range(3):
            with Blocker(port) as client:
                client.begin("busy", 50)
                client.wait()
        assert control.ask("status")["slow_callbacks"] - before >= 3
        top = control.ask("top")["top"]
        assert top[0]["callback"] == "block_client.data_received" and top[0]["total_s"] > 0.149 and top[0]["longest_s"] > 0.049, top


def many_slow_callbacks_are_few_lines(folder):
    began = time.monotonic()
    with background(folder, "--slow", "0.002", *BLOCK) as pid:
        with Blocker(port_in(f"{folder}/plaitd.log")) as client:
            for _ in range(60):
                client.begin("sleep", 10)
                client.wait()
        stop(pid)
    lines = [line for line in text_of(f"{folder}/plaitd.log").splitlines() if "watchdog:" in line]
    assert 2 <= len(lines) <= 11 + (time.monotonic() - began) / 6, lines


def two_threads_log_whole_lines_and_rotate_once(folder):
    """Lines of the watchdog's thread and of the reactor's, into a log that is rotated and reopened all the time."""
    with background(folder, "--slow", "0.002", "--log-format", "json", "--log-size", "700", "--log-keep", "1000", "-b", *BLOCK) as pid, \
            Client(f"{folder}/plaitd.control") as control:
        logs = [name for name in os.listdir(folder) if "plaitd.log" in name]
        port = int(re.search(r"address\":\"127\.0\.0\.1:(\d+)", "".join(text_of(f"{folder}/{name}") for name in logs))[1])
        with Blocker(port) as client:
            for _ in range(30):
                client.begin("sleep", 8)
                assert control.ask("reload")["ok"]
                client.wait()
        stop(pid)
    for name in os.listdir(folder):
        if "plaitd.log" in name:
            assert all(json.loads(line) for line in text_of(f"{folder}/{name}").splitlines()), name


def idle_program_wakes_nobody(folder):
    """The watchdog sleeps as long as the reactor does."""
    with background(folder, "fib", "--listen", LISTEN) as pid:
        assert ask(port_in(f"{folder}/plaitd.log")) == 2
        time.sleep(0.5)  # until it has seen that nothing happens
        before = wakes_of(pid)
        time.sleep(2)
        assert wakes_of(pid) - before <= 2, (before, wakes_of(pid))


def wakes_of(pid):
    """Of the reactor's thread and the watchdog's: a sanitizer may have one of its own."""
    tasks = [task for task in os.listdir(f"/proc/{pid}/task") if task == str(pid) or text_of(f"/proc/{pid}/task/{task}/comm") == "plait-watchdog\n"]
    assert len(tasks) == 2, "there is no watchdog"
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text_of(f"/proc/{pid}/task/{task}/status"), re.M)[1]) for task in tasks)


def second_signal_ends_it_while_a_callback_hangs(folder):
    """Of two kinds: of one kind, two that nobody has taken yet are one."""
    for how in ("busy", "sleep"):
        with Server(folder, *BLOCK) as server, Blocker(server.port()) as client:
            client.begin(how, 600000)
            entry_of(server, HOLDS)
            os.kill(server.process.pid, signal.SIGINT)
            os.kill(server.process.pid, signal.SIGTERM)
            assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


def first_signal_waits_for_a_callback_that_returns(folder):
    for signum in (signal.SIGINT, signal.SIGTERM):
        with Server(folder, *BLOCK) as server, Blocker(server.port()) as client:
            client.begin("busy", 500)
            entry_of(server, HOLDS)
            os.kill(server.process.pid, signum)
            client.wait()
            assert server.process.wait(PATIENCE_S) == -signum
            assert server.wait_for("stopping")["signal"] == signum, "it was not the end in order"


def supervisor_hears_nothing_while_the_reactor_is_held(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(PATIENCE_S)
        environment = dict(os.environ, NOTIFY_SOCKET=f"{folder}/notify", WATCHDOG_USEC="100000")
        with Server(folder, *BLOCK, env=environment) as server, Blocker(server.port()) as client:
            while notify.recv(4096) != b"WATCHDOG=1":
                pass
            assert notify.recv(4096) == b"WATCHDOG=1", "it goes on while all is well"
            client.begin("sleep", 4000)
            entry_of(server, HOLDS)
            notify.setblocking(False)
            try:
                while True:
                    notify.recv(4096)  # what was said before
            except BlockingIOError:
                pass
            assert not select.select([notify], [], [], 0.7)[0], "somebody says that it is well, and it is not"
            assert not client.is_answered()
            client.wait()
            notify.settimeout(PATIENCE_S)
            assert notify.recv(4096) == b"WATCHDOG=1", "and again when it goes on"


TESTS = [value for value in list(globals().values()) if callable(value) and getattr(value, "__module__", "") == "__main__"
         and getattr(value, "__code__", None) and value.__code__.co_varnames[:value.__code__.co_argcount] == ("folder",)
         and not value.__code__.co_flags & inspect.CO_VARARGS]

if __name__ == "__main__":
    sys.exit(tap.main([(test.__name__, test) for test in TESTS]))
