#!/usr/bin/env python3
"""The programs of the guide (docs/guide/steps): each is started on a free port and talked to as its page says."""
import functools
import os
import signal
import socket
import subprocess
import sys

import tap
from server import LISTEN, Process, write
from tap import BUILD, PATIENCE_S, equal

STEPS = os.path.join(BUILD, "docs", "guide", "steps")


class Server:
    """A step that runs. What it prints is read line by line."""

    def __init__(self, step, *arguments):
        self.process = Process([f"{STEPS}/{step}", LISTEN, *arguments], stdout=subprocess.PIPE, text=True)

    @functools.cached_property
    def address(self):
        """Which is the first that it says."""
        return self.said().rpartition(" ")[2]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.__exit__(*error)

    def said(self):
        return self.process.stdout.readline().rstrip("\n")

    def connect(self):
        host, _, port = self.address.rpartition(":")
        return Client((host, int(port)))

    def stop(self):
        """(exit status, what it said last)"""
        self.process.send_signal(signal.SIGTERM)
        rest = self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode, rest


class Client:
    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.file = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.leave()

    def say(self, text):
        self.socket.sendall(text.encode())

    def hear(self):
        """The next line; "" at the end of the connection."""
        return self.file.readline().rstrip("\n")

    def leave(self):
        self.file.close()
        self.socket.close()


# --- Step 1 -----------------------------------------------------------------------------------------


def step1_echoes_and_ends_by_a_signal(folder):
    with Server("step1") as server, server.connect() as client:
        client.say("hello\nagain\n")
        equal([client.hear(), client.hear()], ["hello", "again"])
        equal(server.stop(), (0, ""))


def step1_says_why_it_cannot_listen(folder):
    done = subprocess.run([f"{STEPS}/step1", "tcp:nowhere"], capture_output=True, text=True, check=False)
    equal(done.returncode, 1)
    equal(done.stderr, "listening on tcp:nowhere: "
          "character 4 ('n'): expected a port from 0 to 65535: bad syntax\n")


# --- Step 2 -----------------------------------------------------------------------------------------


def step2_numbers_its_visitors_and_counts_their_bytes(folder):
    with Server("step2") as server:
        with server.connect() as one, server.connect() as two:
            equal(one.hear(), "you are number 1, 1 here")
            equal(two.hear(), "you are number 2, 2 here")
            one.say("abc\n")
            equal(one.hear(), "abc")
            one.leave()
            equal(server.said(), "number 1 left after 4 bytes: connection closed")
            with server.connect() as three:
                equal(three.hear(), "you are number 3, 2 here")
                three.leave()
                equal(server.said(), "number 3 left after 0 bytes: connection closed")
        equal(server.said(), "number 2 left after 0 bytes: connection closed")
        status, rest = server.stop()
        equal(status, 0)
        assert rest.endswith("3 visitors\n"), rest


# --- Step 3 -----------------------------------------------------------------------------------------


def step3_answers_line_by_line_however_they_are_split(folder):
    with Server("step3") as server, server.connect() as client:
        client.say("he")
        client.say("llo\ncount\r\nqu")
        equal([client.hear(), client.hear()], ["hello", "2 lines"])
        client.say("it\nnever read\n")
        equal([client.hear(), client.hear()], ["bye", ""])


def step3_skips_a_line_that_is_too_long(folder):
    with Server("step3") as server, server.connect() as client:
        client.say("x" * 200 + "\nshort\n")
        equal([client.hear(), client.hear()], ["that line is too long", "short"])


# --- Step 4 -----------------------------------------------------------------------------------------


def step4_ticks_until_it_is_stopped(folder):
    with Server("step4") as server, server.connect() as client:
        client.say("every 0.01\n")
        equal([client.hear() for _ in range(3)], ["tick 1", "tick 2", "tick 3"])
        client.say("stop\n")
        while (line := client.hear()) != "stopped":
            assert line.startswith("tick "), line
        client.say("every 0.02\n")  # any tick of the old one would come first
        equal(client.hear(), "tick 1")


def step4_forgets_a_client_that_has_left(folder):
    with Server("step4") as server:
        with server.connect() as client:
            client.say("every 0.01\nevery 0.01\n")
            equal(client.hear(), "tick 1")
        assert server.said().startswith("left: ")
        with server.connect() as client:
            client.say("every 0.01\n")
            equal([client.hear() for _ in range(5)], [f"tick {n}" for n in range(1, 6)])
            equal(server.stop()[0], 0)


# --- Step 5 -----------------------------------------------------------------------------------------


def step5_keeps_little_for_a_slow_reader_and_loses_nothing(folder):
    count = 1000000
    with Server("step5") as server:
        with server.connect() as client:
            client.say(f"{count}\n")
            for number in range(1, count + 1):
                if client.hear() != str(number):
                    raise AssertionError(f"line {number} is missing")
        said = server.said().split()
        equal(said[:2], ["at", "most"])
        assert 0 < int(said[2]) < 70000, said


# --- Step 6 and 7: the same in two ways ----------------------------------------------------------------


def asks_another_server(step):
    with Server("step3") as other, Server(step) as server, server.connect() as client:
        client.say(f"tcp:{other.address} hello\ntcp:{other.address} count\n")
        equal([client.hear(), client.hear()], ["hello", "1 lines"])


