#!/usr/bin/env python3
"""plaitd -n weblog as its users see it: the real program, real logs, clients on the loopback."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import xml.parsers.expat

import tap
from clients import connect
from server import LISTEN, PLAITD, Process, Server, backends, memory_of, run, text_of, wait_until
from tap import PATIENCE_S, TOP

REAL_LOG = os.environ.get("PLAIT_ACCESS_LOG")
SAMPLE_LOG = os.path.join(TOP, "examples", "data", "sample-access.log")
KEYS = ["ip", "timestamp", "request", "status", "bytes", "referrer", "agent"]


class Plaitd(Server):
    """Serves `folder`/log."""

    def __init__(self, folder, *arguments, backend="epoll", logs=("log",), listen=True, interval="0", descriptors=None):
        told = [word for log in logs for word in ("--log", os.path.join(folder, log))] + (["--listen", LISTEN] if listen else [])
        before = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"] if descriptors else []
        super().__init__(folder, "weblog", *told, "--interval", interval, *arguments, backend=backend, before=before)

    def port(self, mode="push"):
        return super().port(mode=mode)


# --- The clients -----------------------------------------------------------------------------------------


class Client:
    """Reads the document as it comes; `events` are ("hit", attributes), ("lost", count), ("none",)."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.raw, self.events, self.open, self.ended = b"", [], False, False
        self.parser = xml.parsers.expat.ParserCreate("UTF-8")
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)  # what has arrived is to be seen at once
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self.started
        self.parser.EndElementHandler = self.finished

    def started(self, name, attributes):
        if name == "hits":
            self.open = True
        elif name == "hit":
            assert attributes[::2] == KEYS, attributes
            self.events.append(("hit", attributes[1::2]))
        elif name == "lost":
            assert attributes[::2] == ["count"]
            self.events.append(("lost", int(attributes[1])))
        else:
            assert (name, attributes) == ("none", []), name
            self.events.append(("none",))

    def finished(self, name):
        self.ended |= name == "hits"

    def read_some(self):
        """False at the end of the stream."""
        data = self.socket.recv(65536)
        if len(self.raw) < 1 << 20:
            self.raw += data
        if data or self.open:
            self.parser.Parse(data, not data)
        return bool(data)

    def connected(self):
        """Waits for the document to have begun: from here on nothing may be missed."""
        while not self.open:
            assert self.read_some(), "closed before it began"
        return self

    def wait_for(self, count):
        """Waits for so many hits, those counted that were lost."""
        while self.count() < count:
            assert self.read_some(), f"closed after {self.count()} of {count} hits"
        return self

    def count(self):
        return sum(1 if event[0] == "hit" else event[1] if event[0] == "lost" else 0 for event in self.events)

    def hits(self):
        return [event[1] for event in self.events if event[0] == "hit"]

    def wait_for_end(self):
        """Reads to the end of the stream; the parser has then said that the document is well-formed."""
        while self.read_some():
            pass
        assert self.ended, "closed without </hits>"
        return self

    def ask(self):
        """One request, and its answer's events."""
        return self.wait_for_answer(1)

    def wait_for_answer(self, hits):
        """One request whose answer is so many hits."""
        before = len(self.events)
        self.socket.sendall(b"NEW?")
        while len(self.events) < before + hits:
            assert self.read_some(), "closed without an answer"
        return self.events[before:]

    def close(self):
        self.socket.close()


# --- Logs ------------------------------------------------------------------------------------------------


def line(number, agent="tester"):
    return f'192.0.2.{number % 250} - - [23/Nov/2026:10:00:00 +0000] "GET /{number} HTTP/1.1" 200 {number} "-" "{agent}"\n'


def append(folder, text, name="log"):
    data = text if isinstance(text, bytes) else text.encode()
    with open(os.path.join(folder, name), "ab", buffering=0) as file:
        file.write(data)


def append_numbers(folder, numbers, name="log"):
    append(folder, "".join(map(line, numbers)), name)


