#!/usr/bin/env python3
"""The control socket of plaitd: what it answers, who may ask, and what clients cannot do to it. Speaks TAP."""
import contextlib
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys

import tap
from clients import Control, ask, connect
from server import (LISTEN, PLUGINS, Server, background, memory_of, needs_root, port_in, run, stop, text_of, wait_for_end, wait_for_text, wait_until,
                    write)
from tap import BUILD, PATIENCE_S

PLAITCTL = os.path.join(BUILD, "plaitctl")


@contextlib.contextmanager
def controlled(folder, *arguments):
    """A fib in the background, and a client of its control socket."""
    with background(folder, *arguments, "fib", "--listen", LISTEN) as pid, Control(f"{folder}/plaitd.control") as client:
        yield pid, client


# --- The socket ------------------------------------------------------------------------------------------


def socket_stands_beside_the_pidfile_and_is_removed_at_the_end(folder):
    with controlled(folder) as (pid, client):
        status = client.ask("status")
        assert status["ok"] and status["pid"] == pid and status["name"] == "fib", status
        assert status["services"] == [{"name": "fib", "kind": "fib", "running": True}], status
        info = os.stat(f"{folder}/plaitd.control")
        assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600
        stop(pid)
    assert not os.path.exists(f"{folder}/plaitd.control")
    with Server(folder, "--pidfile", "run", "fib", "--listen", LISTEN) as server:
        server.wait_for("running")
        assert stat.S_ISSOCK(os.stat(f"{folder}/run.control").st_mode)


def socket_is_there_only_when_asked_for_in_the_foreground(folder):
    with Server(folder, "fib", "--listen", LISTEN) as server:
        server.wait_for("running")
        assert not [name for name in os.listdir(folder) if "control" in name]
    with Server(folder, "--control", "here:and=there", "--control-mode", "640", "fib", "--listen", LISTEN) as server:
        server.wait_for("running")
        assert stat.S_IMODE(os.stat(f"{folder}/here:and=there").st_mode) == 0o640
        with Control(f"{folder}/here:and=there") as client:
            assert client.ask("status")["pid"] == server.process.pid
    with background(folder, "--no-control", "fib", "--listen", LISTEN):
        assert not os.path.exists(f"{folder}/plaitd.control")


