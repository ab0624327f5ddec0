#!/usr/bin/env python3
"""plaitd is upgraded while it serves: nobody is refused, nothing is lost or repeated, and what can't be upgraded goes on. Speaks TAP.

    tests/upgrade_test.py [NAME...]         only the tests that have NAME in their names

PLAIT_CLIENTS=N and PLAIT_UPGRADES=N say how many there are under load (1000 and 10).
"""
import contextlib
import json
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import sys
import threading

import tap
from clients import Client, Control, FibClient, connect, fibonacci, receive_until
from server import (LISTEN, PLAITD, Datagrams, Server, background, backends, end, is_readable, needs_root, open_process, port_in, run, status_of, stop, text_of, wait_for_end,
                    wait_for_text, write)
from tap import BUILD, PATIENCE_S, equal

CLIENTS = int(os.environ.get("PLAIT_CLIENTS", "1000"))
UPGRADES = int(os.environ.get("PLAIT_UPGRADES", "10"))


# --- Processes -------------------------------------------------------------------------------------------


def lives(pid):
    if (process := open_process(pid)) is None:
        return False
    with os.fdopen(process) as fd:
        return not is_readable(fd)


class Dynasty(Server):
    """A plaitd and its successors."""

    def __init__(self, folder, *arguments, backend="epoll", **more):
        super().__init__(folder, *arguments, backend=backend, **more)
        self.pids, self.successors = [self.process.pid], []

    def succeeded_by(self, pid):
        self.pids.append(pid)
        if (process := open_process(pid)) is not None:
            self.successors.append(process)
        return pid

    def ask_for_upgrade(self):
        os.kill(self.pids[-1], signal.SIGUSR2)

    def upgrade(self):
        """The number of the process that serves from now on."""
        self.ask_for_upgrade()
        entry = self.wait_for("handed over", "failed; this process goes on")
        assert entry["message"] == "handed over", entry
        return self.succeeded_by(entry["pid"])

    def fail_to_upgrade(self):
        self.ask_for_upgrade()
        entry = self.wait_for("handed over", "failed; this process goes on")
        assert entry["message"] == "failed; this process goes on", entry
        return entry["why"]

    def __exit__(self, *error):
        for process in self.successors:  # when all is well they have ended before the first one
            end(process)
        super().__exit__(*error)


# --- Clients ---------------------------------------------------------------------------------------------


class Crowd(threading.Thread):
    """Many connections at once. Those that ask write a byte, and another at the end of each answer."""

    def __init__(self, port, n, asks, answer_end=b"\n"):
        super().__init__()
        self.answer_end = answer_end
        self.sockets = [connect(port) for _ in range(n)]
        self.asks, self.rest, self.trouble = asks, False, []
        self.heard = {each: bytearray() for each in self.sockets}
        self.open = set(self.sockets)
        self.wake, self.woken = socket.socketpair()
        self.start()

    def hear(self, each):
        data = b""
        try:
            data = each.recv(1 << 18)
            if self.asks and data.endswith(self.answer_end):
                if self.rest:
                    self.resting.add(each)
                else:
                    each.sendall(b"x")
        except OSError as error:
            self.trouble.append(str(error))
        self.heard[each] += data
        if not data:
            self.open.discard(each)
            self.selector.unregister(each)

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

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # so that the thread ends
        self.join(PATIENCE_S)
        for each in (*self.sockets, self.wake, self.woken):
            each.close()


# --- fib -------------------------------------------------------------------------------------------------


def connection_goes_on_in_the_new_process(folder, backend):
    with Dynasty(folder, "fib", "--listen", LISTEN, backend=backend) as server:
        port = server.port()
        with FibClient(port) as client:
            assert [client.ask(), client.ask()] == [2, 3]
            pid = server.upgrade()
            assert pid != server.process.pid
            assert [client.ask(), client.ask()] == [5, 8]
            with FibClient(port) as other:
                assert other.ask() == 13
            server.upgrade()
            assert client.ask() == 21
        assert server.stop() == -signal.SIGTERM