def numbers_of(client):
    """The numbers of the lines that its hits were made of."""
    return [int(hit[2].split()[1][1:]) for hit in client.hits()]


COMBINED = re.compile(rb'(\S+) \S+ .*?\[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\S+) (\S+) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"?')
ESCAPE = re.compile(rb'\\(?:x([0-9A-Fa-f]{2})|([\\"nrtbvf]))')
PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"v": b"\v", b"f": b"\f"}


def value_of(field):
    raw = ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else PLAIN.get(m[2], m[2]), field)
    text = raw.decode("utf-8", "replace")
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", text)


def expected_of(log):
    """What the hits of a log are, by another parser."""
    found = []
    with open(log, "rb") as file:
        for text in file:
            match = COMBINED.match(text)
            if match:
                found.append([value_of(field) for field in match.groups()])
    return found


# --- On each backend -------------------------------------------------------------------------------------


def each_wire_is_exact(folder, backend):
    append(folder, "")
    with Plaitd(folder, backend=backend) as plaitd:
        client = Client(plaitd.port()).connected()
        append(folder, rb'10.0.0.1 - bob [17/May/2015:10:05:03 +0000] "GET /a?b&c=\"<\x22 HTTP/1.1" 404 12 "http://r/" "A\\B \xC3\xBC \xff"'
               + b"\n" + b'::1 - - [17/May/2015:10:05:04 +0000] "GET / HTTP/1.0" 200 -\n')
        client.wait_for(2)
        assert plaitd.stop() == -signal.SIGTERM
        client.wait_for_end()
        expected = ('<hits><hit ip="10.0.0.1" timestamp="17/May/2015:10:05:03 +0000" '
                    'request="GET /a?b&amp;c=&quot;&lt;&quot; HTTP/1.1" status="404" bytes="12" referrer="http://r/" '
                    'agent="A\\B ü \ufffd"/>'
                    '<hit ip="::1" timestamp="17/May/2015:10:05:04 +0000" request="GET / HTTP/1.0" status="200" bytes="-" '
                    'referrer="-" agent="-"/></hits>')
        assert client.raw.decode() == expected, client.raw


def each_client_sees_all_after_its_connect_once_and_in_order(folder, backend):
    append_numbers(folder, range(5))
    with Plaitd(folder, backend=backend) as plaitd:
        port = plaitd.port()
        clients, starts = [], []
        for start in range(5, 1005, 100):
            clients.append(Client(port).connected())
            starts.append(start)
            append_numbers(folder, range(start, start + 50))
            append_numbers(folder, range(start + 50, start + 100))
            clients[0].wait_for(start + 100 - 5)  # so that the next one connects after these were read
        for client, start in zip(clients, starts):
            client.wait_for(1005 - start)
            assert numbers_of(client) == list(range(start, 1005))
        assert plaitd.stop() == -signal.SIGTERM
        for client in clients:
            assert client.wait_for_end().count() == len(client.hits())


def each_rename_rotation_loses_and_repeats_nothing(folder, backend):
    append_numbers(folder, range(3))
    with Plaitd(folder, backend=backend) as plaitd:
        client = Client(plaitd.port()).connected()
        number = 3
        for rotation in range(10):
            append_numbers(folder, range(number, number + 5))
            os.rename(f"{folder}/log", f"{folder}/log.{rotation}")
            append_numbers(folder, range(number + 5, number + 8), f"log.{rotation}")  # the server has not been told yet
            client.wait_for(number + 8 - 3)
            append_numbers(folder, range(number + 8, number + 10))
            client.wait_for(number + 10 - 3)
            number += 10
        assert numbers_of(client) == list(range(3, number))


def each_truncation_loses_and_repeats_nothing(folder, backend):
    append_numbers(folder, range(3))
    with Plaitd(folder, backend=backend) as plaitd:
        client = Client(plaitd.port()).connected()
        number = 3
        for rotation in range(10):
            append_numbers(folder, range(number, number + 5))
            client.wait_for(number + 5 - 3)
            shutil.copy(f"{folder}/log", f"{folder}/log.{rotation}")
            os.truncate(f"{folder}/log", 0)
            append_numbers(folder, range(number + 5, number + 5 + rotation % 3 * 10))
            number += 5 + rotation % 3 * 10
            client.wait_for(number - 3)
        assert numbers_of(client) == list(range(3, number))


