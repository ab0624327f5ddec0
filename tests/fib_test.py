#!/usr/bin/env python3
"""plaitd serving the Fibonacci numbers from .tap files, as its users see it: started, stopped, killed, given bad files. Speaks TAP.

    tests/fib_test.py [NAME...]         only the tests that have NAME in their names

PL_TEST_SEED=N repeats a run, PLAIT_KILLS=N kills so many times (40).
"""
import contextlib
import json
import os
import queue
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("PLAIT_BUILD", os.path.join(TOP, "build"))
PLAITD = os.path.join(BUILD, "plaitd")
FIB_SERVER = os.path.join(BUILD, "examples", "fib-server")
VISITORS = os.path.join(BUILD, "examples", "visitors")
KILLS = int(os.environ.get("PLAIT_KILLS", "40"))
PATIENCE_S = 60  # for what must happen; nothing waits this long when all is well
LISTEN = "tcp:0:interface=127.0.0.1"


class Skip(Exception):
    pass


# --- The server ------------------------------------------------------------------------------------------


class Server:
    """A program that runs an application in `folder`; what it logs can be waited for."""

    def __init__(self, folder, *arguments, backend="epoll", program=PLAITD, environment=None):
        self.entries, self.seen = queue.Queue(), []
        self.process = subprocess.Popen([program, "-n", "-r", backend, "--log-format", "json", *arguments], cwd=folder, env=environment,
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.reader = threading.Thread(target=self.read_log)
        self.reader.start()

    def read_log(self):
        for line in self.process.stderr:
            self.entries.put(json.loads(line) if line.startswith("{") else {"message": line})
        self.entries.put(None)

    def wait_for(self, message):
        while True:
            entry = self.entries.get(timeout=PATIENCE_S)
            assert entry is not None, f"it ended and never said {message!r}: {self.seen}"
            self.seen.append(entry)
            if entry["message"] == message:
                return entry

    def port(self):
        return int(self.wait_for("listening")["address"].rsplit(":", 1)[1])

    def connect(self):
        return Client(self.port())

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()


def run(program, *arguments, folder=None, environment=None):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    print(f"# {os.path.basename(program)} {' '.join(arguments)} -> {done.returncode}: {done.stderr!r}")
    return done.returncode, done.stdout, done.stderr


def make_tap(folder):
    status, out, _ = run(FIB_SERVER, "--listen", LISTEN, folder=folder)
    assert status == 0 and "Fibonacci.tap" in out, out
    return os.path.join(folder, "Fibonacci.tap")


def refused(tap, said, folder=None):
    """Running `tap` fails in one line that has `said`, and leaves the file as it was."""
    with open(tap, "rb") as file:
        before = file.read()
    status, out, err = run(PLAITD, "-n", "-f", tap, folder=folder)
    assert status == 1 and out == "" and said in err, (status, out, err)
    assert err.startswith("plaitd: ") and err.count("\n") == 1, err
    with open(tap, "rb") as file:
        assert file.read() == before, "the file was written to"


# --- The client ------------------------------------------------------------------------------------------


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(PATIENCE_S)
        self.buffer = b""

    def line(self):
        """The next number, None at the end of the stream."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        assert line.isdigit() and not line.startswith(b"0"), line
        return line

    def ask(self):
        try:
            self.socket.sendall(b"more, please\r\n")
        except ConnectionError:
            return None
        line = self.line()
        return None if line is None else int(line)

    def close(self):
        self.socket.close()


def ask(server, count):
    client = server.connect()
    numbers = [client.ask() for _ in range(count)]
    client.close()
    return numbers


def fibonacci(count):
    """The first `count` of the numbers that are given."""
    numbers, a, b = [], 1, 1
    for _ in range(count):
        a, b = b, a + b
        numbers.append(b)
    return numbers


# --- The tests: functions of `folder`; those of `folder, backend` run on each backend ---------------------------


def each_answer_is_the_next_number(folder, backend):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        port = server.port()
        clients = [Client(port), Client(port)]
        assert [clients[i % 2].ask() for i in range(300)] == fibonacci(300)
        assert server.stop() == -signal.SIGTERM


def each_client_that_says_all_at_once_is_answered_and_ended(folder, backend):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        client = server.connect()
        client.socket.sendall(b"x")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.line() == b"2" and client.line() is None


def each_request_that_was_made_before_the_stop_is_answered(folder, backend):
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        port = server.port()
        clients = [Client(port) for _ in range(20)]
        got = [client.ask() for client in clients]
        for client in clients:
            client.socket.sendall(b"x")
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            line = client.line()
            while line is not None:
                got.append(int(line))
                line = client.line()
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM
    with Server(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        got.append(server.connect().ask())
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
    tap = make_tap(folder)
    with Server(folder, "-f", tap) as server:
        ask(server, 2)
        server.stop()
    with Server(folder, "-f", "Fibonacci-shutdown.tap") as server:
        assert ask(server, 1) == [5]
        server.stop()
    refused(tap, "Fibonacci-shutdown.tap", folder)
    os.remove(f"{folder}/Fibonacci-shutdown.tap")
    with Server(folder, "-f", tap) as server:  # whoever does that means it
        assert ask(server, 1) == [5]
        server.stop(signal.SIGKILL)
    shutil.copy(tap, f"{folder}/Fibonacci-shutdown.tap")


def file_is_run_by_one_at_a_time(folder):
    tap = make_tap(folder)
    with Server(folder, "-f", tap) as server:
        ask(server, 1)
        status, _, err = run(PLAITD, "-n", "-f", tap, folder=folder)
        assert status == 1 and "Fibonacci.tap: busy" in err, err
        shutil.copy(tap, f"{folder}/Fibonacci-shutdown.tap")
        status, _, err = run(PLAITD, "-n", "-f", "Fibonacci-shutdown.tap", folder=folder)
        assert status == 1 and "is running" in err, err
        for arguments in (["--save", tap, "fib"], ["--append", tap, "fib"]):
            status, _, err = run(PLAITD, *arguments, folder=folder)
            assert status == 1 and "busy" in err, err
        status, _, err = run(FIB_SERVER, folder=folder)
        assert status == 1 and "busy" in err, err


def hundred_thousandth_number_is_right(folder):
    tap = make_tap(folder)
    with Server(folder, "-f", tap) as server:
        ask(server, 1)
        server.stop()
    a, b = 1, 1
    for _ in range(99999):
        a, b = b, a + b
    database = sqlite3.connect(tap)
    for name, type_, value in (("a", "number", a), ("b", "number", b), ("given", "uint64", 99999)):
        kept = value.to_bytes((value.bit_length() + 7) // 8, "big") if type_ == "number" else value
        text = kept if isinstance(kept, bytes) else str(kept).encode()
        checksum = zlib.crc32(b"\0".join([b"fib:sequence", name.encode(), type_.encode(), text, b""]))
        database.execute("UPDATE field SET value = ?, checksum = ? WHERE name = ?", (kept, checksum, name))
    database.commit()
    database.close()
    os.remove(f"{folder}/Fibonacci-shutdown.tap")
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    with Server(folder, "-f", tap) as server:
        assert ask(server, 2) == [a + b, a + 2 * b]


def whatever_byte_is_wrong_no_wrong_number_is_given(folder):
    tap, dice = make_tap(folder), random.Random(seed())
    with Server(folder, "-o", "-f", tap) as server:
        ask(server, 40)
        server.stop()
    with open(tap, "rb") as file:
        whole = file.read()
    served = 0
    for _ in range(60):
        at, bit = dice.randrange(len(whole)), 1 << dice.randrange(8)
        if whole[at] == 0 and dice.random() < 0.9:
            continue  # most of the file is empty
        with open(tap, "wb") as file:
            file.write(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1:])
        for journal in ("-wal", "-journal"):
            if os.path.exists(tap + journal):
                os.remove(tap + journal)
        with Server(folder, "-o", "-f", tap) as server:
            try:
                port = server.port()
            except AssertionError:
                assert server.process.wait(PATIENCE_S) == 1, "it did not refuse in good order"
                continue
            served += 1
            number = Client(port).ask()
            assert number in (fibonacci(41)[-1], None), f"byte {at}, bit {bit}: {number}"
    print(f"# served {served} of the damaged files")


def wrong_bit_in_what_the_file_means_is_found(folder):
    tap = make_tap(folder)
    with Server(folder, "-o", "-f", tap) as server:
        ask(server, 300)
        server.stop()
    with open(tap, "rb") as file:
        whole = file.read()
    last = fibonacci(300)[-1]
    for meaning in (last.to_bytes((last.bit_length() + 7) // 8, "big"), b"tcp:0:interface=127.0.0.1", b"Fibonacci"):
        at = whole.rindex(meaning) + len(meaning) // 2
        with open(tap, "wb") as file:
            file.write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        refused(tap, "damaged", folder)


def damaged_files_are_refused_and_left_alone(folder):
    tap = make_tap(folder)
    with Server(folder, "-o", "-f", tap) as server:
        ask(server, 3)
        server.stop()
    with open(tap, "rb") as file:
        whole = file.read()
    for name, text, said in (("empty", b"", "not a .tap file"), ("text", b"hello, I am a text file\n" * 10, "not a .tap file"),
                             ("short", whole[:50], "cut off"), ("half", whole[:len(whole) // 2 // 4096 * 4096], "damaged"),
                             ("page", whole[:4096], "damaged"), ("zeros", whole[:100] + bytes(len(whole) - 100), "damaged")):
        path = f"{folder}/{name}.tap"
        with open(path, "wb") as file:
            file.write(text)
        refused(path, said, folder)
    assert run(PLAITD, "-n", "-f", f"{folder}/none.tap")[0] == 1
    status, _, err = run(PLAITD, "-n", "-f", folder)
    assert status == 1 and "not a file" in err, err


def foreign_and_newer_files_are_refused_and_left_alone(folder):
    tap = make_tap(folder)
    for name, pragma, said in (("foreign", "PRAGMA application_id = 7", "another program"),
                               ("newer", "PRAGMA user_version = 2", "newer version")):
        path = f"{folder}/{name}.tap"
        shutil.copy(tap, path)
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
    shutil.copy(tap, f"{folder}/fib.tap")
    status, _, err = run(PLAITD, "-n", "fib", folder=folder)
    assert status == 1 and "is of the application 'Fibonacci'" in err, err
    status, _, err = run(VISITORS, "-n", "-f", tap, folder=folder)
    assert status == 1 and "is of the application 'Fibonacci'" in err, err


def database_that_is_no_tap_is_not_overwritten(folder):
    path = f"{folder}/Fibonacci.tap"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE precious(x)")
    database.close()
    status, _, err = run(FIB_SERVER, folder=folder)
    assert status == 1 and "another program" in err, err
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]


def services_are_saved_and_appended(folder):
    with open(f"{folder}/log", "w", encoding="utf-8"):
        pass
    tap = f"{folder}/two.tap"
    assert run(PLAITD, "--save", tap, "fib", "--listen", LISTEN)[0] == 0
    with Server(folder, "-f", tap) as server:
        assert ask(server, 2) == [2, 3]
        server.stop()
    assert run(PLAITD, "--append", tap, "weblog", "--log", "log", "--listen", LISTEN)[0] == 0
    assert run(PLAITD, "--append", tap, "fib", "--listen", LISTEN)[0] == 0
    os.remove(f"{folder}/fib-shutdown.tap")
    with Server(folder, "-f", tap) as server:
        ports = [server.port() for _ in range(3)]
        answers = []
        for port in ports[1:]:
            client = Client(port)
            answers += [client.ask(), client.ask()]
        assert sorted(answers) == [2, 3, 5, 8], answers
        assert server.stop() == -signal.SIGTERM
    database = sqlite3.connect(tap)
    assert database.execute("SELECT name, plugin FROM service ORDER BY position").fetchall() == [
        ("fib", "fib"), ("weblog", "weblog"), ("fib-2", "fib")]
    assert database.execute("SELECT value FROM field WHERE state = 'fib:sequence' AND name = 'given'").fetchone() == (4,)
    status, _, err = run(PLAITD, "--append", f"{folder}/none.tap", "fib")
    assert status == 1 and "none.tap" in err, err
    assert run(PLAITD, "--save", tap, "fib", "--listen", "nonsense")[0] == 2
    assert run(PLAITD, "--save", tap, "-f", tap)[0] == 2
    assert run(PLAITD, "-n", "-f", tap, "fib")[0] == 2


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
        raise Skip(f"no small disk to be had: {mounted.stderr.strip()}")
    try:
        make_tap(disk)
        with Server(folder, "-o", "-f", "disk/Fibonacci.tap") as server:
            port = server.port()
            client, got = Client(port), []
            got += [client.ask() for _ in range(3)]
            fill(f"{disk}/ballast")
            answer = client.ask()
            while answer is not None:  # what the journal still has room for
                got.append(answer)
                answer = client.ask()
            server.wait_for("nothing was committed")
            assert Client(port).ask() is None
            os.remove(f"{disk}/ballast")
            client = Client(port)
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
        raise Skip(f"no folder that can't be written: {mounted.stderr.strip()}")
    try:
        why = "Read-only file system\n"
        assert run(PLAITD, "-n", "fib", "--listen", LISTEN, folder=disk) == (1, "", f"plaitd: fib: opening the state 'sequence': saving fib.tap: {why}")
        assert run(PLAITD, "--save", "x.tap", "fib", folder=disk) == (1, "", f"plaitd: saving x.tap: {why}")
        with Server(disk, "-f", "../Fibonacci.tap") as server:
            assert ask(server, 3) == fibonacci(3)
            assert server.stop() == 1, "what it leaves behind could not be written"
            assert server.wait_for(f"plaitd: saving Fibonacci-shutdown.tap: {why}")
    finally:
        subprocess.run(["umount", disk], check=True)


def broken_disk_ends_the_server_and_loses_nothing(folder):
    """Whoever supervises it starts it again; it is not left to refuse everybody."""
    sign = f"{folder}/broken"
    environment = {**os.environ, "LD_PRELOAD": f"{BUILD}/tests/preload/bad-disk.so", "BAD_DISK": sign,
                   "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
    make_tap(folder)
    with Server(folder, "-f", "Fibonacci.tap", environment=environment) as server:
        client = server.connect()
        got = [client.ask() for _ in range(3)]
        with open(sign, "w"):
            pass
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
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(PATIENCE_S)
                    client.connect(f"{folder}/visitors.sock")
                    said = client.makefile("rb").read()
                assert said == b"visitor number %d\n" % (2 * life + visit + 1), said
            server.stop(signal.SIGTERM if life == 1 else signal.SIGKILL)
    assert {"visitors.tap", "visitors-shutdown.tap"} <= set(os.listdir(folder))


# --- Killing it ----------------------------------------------------------------------------------------------


def seed():
    value = int(os.environ.get("PL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# PL_TEST_SEED={value} {sys.argv[0]} repeats this")
    return value


class Asker(threading.Thread):
    """Asks until the connection is gone."""

    def __init__(self, port, acknowledged):
        super().__init__()
        self.client, self.acknowledged, self.got = Client(port), acknowledged, []
        self.start()

    def run(self):
        while (number := self.client.ask()) is not None:
            self.got.append(number)
            self.acknowledged.release()
        self.client.close()


class Daemon:
    """plaitd in the background, under a supervisor's socket, which says when it serves."""

    def __init__(self, folder, *arguments, backend):
        self.folder = folder
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"{folder}/notify")
            notify.settimeout(PATIENCE_S)
            status, _, err = run(PLAITD, "-r", backend, "--log-format", "json", "--logfile", "daemon.log", *arguments, folder=folder,
                                 environment={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"})
            assert status == 0, err
            with open(f"{folder}/plaitd.pid", encoding="ascii") as file:
                self.pid = int(file.read())
            assert notify.recv(1000) == f"MAINPID={self.pid}\nREADY=1".encode()
        os.remove(f"{folder}/notify")
        self.end = os.pidfd_open(self.pid)

    def port(self):
        """Of the last life: the log has all of them."""
        with open(f"{self.folder}/daemon.log", encoding="utf-8") as file:
            entries = [json.loads(line) for line in file if line.startswith("{") and line.endswith("}\n")]
        return int([entry for entry in entries if entry["message"] == "listening"][-1]["address"].rsplit(":", 1)[1])

    def stop(self, signum):
        signal.pidfd_send_signal(self.end, signum)
        assert select.select([self.end], [], [], PATIENCE_S)[0], "it does not end"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(ProcessLookupError):
            self.stop(signal.SIGKILL)
        os.close(self.end)


def live_and_die(folder, dice, backend, askers_max, kind):
    """Numbers that were acknowledged before the kill, and how many may have been on their way."""
    acknowledged = threading.Semaphore(0)
    with kind(folder, "-f", "Fibonacci.tap", backend=backend) as server:
        port = server.port()
        askers = [Asker(port, acknowledged) for _ in range(dice.randint(1, askers_max))]
        for _ in range(dice.choice((0, 1, dice.randint(1, 400)))):
            acknowledged.acquire(timeout=PATIENCE_S)
        until = time.perf_counter() + dice.random() * 0.004
        while time.perf_counter() < until:
            pass
        server.stop(signal.SIGKILL)
        for asker in askers:
            asker.join()
    return [number for asker in askers for number in asker.got], len(askers)


def each_number_is_given_once_however_often_the_server_is_killed(folder, backend):
    kill_again_and_again(folder, backend, Server)


def each_number_is_given_once_however_often_the_daemon_is_killed(folder, backend):
    kill_again_and_again(folder, backend, Daemon)


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
        final = server.connect().ask()
    for place, number in enumerate(fibonacci(len(seen) + on_the_way + 2)):
        index[number] = place
    assert final > last and final in index, "acknowledged numbers are missing from the state"
    assert seen <= index.keys(), "these are no Fibonacci numbers"
    missing = index[final] - len(seen)
    print(f"# {KILLS} kills, {len(seen)} numbers acknowledged, {missing} lost on their way")
    assert missing <= on_the_way, f"{missing} numbers went to nobody, and only {on_the_way} were on their way"


# --- Running them ----------------------------------------------------------------------------------------


def backends():
    lines = run(PLAITD, "--help-reactors")[1].splitlines()[1:]
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines]


def tests():
    """(name, function, arguments, why it is skipped)"""
    found = [(name, value) for name, value in globals().items() if callable(value) and getattr(value, "__module__", "") == "__main__"]
    for name, function in found:
        names = function.__code__.co_varnames[:function.__code__.co_argcount] if hasattr(function, "__code__") else ()
        if names == ("folder", "backend"):
            for backend, state in backends():
                yield f"{name}_on_{backend}", function, (backend,), None if state == "can be had" else state
        elif names == ("folder",) and name != "make_tap":
            yield name, function, (), None


def main():
    chosen = [test for test in tests() if len(sys.argv) < 2 or any(name in test[0] for name in sys.argv[1:])]
    print(f"1..{len(chosen)}")
    failed = 0
    for number, (name, function, arguments, skipped) in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory(prefix="plait-fib-") as folder:
            try:
                if skipped:
                    raise Skip(skipped)
                function(os.path.realpath(folder), *arguments)
                print(f"ok {number} - {name}", flush=True)
            except Skip as reason:
                print(f"ok {number} - {name} # SKIP {reason}", flush=True)
            except Exception:  # whatever it is, it is this test's failure and not the end of the others
                failed += 1
                print(f"not ok {number} - {name}")
                print("".join(f"# {text}\n" for text in traceback.format_exc().splitlines()), end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