def fib_is_upgraded_under_load(folder, backend):
    with Dynasty(folder, "fib", "--listen", LISTEN, backend=backend) as server:
        port = server.port()
        with Crowd(port, CLIENTS, asks=True) as crowd:
            for _ in range(UPGRADES):
                server.upgrade()
                with FibClient(port) as stranger:
                    assert stranger.ask() is not None
            crowd.stop_asking()
            assert server.stop() == -signal.SIGTERM
            assert not crowd.trouble and len(crowd.open) == CLIENTS, (crowd.trouble[:3], len(crowd.open))
        frozen = [entry["frozen_us"] for entry in server.seen if entry["message"] == "handed over"]
    numbers = [int(line) for each in crowd.sockets for line in crowd.heard[each].split()]
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
    write(path + ".new", text)
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
    with Dynasty(folder, "fib", "--listen", LISTEN, program=program, backend=backend) as server:
        port = server.port()
        with FibClient(port) as client:
            numbers = [client.ask()]
            for story, said in STORIES:
                install(program, FALSE_SUCCESSOR.replace("STORY", story))
                client.send()  # its answer is under way, or it is asked while all rests
                why = server.fail_to_upgrade()
                assert said in why, (story, why)
                numbers.append(client.answer())
                with FibClient(port) as other:
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
    write(log)
    assert run("--save", f"{folder}/a.tap", "fib", "--listen", LISTEN)[0] == 0
    assert run("--save", f"{folder}/b.tap", "weblog", "--log", log, "--listen", LISTEN)[0] == 0
    with Dynasty(folder, "-o", "-f", "a.tap") as server:
        port = server.port()
        with FibClient(port) as client:
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
    with Dynasty(folder, "--pidfile", "plaitd.pid", "fib", "--listen", LISTEN, program=program) as server:
        port = server.port()
        os.mkfifo(f"{folder}/started")
        install(program, FALSE_SUCCESSOR.replace("STORY", f"open('{folder}/started', 'w').write(str(os.getpid())); time.sleep(600)"))
        server.wait_for("running")
        server.ask_for_upgrade()
        server.wait_for("starting the new process")
        server.ask_for_upgrade()
        assert server.wait_for("refused")["why"] == "an upgrade is under way: busy"
        equal(run("--upgrade", "-d", folder), (1, "", "plaitd: an upgrade is under way: busy\n"))
        os.kill(server.process.pid, signal.SIGHUP)
        server.wait_for("reopened")
        with FibClient(port) as client:
            assert client.ask() == 2
        started = int(text_of(f"{folder}/started"))
        assert server.stop() == -signal.SIGTERM
        assert not lives(started)


def file_of_an_application_without_state_goes_with_it(folder):
    for service in ("a", "b"):
        write(f"{folder}/{service}.log")
    assert run("--save", f"{folder}/a.tap", "weblog", "--log", "a.log", "--listen", LISTEN)[0] == 0
    assert run("--save", f"{folder}/b.tap", "fib", "--listen", LISTEN)[0] == 0
    with Dynasty(folder, "-o", "-f", "a.tap") as server:
        server.port()
        server.wait_for("running")
        server.upgrade()
        os.rename(f"{folder}/a.tap", f"{folder}/mine.tap")
        os.rename(f"{folder}/b.tap", f"{folder}/a.tap")
        assert "'fib' now, not 'weblog'" in server.fail_to_upgrade()
        os.rename(f"{folder}/mine.tap", f"{folder}/a.tap")
        server.upgrade()
        status, _, err = run("-n", "-f", "a.tap", folder=folder)
        assert status == 1 and "busy" in err, err
        assert server.stop() == -signal.SIGTERM


