#!/usr/bin/env python3
"""plaitd as operators and supervisors see it: in the background, its log, its privileges, its sandbox, how it tells that it is ready. Speaks TAP."""
import contextlib
import inspect
import json
import os
import queue
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading

import tap

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.realpath(os.environ.get("PLAIT_BUILD", os.path.join(TOP, "build")))
PLAITD = os.path.join(BUILD, "plaitd")
PLUGINS = os.path.join(BUILD, "tests/plugins")
PATIENCE_S = 60  # for what must happen; nothing waits this long when all is well
LISTEN = "tcp:0:interface=127.0.0.1"
EPERM, EACCES, ENOENT, ECONNREFUSED = 1, 13, 2, 111


def needs_root():
    if os.geteuid() != 0:
        raise tap.Skip("only root can do that")


def run(*arguments, folder=None, **more):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([PLAITD, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **more)
    print(f"# plaitd {' '.join(arguments)} -> {done.returncode}: {done.stderr!r}", file=sys.stderr)
    return done.returncode, done.stdout, done.stderr


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def wait_until_readable(fd):
    assert select.select([fd], [], [], PATIENCE_S)[0], "nothing came"


def wait_for_end(pid):
    """Of a process that is no child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    wait_until_readable(fd)
    os.close(fd)


@contextlib.contextmanager
def background(folder, *arguments, pidfile="plaitd.pid", **more):
    """A plaitd in the background; gives its number."""
    status, out, err = run(*arguments, folder=folder, **more)
    assert (status, out) == (0, ""), (status, out, err)
    pid = int(text_of(os.path.join(folder, pidfile)))
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)


def stop(pid, signum=signal.SIGTERM):
    os.kill(pid, signum)
    wait_for_end(pid)


def port_in(log):
    return int(re.search(r"address=127\.0\.0\.1:(\d+)", text_of(log))[1])


class Server:
    """A plaitd in the foreground; what it logs can be waited for."""

    def __init__(self, folder, *arguments, **more):
        self.entries, self.seen = queue.Queue(), []
        self.process = subprocess.Popen([PLAITD, "-n", "--log-format", "json", *arguments], cwd=folder, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True, **more)
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


def ask(port):
    """The next number of fib."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"x")
        return int(client.makefile().readline())


def status_of(pid):
    return dict(line.split(":\t", 1) for line in text_of(f"/proc/{pid}/status").splitlines() if ":\t" in line)


# --- Into the background ---------------------------------------------------------------------------------


def start_in_the_background_returns_when_clients_are_served(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        assert ask(port_in(f"{folder}/plaitd.log")) == 2
        stop(pid)
    assert sorted(os.listdir(folder)) == ["fib-shutdown.tap", "fib.tap", "plaitd.log"], os.listdir(folder)


def daemon_is_cut_off_from_who_started_it(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        assert os.getsid(pid) not in (os.getsid(0), pid), "it leads a session, or is in ours"
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
        assert status_of(pid)["PPid"] != str(os.getpid())
        assert status_of(pid)["Umask"] == "0077"


def start_that_fails_says_why_and_leaves_nothing(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, out, err = run("fib", "--listen", f"tcp:127.0.0.1:{other.getsockname()[1]}", folder=folder)
    assert (status, out) == (1, "") and "address already in use" in err and err.count("\n") == 1, err
    assert os.listdir(folder) == ["plaitd.log"]


def start_with_a_state_that_is_damaged_fails(folder):
    with open(f"{folder}/fib.tap", "wb") as file:
        file.write(b"no state" * 1000)
    status, _, err = run("fib", "--listen", LISTEN, folder=folder)
    assert status == 1 and "not a .tap file" in err, err
    assert not os.path.exists(f"{folder}/plaitd.pid")


def rundir_is_where_names_are_looked_up(folder):
    os.mkdir(f"{folder}/run")
    with background(f"{folder}/run", "-d", f"{folder}/run", "fib", "--listen", LISTEN) as pid:
        assert os.readlink(f"/proc/{pid}/cwd") == f"{folder}/run"
        stop(pid)
    assert os.path.exists(f"{folder}/run/fib.tap")
    status, _, err = run("-d", f"{folder}/none", "fib", folder=folder)
    assert status == 1 and "--rundir" in err, err


def umask_is_as_told(folder):
    with background(folder, "--umask", "027", "fib", "--listen", LISTEN) as pid:
        assert status_of(pid)["Umask"] == "0027"
        assert os.stat(f"{folder}/plaitd.log").st_mode & 0o777 == 0o640
    for wrong in ("8", "1777", "", "0x1"):
        assert run("-n", "--umask", wrong, "fib", folder=folder)[0] == 2


def root_folder_is_as_told(folder):
    needs_root()
    os.mkdir(f"{folder}/jail")
    os.mkdir(f"{folder}/jail/inner")
    with background(f"{folder}/jail/inner", "--chroot", f"{folder}/jail", "-d", "/inner", "-u", "nobody", "weblog", "--log", "/log",
                    "--listen", LISTEN) as pid:
        assert os.readlink(f"/proc/{pid}/root") == f"{folder}/jail"
        assert status_of(pid)["Uid"].split()[0] != "0", "the user is looked up before the root folder changes"


# --- The pidfile -----------------------------------------------------------------------------------------


def pidfile_of_one_that_lives_refuses_another(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        status, _, err = run("weblog", "--log", "log", "--listen", LISTEN, folder=folder)
        assert status == 1 and f"process {pid} runs" in err, err
        assert text_of(f"{folder}/plaitd.pid") == f"{pid}\n"
        with background(folder, "--pidfile", "other.pid", "-l", "other.log", "weblog", "--log", "log", "--listen", LISTEN, pidfile="other.pid"):
            pass


def pidfile_that_is_stale_is_replaced(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        stop(pid, signal.SIGKILL)
    assert text_of(f"{folder}/plaitd.pid") == f"{pid}\n"
    with open(f"{folder}/plaitd.pid", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")  # a process of that number lives, but it is another
    with background(folder, "fib", "--listen", LISTEN) as other:
        assert text_of(f"{folder}/plaitd.pid") == f"{other}\n"
        stop(other)
    assert not os.path.exists(f"{folder}/plaitd.pid")


def pidfile_that_is_something_else_is_left_alone(folder):
    with open(f"{folder}/notes", "w", encoding="ascii") as file:
        file.write("42 is the answer\n")
    status, _, err = run("-n", "--pidfile", "notes", "fib", "--listen", LISTEN, folder=folder)
    assert status == 1 and "notes is no pidfile" in err, err
    assert text_of(f"{folder}/notes") == "42 is the answer\n"


def foreground_has_a_pidfile_when_told(folder):
    with Server(folder, "--pidfile", "here.pid", "fib", "--listen", LISTEN) as server:
        server.wait_for("running")
        assert text_of(f"{folder}/here.pid") == f"{server.process.pid}\n"
        server.stop()
    assert not [name for name in os.listdir(folder) if name.endswith(".pid")]


# --- The log ---------------------------------------------------------------------------------------------


def log_is_rotated_by_size_and_old_ones_are_bounded(folder):
    with Server(folder, "-l", "log", "--log-size", "300", "--log-keep", "2", "--ready-fd", "1", "weblog", "--log", "hits", "--listen", LISTEN,
                stdout=subprocess.PIPE) as server:
        assert server.process.stdout.read() == "\n"
        port = int(re.search(r"127\.0\.0\.1:(\d+)\\?\"", "".join(text_of(f"{folder}/{name}") for name in os.listdir(folder) if "log" in name))[1])
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.recv(100)
        server.stop()
        server.process.stdout.close()
    assert sorted(os.listdir(folder)) == ["log", "log.1", "log.2"], os.listdir(folder)
    for name in os.listdir(folder):
        text = text_of(f"{folder}/{name}")
        assert 0 < len(text) <= 300 or text.count("\n") == 1, (name, text)
        assert all(json.loads(line) for line in text.splitlines())
    assert '"stopping"' in "".join(text_of(f"{folder}/{name}") for name in os.listdir(folder))


def log_of_yesterday_is_rotated(folder):
    with open(f"{folder}/plaitd.log", "w", encoding="ascii") as file:
        file.write("yesterday\n")
    os.utime(f"{folder}/plaitd.log", (1e9, 1e9))
    with background(folder, "--log-every", "86400", "weblog", "--log", "hits", "--listen", LISTEN) as pid:
        assert text_of(f"{folder}/plaitd.log.1") == "yesterday\n"
        assert "listening" in text_of(f"{folder}/plaitd.log")
        stop(pid)
    assert not os.path.exists(f"{folder}/plaitd.log.2")


def log_that_is_to_keep_none_is_begun_anew(folder):
    with open(f"{folder}/plaitd.log", "w", encoding="ascii") as file:
        file.write("long\n" * 1000)
    with background(folder, "--log-size", "2K", "--log-keep", "0", "weblog", "--log", "hits", "--listen", LISTEN):
        assert "long" not in text_of(f"{folder}/plaitd.log") and not os.path.exists(f"{folder}/plaitd.log.1")


def log_that_cannot_be_rotated_goes_on_and_says_so(folder):
    with open(f"{folder}/plaitd.log", "w", encoding="ascii") as file:
        file.write("long\n" * 1000)
    os.makedirs(f"{folder}/plaitd.log.1/x")  # nothing can take its place
    with background(folder, "--log-size", "2K", "--log-keep", "1", "weblog", "--log", "hits", "--listen", LISTEN):
        text = text_of(f"{folder}/plaitd.log")
    assert text.startswith("long\n") and text.count("the file could not be rotated") == 1 and "listening" in text, text[5000:]


def wait_for_text(path, text):
    """Of a file that somebody writes, and that need not be there yet."""
    with subprocess.Popen(["tail", "-n", "+1", "-F", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as follower:
        patience = threading.Timer(PATIENCE_S, follower.kill)
        patience.start()
        found = any(text in line for line in follower.stdout)
        patience.cancel()
        follower.kill()
    assert found, f"{path} never had {text!r}"


def hangup_opens_the_log_anew(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        os.rename(f"{folder}/plaitd.log", f"{folder}/moved")
        os.kill(pid, signal.SIGHUP)
        wait_for_text(f"{folder}/plaitd.log", "reopened")
        assert ask(port_in(f"{folder}/moved")) == 2
        stop(pid)
    assert "stopping" in text_of(f"{folder}/plaitd.log") and "stopping" not in text_of(f"{folder}/moved")


def full_disk_loses_lines_and_no_service(folder):
    os.symlink("/dev/full", f"{folder}/log")
    with background(folder, "--no-sandbox", "-l", "log", "fib", "--listen", f"unix:{folder}/s") as pid:
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{folder}/s")
        client.sendall(b"x")
        assert client.recv(10) == b"2\n"
        os.remove(f"{folder}/log")
        os.kill(pid, signal.SIGHUP)
        wait_for_text(f"{folder}/log", "reopened")
        wait_for_text(f"{folder}/log", "lines were lost count=")
        client.close()
        stop(pid)
    assert os.path.exists(f"{folder}/fib-shutdown.tap")


def quiet_and_debug_choose_what_is_logged(folder):
    missing = {"warning"} if "no" in sandbox_of(folder).values() else set()  # a sandbox that lacks something is told even so
    for option, expected in (("-q", set()), ("-b", {"debug", "info"})):
        with Server(folder, option, "--ready-fd", "1", "fib", "--listen", LISTEN, stdout=subprocess.PIPE) as server:
            assert server.process.stdout.read() == "\n"
            server.stop()
            server.reader.join()
            server.process.stdout.close()
            levels = {entry["level"] for entry in iter(server.entries.get_nowait, None)}
        assert levels == expected | missing, levels


def log_to_standard_output(folder):
    with subprocess.Popen([PLAITD, "-n", "-l-", "fib", "--listen", LISTEN], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "running" in line:
                break
        process.terminate()
        assert "stopping" in process.stdout.read() and process.stderr.read() == ""


class Datagrams:
    """A socket that takes datagrams at a path."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(PATIENCE_S)
        self.got = []

    def wait_for(self, text):
        while True:
            self.got.append(self.socket.recv(65536).decode())
            if text in self.got[-1]:
                return self.got[-1]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()


def system_log_is_told_with_severity_and_prefix(folder):
    with Datagrams(f"{folder}/devlog") as log:
        environment = {**os.environ, "PLAIT_SYSLOG": f"{folder}/devlog"}
        with background(folder, "--syslog", "--prefix", "numbers", "weblog", "--log", "hits", "--listen", LISTEN, env=environment) as pid:
            assert log.wait_for("waiting for the log").startswith(f"<28>numbers[{pid}]: warning weblog: waiting")
            line = log.wait_for("running")
            assert re.fullmatch(rf"<30>numbers\[{pid}\]: info reactor: running backend=\w+", line), line
            stop(pid)
        log.wait_for("stopping")
    assert not os.path.exists(f"{folder}/plaitd.log")


def system_log_that_comes_back_is_told_of_what_it_missed(folder):
    environment = {**os.environ, "PLAIT_SYSLOG": f"{folder}/devlog"}
    with Datagrams(f"{folder}/devlog") as log:
        with background(folder, "--syslog", "--no-sandbox", "weblog", "--log", "hits", "--listen", f"unix:{folder}/s", env=environment) as pid:
            log.wait_for("running")
            log.socket.close()
            os.remove(f"{folder}/devlog")
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(f"{folder}/s")
                    client.recv(100)
            with Datagrams(f"{folder}/devlog") as again:
                os.kill(pid, signal.SIGHUP)
                again.wait_for("lines were lost")
            stop(pid)
    status, _, err = run("-n", "--syslog", "fib", "--listen", LISTEN, folder=folder, env=environment)
    assert status == 1 and "--syslog" in err, err


# --- Signals ---------------------------------------------------------------------------------------------


def it_ends_by_the_signal_that_stopped_it_in_order(folder):
    for signum in (signal.SIGTERM, signal.SIGINT):
        with Server(folder, "fib", "--listen", LISTEN) as server:
            ask(server.port())
            assert server.stop(signum) == -signum
        os.remove(f"{folder}/fib-shutdown.tap")  # the end was whole


def second_signal_ends_it_at_once(folder):
    with Server(folder, "fib", "--listen", LISTEN) as server:
        with socket.create_connection(("127.0.0.1", server.port()), PATIENCE_S) as client:
            client.sendall(b"x")
            client.recv(10)
            server.process.terminate()
            server.wait_for("stopping")
            assert client.recv(10) == b"", "its end waits for ours"
            assert server.stop() == -signal.SIGTERM
    assert not os.path.exists(f"{folder}/fib-shutdown.tap"), "it went through its orderly end"


# --- Privileges ------------------------------------------------------------------------------------------


def privileged_port():
    """A port below 1024 that nobody has."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise tap.Skip("no port below 1024 is free")


def privileges_are_dropped_for_good_once_ports_are_bound(folder):
    needs_root()
    os.chmod(folder, 0o777)
    port = privileged_port()
    for who in (["-u", "nobody"], ["--uid", "65534", "-g", "65534"], ["-u", "54321", "-g", "54321"]):
        uid = "54321" if "54321" in who else "65534"
        with background(folder, *who, "fib", "--listen", f"tcp:127.0.0.1:{port}") as pid:
            ask(port)
            status = status_of(pid)
            assert status["Uid"].split() == [uid] * 4 and status["Gid"].split() == [uid] * 4, status
            assert status["Groups"].split() == [uid], status["Groups"]
            assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}, status
            assert status["NoNewPrivs"] == "1"
            stop(pid)
        assert os.stat(f"{folder}/fib.tap").st_uid == int(uid)
        for name in os.listdir(folder):
            os.remove(f"{folder}/{name}")


def log_belongs_to_the_user_so_that_it_can_be_rotated(folder):
    needs_root()
    os.chmod(folder, 0o777)
    with background(folder, "-u", "nobody", "fib", "--listen", LISTEN) as pid:
        assert os.stat(f"{folder}/plaitd.log").st_uid == 65534
        os.rename(f"{folder}/plaitd.log", f"{folder}/moved")
        os.kill(pid, signal.SIGHUP)
        wait_for_text(f"{folder}/plaitd.log", "reopened")


def log_that_is_a_link_is_not_given_away(folder):
    needs_root()
    os.chmod(folder, 0o777)
    with open(f"{folder}/secret", "w", encoding="ascii"):
        os.symlink("secret", f"{folder}/plaitd.log")
    with background(folder, "-u", "nobody", "fib", "--listen", LISTEN):
        assert os.stat(f"{folder}/secret").st_uid == 0


def effective_user_can_be_another(folder):
    needs_root()
    os.chmod(folder, 0o777)
    with background(folder, "--euid", "-u", "nobody", "fib", "--listen", LISTEN) as pid:
        assert status_of(pid)["Uid"].split() == ["0", "65534", "0", "65534"]


def user_in_a_file_is_who_runs_it(folder):
    needs_root()
    os.chmod(folder, 0o777)
    assert run("--save", "numbers.tap", "-u", "nobody", "fib", "--listen", LISTEN, folder=folder)[0] == 0
    os.chown(f"{folder}/numbers.tap", 65534, 65534)
    with background(folder, "-f", "numbers.tap") as pid:
        assert status_of(pid)["Uid"].split() == ["65534"] * 4
    assert ask_who(folder, "-u", "daemon", "-f", "numbers.tap") == "1", "the command line knows better"


def ask_who(folder, *arguments):
    os.chown(f"{folder}/numbers.tap", 1, 1)
    for name in ("numbers.tap-wal", "numbers.tap-shm", "plaitd.log"):
        with contextlib.suppress(FileNotFoundError):
            os.chown(f"{folder}/{name}", 1, 1)
    with background(folder, *arguments) as pid:
        return status_of(pid)["Uid"].split()[0]


def user_or_group_that_is_not_there_is_a_mistake_of_use(folder):
    for arguments, said in ((["-u", "no-such-user"], "there is no user 'no-such-user'"), (["-g", "no-such-group"], "there is no group"),
                            (["-u", "4294967295"], "there is no user"), (["-u", "54321"], "--gid names one"), (["--euid"], "--euid is of")):
        status, out, err = run("-n", *arguments, "fib", "--listen", LISTEN, folder=folder)
        assert (status, out) == (2, "") and said in err and err.count("\n") == 1, (arguments, status, err)
    assert os.listdir(folder) == []


# --- The sandbox -----------------------------------------------------------------------------------------


def misbehave(folder, *arguments, service="misbehave", before=()):
    """What came of it: 0 or an errno."""
    with Server(folder, "--plugin-dir", PLUGINS, *before, service, "--do", *arguments) as server:
        result = -server.wait_for("done")["result"]
        server.wait_for("running")
        assert server.stop() == -signal.SIGTERM
        return result


def sandbox_of(folder):
    with Server(folder, "fib", "--listen", LISTEN) as server:
        return server.wait_for("in force")


def needs(fence, folder):
    entry = sandbox_of(folder)
    if entry[fence] == "no":
        raise tap.Skip(f"no {fence} here")
    return int(re.sub(r"\D", "", entry[fence]) or 0)


def refused_inside_and_done_without(folder, error, *arguments):
    assert misbehave(folder, *arguments, before=["--no-sandbox"]) == 0, "it can't be done at all"
    assert misbehave(folder, *arguments) == error
    assert misbehave(folder, *arguments, service="hermit") == 0, "a service that is not made for it is left alone"


def files_that_nobody_named_are_not_read(folder):
    needs("landlock", folder)
    os.mkdir(f"{folder}/in")
    with open(f"{folder}/secret", "w", encoding="ascii"):
        refused_inside_and_done_without(f"{folder}/in", EACCES, "read", "--path", f"{folder}/secret")
    assert misbehave(f"{folder}/in", "read", "--path", "/etc/passwd") == EACCES


def files_that_nobody_named_are_not_written(folder):
    needs("landlock", folder)
    os.mkdir(f"{folder}/in")
    refused_inside_and_done_without(f"{folder}/in", EACCES, "write", "--path", f"{folder}/new")


def files_that_were_named_are_open(folder):
    needs("landlock", folder)
    os.mkdir(f"{folder}/data")
    with open(f"{folder}/data/file", "w", encoding="ascii"):
        pass
    for allowed in (f"{folder}/data", f"{folder}/data/file"):
        assert misbehave(folder, "read", "--path", f"{folder}/data/file", "--allow-read", allowed) == 0
        assert misbehave(folder, "write", "--path", f"{folder}/data/file", "--allow-read", allowed) == EACCES
        assert misbehave(folder, "write", "--path", f"{folder}/data/file", "--allow-write", allowed) == 0
    assert misbehave(folder, "write", "--path", f"{folder}/data/new", "--allow-write", f"{folder}/data") == 0


def connections_and_ports_that_nobody_named_are_refused(folder):
    if needs("landlock", folder) < 4:
        raise tap.Skip("this kernel's Landlock knows no ports")
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        refused_inside_and_done_without(folder, EACCES, "connect", "--port", port)
        assert misbehave(folder, "connect", "--port", port, "--allow-connect") == 0
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    refused_inside_and_done_without(folder, EACCES, "bind", "--port", port)


def other_programs_are_not_run(folder):
    needs("seccomp", folder)
    refused_inside_and_done_without(folder, EPERM, "run")
    assert misbehave(folder, "exec") == EPERM
    assert misbehave(folder, "exec", before=["--no-sandbox"]) == ENOENT


def other_calls_are_refused(folder):
    needs("seccomp", folder)
    for what in ("trace", "ring", "signal"):
        refused_inside_and_done_without(folder, EPERM, what)


def raw_packets_are_refused(folder):
    needs("seccomp", folder)
    needs_root()
    refused_inside_and_done_without(folder, EPERM, "packets")


def sandbox_says_which_fences_there_are(folder):
    entry = sandbox_of(folder)
    assert set(entry) >= {"landlock", "seccomp", "uring"}, entry
    with Server(folder, "--no-sandbox", "-r", "epoll", "fib", "--listen", LISTEN) as server:
        assert server.wait_for("not in force")["why"] == "--no-sandbox"
    with Server(folder, "--plugin-dir", PLUGINS, "hermit") as server:
        assert server.wait_for("not in force")["service"] == "hermit"


def socket_file_is_removed_by_who_is_shut_in(folder):
    os.mkdir(f"{folder}/sockets")
    with Server(folder, "fib", "--listen", f"unix:{folder}/sockets/s") as server:
        server.wait_for("running")
        assert os.listdir(f"{folder}/sockets") == ["s"]
        server.stop()
    assert os.listdir(f"{folder}/sockets") == []


# --- Supervisors -----------------------------------------------------------------------------------------


def supervisor_is_told_of_each_step(folder):
    for name in (f"{folder}/notify", f"\0plait-test-{os.getpid()}"):
        with Datagrams(name) as notify:
            environment = {**os.environ, "NOTIFY_SOCKET": name.replace("\0", "@")}
            with Server(folder, "fib", "--listen", LISTEN, env=environment) as server:
                port = server.port()
                assert notify.socket.recv(1000) == b"READY=1"
                assert ask(port) >= 2
                server.process.send_signal(signal.SIGHUP)
                assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", notify.socket.recv(1000).decode())
                assert notify.socket.recv(1000) == b"READY=1"
                server.process.terminate()
                assert notify.socket.recv(1000) == b"STOPPING=1"
                assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


def supervisor_hears_nothing_of_a_start_that_failed(folder):
    with Datagrams(f"{folder}/notify") as notify, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"tcp:127.0.0.1:{other.getsockname()[1]}"
        assert run("-n", "fib", "--listen", listen, folder=folder, env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"})[0] == 1
        notify.socket.setblocking(False)
        try:
            raise AssertionError(notify.socket.recv(1000))
        except BlockingIOError:
            pass


def supervisor_is_told_which_process_the_daemon_is(folder):
    with Datagrams(f"{folder}/notify") as notify:
        with background(folder, "fib", "--listen", LISTEN, env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"}) as pid:
            assert notify.socket.recv(1000) == f"MAINPID={pid}\nREADY=1".encode()


def watchdog_hears_that_the_reactor_turns(folder):
    with Datagrams(f"{folder}/notify") as notify:
        environment = {**os.environ, "NOTIFY_SOCKET": f"{folder}/notify", "WATCHDOG_USEC": "50000"}
        with Server(folder, "fib", "--listen", LISTEN, env=environment):
            for _ in range(5):
                notify.wait_for("WATCHDOG=1")
        environment["WATCHDOG_PID"] = "1"
        with Server(folder, "fib", "--listen", LISTEN, env=environment) as server:
            notify.got.clear()
            server.wait_for("running")
            server.process.terminate()
            notify.wait_for("STOPPING=1")
            assert "WATCHDOG=1" not in notify.got[notify.got.index("READY=1"):], "the watchdog waits for another process"


def sockets_of_a_supervisor_are_found_by_place_and_name(folder):
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        high = [os.dup(sock.fileno()) for sock in (first, second)]
        script = f'LISTEN_PID=$$ exec "$@" 3<&{high[0]} 4<&{high[1]}'
        for endpoint, sock in (("systemd:0", first), ("systemd:1", second), ("systemd:numbers", second)):
            environment = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:numbers"}
            with subprocess.Popen(["sh", "-c", script, "sh", PLAITD, "-n", "-l-", "fib", "--listen", endpoint], cwd=folder, env=environment,
                                  pass_fds=high, stdout=subprocess.PIPE) as process:
                ask(sock.getsockname()[1])
                process.terminate()
                process.communicate()
        for endpoint in ("systemd:2", "systemd:nobody"):
            status = subprocess.run(["sh", "-c", script, "sh", PLAITD, "-n", "fib", "--listen", endpoint], cwd=folder, env=environment, pass_fds=high,
                                    check=False, capture_output=True, timeout=PATIENCE_S)
            assert status.returncode == 1 and endpoint.encode() in status.stderr, status
        for fd in high:
            os.close(fd)
    status, _, err = run("-n", "fib", "--listen", "systemd:0", folder=folder, env={**environment, "LISTEN_PID": "1"})
    assert status == 1 and "systemd:0" in err, "they are for another process"


def readiness_is_a_line_and_the_end_of_a_descriptor(folder):
    with Server(folder, "--ready-fd", "1", "fib", "--listen", LISTEN, stdout=subprocess.PIPE) as server:
        assert server.process.stdout.read() == "\n"
        ask(server.port())
        server.process.stdout.close()


# --- More options ----------------------------------------------------------------------------------------


def options_can_stand_in_a_file(folder):
    with open(f"{folder}/plaitd.conf", "w", encoding="ascii") as file:
        file.write(f"# as an operator likes it\n\nnodaemon\nready-fd = 1\n  log-format json\numask=027\nlogfile = {folder}/log with blanks\n")
    with subprocess.Popen([PLAITD, "--config", "plaitd.conf", "--umask", "022", "fib", "--listen", LISTEN], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"\n"
        assert status_of(process.pid)["Umask"] == "0022", "the command line has the last word"
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert all(json.loads(line) for line in text_of(f"{folder}/log with blanks").splitlines())


def mistake_in_the_file_of_options_is_told_with_its_line(folder):
    for text, said in (("nodaemon\n\nnonsense\n", "conf:3: there is no option 'nonsense'"), ("umask = 9", "conf:1: --umask: expected octal"),
                       ("nodaemon = yes\n", "conf:1: --nodaemon: takes no value"), ("logfile\n", "conf:1: 'logfile' needs a value (FILE)"),
                       ("config = x\n", "conf:1: 'config' is for the command line"), ("log-fo json\n", "conf:1: there is no option 'log-fo'")):
        with open(f"{folder}/conf", "w", encoding="ascii") as file:
            file.write(text)
        status, out, err = run("--config", "conf", "-n", "fib", "--listen", LISTEN, folder=folder)
        assert (status, out) == (2, "") and said in err and err.count("\n") == 1, (text, status, err)
    assert run("--config", "none", "-n", "fib", folder=folder)[0] == 2


def options_that_contradict_each_other_are_refused(folder):
    for arguments, said in ((["--syslog", "-l", "x"], "one of"), (["--prefix", "x"], "--syslog"), (["-q", "-b"], "one of"), (["-l-"], "background"),
                            (["--log-keep", "1001"], "1000"), (["--ready-fd", "99999999999"], "descriptor")):
        status, out, err = run(*(["-n"] if "-l-" not in arguments else []), *arguments, "fib", "--listen", LISTEN, folder=folder)
        assert (status, out) == (2, "") and said in err and err.count("\n") == 1, (arguments, status, err)


def options_that_have_no_use_are_refused(folder):
    """What runs nothing has none for how something is run; but a file of options may have them, which then is for both."""
    for arguments, said in ((["--upgrade", "--chroot", "/"], "--upgrade is of one that runs already: --chroot is not for it"),
                            (["-n", "--upgrade"], "--upgrade is of one that runs already: --nodaemon is not for it"),
                            (["--upgrade", "--log-size", "16M"], "--upgrade is of one that runs already: --log-size is not for it"),
                            (["--upgrade", "-f", "x.tap"], "--upgrade is of one that runs already: --file is not for it"),
                            (["--save", "x.tap", "-d", "/", "fib"], "--save runs nothing: --rundir is not for it"),
                            (["--append", "x.tap", "--threads", "2", "fib"], "--append runs nothing: --threads is not for it"),
                            (["--save", "x.tap", "-f", "x.tap"], "one of --file, --save and --append at a time")):
        assert run(*arguments, folder=folder) == (2, "", f"plaitd: {said}\n"), arguments
    with open(f"{folder}/config", "w", encoding="ascii") as file:
        file.write("nodaemon\nlog-size 1M\n")
    assert run("--config", "config", "--save", "x.tap", "fib", folder=folder)[0] == 0
    status, _, err = run("--config", "config", "--upgrade", folder=folder)
    assert status == 1 and "plaitd.control" in err, err


def process_has_the_name_of_its_application(folder):
    for option, name in (([], "fib"), (["--originalname"], "plaitd")):
        with background(folder, *option, "fib", "--listen", LISTEN) as pid:
            assert text_of(f"/proc/{pid}/comm").strip() == name


def plugins_in_a_folder_are_services(folder):
    status, out, _ = run("--plugin-dir", PLUGINS, "--help")
    assert status == 0 and re.search(r"^  misbehave +does what it should not$", out, re.M), out
    assert "What it does" in run("--plugin-dir", PLUGINS, "misbehave", "--help")[1]
    assert run("-n", "misbehave", folder=folder)[0] == 2


def plugin_that_does_not_fit_is_refused_with_its_file(folder):
    os.mkdir(f"{folder}/text")
    with open(f"{folder}/text/x.so", "w", encoding="ascii") as file:
        file.write("no shared object\n")
    os.mkdir(f"{folder}/twice")
    for name in ("a.so", "b.so"):
        shutil.copy(f"{PLUGINS}/misbehave.so", f"{folder}/twice/{name}")
    for path, said in ((f"{PLUGINS}/old", "old.so: built for plugins of ABI 2, and this program has 1"), (f"{folder}/text", "x.so"),
                       (f"{PLUGINS}/nothing", "nothing.so: no plugin of Plait"), (f"{folder}/twice", "b.so: there is a service 'misbehave' already"),
                       (f"{folder}/none", "none: No such file")):
        status, out, err = run("-n", "--plugin-dir", path, "fib", "--listen", LISTEN, folder=folder)
        assert (status, out) == (2, "") and said in err and err.count("\n") == 1, (path, status, err)


def options_in(text):
    return re.findall(r"^  (?:-\w, |    )(--[\w-]+)", text, re.M)


def complete_in_bash(*words):
    script = '''eval "$("$1" --completion bash)"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _plaitd; printf '%s\\n' "${COMPREPLY[@]}"'''
    done = subprocess.run(["bash", "-c", script, "bash", PLAITD, "plaitd", *words], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return sorted(done.stdout.split())


def profile_tells_what_the_time_went_to(folder):
    for _ in range(2):
        with Server(folder, "-p", "profile", "fib", "--listen", LISTEN) as server:
            assert ask(server.port()) >= 2
            server.stop()
    lines = text_of(f"{folder}/profile").splitlines()
    assert sum(line.startswith("process ") for line in lines) == 2, "each run appends its own"
    asked = [line for line in lines if line.endswith("  fib_client.data_received")]
    assert [line.split()[2] for line in asked] == ["1", "1"], asked
    os.mkfifo(f"{folder}/fifo")
    assert run("-n", "-p", "fifo", "fib", "--listen", LISTEN, folder=folder)[::2] == (1, "plaitd: --profile: fifo is no file: Invalid argument\n")
    assert run("-n", "-p", "/nowhere/profile", "fib", "--listen", LISTEN, folder=folder)[::2] == (1, "plaitd: --profile: /nowhere/profile: No such file or directory\n")


def bash_completes_what_the_tables_have(folder):
    del folder
    assert complete_in_bash("") == sorted(options_in(run("--help")[1]) + ["fib", "procmon", "weblog"])
    assert complete_in_bash("--log-f") == ["--log-format"]
    assert complete_in_bash("--log-format", "") == ["json", "text"]
    assert complete_in_bash("-r", "u") == ["uring"]
    assert complete_in_bash("-n", "-l", "fib", "we") == ["weblog"], "a value is no service"
    assert complete_in_bash("weblog", "") == sorted(options_in(run("weblog", "--help")[1]) + ["--help"])
    assert complete_in_bash("weblog", "--listen", "x") == []


def bash_completes_files(folder):
    with open(f"{folder}/numbers.tap", "w", encoding="ascii"):
        pass
    assert complete_in_bash("-f", f"{folder}/num") == [f"{folder}/numbers.tap"]
    assert complete_in_bash("-d", f"{folder}/num") == []


def zsh_takes_what_is_made_for_it(folder):
    if not shutil.which("zsh"):
        raise tap.Skip("no zsh here")
    script = run("--completion", "zsh")[1]
    with open(f"{folder}/_plaitd", "w", encoding="utf-8") as file:
        file.write(script)
    done = subprocess.run(["zsh", "-n", f"{folder}/_plaitd"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert script.startswith("#compdef plaitd\n")
    for option in options_in(run("--help")[1]) + options_in(run("weblog", "--help")[1]):
        assert re.search(rf"^ +'\*?{option}=?\[", script, re.M), option


def what_is_installed_completes_and_names_options_that_there_are(folder):
    done = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {name: os.path.join(where, name) for where, _, names in os.walk(folder) for name in names}
    for name, shell in (("plaitd", "bash"), ("_plaitd", "zsh")):
        installed = [os.path.join(where, name) for where, _, names in os.walk(folder) if name in names and "share" in where]
        assert [text_of(path) for path in installed] == [run("--completion", shell)[1]], installed
    program, *words = re.search(r"^ExecStart=(.*)$", text_of(found["plaitd.service"]), re.M)[1].split()
    assert os.path.samefile(folder + program, os.path.join(os.path.dirname(found["plaitctl"]), "plaitd")), program
    status, _, err = run(*words, "--listen", "tcp:nonsense", folder=folder)
    assert status == 2 and "nonsense" in err, "all but the last is right"


TESTS = [value for value in list(globals().values()) if callable(value) and getattr(value, "__module__", "") == "__main__"
         and getattr(value, "__code__", None) and value.__code__.co_varnames[:value.__code__.co_argcount] == ("folder",)
         and not value.__code__.co_flags & inspect.CO_VARARGS and value.__name__ != "sandbox_of"]

if __name__ == "__main__":
    sys.exit(tap.main([(test.__name__, test) for test in TESTS]))