def each_replay_gives_the_last_hits_first(folder, backend):
    append(folder, "")
    with Plaitd(folder, "--replay", "5", backend=backend) as plaitd:
        port = plaitd.port()
        first = Client(port).connected()
        append_numbers(folder, range(20))
        first.wait_for(20)
        second = Client(port).connected().wait_for(5)
        append_numbers(folder, range(20, 22))
        assert numbers_of(second.wait_for(7)) == list(range(15, 22))
        assert numbers_of(first.wait_for(22)) == list(range(22))


def each_hit_waits_for_the_interval(folder, backend):
    append(folder, "")
    with Plaitd(folder, "--pull", LISTEN, backend=backend, interval="86400") as plaitd:
        client = Client(plaitd.port()).connected()
        asking = Client(plaitd.port("pull")).connected()
        append_numbers(folder, range(3))
        wait_until(lambda: asking.ask() and numbers_of(asking) == [0, 1, 2])
        client.socket.setblocking(False)
        try:
            raise AssertionError(f"it was told: {client.socket.recv(100)}")
        except BlockingIOError:
            client.socket.settimeout(PATIENCE_S)
        assert plaitd.stop() == -signal.SIGTERM
        assert numbers_of(client.wait_for_end()) == [0, 1, 2]


def each_interval_passes(folder, backend):
    append(folder, "")
    with Plaitd(folder, backend=backend, interval="0.05") as plaitd:
        client = Client(plaitd.port()).connected()
        for number in range(5):
            append_numbers(folder, [number])
            client.wait_for(number + 1)
        assert numbers_of(client) == [0, 1, 2, 3, 4]


def each_request_is_answered_with_what_is_new(folder, backend):
    append(folder, "")
    arguments = ["--pull", LISTEN]
    with Plaitd(folder, *arguments, backend=backend) as plaitd:
        push = Client(plaitd.port()).connected()
        port = plaitd.port("pull")
        one, two = Client(port).connected(), Client(port).connected()
        assert one.ask() == [("none",)]
        append_numbers(folder, range(3))
        push.wait_for(3)
        assert [event[0] for event in one.wait_for_answer(3)] == ["hit"] * 3
        assert one.ask() == [("none",)]
        append_numbers(folder, range(3, 5))
        push.wait_for(5)
        two.wait_for_answer(5)
        one.wait_for_answer(2)
        assert numbers_of(one) == numbers_of(two) == [0, 1, 2, 3, 4]
        assert one.ask() == two.ask() == [("none",)]
        assert plaitd.stop() == -signal.SIGTERM
        one.wait_for_end()


def each_slow_client_is_told_exactly_what_it_lost(folder, backend):
    total = 60000
    append(folder, "")
    with Plaitd(folder, "--backlog", "64K", backend=backend) as plaitd:
        port = plaitd.port()
        slow, fast = Client(port, 4096).connected(), Client(port).connected()
        step = 2000
        for start in range(0, total, step):
            append_numbers(folder, range(start, start + step))
            fast.wait_for(start + step)
        slow.wait_for(total)
        lost = sum(event[1] for event in slow.events if event[0] == "lost")
        print(f"# lost {lost}")
        assert lost > 0
        next_number = 0
        for event in slow.events:  # each notice stands exactly where the hits are missing
            if event[0] == "lost":
                next_number += event[1]
            else:
                assert event[1][2] == f"GET /{next_number} HTTP/1.1", (event, next_number)
                next_number += 1
        assert next_number == total


