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


if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)  # numbers grow as they are given


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


# --- What can't be upgraded goes on ------------------------------------------------------------------------

# A program that is started in plaitd's place, and speaks with it: what it says comes from its command line.
FALSE_SUCCESSOR = f'''#!{sys.executable}
import os, socket, struct, sys, time
WORDS = {{"hello": 1, "refused": 4, "could": 5}}
old = socket.socket(fileno=3)
def say(word, a=0, b=0, text=""):
    old.send(struct.pack("<8sIII480s", b"PlaitUpg", WORDS[word], a, b, text.encode()))
def hear():
    return struct.unpack("<8sIII480s", old.recv(500))[1]
def hear_all():
    while True:
        message = old.recv(500)
        if not message:
            sys.exit(1)
        _, word, a, _, _ = struct.unpack("<8sIII480s", message)
        if word == 2:
            left = a
        else:
            left -= 250
        if left <= 0:
            return
STORY
'''

STORIES = (
    ("say('hello', 1, 1, 'other')", "'other' now, not 'plaitd'"),
    ("say('hello', 2, 9, 'plaitd'); time.sleep(60)", "versions 2 to 9, and this one gives 1"),
    ("say('hello', 0, 0, 'plaitd'); time.sleep(60)", "versions 0 to 0, and this one gives 1"),
    ("old.send(b'nonsense'); time.sleep(60)", "belongs to something else"),
    ("say('could'); time.sleep(60)", "out of turn"),
    ("say('hello', 1, 1, 'plaitd'); hear_all(); say('refused', text='I do not like it')", "the new process: I do not like it"),
    ("say('hello', 1, 1, 'plaitd'); hear_all(); sys.exit(7)", "ended with status 7"),
    ("say('hello', 1, 1, 'plaitd'); hear_all(); os.abort()", "ended by signal 6"),
    ("say('hello', 1, 1, 'plaitd'); sys.exit(0)", "ended with status 0"),
    ("say('hello', 1, 1, 'plaitd'); hear_all(); say('hello', 1, 1, 'plaitd'); time.sleep(60)", "out of turn"),
    ("say('hello', 1, 1, 'plaitd'); hear_all(); time.sleep(60)", "timed out"),
    ("time.sleep(60)", "the new process says nothing"),
)


