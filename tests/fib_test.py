#!/usr/bin/env python3
"""plaitd serving the Fibonacci numbers from .tap files, as its users see it: started, stopped, killed, given bad files. Speaks TAP.

    tests/fib_test.py [NAME...]         only the tests that have NAME in their names

PL_TEST_SEED=N repeats a run, PLAIT_KILLS=N kills so many times (40).
"""
import contextlib
import functools
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zlib

import server as plaitd
import tap
from clients import FibClient, connect, fibonacci
from server import LISTEN, Datagrams, background, backends, port_in, run, stop, write
from tap import BUILD, PATIENCE_S

FIB_SERVER = os.path.join(BUILD, "examples", "fib-server")
VISITORS = os.path.join(BUILD, "examples", "visitors")
KILLS = int(os.environ.get("PLAIT_KILLS", "40"))
Server = functools.partial(plaitd.Server, backend="epoll")


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def make_tap(where):
    status, out, _ = run("--listen", LISTEN, folder=where, program=FIB_SERVER)
    assert status == 0 and "Fibonacci.tap" in out, out
    return os.path.join(where, "Fibonacci.tap")


def refused(state, said, folder):
    """Running it fails in one line that has `said`, and leaves the file as it was."""
    before = bytes_of(state)
    status, out, err = run("-n", "-f", state, folder=folder)
    assert status == 1 and out == "" and said in err, (status, out, err)
    assert err.startswith("plaitd: ") and err.count("\n") == 1, err
    assert bytes_of(state) == before, "the file was written to"


def ask(server, count):
    with FibClient(server.port()) as client:
        return [client.ask() for _ in range(count)]


# --- The state -------------------------------------------------------------------------------------------


def each_answer_is_the_next_number(folder, backend):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        port = server.port()
        clients = [FibClient(port), FibClient(port)]
        assert [clients[i % 2].ask() for i in range(300)] == fibonacci(300)
        assert server.stop() == -signal.SIGTERM


def each_client_that_says_all_at_once_is_answered_and_ended(folder, backend):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        client = FibClient(server.port())
        client.send(b"x")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer() == 2 and client.answer() is None


def each_request_that_was_made_before_the_stop_is_answered(folder, backend):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        port = server.port()
        clients = [FibClient(port) for _ in range(20)]
        got = [client.ask() for client in clients]
        for client in clients:
            client.send(b"x")
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            got += iter(client.answer, None)
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        got.append(FibClient(server.port()).ask())
    assert sorted(got) == fibonacci(len(got)), got


def server_of_the_article_goes_on_where_it_was(folder):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap") as server:
        assert ask(server, 4) == [2, 3, 5, 8]
        assert server.stop() == -signal.SIGTERM
    with Server(folder, "-f", "Fibonacci-shutdown.tap") as server:
        assert ask(server, 2) == [13, 21]
        assert server.stop(signal.SIGINT) == -signal.SIGINT
    with Server(folder, "-f", "Fibonacci-shutdown.tap") as server:
        assert ask(server, 1) == [34]
        assert server.stop() == -signal.SIGTERM
    assert not [name for name in os.listdir(folder) if not name.endswith(".tap")], os.listdir(folder)


def service_named_on_the_command_line_keeps_its_state_too(folder):
    for expected in ([2, 3, 5], [8], [13, 21]):
        with Server(folder, "fib", "--listen", LISTEN) as server:
            assert ask(server, len(expected)) == expected
            server.stop(signal.SIGKILL)
    with Server(folder, "-f", "fib.tap") as server:
        assert ask(server, 1) == [34]
        assert server.stop() == -signal.SIGTERM
    assert os.path.exists(f"{folder}/fib-shutdown.tap")


def no_save_leaves_no_shutdown_file(folder):
    make_tap(folder)
    with Server(folder, "-o", "-f", "Fibonacci.tap") as server:
        ask(server, 1)
        assert server.stop() == -signal.SIGTERM
    assert os.listdir(folder) == ["Fibonacci.tap"]


