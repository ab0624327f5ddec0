#!/usr/bin/env python3
"""The figures that plaitd gives to Prometheus: what is in them, that others can read them, and what its small HTTP refuses. Speaks TAP."""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys

import tap
from clients import ask, connect, receive_until
from server import LISTEN, background, port_in, run, stop, text_of, write
from tap import PATIENCE_S

SYSTEM_PYTHON = "/usr/bin/python3"  # whose is Debian's python3-prometheus-client


@contextlib.contextmanager
def metered(folder, *arguments, metrics="tcp:0:interface=127.0.0.1"):
    """A service in the background; gives the port where its figures are."""
    with background(folder, "--metrics", metrics, *arguments) as pid:
        found = re.search(r"giving figures .*address=127\.0\.0\.1:(\d+)", text_of(f"{folder}/plaitd.log"))
        yield int(found[1]) if found else pid


def raw(port, request, end=False):
    """All that comes back."""
    with connect(port) as client:
        client.sendall(request)
        if end:
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def get(port, target="/metrics"):
    head, _, body = raw(port, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body.decode()


SAMPLE = re.compile(r'^(plait_[a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)+)\})? ([0-9.e+-]+|\+Inf)$')


def parse(text):
    """(name, labels) -> value; each line is checked against the text format."""
    found, types, family = {}, {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        kind = re.match(r"# (HELP|TYPE) (plait_[a-z_]+) (.+)$", line)
        if kind and kind[1] == "HELP":
            family = kind[2]
            assert family not in types, f"{family} is there twice"
        elif kind:
            assert kind[2] == family and kind[3] in ("counter", "gauge", "histogram"), line
            assert (kind[3] == "counter") == family.endswith("_total"), line
            types[family] = kind[3]
        else:
            sample = SAMPLE.match(line)
            assert sample, f"no sample: {line!r}"
            name = re.sub(r"_(bucket|sum|count)$", "", sample[1]) if types[family] == "histogram" else sample[1]
            assert name == family, f"{line} is not of {family}"
            assert (sample[1], sample[2]) not in found, f"{line}: twice"
            found[sample[1], sample[2]] = float(sample[3])
    return found


def figures(port):
    status, _, body = get(port)
    assert status == 200
    return parse(body)


# --- What is in them -------------------------------------------------------------------------------------


def figures_count_what_happens(folder):
    with metered(folder, "fib", "--listen", LISTEN) as port:
        fib_port = int(re.search(r"fib: listening .*address=127\.0\.0\.1:(\d+)", text_of(f"{folder}/plaitd.log"))[1])
        before = figures(port)
        assert [ask(fib_port) for _ in range(5)] == [2, 3, 5, 8, 13]
        after = figures(port)

        def grown(name, labels=None):
            return after[name, labels] - before.get((name, labels), 0)
        assert grown("plait_fib_numbers_total", 'service="fib"') == 5
        assert 1 <= grown("plait_commits_total") <= 5 and grown("plait_commits_failed_total") == 0
        assert grown("plait_connections_accepted_total") == 6, "five clients, and who asks for figures"
        assert grown("plait_callbacks_total", 'callback="fib_client.data_received"') == 5
        assert grown("plait_callback_seconds_total", 'callback="fib_client.data_received"') > 0
        assert after["plait_connections", None] >= 1


def histogram_is_cumulative_and_whole(folder):
    with metered(folder, "fib", "--listen", LISTEN) as port:
        for _ in range(3):
            found = figures(port)
        bounds = [(float(labels.split('"')[1]), value) for (name, labels), value in found.items() if name == "plait_turn_seconds_bucket"]
        assert [bound for bound, _ in bounds] == sorted(bound for bound, _ in bounds) and bounds[-1][0] == float("inf")
        assert [value for _, value in bounds] == sorted(value for _, value in bounds)
        assert bounds[-1][1] == found["plait_turn_seconds_count", None] == found["plait_turns_total", None] > 0
        assert found["plait_turn_seconds_sum", None] > 0


def weblog_tells_of_hits_lines_and_clients(folder):
    write(f"{folder}/hits")
    with metered(folder, "weblog", "--log", "hits", "--interval", "0", "--listen", LISTEN) as port:
        web_port = int(re.search(r"weblog: listening .*address=127\.0\.0\.1:(\d+)", text_of(f"{folder}/plaitd.log"))[1])
        with connect(web_port) as client:
            assert client.recv(100)
            with open(f"{folder}/hits", "a", encoding="ascii") as log:
                log.write('1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326\nnonsense\n')
            receive_until(client, b"/>")
            found = figures(port)
            assert found["plait_weblog_hits_total", 'service="weblog"'] == 1
            assert found["plait_weblog_bad_lines_total", 'service="weblog"'] == 1
            assert found["plait_weblog_clients", 'service="weblog"'] == 1
            assert found["plait_weblog_backlog_bytes", 'service="weblog"'] > 50
            assert found["plait_weblog_lost_hits_total", 'service="weblog"'] == 0


def two_services_of_a_kind_are_told_apart(folder):
    assert run("--save", "two.tap", "weblog", "--log", "a", "--listen", LISTEN, folder=folder)[0] == 0
    assert run("--append", "two.tap", "weblog", "--log", "b", "--listen", LISTEN, folder=folder)[0] == 0
    with metered(folder, "-f", "two.tap") as port:
        clients = [labels for name, labels in figures(port) if name == "plait_weblog_clients"]
        assert len(clients) == len(set(clients)) == 2, clients


def parser_of_prometheus_reads_them(folder):
    if subprocess.run([SYSTEM_PYTHON, "-c", "import prometheus_client.parser"], capture_output=True, check=False).returncode:
        raise tap.Skip("no python3-prometheus-client here")
    program = ("import sys\nfrom prometheus_client.parser import text_string_to_metric_families as families\n"
               "print(sum(len(family.samples) for family in families(sys.stdin.read())))")
    with metered(folder, "fib", "--listen", LISTEN) as port:
        body = get(port)[2]
    done = subprocess.run([SYSTEM_PYTHON, "-c", program], input=body, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{len(parse(body))}\n"), done


def promtool_finds_nothing_to_say(folder):
    if not shutil.which("promtool"):
        raise tap.Skip("no promtool here (Debian: prometheus)")
    with metered(folder, "fib", "--listen", LISTEN) as port:
        done = subprocess.run(["promtool", "check", "metrics"], input=get(port)[2], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


# --- HTTP ------------------------------------------------------------------------------------------------


def curl_gets_them(folder):
    if not shutil.which("curl"):
        raise tap.Skip("no curl here")
    with metered(folder, "fib", "--listen", LISTEN) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        for options, wanted in ((["-f"], "200 text/plain; version=0.0.4; charset=utf-8 1.1"), (["-f", "-0"], "200 text/plain; version=0.0.4; charset=utf-8 1.1"),
                                (["-f", "-I"], "200 text/plain; version=0.0.4; charset=utf-8 1.1"),
                                (["-X", "POST", "-d", "x"], "405 text/plain; version=0.0.4; charset=utf-8 1.1")):
            done = subprocess.run(["curl", "-sS", "-o", "out", "-w", "%{http_code} %{content_type} %{http_version}", *options, url], cwd=folder,
                                  capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, wanted, ""), done
        assert subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/"], capture_output=True, check=False).returncode == 22


def length_is_that_of_the_body_and_head_has_none(folder):
    with metered(folder, "fib", "--listen", LISTEN) as port:
        _, head, body = get(port)
        assert f"Content-Length: {len(body.encode())}\r\n" in head and "Connection: close" in head
        answer = raw(port, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1 and b"Content-Length: 0" not in answer


def requests_are_answered_by_their_kind(folder):
    with metered(folder, "fib", "--listen", LISTEN) as port:
        for request, wanted in (
                (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200), (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200), (b"\r\nGET /metrics HTTP/1.0\n\n", 200),
                (b"GET http://x/metrics HTTP/1.1\r\nHOST: x\r\n\r\n", 200), (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
                (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404), (b"GET /metricsx HTTP/1.1\r\nHost: x\r\n\r\n", 404), (b"PUT /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
                (b"get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405), (b"GET /metrics HTTP/1.1\r\n\r\n", 400), (b"GET /metrics\r\n\r\n", 400),
                (b"GET /metrics HTTP/2.0\r\n", 400), (b"GET  /metrics HTTP/1.1\r\n", 400), (b"\x16\x03\x01\x02\x00\n", 400), (b"{}\n", 400),
                (b"GET /metrics HTTP/1.1\r\nHost x\r\n", 400), (b"GET /metrics HTTP/1.1\r\nHost : x\r\n", 400), (b"GET /metrics HTTP/1.1\r\nHost: x\r\n y\r\n", 400),
                (b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n", 400), (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 431),
                (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2000, 431)):
            answer = raw(port, request)
            assert answer.startswith(b"HTTP/1.1 %d " % wanted), (request[:60], answer[:60])
            assert (b"Allow: GET, HEAD" in answer) == (wanted == 405)
        assert raw(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n", end=True) == b"", "half a request has no answer"
        assert get(port)[0] == 200


def request_that_does_not_come_to_its_end_is_given_up(folder):
    with metered(folder, "fib", "--listen", LISTEN) as port:
        with connect(port) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


def many_that_never_ask_do_not_keep_it_from_ending(folder):
    with background(folder, "--metrics", "unix:figures.sock", "fib", "--listen", LISTEN) as pid, contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(f"{folder}/figures.sock"))
        assert ask(port_in(f"{folder}/plaitd.log")) == 2
        stop(pid)
    assert not os.path.exists(f"{folder}/figures.sock")


def endpoints_that_are_wrong_are_refused(folder):
    for endpoint, wanted in (("udp:1", 2), ("tcp:x", 2), ("unix:/nonexistent/x", 1)):
        status, _, err = run("-n", "--metrics", endpoint, "fib", "--listen", LISTEN, folder=folder)
        assert status == wanted and err.splitlines()[-1].startswith("plaitd: "), (endpoint, status, err)


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