def each_of_200_clients_sees_all(folder, backend):
    append(folder, "")
    with Plaitd(folder, backend=backend) as plaitd:
        port = plaitd.port()
        clients = [Client(port).connected() for _ in range(200)]
        append_numbers(folder, range(50))
        for client in clients:
            assert numbers_of(client.wait_for(50)) == list(range(50))
        for client in clients[::2]:
            client.close()
        append_numbers(folder, range(50, 60))
        for client in clients[1::2]:
            assert numbers_of(client.wait_for(60)) == list(range(60))
        assert plaitd.stop() == -signal.SIGTERM
        for client in clients[1::2]:
            client.wait_for_end()
            client.close()


def each_signal_ends_it_in_order(folder, backend):
    append(folder, "")
    for signum in (signal.SIGTERM, signal.SIGINT):
        with Plaitd(folder, "--pull", LISTEN, backend=backend) as plaitd:
            client = Client(plaitd.port()).connected()
            asking = Client(plaitd.port("pull")).connected()
            assert plaitd.stop(signum) == -signum
            assert client.wait_for_end().raw == b"<hits></hits>"
            asking.wait_for_end()


def each_line_written_before_the_signal_is_still_sent(folder, backend):
    append(folder, "")
    for _ in range(10):
        with Plaitd(folder, backend=backend, interval="5") as plaitd:
            client = Client(plaitd.port()).connected()
            append_numbers(folder, [1, 2])
            plaitd.process.terminate()
            assert numbers_of(client.wait_for_end()) == [1, 2]
            assert plaitd.process.wait(PATIENCE_S) == -signal.SIGTERM
            client.close()


def client_that_stays_after_the_end_holds_up_nobody(folder):
    append(folder, "")
    with Plaitd(folder, interval="5") as plaitd:
        client = Client(plaitd.port()).connected()
        append_numbers(folder, range(1000))
        assert plaitd.stop() == -signal.SIGTERM  # although the client has not read a byte, and does not close
        assert numbers_of(client.wait_for_end()) == list(range(1000))


# --- Once ------------------------------------------------------------------------------------------------


def hits_of_a_real_log_are_what_another_parser_finds(folder):
    if not REAL_LOG:
        raise tap.Skip("PLAIT_ACCESS_LOG names no access log of yours")
    replayed_log_is_the_same_for_all(folder, REAL_LOG)


def hits_of_the_sample_log_are_what_another_parser_finds(folder):
    replayed_log_is_the_same_for_all(folder, SAMPLE_LOG)


def replayed_log_is_the_same_for_all(folder, log):
    expected = expected_of(log)
    append(folder, "")
    with Plaitd(folder) as plaitd:
        port = plaitd.port()
        clients = [Client(port).connected() for _ in range(3)]
        with open(log, "rb") as file:
            append(folder, file.read())
        for client in clients:
            hits = client.wait_for(len(expected)).hits()
            for hit, wanted in zip(hits, expected):
                assert hit == wanted, (hit, wanted)
        assert plaitd.stop() == -signal.SIGTERM
        for client in clients:
            assert client.wait_for_end().count() == len(expected)