def older_file_of_the_application_is_refused(folder):
    state = make_tap(folder)
    with Server(folder, "-f", state) as server:
        ask(server, 2)
        server.stop()
    with Server(folder, "-f", "Fibonacci-shutdown.tap") as server:
        assert ask(server, 1) == [5]
        server.stop()
    refused(state, "Fibonacci-shutdown.tap", folder)
    os.remove(f"{folder}/Fibonacci-shutdown.tap")
    with Server(folder, "-f", state) as server:  # whoever does that means it
        assert ask(server, 1) == [5]
        server.stop(signal.SIGKILL)
    shutil.copy(state, f"{folder}/Fibonacci-shutdown.tap")


def file_is_run_by_one_at_a_time(folder):
    state = make_tap(folder)
    with Server(folder, "-f", state) as server:
        ask(server, 1)
        status, _, err = run("-n", "-f", state, folder=folder)
        assert status == 1 and "Fibonacci.tap: busy" in err, err
        shutil.copy(state, f"{folder}/Fibonacci-shutdown.tap")
        status, _, err = run("-n", "-f", "Fibonacci-shutdown.tap", folder=folder)
        assert status == 1 and "is running" in err, err
        for arguments in (["--save", state, "fib"], ["--append", state, "fib"]):
            status, _, err = run(*arguments, folder=folder)
            assert status == 1 and "busy" in err, err
        status, _, err = run(folder=folder, program=FIB_SERVER)
        assert status == 1 and "busy" in err, err


def hundred_thousandth_number_is_right(folder):
    state = make_tap(folder)
    with Server(folder, "-f", state) as server:
        ask(server, 1)
        server.stop()
    a, b = 1, 1
    for _ in range(99999):
        a, b = b, a + b
    database = sqlite3.connect(state)
    for name, type_, value in (("a", "number", a), ("b", "number", b), ("given", "uint64", 99999)):
        kept = value.to_bytes((value.bit_length() + 7) // 8, "big") if type_ == "number" else value
        text = kept if isinstance(kept, bytes) else str(kept).encode()
        checksum = zlib.crc32(b"\0".join([b"fib:sequence", name.encode(), type_.encode(), text, b""]))
        database.execute("UPDATE field SET value = ?, checksum = ? WHERE name = ?", (kept, checksum, name))
    database.commit()
    database.close()
    os.remove(f"{folder}/Fibonacci-shutdown.tap")
    with Server(folder, "-f", state) as server:
        assert ask(server, 2) == [a + b, a + 2 * b]


def with_wrong_bit(path, whole, at, bit=1):
    with open(path, "wb") as file:
        file.write(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1:])


def number_with_wrong_bit(where, state, whole, at, bit=1):
    """What is given next then; None when that is nothing, since the file is refused, or the connection ends."""
    with_wrong_bit(state, whole, at, bit)
    for journal in ("-wal", "-journal"):
        if os.path.exists(state + journal):
            os.remove(state + journal)
    with Server(where, "-o", "-f", state) as server:
        try:
            port = server.port()
        except AssertionError:
            assert server.process.wait(PATIENCE_S) == 1, "it did not refuse in good order"
            return None
        return FibClient(port).ask()


def whatever_byte_is_wrong_no_wrong_number_is_given(folder):
    state, dice = make_tap(folder), random.Random(seed())
    with Server(folder, "-o", "-f", state) as server:
        ask(server, 40)
        server.stop()
    whole = bytes_of(state)
    for _ in range(60):
        at, bit = dice.randrange(len(whole)), 1 << dice.randrange(8)
        if whole[at] == 0 and dice.random() < 0.9:
            continue  # most of the file is empty
        number = number_with_wrong_bit(folder, state, whole, at, bit)
        assert number in (fibonacci(41)[-1], None), f"byte {at}, bit {bit}: {number}"