def socket_of_a_killed_process_is_replaced(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        stop(pid, signal.SIGKILL)
    assert os.path.exists(f"{folder}/plaitd.control")
    with controlled(folder) as (pid, client):
        assert client.ask("status")["pid"] == pid


def socket_of_one_that_lives_refuses_another(folder):
    with controlled(folder) as (pid, client):
        status, _, err = run("-n", "--control", "plaitd.control", "weblog", "--log", "log", "--listen", LISTEN, folder=folder)
        assert status == 1 and "plaitd.control: somebody listens there" in err.splitlines()[-1], err
        assert client.ask("status")["pid"] == pid, "it is still the first one's"
    write(f"{folder}/notes", "a file\n")
    status, _, err = run("-n", "--control", "notes", "fib", "--listen", LISTEN, folder=folder)
    assert status == 1 and "notes: " in err and text_of(f"{folder}/notes") == "a file\n", err


def options_that_make_no_sense_are_refused(folder):
    for wrong in (["--control", "@abstract"], ["--control", "x" * 108], ["--control-mode", "600"], ["--no-control", "--control", "x"],
                  ["--control", "x", "--control-mode", "9"]):
        status, _, err = run("-n", *wrong, "fib", folder=folder)
        assert status == 2 and "--" in err and "control" in err and err.count("\n") == 1, (wrong, err)


def default_name_that_is_too_long_costs_the_socket_and_no_more(folder):
    with background(folder, "--pidfile", "x" * 110 + ".pid", "fib", "--listen", LISTEN, pidfile="x" * 110 + ".pid"):
        assert "no control socket" in text_of(f"{folder}/plaitd.log")
        assert ask(port_in(f"{folder}/plaitd.log")) == 2


def socket_is_given_to_the_user(folder):
    needs_root()
    os.chmod(folder, 0o777)
    with background(folder, "-u", "nobody", "weblog", "--log", f"{folder}/log", "--listen", LISTEN) as pid:
        assert os.stat(f"{folder}/plaitd.control").st_uid == os.stat(f"/proc/{pid}").st_uid != 0
        stop(pid)
    assert not os.path.exists(f"{folder}/plaitd.control")


# --- Commands --------------------------------------------------------------------------------------------


def stop_ends_in_good_order(folder):
    with controlled(folder) as (pid, client):
        assert client.ask("stop") == {"ok": True, "pid": pid}
        wait_for_end(pid)
        assert client.answer() is None
    assert sorted(os.listdir(folder)) == ["fib-shutdown.tap", "fib.tap", "plaitd.log"]
    assert "control: stopping" in text_of(f"{folder}/plaitd.log")


def reload_opens_the_log_anew(folder):
    with controlled(folder) as (_, client):
        os.rename(f"{folder}/plaitd.log", f"{folder}/old.log")
        assert client.ask("reload") == {"ok": True}
        assert "reopened" in text_of(f"{folder}/plaitd.log")


def upgrade_is_answered_when_the_new_process_has_taken_over(folder):
    with controlled(folder) as (pid, client):
        assert client.ask("upgrade") == {"ok": True}
        with Control(f"{folder}/plaitd.control") as other:
            status = other.ask("status")
            assert status["ok"] and status["pid"] != pid and status["name"] == "fib", status
            assert int(text_of(f"{folder}/plaitd.pid")) == status["pid"]
            wait_for_end(pid)
            assert client.answer() is None, "the old one has ended"
            assert other.ask("stop")["pid"] == status["pid"]
            wait_for_end(status["pid"])
    assert not os.path.exists(f"{folder}/plaitd.control")


def upgrade_that_fails_says_why_and_all_is_as_before(folder):
    with controlled(folder, "--plugin-dir", folder) as (pid, client):
        write(f"{folder}/broken.so", "no shared object\n")
        answer = client.ask("upgrade")
        assert answer["ok"] is False and answer["error"], answer
        assert client.ask("status")["pid"] == pid


def upgrade_of_a_client_that_leaves_goes_on(folder):
    with controlled(folder) as (pid, client):
        client.send(b'{"command": "upgrade"}\n')
        client.close()
        wait_for_end(pid)
        with Control(f"{folder}/plaitd.control") as other:
            now = other.ask("stop")["pid"]
        assert now != pid
        wait_for_end(now)


def upgrade_is_answered_by_the_process_before(folder):
    with controlled(folder) as (pid, client):
        assert client.ask("upgrade") == {"ok": True}
        successor = int(text_of(f"{folder}/plaitd.pid"))
        assert successor != pid and client.ask("status")["pid"] == pid
        assert json.loads(ctl("--json", "status", folder=folder)[1])["pid"] == successor
        assert client.ask("upgrade") == {"ok": False, "error": "it is done: handed over to the successor"}
        stop(successor)


def log_levels_are_shown_and_set(folder):
    with controlled(folder) as (_, client):
        assert client.ask("log") == {"ok": True, "level": "info", "namespaces": {}}
        assert client.ask("log", ns="net.tcp", level="error") == {"ok": True, "level": "info", "namespaces": {"net.tcp": "error"}}
        assert client.ask("log", level="silent")["level"] == "silent"
        client.ask("reload")
        assert "reopened" not in text_of(f"{folder}/plaitd.log")
        assert client.ask("log", level="debug")["level"] == "debug"
        client.ask("reload")
        assert "reopened" in text_of(f"{folder}/plaitd.log")
        assert client.ask("log", ns="net.tcp", level="default")["namespaces"] == {}
        for wrong in ({"level": "loud"}, {"level": 7}, {"level": "default"}, {"ns": "net"}, {"ns": "", "level": "info"}, {"ns": 1, "level": "info"},
                      {"ns": "x" * 32, "level": "info"}):
            assert client.ask("log", **wrong)["ok"] is False, wrong
        for i in range(12):
            assert client.ask("log", ns=f"n{i}", level="info")["ok"]
        assert client.ask("log", ns="one more", level="info")["ok"] is False


def connections_are_listed_with_what_went_over_them(folder):
    with controlled(folder) as (_, client), connect(port_in(f"{folder}/plaitd.log")) as fib:
        fib.sendall(b"x")
        assert fib.recv(100) == b"2\n"
        listed = client.ask("connections")["connections"]
        mine = next(one for one in listed if one["peer"] == "127.0.0.1:%d" % fib.getsockname()[1])
        assert (mine["bytes_in"], mine["bytes_out"], mine["queued"], mine["state"]) == (1, 2, 0, "open"), mine
        assert mine["scope"] == "application/fib/fib" and 0 <= mine["age_s"] < PATIENCE_S, mine
        own = [one for one in listed if one["scope"] == "control"]
        assert len(own) == 1 and own[0]["protocol"] == "control_client", own
        status = client.ask("status")
        assert status["connections"] == 2 and status["accepted"] == 2, status


def timers_fibers_and_deferreds_are_listed(folder):
    with background(folder, "weblog", "--log", f"{folder}/log", "--listen", LISTEN), Control(f"{folder}/plaitd.control") as client:
        timers = client.ask("timers")["timers"]
        assert any(timer["scope"] == "weblog" and 0 <= timer["due_s"] <= 5 for timer in timers), timers
        assert client.ask("fibers")["fibers"] == []
        assert client.ask("deferreds")["ok"]


def lag_and_top_tell_where_the_time_goes(folder):
    with controlled(folder) as (_, client):
        for _ in range(10):
            ask(port_in(f"{folder}/plaitd.log"))
        lag = client.ask("lag")
        assert sum(one["turns"] for one in lag["lag"]) == lag["turns"] >= 10, lag
        assert lag["lag"][-1]["up_to_s"] is None and 0 < lag["total_s"] < PATIENCE_S
        top = {one["callback"]: one for one in client.ask("top")["top"]}
        assert top["control_client.data_received"]["calls"] >= 1, top
        received = next(one for name, one in top.items() if name.endswith(".data_received") and not name.startswith("control"))
        assert received["calls"] == 10 and received["total_s"] > 0, top


def ten_thousand_connections_are_listed_in_pieces(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11000:
        raise tap.Skip("not so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with controlled(folder) as (_, client), contextlib.ExitStack() as stack:
        port = port_in(f"{folder}/plaitd.log")
        for _ in range(10000):
            last = stack.enter_context(connect(port))
        last.sendall(b"x")
        assert last.recv(10) == b"2\n"  # they are accepted in their order, so that all are there
        assert client.ask("status")["connections"] == 10001
        before = client.ask("lag")["turns"]
        listed = client.ask("connections")["connections"]
        after = client.ask("lag")["turns"]
        assert len({one["id"] for one in listed}) == len(listed) == 10001
        assert after - before >= 10000 / 256, "each piece is a turn of its own, in which others are served"
        client.send(b'{"command": "connections"}\n')  # one that leaves in the middle of an answer harms nobody
        client.close()
        with Control(f"{folder}/plaitd.control") as other:
            assert other.ask("status")["ok"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- plaitctl --------------------------------------------------------------------------------------------


def ctl(*arguments, folder):
    done = subprocess.run([PLAITCTL, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout, done.stderr


def plaitctl_finds_the_socket_and_shows_tables(folder):
    with controlled(folder) as (pid, _):
        status, out, err = ctl("status", folder=folder)
        assert (status, err) == (0, "") and re.search(rf"^pid +{pid}$", out, re.M) and re.search(r"^fib +fib +yes$", out, re.M), out
        os.rename(f"{folder}/plaitd.control", f"{folder}/other.control")
        assert ctl("status", folder=folder)[:2] != (0, "")
        assert ctl("-c", "other.control", "status", folder=folder)[0] == 0
        status, out, err = ctl("connections", folder=folder)
        lines = out.splitlines()
        assert (status, err) == (0, "") and lines[0].split() == ["ID", "PEER", "PROTOCOL", "STATE", "AGE_S", "BYTES_IN", "BYTES_OUT", "QUEUED", "SCOPE"]
        assert len(lines) == 3 and all(line.split()[-1] == "control" for line in lines[1:]), out
        for command in ("timers", "fibers", "deferreds", "lag", "top", "log", "reload"):
            assert ctl(command, folder=folder)[::2] == (0, ""), command


def plaitctl_prints_json(folder):
    with controlled(folder) as (pid, _):
        status, out, err = ctl("--json", "status", folder=folder)
        assert (status, err) == (0, "") and json.loads(out)["pid"] == pid and out.count("\n") == 1
        status, out, err = ctl("--json", "log", "loud", folder=folder)
        assert (status, err) == (1, "") and json.loads(out)["ok"] is False and "a level is" in json.loads(out)["error"]


def plaitctl_sets_levels(folder):
    with controlled(folder) as (_, client):
        assert ctl("log", "debug", folder=folder)[0] == ctl("log", "net", "error", folder=folder)[0] == 0
        assert client.ask("log") == {"ok": True, "level": "debug", "namespaces": {"net": "error"}}
        status, out, err = ctl("log", "loud", folder=folder)
        assert (status, out) == (1, "") and "a level is" in err and err.count("\n") == 1, err


def plaitctl_stop_returns_when_it_has_ended(folder):
    with background(folder, "fib", "--listen", LISTEN) as pid:
        assert ctl("stop", folder=folder)[::2] == (0, "")
        assert not os.path.exists(f"/proc/{pid}/exe") and "plaitd.pid" not in os.listdir(folder)
    with background(folder, "fib", "--listen", LISTEN):
        pass


def plaitctl_says_what_is_wrong_in_one_line(folder):
    for words, wanted in (([], 2), (["dance"], 2), (["status", "x"], 2), (["log", "a", "b", "c"], 2), (["--nonsense"], 2), (["status"], 1),
                          (["-c", "none", "status"], 1), (["-c", "x" * 200, "status"], 1), (["upgrade"], 1)):
        status, out, err = ctl(*words, folder=folder)
        assert (status, out) == (wanted, "") and err.startswith("plaitctl: ") and err.count("\n") == 1, (words, status, out, err)
    assert ctl("--help", folder=folder)[0] == ctl("--version", folder=folder)[0] == 0


def plaitctl_waits_ten_seconds_for_one_that_hangs(folder):
    with background(folder, "--plugin-dir", PLUGINS, "block", "--listen", LISTEN) as pid:
        with connect(port_in(f"{folder}/plaitd.log")) as client:
            client.sendall(b"sleep 60000\r\n")
            wait_for_text(f"{folder}/plaitd.log", "a callback holds the reactor")
            assert ctl("status", folder=folder) == (
                1, "", "plaitctl: plaitd.control: no answer for 10 seconds: a callback may hold the program, see its log\n")
        stop(pid, signal.SIGKILL)


def plaitctl_completes_its_commands(folder):
    script = ctl("--completion", "bash", folder=folder)[1]
    write(f"{folder}/script", script + "\nCOMP_WORDS=(plaitctl st) COMP_CWORD=1; _plaitctl; echo \"${COMPREPLY[@]}\"\n")
    done = subprocess.run(["bash", f"{folder}/script"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stdout.split() == ["status", "stop"], done


# --- Clients that are wrong ------------------------------------------------------------------------------


def what_is_wrong_is_answered_with_one_line(folder):
    with controlled(folder) as (_, client):
        for wrong in (b'{"command": "dance"}\n', b"{}\n", b'{"command": 7}\n', b'{"command": null, "x": [1, 2]}\n'):
            client.send(wrong)
            answer = client.answer()
            assert answer["ok"] is False and answer["error"], answer
        assert client.ask("status")["ok"], "and it goes on"


def garbage_and_lines_that_are_too_long_end_the_connection(folder):
    with controlled(folder) as (_, client):
        for garbage in (b"GET / HTTP/1.1\r\n", b"[]\n", b"\n", b'{"command": "status"\n', b"\xff\xfe\x00\n", b'{"a":1,"a":2}\n', b"x" * 5000,
                        b"[" * 4000 + b"\n"):
            with Control(f"{folder}/plaitd.control") as other:
                other.send(garbage)
                assert other.answer()["ok"] is False
                assert other.answer() is None, garbage
        assert client.ask("status")["ok"]


def flood_of_requests_that_are_never_read_is_bounded(folder):
    """What is not read is not answered: the client's own writing comes to a stop, and others are served meanwhile."""
    with controlled(folder) as (pid, client):
        with Control(f"{folder}/plaitd.control") as flood:
            flood.socket.setblocking(False)
            sent, refused, request = 0, 0, b'{"command": "status"}\n' * 100
            while sent < 64 << 20 and refused < 3:
                try:
                    sent, refused = sent + flood.socket.send(request), 0
                except BlockingIOError:  # each answer to another is a turn of the reactor in which it could have read
                    refused += 1
                    assert client.ask("status")["ok"]
            assert sent < 16 << 20, "it never came to a stop"
            assert client.ask("status")["ok"]
            assert memory_of(pid) < 64 << 20, memory_of(pid)
        assert ask(port_in(f"{folder}/plaitd.log")) == 2


def clients_beyond_the_limit_are_told(folder):
    with controlled(folder) as (_, client), contextlib.ExitStack() as stack:
        others = [stack.enter_context(Control(f"{folder}/plaitd.control")) for _ in range(15)]
        assert all(other.ask("status")["ok"] for other in others) and client.ask("status")["ok"]
        with Control(f"{folder}/plaitd.control") as one_more:
            assert one_more.answer() == {"ok": False, "error": "too many clients"}
            assert one_more.answer() is None
        others[0].close()

        def another_has_room():
            with Control(f"{folder}/plaitd.control") as next_one:
                answer = next_one.ask("status")
                assert answer["ok"] or answer["error"] == "too many clients", answer
                return answer["ok"]
        wait_until(another_has_room)


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