def tells_why_there_is_no_answer(step, prefix, wrong):
    """`wrong`: what it says of a port that is an x, after the prefix."""
    with socket.socket() as nobody, Server(step) as server, server.connect() as client:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        port = nobody.getsockname()[1]
        client.say(f"tcp:127.0.0.1:{port} hello\n")
        equal(client.hear(), prefix.format(f"tcp:127.0.0.1:{port}") + "connection refused")
        client.say("tcp:127.0.0.1:x hello\n")
        equal(client.hear(), prefix.format("tcp:127.0.0.1:x") + wrong)


def loses_patience(step):
    with socket.socket() as silent, Server(step) as server, server.connect() as client:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # and never answers
        client.say(f"tcp:127.0.0.1:{silent.getsockname()[1]} hello\n")
        equal(client.hear(), "timed out")


def step6_asks_another_server(folder):
    asks_another_server("step6")


def step6_tells_why_there_is_no_answer(folder):
    tells_why_there_is_no_answer("step6", "connecting to {}: ",
                                 "character 14 ('x'): expected a port from 1 to 65535: bad syntax")


def step6_loses_patience(folder):
    loses_patience("step6")


def step7_asks_another_server(folder):
    asks_another_server("step7")


def step7_tells_why_there_is_no_answer(folder):
    tells_why_there_is_no_answer("step7", "", "bad syntax")


def step7_loses_patience(folder):
    loses_patience("step7")


# --- Step 8 -----------------------------------------------------------------------------------------


def step8_sends_the_last_lines_of_the_log(folder):
    write(f"{folder}/log", "one\ntwo\nthree\n")
    with Server("step8", f"{folder}/log") as server, server.connect() as client:
        client.say("2\n")
        equal([client.hear() for _ in range(3)], ["two", "three", "."])
        client.say("9\n")  # not together with the first: two threads may end in either order
        equal([client.hear() for _ in range(4)], ["one", "two", "three", "."])


def step8_tells_that_there_is_no_log(folder):
    with Server("step8", "/nonexistent/log") as server, server.connect() as client:
        client.say("2\n")
        equal(client.hear(), "working in a thread: No such file or directory")


# --- Running programs --------------------------------------------------------------------------------


def processes_sorts_the_words_of_each_line(folder):
    with Server("processes") as server, server.connect() as client, server.connect() as other:
        client.say("pear apple fig\n; exit 1 $(id)\n")
        other.say("b a\n")
        equal(client.hear().split(), ["apple", "fig", "pear"])
        equal(sorted(client.hear().split()), sorted("; exit 1 $(id)".split()))
        equal(other.hear().split(), ["a", "b"])


# --- Step 9 -----------------------------------------------------------------------------------------


def append(path, text):
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def step9_sends_each_new_line_to_all(folder):
    log = f"{folder}/log"
    with Server("step9", log) as server, server.connect() as one, server.connect() as two:
        equal([one.hear(), two.hear()], ["-- weblog --"] * 2)
        append(log, "first\nsec")
        equal([one.hear(), two.hear()], ["first"] * 2)
        append(log, "ond\nthird\n")
        equal([one.hear(), two.hear()], ["second"] * 2)
        equal([one.hear(), two.hear()], ["third"] * 2)
        with server.connect() as late:
            equal([late.hear() for _ in range(4)], ["-- weblog --", "first", "second", "third"])


def step9_says_goodbye(folder):
    with Server("step9", f"{folder}/log") as server, server.connect() as client:
        equal(client.hear(), "-- weblog --")
        server.process.send_signal(signal.SIGTERM)
        equal([client.hear(), client.hear()], ["-- end --", ""])
        client.leave()
        equal(server.process.wait(PATIENCE_S), 0)


def testing_tests_a_protocol_of_its_own(folder):
    equal(subprocess.run([f"{STEPS}/testing"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout, "4 passed\n")


# --- In simulated worlds -----------------------------------------------------------------------------


def output_of(status, *command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    equal(done.returncode, status)
    return done.stdout


def simulate_gives_no_ticket_twice(folder):
    assert "\n50 passed, 0 failed\n" in output_of(0, f"{STEPS}/simulate", "--seeds", "50")


def simulate_tells_what_arrives(folder):
    assert " bytes arrive at server: n" in output_of(0, f"{STEPS}/simulate", "--seed", "1", "--trace")


def files_are_right_on_each_disk_and_in_each_world(folder):
    said = output_of(0, f"{STEPS}/files", "--seeds", "50")
    assert ", 0 of them wrong\n" in said and "\n50 passed, 0 failed\n" in said, said


def files_without_their_syncs_are_found_to_be_wrong(folder):
    said = output_of(1, f"{STEPS}/files-careless")
    assert "  lost 3 writing 2 bytes at 0 of tickets.new\n  kept 4 renaming tickets.new to tickets\n  the check answered -5017\n" in said, said


def fuzz_holds_for_some_inputs(folder):
    for name, data in {"quit": b"\x00hello\nquit\nno more", "long": b"\x07" + b"x" * 200 + b"\ny\n", "none": b""}.items():
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
    assert "1..3\n" in output_of(0, f"{STEPS}/fuzz", folder)


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
