#!/usr/bin/env python3
"""plaitd as operators and supervisors see it: in the background, its log, its privileges, its sandbox, how it tells that it is ready. Speaks TAP."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import tap
from clients import ask, connect
from server import (LISTEN, PLAITD, PLUGINS, Datagrams, Process, Server, background, needs_root, port_in, run, status_of, stop, text_of, wait_for_text, write)
from tap import BUILD, PATIENCE_S

EPERM, EACCES, ENOENT, ECONNREFUSED = 1, 13, 2, 111


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
    write(f"{folder}/plaitd.pid", f"{os.getpid()}\n")  # a process of that number lives, but it is another
    with background(folder, "fib", "--listen", LISTEN) as other:
        assert text_of(f"{folder}/plaitd.pid") == f"{other}\n"
        stop(other)
    assert not os.path.exists(f"{folder}/plaitd.pid")


def pidfile_that_is_something_else_is_left_alone(folder):
    write(f"{folder}/notes", "42 is the answer\n")
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
    with Server(folder, "-l", "log", "--log-size", "300", "--log-keep", "2", "--ready-fd", "1", "weblog", "--log", "hits", "--listen",
                f"unix:{folder}/s", stdout=subprocess.PIPE) as server:
        assert server.process.stdout.read() == "\n"
        for _ in range(20):
            with connect(f"{folder}/s") as client:
                client.recv(100)
        server.stop()
    assert sorted(os.listdir(folder)) == ["log", "log.1", "log.2"], os.listdir(folder)
    for name in os.listdir(folder):
        text = text_of(f"{folder}/{name}")
        assert 0 < len(text) <= 300 or text.count("\n") == 1, (name, text)
        assert all(json.loads(line) for line in text.splitlines())
    assert '"stopping"' in "".join(text_of(f"{folder}/{name}") for name in os.listdir(folder))


def log_of_yesterday_is_rotated(folder):
    write(f"{folder}/plaitd.log", "yesterday\n")
    os.utime(f"{folder}/plaitd.log", (1e9, 1e9))
    with background(folder, "--log-every", "86400", "weblog", "--log", "hits", "--listen", LISTEN) as pid:
        assert text_of(f"{folder}/plaitd.log.1") == "yesterday\n"
        assert "listening" in text_of(f"{folder}/plaitd.log")
        stop(pid)
    assert not os.path.exists(f"{folder}/plaitd.log.2")


def log_that_is_to_keep_none_is_begun_anew(folder):
    write(f"{folder}/plaitd.log", "long\n" * 1000)
    with background(folder, "--log-size", "2K", "--log-keep", "0", "weblog", "--log", "hits", "--listen", LISTEN):
        assert "long" not in text_of(f"{folder}/plaitd.log") and not os.path.exists(f"{folder}/plaitd.log.1")


def log_that_cannot_be_rotated_goes_on_and_says_so(folder):
    write(f"{folder}/plaitd.log", "long\n" * 1000)
    os.makedirs(f"{folder}/plaitd.log.1/x")  # nothing can take its place
    with background(folder, "--log-size", "2K", "--log-keep", "1", "weblog", "--log", "hits", "--listen", LISTEN):
        text = text_of(f"{folder}/plaitd.log")
    assert text.startswith("long\n") and text.count("the file could not be rotated") == 1 and "listening" in text, text[5000:]


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
        client = connect(f"{folder}/s")
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
            levels = {entry["level"] for entry in server.rest()}
        assert levels == expected | missing, levels


def log_to_standard_output(folder):
    with Process([PLAITD, "-n", "-l-", "fib", "--listen", LISTEN], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "running" in line:
                break
        process.terminate()
        assert "stopping" in process.stdout.read() and process.stderr.read() == ""


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
                with connect(f"{folder}/s") as client:
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
        with connect(server.port()) as client:
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
    write(f"{folder}/secret")
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


def sandbox_of(where):
    with Server(where, "fib", "--listen", LISTEN) as server:
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
    write(f"{folder}/secret")
    refused_inside_and_done_without(f"{folder}/in", EACCES, "read", "--path", f"{folder}/secret")
    assert misbehave(f"{folder}/in", "read", "--path", "/etc/passwd") == EACCES


def files_that_nobody_named_are_not_written(folder):
    needs("landlock", folder)
    os.mkdir(f"{folder}/in")
    refused_inside_and_done_without(f"{folder}/in", EACCES, "write", "--path", f"{folder}/new")


def files_that_were_named_are_open(folder):
    needs("landlock", folder)
    os.mkdir(f"{folder}/data")
    write(f"{folder}/data/file")
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
    with Server(folder, "--no-sandbox", "fib", "--listen", LISTEN, backend="epoll") as server:
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
            with Server(folder, "fib", "--listen", LISTEN, env=notify.environment()) as server:
                port = server.port()
                assert notify.hear() == "READY=1"
                assert ask(port) >= 2
                server.process.send_signal(signal.SIGHUP)
                assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", notify.hear())
                assert notify.hear() == "READY=1"
                server.process.terminate()
                assert notify.hear() == "STOPPING=1"
                assert server.process.wait(PATIENCE_S) == -signal.SIGTERM


def supervisor_hears_nothing_of_a_start_that_failed(folder):
    with Datagrams(f"{folder}/notify") as notify, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"tcp:127.0.0.1:{other.getsockname()[1]}"
        assert run("-n", "fib", "--listen", listen, folder=folder, env=notify.environment())[0] == 1
        notify.socket.setblocking(False)
        try:
            raise AssertionError(notify.hear())
        except BlockingIOError:
            pass


def supervisor_is_told_which_process_the_daemon_is(folder):
    with Datagrams(f"{folder}/notify") as notify:
        with background(folder, "fib", "--listen", LISTEN, env=notify.environment()) as pid:
            assert notify.hear() == f"MAINPID={pid}\nREADY=1"


def watchdog_hears_that_the_reactor_turns(folder):
    with Datagrams(f"{folder}/notify") as notify:
        environment = notify.environment(WATCHDOG_USEC="50000")
        with Server(folder, "fib", "--listen", LISTEN, env=environment) as server:
            for _ in range(5):
                notify.wait_for("WATCHDOG=1")
            server.stop()
            notify.wait_for("STOPPING=1")
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
            with Process(["sh", "-c", script, "sh", PLAITD, "-n", "-l-", "fib", "--listen", endpoint], cwd=folder, env=environment,
                         pass_fds=high, stdout=subprocess.DEVNULL) as process:
                ask(sock.getsockname()[1])
                process.terminate()
                process.wait(PATIENCE_S)
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


# --- More options ----------------------------------------------------------------------------------------


def options_can_stand_in_a_file(folder):
    write(f"{folder}/plaitd.conf", f"# as an operator likes it\n\nnodaemon\nready-fd = 1\n  log-format json\numask=027\nlogfile = {folder}/log with blanks\n")
    with Process([PLAITD, "--config", "plaitd.conf", "--umask", "022", "fib", "--listen", LISTEN], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"\n"
        assert status_of(process.pid)["Umask"] == "0022", "the command line has the last word"
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert all(json.loads(line) for line in text_of(f"{folder}/log with blanks").splitlines())


def mistake_in_the_file_of_options_is_told_with_its_line(folder):
    for text, said in (("nodaemon\n\nnonsense\n", "conf:3: there is no option 'nonsense'"), ("umask = 9", "conf:1: --umask: expected octal"),
                       ("nodaemon = yes\n", "conf:1: --nodaemon: takes no value"), ("logfile\n", "conf:1: 'logfile' needs a value (FILE)"),
                       ("config = x\n", "conf:1: 'config' is for the command line"), ("log-fo json\n", "conf:1: there is no option 'log-fo'")):
        write(f"{folder}/conf", text)
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
    write(f"{folder}/config", "nodaemon\nlog-size 1M\n")
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
    write(f"{folder}/text/x.so", "no shared object\n")
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
    write(f"{folder}/numbers.tap")
    assert complete_in_bash("-f", f"{folder}/num") == [f"{folder}/numbers.tap"]
    assert complete_in_bash("-d", f"{folder}/num") == []


def zsh_takes_what_is_made_for_it(folder):
    if not shutil.which("zsh"):
        raise tap.Skip("no zsh here")
    script = run("--completion", "zsh")[1]
    write(f"{folder}/_plaitd", script)
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


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