def install(path, text, mode=0o755):
    """As a package manager does: another file takes the name."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def link(path, to):
    os.symlink(to, path + ".new")
    os.rename(path + ".new", path)


def children_of(pid):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if text_of(f"/proc/{name}/stat").rsplit(")", 1)[1].split()[1] == str(pid):
                found.append(int(name))
    return found


def nothing_but_the_starter_is_left(server):
    starters = children_of(server.pids[-1])
    assert len(starters) == 1 and not children_of(starters[0]), [text_of(f"/proc/{pid}/cmdline") for pid in starters]


def program_that_is_no_successor_changes_nothing(folder, backend):
    program = f"{folder}/plaitd"
    link(program, PLAITD)
    with Server(folder, "fib", "--listen", LISTEN, program=program, backend=backend) as server:
        port = server.port()
        with Client(port) as client:
            numbers = [client.ask()]
            for story, said in STORIES:
                install(program, FALSE_SUCCESSOR.replace("STORY", story))
                client.send()  # its answer is under way, or it is asked while all rests
                why = server.fail_to_upgrade()
                assert said in why, (story, why)
                numbers.append(client.answer())
                with Client(port) as other:
                    numbers.append(other.ask())
                nothing_but_the_starter_is_left(server)
            for step, said in ((lambda: install(program, "", 0o755), "could not be started"), (lambda: install(program, "x", 0o644), "could not be started"),
                               (lambda: os.remove(program), "could not be started"), (lambda: link(program, "/bin/true"), "ended with status 0"),
                               (lambda: link(program, "/bin/false"), "ended with status 1")):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(program)
                    install(program, "")
                step()
                why = server.fail_to_upgrade()
                assert said in why, why
                numbers.append(client.ask())
            with contextlib.suppress(FileNotFoundError):
                os.remove(program)
            link(program, PLAITD)
            server.upgrade()
            numbers.append(client.ask())
        assert numbers == fibonacci(len(numbers)), numbers
        assert server.stop() == -signal.SIGTERM


def successor_that_does_not_start_says_why(folder):
    log = f"{folder}/access.log"
    with open(log, "w", encoding="ascii"):
        pass
    subprocess.run([PLAITD, "--save", f"{folder}/a.tap", "fib", "--listen", LISTEN], check=True, timeout=PATIENCE_S)
    subprocess.run([PLAITD, "--save", f"{folder}/b.tap", "weblog", "--log", log, "--listen", LISTEN], check=True, timeout=PATIENCE_S)
    with Server(folder, "-o", "-f", "a.tap") as server:
        port = server.port()
        with Client(port) as client:
            assert client.ask() == 2
            os.rename(f"{folder}/a.tap", f"{folder}/mine.tap")
            assert "No such file" in server.fail_to_upgrade()
            os.rename(f"{folder}/b.tap", f"{folder}/a.tap")
            assert "belongs to something else" in server.fail_to_upgrade()
            os.rename(f"{folder}/mine.tap", f"{folder}/a.tap")
            server.upgrade()
            assert client.ask() == 3
        server.stop()


def one_upgrade_at_a_time_and_none_while_stopping(folder):
    program = f"{folder}/plaitd"
    link(program, PLAITD)
    with Server(folder, "--pidfile", "plaitd.pid", "fib", "--listen", LISTEN, program=program) as server:
        port = server.port()
        install(program, FALSE_SUCCESSOR.replace("STORY", f"open('{folder}/started', 'w').write(str(os.getpid())); time.sleep(60)"))
        server.wait_for("running")
        server.ask_for_upgrade()
        server.wait_for("starting the new process")
        server.ask_for_upgrade()
        assert server.wait_for("refused")["why"] == "an upgrade is under way: busy"
        done = subprocess.run([PLAITD, "--upgrade", "-d", folder], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (done.returncode, done.stderr) == (1, "plaitd: an upgrade is under way: busy\n"), done
        os.kill(server.process.pid, signal.SIGHUP)
        server.wait_for("reopened")
        with Client(port) as client:
            assert client.ask() == 2
        while not os.path.exists(f"{folder}/started"):
            time.sleep(0.01)
        started = int(text_of(f"{folder}/started"))
        assert server.stop() == -signal.SIGTERM
        assert not lives(started)


def file_of_an_application_without_state_goes_with_it(folder):
    for service in ("a", "b"):
        with open(f"{folder}/{service}.log", "w", encoding="ascii"):
            pass
    subprocess.run([PLAITD, "--save", f"{folder}/a.tap", "weblog", "--log", "a.log", "--listen", LISTEN], check=True, timeout=PATIENCE_S)
    subprocess.run([PLAITD, "--save", f"{folder}/b.tap", "fib", "--listen", LISTEN], check=True, timeout=PATIENCE_S)
    with Server(folder, "-o", "-f", "a.tap") as server:
        server.port()
        server.wait_for("running")
        server.upgrade()
        os.rename(f"{folder}/a.tap", f"{folder}/mine.tap")
        os.rename(f"{folder}/b.tap", f"{folder}/a.tap")
        assert "'fib' now, not 'weblog'" in server.fail_to_upgrade()
        os.rename(f"{folder}/mine.tap", f"{folder}/a.tap")
        server.upgrade()
        done = subprocess.run([PLAITD, "-n", "-f", "a.tap"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 1 and "busy" in done.stderr, done
        assert server.stop() == -signal.SIGTERM


def upgrade_of_what_is_stopping_is_refused(folder):
    """Else what was told to stop would go on in a new process."""
    log = f"{folder}/access.log"
    with open(log, "wb") as file:
        for _ in range(10000):
            file.write(b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "' + b"x" * 1000 + b'"\n')
    with Server(folder, "--pidfile", "plaitd.pid", "weblog", "--log", log, "--from-start", "--listen", LISTEN, "--interval", "0") as server:
        with socket.socket() as client:  # it does not read, so it is waited for
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE_S)
            client.connect(("127.0.0.1", server.port()))
            server.wait_for("connected")
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("stopping")
            server.ask_for_upgrade()  # it may come in the turn of the stop, and is given up then
            entry = server.wait_for("refused", "failed; this process goes on", "handed over")
            assert entry.get("why") == "the program is stopping: not possible in this state", entry
            server.ask_for_upgrade()
            entry = server.wait_for("refused", "starting the new process")
            assert entry.get("why") == "the program is stopping: not possible in this state", entry
            done = subprocess.run([PLAITD, "--upgrade", "-d", folder], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert (done.returncode, done.stderr) == (1, "plaitd: the program is stopping: not possible in this state\n"), done
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


# --- Who is the main process -------------------------------------------------------------------------------


def first_process_stands_in_for_its_successors(folder, backend):
    with Server(folder, "-l", "log", "--pidfile", "fib.pid", "fib", "--listen", LISTEN, backend=backend) as server:
        while "running" not in (text_of(f"{folder}/log") if os.path.exists(f"{folder}/log") else ""):
            time.sleep(0.01)
        port = int(re.search(r"127\.0\.0\.1:(\d+)", text_of(f"{folder}/log"))[1])
        first = server.process.pid
        with Client(port) as client:
            assert client.ask() == 2
            pids = [first]
            for _ in range(3):
                subprocess.run([PLAITD, "--upgrade", "--pidfile", "fib.pid"], cwd=folder, check=True, timeout=PATIENCE_S)
                pids.append(int(text_of(f"{folder}/fib.pid")))
                server.pids.append(pids[-1])
            for pid in pids[1:-1]:
                wait_for_end(pid)
            assert len(set(pids)) == 4 and lives(first) and lives(pids[-1])
            os.rename(f"{folder}/log", f"{folder}/log.old")
            os.kill(first, signal.SIGHUP)
            while not os.path.exists(f"{folder}/log"):
                time.sleep(0.01)
            os.kill(first, signal.SIGUSR2)
            while int(text_of(f"{folder}/fib.pid")) == pids[-1]:
                time.sleep(0.01)
            server.pids.append(int(text_of(f"{folder}/fib.pid")))
            assert client.ask() == 3
            assert server.stop(signal.SIGINT) == -signal.SIGINT
        assert "fib.pid" not in os.listdir(folder)
        wait_for_end(server.pids[-1])


def stand_in_and_successor_end_together(folder):
    with Server(folder, "fib", "--listen", LISTEN) as server:
        server.port()
        pid = server.upgrade()
        server.process.kill()
        wait_for_end(pid)
    with Server(folder, "-o", "fib", "--listen", LISTEN) as server:
        server.port()
        server.upgrade()
        os.kill(server.upgrade(), signal.SIGKILL)
        assert server.process.wait(PATIENCE_S) == 1


def daemon_s_pidfile_changes_hands(folder):
    def upgrade():
        return subprocess.run([PLAITD, "--upgrade"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    subprocess.run([PLAITD, "fib", "--listen", f"unix:{folder}/fib.sock"], cwd=folder, check=True, timeout=PATIENCE_S)
    pids = [int(text_of(f"{folder}/plaitd.pid"))]
    for number in fibonacci(5):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/fib.sock")
            done = upgrade()
            assert (done.returncode, done.stderr) == (0, ""), (done, text_of(f"{folder}/plaitd.log"))
            client.sendall(b"x")
            assert client.makefile().readline() == f"{number}\n"
        pids.append(int(text_of(f"{folder}/plaitd.pid")))
        wait_for_end(pids[-2])
        done = subprocess.run([PLAITD, "fib", "--listen", LISTEN], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 1 and f"process {pids[-1]} runs" in done.stderr, done
    assert len(set(pids)) == 6
    os.kill(pids[-1], signal.SIGTERM)
    wait_for_end(pids[-1])
    assert sorted(os.listdir(folder)) == ["fib-shutdown.tap", "fib.tap", "plaitd.log"]
    done = upgrade()
    assert done.returncode == 1 and "nobody answers there" in done.stderr and done.stderr.count("\n") == 1, done


def supervisor_is_told_of_the_new_main_process(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(PATIENCE_S)
        environment = dict(os.environ, NOTIFY_SOCKET=f"{folder}/notify", WATCHDOG_USEC="200000")
        with Server(folder, "fib", "--listen", LISTEN, env=environment) as server:
            told = []

            def wait_for(wanted):
                while not told or wanted not in told[-1]:
                    told.append(notify.recv(1000).decode())

            wait_for("READY=1")
            environment_pid = server.process.pid
            pid = server.upgrade()
            wait_for(f"MAINPID={pid}")
            wait_for("READY=1")
            wait_for("WATCHDOG=1")
            assert server.process.wait(PATIENCE_S) == 0 and environment_pid != pid  # it has nobody to stand in for
            os.kill(pid, signal.SIGTERM)
            wait_for("STOPPING=1")
            assert sum("STOPPING=1" in one for one in told) == 1
            wait_for_end(pid)


def connection_that_can_t_be_saved_stays_until_it_ends(folder):
    with Server(folder, "--pidfile", "fib.pid", "fib", "--listen", LISTEN, env=dict(os.environ, NOTIFY_SOCKET="")) as server:
        server.port()
        server.wait_for("running")
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(f"{folder}/fib.control")
            reader = control.makefile("rb")

            def status():
                control.sendall(b'{"command": "status"}\n')
                return json.loads(reader.readline())["pid"]

            assert status() == server.process.pid
            pid = server.upgrade()
            assert status() == server.process.pid
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(f"{folder}/fib.control")
                other.sendall(b'{"command": "status"}\n')
                assert json.loads(other.makefile().readline())["pid"] == pid
            reader.close()
        assert server.stop() == -signal.SIGTERM


def user_and_root_folder_are_kept(folder):
    if os.geteuid() != 0:
        raise tap.Skip("only root can do that")
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/run", 0o755)
    log = f"{folder}/access.log"
    with open(log, "w", encoding="ascii"):
        pass
    os.chmod(log, 0o600)  # it is opened before the user changes, and never again
    shutil.chown(f"{folder}/run", "nobody")
    subprocess.run([PLAITD, "-d", f"{folder}/run", "-u", "nobody", "weblog", "--log", log, "--interval", "0", "--listen", f"unix:{folder}/run/web.sock"],
                   check=True, timeout=PATIENCE_S)
    pid = int(text_of(f"{folder}/run/plaitd.pid"))
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/run/web.sock")
            done = subprocess.run([PLAITD, "--upgrade", "-d", f"{folder}/run"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert (done.returncode, done.stderr) == (0, ""), (done, text_of(f"{folder}/run/plaitd.log"))
            pid = int(text_of(f"{folder}/run/plaitd.pid"))
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                assert not re.search(r"^Uid:.*\b0\b", status.read(), re.M)
            with open(log, "a", encoding="ascii") as file:
                file.write('1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /1 HTTP/1.1" 200 1 "-" "-"\n')
            client.settimeout(PATIENCE_S)
            said = b""
            while b"GET /1 " not in said:
                said += client.recv(1000)
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)


# --- weblog ----------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """A web server: its log grows, and is rotated now and then."""

    def __init__(self, path):
        super().__init__()
        self.path, self.written, self.rotated, self.enough = path, 0, 0, threading.Event()
        self.start()

    def run(self):
        file = open(self.path, "ab", buffering=0)
        while not self.enough.wait(0.002):
            line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /%d HTTP/1.1" 200 1 "-" "-"\n' % self.written
            cut = self.written % len(line)
            file.write(line[:cut])  # in two pieces, so that an upgrade finds lines that are not whole
            file.write(line[cut:])
            self.written += 1
            if self.written % 50 == 0:
                self.rotate()
                file.close()
                file = open(self.path, "ab", buffering=0)
        file.close()

    def rotate(self):
        """As rotators number them: during an upgrade on a slow machine there may be two rotations between two looks."""
        self.rotated += 1
        for number in range(self.rotated, 1, -1):
            os.rename(f"{self.path}.{number - 1}", f"{self.path}.{number}")
        os.rename(self.path, f"{self.path}.1")

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
            written = writer.written
            server.upgrade()
            while writer.written < written + 20:
                time.sleep(0.001)
        writer.stop()
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


def client_that_does_not_read_gets_all_in_the_end(folder, backend):
    log = f"{folder}/access.log"
    line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /%d HTTP/1.1" 200 1 "-" "' + b"x" * 1000 + b'"\n'
    with open(log, "wb") as file:
        file.write(b"")
    with Server(folder, "weblog", "--log", log, "--listen", LISTEN, "--interval", "0", backend=backend) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE_S)
            client.connect(("127.0.0.1", server.port()))
            server.wait_for("connected")
            lines = 0
            for _ in range(3):
                with open(log, "ab") as file:
                    for _ in range(5000):
                        file.write(line % lines)
                        lines += 1
                server.upgrade()
            got = b""
            while b"GET /%d " % (lines - 1) not in got[-2000:]:
                got += client.recv(1 << 20)
            assert hits_in(got) == list(range(lines))
            server.process.send_signal(signal.SIGTERM)
            while not got.endswith(b"</hits>"):
                got += client.recv(1000)
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


# --- A program of the guide --------------------------------------------------------------------------------


def program_of_the_guide_goes_on(folder, backend):
    with Server(folder, program=f"{BUILD}/docs/guide/steps/upgrade", backend=backend) as server:
        server.wait_for("running")
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            for client in (one, two):
                client.connect(f"{folder}/sums.sock")
            said = one.makefile()
            one.sendall(b"5\n")
            assert said.readline() == "5 of 5\n"
            one.sendall(b"1")  # not a line yet
            two.sendall(b"7\n")
            assert two.makefile().readline() == "7 of 12\n"
            server.upgrade()
            one.sendall(b"0\n3\n")
            assert [said.readline(), said.readline()] == ["15 of 22\n", "18 of 25\n"]
            server.upgrade()
            two.sendall(b"1\n")
            assert two.makefile().readline() == "8 of 26\n"
        assert server.stop() == -signal.SIGTERM
        assert not os.path.exists(f"{folder}/sums.sock")


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