def hit_is_told_at_once_when_the_kernel_tells_of_changes(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        client = Client(plaitd.port()).connected()
        for number in range(200):  # polling alone would need 200 seconds
            append_numbers(folder, [number])
            client.wait_for(number + 1)


def client_that_writes_the_log_itself_sees_its_line(folder):
    """Whoever is connected before he writes a line gets it, also if he does not wait for <hits>."""
    append(folder, "")
    with Plaitd(folder) as plaitd:
        port = plaitd.port()
        for number in range(300):
            client = Client(port)
            append_numbers(folder, [number])
            assert number in numbers_of(client.wait_for(1)), number
            client.close()


def partial_line_waits_for_its_newline(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        client = Client(plaitd.port()).connected()
        text = line(7)
        append(folder, line(6) + text[:20])
        client.wait_for(1)
        append(folder, text[20:50])
        append(folder, text[50:])
        assert numbers_of(client.wait_for(2)) == [6, 7]


def missing_log_is_waited_for(folder):
    with Plaitd(folder) as plaitd:
        plaitd.wait_for("waiting for the log to appear")
        client = Client(plaitd.port()).connected()
        append_numbers(folder, range(3))
        assert numbers_of(client.wait_for(3)) == [0, 1, 2]


def unreadable_log_is_named_and_tried_again(folder):
    os.symlink("log", f"{folder}/log")
    with Plaitd(folder) as plaitd:
        entry = plaitd.wait_for("cannot read the log; trying again each second")
        assert entry["file"].endswith("/log") and entry["error"], entry
        client = Client(plaitd.port()).connected()
        os.unlink(f"{folder}/log")
        append_numbers(folder, range(2))
        assert numbers_of(client.wait_for(2)) == [0, 1]


def garbage_is_counted_and_logged_but_never_sent(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        client = Client(plaitd.port()).connected()
        append(folder, b"garbage\n" * 1000 + bytes(range(256)) * 10 + b"\n" + line(1).encode() + b"\n" + line(2).encode())
        assert numbers_of(client.wait_for(2)) == [1, 2]
        entry = plaitd.wait_for("lines that are no hits")
        assert entry["first"] == "garbage" and entry["total"] >= 1000, entry
        append_numbers(folder, [3])
        assert numbers_of(client.wait_for(3)) == [1, 2, 3]


def line_that_is_too_long_is_passed_over(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        client = Client(plaitd.port()).connected()
        append(folder, line(1) + "x" * (5 << 20) + "\n" + line(2))
        assert numbers_of(client.wait_for(2)) == [1, 2]
        assert plaitd.wait_for("passed over lines that are too long")["count"] == 1


def hit_that_is_larger_than_the_backlog_is_told_as_lost_in_its_place(folder):
    append(folder, "")
    with Plaitd(folder, "--backlog", "64K") as plaitd:
        client = Client(plaitd.port()).connected()
        append_numbers(folder, [1])
        client.wait_for(1)
        append(folder, f'1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] "GET /{"x" * 100000} HTTP/1.1" 200 1\n')
        append_numbers(folder, [2])
        client.wait_for(3)
        assert [event[0] for event in client.events] == ["hit", "lost", "hit"] and client.events[1][1] == 1, client.events
        client.close()
        assert plaitd.wait_for("hits are larger than the backlog")["count"] == 1


def line_of_nearly_a_mebibyte_is_a_hit_even_in_a_small_backlog(folder):
    append(folder, "")
    with Plaitd(folder, "--backlog", "8M") as plaitd:
        client = Client(plaitd.port()).connected()
        append(folder, line(1, '<&\\"' * 240000) + line(2))
        client.wait_for(2)
        assert client.hits()[0][6] == '<&"' * 240000


def from_start_gives_the_whole_log_to_each_client(folder):
    append_numbers(folder, range(100))
    with Plaitd(folder, "--from-start") as plaitd:
        port = plaitd.port()
        for client in [Client(port), Client(port)]:
            assert numbers_of(client.wait_for(100)) == list(range(100))
        append_numbers(folder, range(100, 105))
        assert numbers_of(Client(port).wait_for(105)) == list(range(105))


def from_start_accounts_for_every_hit_of_a_log_larger_than_the_backlog(folder):
    append_numbers(folder, range(20000))
    with Plaitd(folder, "--from-start", "--backlog", "64K") as plaitd:
        port = plaitd.port()
        client = Client(port).wait_for(20000)
        assert client.hits()[-1][2] == "GET /19999 HTTP/1.1"
        late = Client(port).wait_for(20000)
        assert late.events[0][0] == "lost" and late.hits()[-1][2] == "GET /19999 HTTP/1.1"


def replay_zero_takes_precedence_over_from_start(folder):
    append_numbers(folder, range(10))
    with Plaitd(folder, "--from-start", "--replay", "0", "--pull", LISTEN) as plaitd:
        port = plaitd.port()
        watcher = Client(plaitd.port("pull")).connected()
        client = Client(port).connected()
        append_numbers(folder, [10])
        client.wait_for(1)
        assert numbers_of(client)[-1] == 10
        watcher.close()


def two_logs_make_one_stream(folder):
    append(folder, "", "a")
    append(folder, "", "b")
    with Plaitd(folder, logs=("a", "b")) as plaitd:
        client = Client(plaitd.port()).connected()
        append_numbers(folder, range(0, 10), "a")
        append_numbers(folder, range(10, 20), "b")
        client.wait_for(20)
        numbers = numbers_of(client)
        assert [n for n in numbers if n < 10] == list(range(10))
        assert [n for n in numbers if n >= 10] == list(range(10, 20))


def common_format_can_be_told(folder):
    append(folder, "")
    with Plaitd(folder, "--format", "common") as plaitd:
        client = Client(plaitd.port()).connected()
        append_numbers(folder, [1])
        assert client.wait_for(1).hits()[0][5:] == ["-", "-"]


def clients_come_over_unix_sockets(folder):
    append(folder, "")
    with Plaitd(folder, "--listen", f"unix:{folder}/s", listen=False) as plaitd:
        plaitd.wait_for("listening")
        peer = connect(f"{folder}/s")
        assert peer.recv(6, socket.MSG_WAITALL) == b"<hits>"
        append_numbers(folder, [1])
        assert peer.recv(5, socket.MSG_WAITALL) == b"<hit "
        assert plaitd.stop() == -signal.SIGTERM
        peer.close()


def client_that_talks_to_a_pushing_port_is_not_listened_to(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        client = Client(plaitd.port()).connected()
        client.socket.sendall(os.urandom(100000))
        append_numbers(folder, [1])
        assert numbers_of(client.wait_for(1)) == [1]


def client_that_leaves_is_forgotten_at_once(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        port = plaitd.port()
        client = Client(port).connected()
        client.close()
        plaitd.wait_for("left")


def asking_once_and_ending_is_answered_whole(folder):
    append_numbers(folder, range(2000))
    with Plaitd(folder, "--from-start", "--pull", LISTEN) as plaitd:
        Client(plaitd.port()).wait_for(2000)
        client = Client(plaitd.port("pull"))
        client.socket.sendall(b"NEW?")
        client.socket.shutdown(socket.SHUT_WR)
        assert numbers_of(client.wait_for(2000)) == list(range(2000))


def clients_that_connect_and_leave_cost_nothing(folder):
    append(folder, "")
    with Plaitd(folder) as plaitd:
        port = plaitd.port()
        before = None
        for round_ in range(6):
            for _ in range(500):
                Client(port).close()
            Client(port).connected().close()
            if round_ == 1:
                before = memory_of(plaitd.process.pid)
        grown = memory_of(plaitd.process.pid) - before
        assert grown < 2 << 20, f"{grown} bytes more"
        client = Client(port).connected()
        append_numbers(folder, [1])
        client.wait_for(1)


def each_lack_of_descriptors_is_survived(folder, backend):
    append(folder, "")
    with Plaitd(folder, backend=backend, descriptors=40) as plaitd:
        port = plaitd.port()
        first, late = Client(port).connected(), None
        others = [Client(port) for _ in range(100)]
        append_numbers(folder, [1])
        assert numbers_of(first.wait_for(1)) == [1]
        for other in others:
            other.close()

        def another_is_taken():
            nonlocal late
            late = Client(port)
            try:
                return late.connected()
            except (AssertionError, ConnectionError):
                late.close()
                return None
        wait_until(another_is_taken)
        append_numbers(folder, [2])
        assert numbers_of(late.wait_for(1)) == [2] and numbers_of(first.wait_for(2)) == [1, 2]
        assert plaitd.stop() == -signal.SIGTERM
        first.wait_for_end()


# --- The command line ------------------------------------------------------------------------------------


def mistakes_of_use_get_one_line_and_status_2(folder):
    log = f"{folder}/log"
    for arguments in ([], ["nonsense"], ["--nonsense"], ["-z"], ["-n"], ["-n", "weblog"], ["weblog"],
                      ["-l-", "weblog", "--log", log], ["-n", "weblog", "--log"], ["-n", "weblog", "--log="], ["-n", "weblog", "--log", log, "more"],
                      ["-n", "weblog", "--log", log, "--interval", "soon"], ["-n", "weblog", "--log", log, "--interval=-1"],
                      ["-n", "weblog", "--log", log, "--interval", "nan"], ["-n", "weblog", "--log", log, "--interval", "1e9"],
                      ["-n", "weblog", "--log", log, "--replay", "-1"], ["-n", "weblog", "--log", log, "--replay", "99999999999999999999"],
                      ["-n", "weblog", "--log", log, "--backlog", "1"], ["-n", "weblog", "--log", log, "--backlog", "99999999999G"],
                      ["-n", "weblog", "--log", log, "--format", "nonsense"], ["-n", "weblog", "--log", log, "--from-start=yes"],
                      ["-n", "weblog", "--log", log, "--listen", "tcp:nonsense"], ["-n", "weblog", "--log", log, "--listen", "udp:1"],
                      ["-n", "weblog", "--log", log, "--pull", "carrier-pigeon:1"], ["-n", "weblog", "--log", log, "--nonsense\nmore"],
                      ["-n", "-r", "nonsense", "weblog", "--log", log], ["-n", "--log-format", "xml", "weblog", "--log", log],
                      ["-n", "weblog", "--log", log, "--l", "x"], ["-n", "weblog", "--log", log, "x" * 100000]):
        status, out, err = run(*arguments)
        assert status == 2 and out == "", (arguments, status, out)
        assert err.startswith("plaitd: ") and err.count("\n") == 1 and err.endswith("\n"), err


def busy_port_is_named_with_status_1(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, _, err = run("-n", "weblog", "--log", f"{folder}/log", "--listen", f"tcp:{port}:interface=127.0.0.1")
    assert status == 1
    assert err.splitlines()[-1] == f"plaitd: weblog: listening on tcp:{port}:interface=127.0.0.1: address already in use", err


def folder_as_log_is_refused_with_status_1(folder):
    status, _, err = run("-n", "weblog", "--log", folder, "--listen", "tcp:0")
    assert status == 1 and err.count("\n") == 1 and folder in err and "directory" in err, err


def pipe_as_log_is_refused_with_status_1(folder):
    os.mkfifo(f"{folder}/pipe")
    status, _, err = run("-n", "weblog", "--log", f"{folder}/pipe", "--listen", "tcp:0")
    assert status == 1 and err.count("\n") == 1 and f"{folder}/pipe, which is no regular file" in err, err


def logfile_that_cannot_be_written_is_named_with_status_1(folder):
    status, _, err = run("-n", "-l", f"{folder}/no/such/folder", "weblog", "--log", f"{folder}/log")
    assert status == 1 and err.count("\n") == 1 and f"{folder}/no/such/folder" in err, err


def help_and_version_go_to_standard_output(folder):
    for arguments, said in ((["--help"], "weblog"), (["weblog", "--help"], "--from-start"), (["-n", "weblog", "--help"], "--interval"),
                            (["--version"], "plaitd 0."), (["--help-reactors"], "epoll")):
        status, out, err = run(*arguments)
        assert status == 0 and said in out and err == "", (arguments, status, out, err)


def log_goes_to_a_file_as_text(folder):
    append(folder, "")
    with Process([PLAITD, "-n", f"-l{folder}/plaitd.log", "--reactor=poll", "--ready-fd=1", "weblog", f"--log={folder}/log", f"--listen={LISTEN}",
                  "--pull", f"unix:{folder}/s"], stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"\n"
        assert os.path.exists(f"{folder}/s")
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
    text = text_of(f"{folder}/plaitd.log")
    assert re.search(r"^\S+Z info weblog: listening endpoint=tcp:0:interface=127.0.0.1 address=127.0.0.1:\d+ mode=push$", text, re.M), text
    assert "backend=poll" in text


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals(), backends())))