def upgrade_of_what_is_stopping_is_refused(folder):
    """Else what was told to stop would go on in a new process."""
    log = f"{folder}/access.log"
    with open(log, "wb") as file:
        for _ in range(10000):
            file.write(b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "' + b"x" * 1000 + b'"\n')
    with Dynasty(folder, "--pidfile", "plaitd.pid", "weblog", "--log", log, "--from-start", "--listen", LISTEN, "--interval", "0") as server:
        with connect_narrow(server.port()):  # it does not read, so it is waited for
            server.wait_for("connected")
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("stopping")
            server.ask_for_upgrade()  # it may come in the turn of the stop, and is given up then
            entry = server.wait_for("refused", "failed; this process goes on", "handed over")
            assert entry.get("why") == "the program is stopping: not possible in this state", entry
            server.ask_for_upgrade()
            entry = server.wait_for("refused", "starting the new process")
            assert entry.get("why") == "the program is stopping: not possible in this state", entry
            equal(run("--upgrade", "-d", folder), (1, "", "plaitd: the program is stopping: not possible in this state\n"))
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


# --- Who is the main process -------------------------------------------------------------------------------


def first_process_stands_in_for_its_successors(folder, backend):
    log, pidfile = f"{folder}/log", f"{folder}/fib.pid"
    with Dynasty(folder, "-l", "log", "--pidfile", "fib.pid", "fib", "--listen", LISTEN, backend=backend) as server:
        wait_for_text(log, "running")
        first = server.process.pid
        with FibClient(port_in(log)) as client:
            assert client.ask() == 2
            for _ in range(3):
                equal(run("--upgrade", "--pidfile", "fib.pid", folder=folder), (0, "", ""))
                server.succeeded_by(int(text_of(pidfile)))
            for pid in server.pids[1:-1]:
                wait_for_end(pid)
            assert len(set(server.pids)) == 4 and lives(first) and lives(server.pids[-1])
            os.rename(log, f"{log}.old")
            os.kill(first, signal.SIGHUP)
            wait_for_text(log, "reopened")
            os.kill(first, signal.SIGUSR2)
            now = json.loads(wait_for_text(log, "handed over"))["pid"]
            assert now not in server.pids and int(text_of(pidfile)) == server.succeeded_by(now)
            assert client.ask() == 3
            assert server.stop(signal.SIGINT) == -signal.SIGINT
        assert "fib.pid" not in os.listdir(folder)
        wait_for_end(server.pids[-1])


def stand_in_and_successor_end_together(folder):
    with Dynasty(folder, "fib", "--listen", LISTEN) as server:
        server.port()
        pid = server.upgrade()
        server.process.kill()
        wait_for_end(pid)
    with Dynasty(folder, "-o", "fib", "--listen", LISTEN) as server:
        server.port()
        server.upgrade()
        os.kill(server.upgrade(), signal.SIGKILL)
        assert server.process.wait(PATIENCE_S) == 1


def daemon_s_pidfile_changes_hands(folder):
    with background(folder, "fib", "--listen", f"unix:{folder}/fib.sock") as first:
        pids = [first]
        for number in fibonacci(5):
            with FibClient(f"{folder}/fib.sock") as client:
                equal(run("--upgrade", folder=folder), (0, "", ""))
                assert client.ask() == number
            pids.append(int(text_of(f"{folder}/plaitd.pid")))
            wait_for_end(pids[-2])
            status, _, err = run("fib", "--listen", LISTEN, folder=folder)
            assert status == 1 and f"process {pids[-1]} runs" in err, err
        assert len(set(pids)) == 6
        stop(pids[-1])
    assert sorted(os.listdir(folder)) == ["fib-shutdown.tap", "fib.tap", "plaitd.log"]
    status, _, err = run("--upgrade", folder=folder)
    assert status == 1 and "nobody answers there" in err and err.count("\n") == 1, err


def supervisor_is_told_of_the_new_main_process(folder):
    with Datagrams(f"{folder}/notify") as notify:
        with Dynasty(folder, "fib", "--listen", LISTEN, env=notify.environment(WATCHDOG_USEC="200000")) as server:
            notify.wait_for("READY=1")
            pid = server.upgrade()
            notify.wait_for(f"MAINPID={pid}")
            if "READY=1" not in notify.got[-1]:
                notify.wait_for("READY=1")
            notify.wait_for("WATCHDOG=1")
            assert server.process.wait(PATIENCE_S) == 0 and server.process.pid != pid  # it has nobody to stand in for
            os.kill(pid, signal.SIGTERM)
            notify.wait_for("STOPPING=1")
            assert sum("STOPPING=1" in one for one in notify.got) == 1
            wait_for_end(pid)


def connection_that_can_t_be_saved_stays_until_it_ends(folder):
    with Dynasty(folder, "--pidfile", "fib.pid", "fib", "--listen", LISTEN, env=dict(os.environ, NOTIFY_SOCKET="")) as server:
        server.wait_for("running")
        with Control(f"{folder}/fib.control") as control:
            assert control.ask("status")["pid"] == server.process.pid
            pid = server.upgrade()
            assert control.ask("status")["pid"] == server.process.pid
            with Control(f"{folder}/fib.control") as other:
                assert other.ask("status")["pid"] == pid
        assert server.stop() == -signal.SIGTERM


def user_and_root_folder_are_kept(folder):
    needs_root()
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/run", 0o755)
    log = f"{folder}/access.log"
    write(log)
    os.chmod(log, 0o600)  # it is opened before the user changes, and never again
    shutil.chown(f"{folder}/run", "nobody")
    with background(f"{folder}/run", "-d", f"{folder}/run", "-u", "nobody", "weblog", "--log", log, "--interval", "0", "--listen", f"unix:{folder}/run/web.sock"):
        with connect(f"{folder}/run/web.sock") as client:
            equal(run("--upgrade", "-d", f"{folder}/run"), (0, "", ""))
            pid = int(text_of(f"{folder}/run/plaitd.pid"))
            assert "0" not in status_of(pid)["Uid"].split()
            with open(log, "a", encoding="ascii") as file:
                file.write('1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /1 HTTP/1.1" 200 1 "-" "-"\n')
            receive_until(client, b"GET /1 ")
        stop(pid)


# --- weblog ----------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """A web server: its log grows, and is rotated now and then."""

    def __init__(self, path):
        super().__init__()
        self.path, self.written, self.rotated = path, 0, 0
        self.enough, self.more = threading.Event(), threading.Condition()
        self.start()

    def run(self):
        file = open(self.path, "ab", buffering=0)
        while not self.enough.wait(0.002):
            line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /%d HTTP/1.1" 200 1 "-" "-"\n' % self.written
            cut = self.written % len(line)
            file.write(line[:cut])  # in two pieces, so that an upgrade finds lines that are not whole
            file.write(line[cut:])
            with self.more:
                self.written += 1
                self.more.notify()
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

    def wait_for_more(self, lines):
        with self.more:
            goal = self.written + lines
            assert self.more.wait_for(lambda: self.written >= goal, PATIENCE_S), "it writes no more"

    def stop(self):
        self.enough.set()
        self.join()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


def hits_in(document):
    return [int(number) for number in re.findall(rb'"GET /(\d+) ', bytes(document))]


def weblog_is_upgraded_under_load(folder, backend):
    log = f"{folder}/access.log"
    with Writer(log) as writer, \
            Dynasty(folder, "weblog", "--log", log, "--listen", LISTEN, "--pull", LISTEN, "--interval", "0", backend=backend) as server, \
            Crowd(server.port(), CLIENTS // 10 * 9, asks=False) as push, Crowd(server.port(), CLIENTS // 10, asks=True, answer_end=b">") as pull:
        for _ in range(UPGRADES):
            server.upgrade()
            writer.wait_for_more(20)
        writer.stop()
        assert server.stop() == -signal.SIGTERM
        for crowd in (push, pull):
            crowd.join(PATIENCE_S)
            assert not crowd.trouble and not crowd.open, (crowd.trouble[:3], len(crowd.open))
    for document in (*push.heard.values(), *pull.heard.values()):
        assert document.startswith(b"<hits>") and document.endswith(b"</hits>"), (document[:100], document[-100:])
        hits = hits_in(document)
        assert hits == list(range(hits[0], writer.written)), f"{len(hits)} hits from {hits[0]}, of {writer.written}"
    frozen = [entry["frozen_us"] for entry in server.seen if entry["message"] == "handed over"]
    print(f"# {writer.written} hits, {UPGRADES} upgrades; frozen for {min(frozen) // 1000} to {max(frozen) // 1000} ms", file=sys.stderr)


def connect_narrow(port):
    """To a port; little of what is not read is on its way."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", port))
    return client


def client_that_does_not_read_gets_all_in_the_end(folder, backend):
    log = f"{folder}/access.log"
    line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /%d HTTP/1.1" 200 1 "-" "' + b"x" * 1000 + b'"\n'
    write(log)
    with Dynasty(folder, "weblog", "--log", log, "--listen", LISTEN, "--interval", "0", backend=backend) as server:
        with connect_narrow(server.port()) as client:
            server.wait_for("connected")
            lines = 0
            for _ in range(3):
                with open(log, "ab") as file:
                    for _ in range(5000):
                        file.write(line % lines)
                        lines += 1
                server.upgrade()
            assert hits_in(receive_until(client, b"GET /%d " % (lines - 1))) == list(range(lines))
            server.process.send_signal(signal.SIGTERM)
            receive_until(client, b"</hits>")
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


# --- A program of the guide --------------------------------------------------------------------------------


def program_of_the_guide_goes_on(folder, backend):
    with Dynasty(folder, program=f"{BUILD}/docs/guide/steps/upgrade", backend=backend) as server:
        server.wait_for("running")
        with Client(f"{folder}/sums.sock") as one, Client(f"{folder}/sums.sock") as two:
            one.send(b"5\n")
            assert one.lines.readline() == b"5 of 5\n"
            one.send(b"1")  # not a line yet
            two.send(b"7\n")
            assert two.lines.readline() == b"7 of 12\n"
            server.upgrade()
            one.send(b"0\n3\n")
            assert [one.lines.readline(), one.lines.readline()] == [b"15 of 22\n", b"18 of 25\n"]
            server.upgrade()
            two.send(b"1\n")
            assert two.lines.readline() == b"8 of 26\n"
        assert server.stop() == -signal.SIGTERM
        assert not os.path.exists(f"{folder}/sums.sock")


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sys.exit(tap.main(tap.claims(globals(), backends("uring", "epoll"))))
