#!/usr/bin/env python3
"""The watchdog of plaitd: callbacks that hold the reactor are named while they still do, and a supervisor hears nothing meanwhile. Speaks TAP."""
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time

import tap
from clients import Control, ask, connect
from server import LISTEN, PLUGINS, Datagrams, Server, background, port_in, stop, text_of, wait_until
from tap import PATIENCE_S

BLOCK = ("--plugin-dir", PLUGINS, "block", "--listen", LISTEN)
SO_TIMESTAMPNS = 35  # the socket module does not have it
HOLDS, HELD = "a callback holds the reactor", "a callback held the reactor"


class Blocker:
    """A client of the service that holds the reactor."""

    def __init__(self, address):
        self.socket = connect(address)

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
            if slow == "0":
                assert not watchdogs_of(server.process.pid)
            else:
                wait_until(lambda: watchdogs_of(server.process.pid))
            server.stop()
            told = [entry for entry in server.rest() if entry["message"] in (HOLDS, HELD)]
            assert names == bool(told), (slow, told)


def slow_callbacks_are_counted(folder):
    with background(folder, "--slow", "0.01", *BLOCK), Control(f"{folder}/plaitd.control") as control:
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
    with background(folder, "--slow", "0.002", "--log-format", "json", "--log-size", "700", "--log-keep", "1000", "-b", "--plugin-dir", PLUGINS, "block",
                    "--listen", f"unix:{folder}/s") as pid, \
            Control(f"{folder}/plaitd.control") as control:
        with Blocker(f"{folder}/s") as client:
            for _ in range(30):
                client.begin("sleep", 8)
                assert control.ask("reload")["ok"]
                client.wait()
        stop(pid)
    for name in os.listdir(folder):
        if "plaitd.log" in name:
            assert all(json.loads(line) for line in text_of(f"{folder}/{name}").splitlines()), name


def idle_program_wakes_nobody(folder):
    """The watchdog sleeps as long as the reactor does: after a look or two it would otherwise look 40 times in two seconds."""
    with background(folder, "fib", "--listen", LISTEN) as pid:
        assert ask(port_in(f"{folder}/plaitd.log")) == 2
        wait_until(lambda: watchdogs_of(pid))
        before = wakes_of(pid)
        time.sleep(2)  # what is claimed is that nothing happens
        assert wakes_of(pid) - before <= 6, (before, wakes_of(pid))


def watchdogs_of(pid):
    """Its threads of that name, which each gives to itself when it begins to run."""
    return [task for task in os.listdir(f"/proc/{pid}/task") if text_of(f"/proc/{pid}/task/{task}/comm") == "plait-watchdog\n"]


def wakes_of(pid):
    """Of the reactor's thread and the watchdog's: a sanitizer may have one of its own."""
    return sum(int(text_of(f"/proc/{pid}/task/{task}/status").split("\nvoluntary_ctxt_switches:")[1].split()[0]) for task in (pid, *watchdogs_of(pid)))


def second_signal_ends_it_while_a_callback_hangs(folder):
    """Of two kinds: of one kind, two that nobody has taken yet are one."""
    if tap.sanitizer() == "thread":
        raise tap.Skip("ThreadSanitizer keeps handlers back")
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
    with Datagrams(f"{folder}/notify") as notify:
        notify.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with Server(folder, *BLOCK, env=notify.environment(WATCHDOG_USEC="100000")) as server, Blocker(server.port()) as client:
            notify.wait_for("WATCHDOG=1")
            said_at = [hear_when(notify)]  # it goes on while all is well
            client.begin("sleep", 1500)
            entry_of(server, HOLDS)
            client.wait()
            over = time.time()
            while said_at[-1] < over:  # and again when it goes on
                said_at.append(hear_when(notify))
            pauses = [after - before for before, after in zip(said_at, said_at[1:])]
            assert max(pauses) >= 1.49, f"somebody says that it is well, and it is not: {pauses}"


def hear_when(notify):
    """When the program said that it is well, as the kernel has noted."""
    data, notes, _, _ = notify.socket.recvmsg(100, 100)
    assert data == b"WATCHDOG=1", data
    seconds, ns = struct.unpack("qq", notes[0][2])
    return seconds + ns / 1e9


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