def wrong_bit_in_a_name_gives_no_wrong_number(folder):
    """Wherever it stands: where an index has it, too, by which the state would not be found, and be begun anew."""
    state = make_tap(folder)
    with Server(folder, "-o", "-f", state) as server:
        ask(server, 40)
        server.stop()
    whole = bytes_of(state)
    places = [found.start() + 2 for found in re.finditer(b"fib:sequence", whole)]
    assert len(places) >= 4, "of the state and of its fields, and each in an index"
    for at in places:
        number = number_with_wrong_bit(folder, state, whole, at)
        assert number in (fibonacci(41)[-1], None), f"byte {at}: {number}"


def wrong_bit_in_what_the_file_means_is_found(folder):
    state = make_tap(folder)
    with Server(folder, "-o", "-f", state) as server:
        ask(server, 300)
        server.stop()
    whole = bytes_of(state)
    last = fibonacci(300)[-1]
    for meaning in (last.to_bytes((last.bit_length() + 7) // 8, "big"), b"tcp:0:interface=127.0.0.1", b"Fibonacci"):
        at = whole.rindex(meaning) + len(meaning) // 2
        with_wrong_bit(state, whole, at)
        refused(state, "damaged", folder)


def damaged_files_are_refused_and_left_alone(folder):
    state = make_tap(folder)
    with Server(folder, "-o", "-f", state) as server:
        ask(server, 3)
        server.stop()
    whole = bytes_of(state)
    for name, text, said in (("empty", b"", "not a .tap file"), ("text", b"hello, I am a text file\n" * 10, "not a .tap file"),
                             ("short", whole[:50], "cut off"), ("half", whole[:len(whole) // 2 // 4096 * 4096], "damaged"),
                             ("page", whole[:4096], "damaged"), ("zeros", whole[:100] + bytes(len(whole) - 100), "damaged")):
        path = f"{folder}/{name}.tap"
        with open(path, "wb") as file:
            file.write(text)
        refused(path, said, folder)
    assert run("-n", "-f", f"{folder}/none.tap")[0] == 1
    status, _, err = run("-n", "-f", folder)
    assert status == 1 and "not a file" in err, err


def foreign_and_newer_files_are_refused_and_left_alone(folder):
    state = make_tap(folder)
    for name, pragma, said in (("foreign", "PRAGMA application_id = 7", "another program"),
                               ("newer", "PRAGMA user_version = 2", "newer version")):
        path = f"{folder}/{name}.tap"
        shutil.copy(state, path)
        with sqlite3.connect(path) as database:
            database.execute(pragma)
        database.close()
        refused(path, said, folder)
    with Server(folder, "fib", "--listen", LISTEN) as server:
        ask(server, 1)
        server.stop()
    with sqlite3.connect(f"{folder}/fib.tap") as database:  # a table of a newer program
        database.execute("UPDATE state SET version = 2, checksum = ?", (zlib.crc32(b"fib:sequence\0002\0"),))
    database.close()
    os.remove(f"{folder}/fib-shutdown.tap")
    refused(f"{folder}/fib.tap", "version 2, this program has 1", folder)
    shutil.copy(state, f"{folder}/fib.tap")
    status, _, err = run("-n", "fib", folder=folder)
    assert status == 1 and "is of the application 'Fibonacci'" in err, err
    status, _, err = run("-n", "-f", state, folder=folder, program=VISITORS)
    assert status == 1 and "is of the application 'Fibonacci'" in err, err


def database_that_is_no_tap_is_not_overwritten(folder):
    path = f"{folder}/Fibonacci.tap"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE precious(x)")
    database.close()
    status, _, err = run(folder=folder, program=FIB_SERVER)
    assert status == 1 and "another program" in err, err
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]


def services_are_saved_and_appended(folder):
    write(f"{folder}/log")
    state = f"{folder}/two.tap"
    assert run("--save", state, "fib", "--listen", LISTEN)[0] == 0
    with Server(folder, "-f", state) as server:
        assert ask(server, 2) == [2, 3]
        server.stop()
    assert run("--append", state, "weblog", "--log", "log", "--listen", LISTEN)[0] == 0
    assert run("--append", state, "fib", "--listen", LISTEN)[0] == 0
    os.remove(f"{folder}/fib-shutdown.tap")
    with Server(folder, "-f", state) as server:
        ports = [server.port() for _ in range(3)]
        answers = []
        for port in ports[1:]:
            client = FibClient(port)
            answers += [client.ask(), client.ask()]
        assert sorted(answers) == [2, 3, 5, 8], answers
        assert server.stop() == -signal.SIGTERM
    database = sqlite3.connect(state)
    assert database.execute("SELECT name, plugin FROM service ORDER BY position").fetchall() == [
        ("fib", "fib"), ("weblog", "weblog"), ("fib-2", "fib")]
    assert database.execute("SELECT value FROM field WHERE state = 'fib:sequence' AND name = 'given'").fetchone() == (4,)
    status, _, err = run("--append", f"{folder}/none.tap", "fib")
    assert status == 1 and "none.tap" in err, err
    assert run("--save", state, "fib", "--listen", "nonsense")[0] == 2
    assert run("--save", state, "-f", state)[0] == 2
    assert run("-n", "-f", state, "fib")[0] == 2


def fill(path):
    ballast = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(ballast, bytes(512))
    except OSError:
        os.close(ballast)


def full_disk_fails_requests_and_loses_nothing(folder):
    disk = f"{folder}/disk"
    os.mkdir(disk)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise tap.Skip(f"no small disk to be had: {mounted.stderr.strip()}")
    try:
        make_tap(disk)
        with Server(folder, "-o", "-f", "disk/Fibonacci.tap") as server:
            port = server.port()
            client = FibClient(port)
            got = [client.ask() for _ in range(3)]
            fill(f"{disk}/ballast")
            got += iter(client.ask, None)  # what the journal still has room for
            server.wait_for("nothing was committed")
            assert FibClient(port).ask() is None
            os.remove(f"{disk}/ballast")
            client = FibClient(port)
            got += [client.ask() for _ in range(3)]
            assert got == fibonacci(len(got)), got
            server.stop(signal.SIGKILL)
        with Server(folder, "-o", "-f", "disk/Fibonacci.tap") as server:
            assert ask(server, 1) == fibonacci(len(got) + 1)[-1:]
    finally:
        subprocess.run(["umount", disk], check=True)


def read_only_folder_is_told(folder):
    disk = f"{folder}/disk"
    os.mkdir(disk)
    make_tap(folder)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise tap.Skip(f"no folder that can't be written: {mounted.stderr.strip()}")
    try:
        why = "Read-only file system\n"
        assert run("-n", "fib", "--listen", LISTEN, folder=disk) == (1, "", f"plaitd: fib: opening the state 'sequence': saving fib.tap: {why}")
        assert run("--save", "x.tap", "fib", folder=disk) == (1, "", f"plaitd: saving x.tap: {why}")
        with Server(disk, "-f", "../Fibonacci.tap") as server:
            assert ask(server, 3) == fibonacci(3)
            assert server.stop() == 1, "what it leaves behind could not be written"
            assert server.wait_for(f"plaitd: saving Fibonacci-shutdown.tap: {why}".rstrip("\n"))
    finally:
        subprocess.run(["umount", disk], check=True)


def broken_disk_ends_the_server_and_loses_nothing(folder):
    """Whoever supervises it starts it again; it is not left to refuse everybody."""
    sign = f"{folder}/broken"
    environment = {**os.environ, "LD_PRELOAD": f"{BUILD}/tests/preload/bad-disk.so", "BAD_DISK": sign,
                   "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", env=environment) as server:
        client = FibClient(server.port())
        got = [client.ask() for _ in range(3)]
        write(sign)
        assert client.ask() is None
        server.wait_for("the state can't be committed any more: ending")
        assert server.process.wait(PATIENCE_S) == 1
        assert not os.path.exists(f"{folder}/fib-shutdown.tap"), "it ended in order"
        os.remove(sign)
    with Server(folder, "-o", "-f", "Fibonacci.tap") as server:
        # What the failed sync was for may be on the disk all the same; it was given to nobody.
        assert ask(server, 1)[0] in fibonacci(len(got) + 2)[-2:]


def application_of_the_examples_counts_its_visitors_over_kills(folder):
    for life in range(3):
        with Server(folder, program=VISITORS) as server:
            server.wait_for("listening")
            for visit in range(2):
                with connect(f"{folder}/visitors.sock") as client:
                    said = client.makefile("rb").read()
                assert said == b"visitor number %d\n" % (2 * life + visit + 1), said
            server.stop(signal.SIGTERM if life == 1 else signal.SIGKILL)
    assert {"visitors.tap", "visitors-shutdown.tap"} <= set(os.listdir(folder))


# --- Killing it ----------------------------------------------------------------------------------------------


def seed():
    value = int(os.environ.get("PL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"PL_TEST_SEED={value} {sys.argv[0]} repeats this", file=sys.stderr)
    return value


class Asker(threading.Thread):
    """Asks until the connection is gone."""

    def __init__(self, port, acknowledged):
        super().__init__()
        self.client, self.acknowledged, self.got = FibClient(port), acknowledged, []
        self.start()

    def run(self):
        while (number := self.client.ask()) is not None:
            self.got.append(number)
            self.acknowledged.release()
        self.client.close()


class Daemon:
    """As it is in the background."""

    def __init__(self, folder, pid):
        self.folder, self.pid = folder, pid

    def port(self):
        return port_in(f"{self.folder}/plaitd.log")

    def stop(self, signum):
        stop(self.pid, signum)


@contextlib.contextmanager
def supervised(folder, *arguments, backend):
    """A plaitd in the background, under a supervisor's socket, which says when it serves."""
    with Datagrams(f"{folder}/notify") as notify, background(folder, "-r", backend, *arguments, env=notify.environment()) as pid:
        tap.equal(notify.hear(), f"MAINPID={pid}\nREADY=1")
        os.remove(f"{folder}/notify")
        yield Daemon(folder, pid)


def live_and_die(folder, dice, backend, askers_max, kind):
    """Numbers that were acknowledged before the kill, and how many may have been on their way."""
    acknowledged = threading.Semaphore(0)
    with kind(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        port = server.port()
        askers = [Asker(port, acknowledged) for _ in range(dice.randint(1, askers_max))]
        for _ in range(dice.choice((0, 1, dice.randint(1, 400)))):
            assert acknowledged.acquire(timeout=PATIENCE_S)
        until = time.perf_counter() + dice.random() * 0.004
        while time.perf_counter() < until:  # it is to be killed at any instant, and not when something has happened
            pass
        server.stop(signal.SIGKILL)
        for asker in askers:
            asker.join()
    return [number for asker in askers for number in asker.got], len(askers)


def each_number_is_given_once_however_often_the_server_is_killed(folder, backend):
    kill_again_and_again(folder, backend, Server)


def each_number_is_given_once_however_often_the_daemon_is_killed(folder, backend):
    kill_again_and_again(folder, backend, supervised)


def kill_again_and_again(folder, backend, kind):
    dice = random.Random(seed())
    make_tap(folder)
    index = {}
    seen, on_the_way, last = set(), 0, 0
    for life in range(KILLS):
        got, askers = live_and_die(folder, dice, backend, 8, kind)
        on_the_way += askers
        for number in got:
            assert number not in seen, f"life {life}: {number} was given twice"
            seen.add(number)
        assert not got or min(got) > last, f"life {life}: {min(got)} comes after {last}"
        last = max(got + [last])
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        final = FibClient(server.port()).ask()
    for place, number in enumerate(fibonacci(len(seen) + on_the_way + 2)):
        index[number] = place
    assert final > last and final in index, "acknowledged numbers are missing from the state"
    assert seen <= index.keys(), "these are no Fibonacci numbers"
    missing = index[final] - len(seen)
    print(f"# {KILLS} kills, {len(seen)} numbers acknowledged, {missing} lost on their way", file=sys.stderr)
    assert missing <= on_the_way, f"{missing} numbers went to nobody, and only {on_the_way} were on their way"


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals(), backends())))
