#!/usr/bin/env python3
"""The examples, each run as its user would run it."""
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading

import tap
from clients import connect
from server import Process, status_of, text_of
from tap import BUILD, PATIENCE_S, TOP, sanitizer


class Example:
    """A running example; a server is given its listening socket, so that nobody has to wait for it to listen."""

    def __init__(self, name, *arguments, **options):
        self.process = Process([f"{BUILD}/examples/{name}", *arguments], stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)

    @classmethod
    def server(cls, name, *arguments, endpoint_at=0):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        arguments = arguments[:endpoint_at] + (f"fd:{listener.fileno()}",) + arguments[endpoint_at:]
        self = cls(name, *arguments, pass_fds=[listener.fileno()])
        self.port = listener.getsockname()[1]
        listener.close()
        return self

    def line(self):
        text = self.process.stdout.readline()
        print("#", text, end="")
        return text

    def lines_until(self, pattern):
        lines = []
        while not (lines and re.search(pattern, lines[-1])):
            lines.append(self.line())
            assert lines[-1], f"it ended and never said {pattern!r}"
        return lines

    def end(self, signum=signal.SIGTERM):
        """(what it still said, exit status)"""
        self.process.send_signal(signum)
        return self.wait()

    def wait(self):
        text = self.process.communicate(timeout=PATIENCE_S)[0]
        print("".join(f"# {line}\n" for line in text.splitlines()), end="")
        return text, self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.__exit__(*error)


def receive(peer, *wanted):
    """Reads until all of `wanted` have come."""
    data = b""
    while not all(text in data for text in wanted):
        more = peer.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    return data


def append(log, *numbers):
    with open(log, "a", encoding="utf-8") as file:
        for number in numbers:
            file.write(f'192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "GET /{number}?a&b HTTP/1.1" 200 {number} "-" "<{number}>"\n')


def hit(number):
    return (f'<hit ip="192.0.2.1" timestamp="23/Nov/2026:10:00:00 +0000" request="GET /{number}?a&amp;b HTTP/1.1" status="200" '
            f'bytes="{number}" referrer="-" agent="&lt;{number}&gt;"/>').encode()


# --- The tests -------------------------------------------------------------------------------------------


def echo_sends_back_what_arrives(folder):
    echoes("echo")


def echo_fiber_sends_back_what_arrives(folder):
    echoes("echo-fiber")


def echoes(name):
    with Example.server(name) as server:
        peer = connect(server.port)
        peer.sendall(b"three strands")
        assert peer.recv(13, socket.MSG_WAITALL) == b"three strands"
        assert server.line().startswith("connected: 127.0.0.1:")
        peer.close()
        assert server.line().startswith("left: 127.0.0.1:")
        assert server.end() == ("", 0)


def pull_weblog_answers_with_what_is_new(folder):
    log = f"{folder}/log"
    append(log, 1)
    with Example.server("pull-weblog", log) as server:
        one, two = connect(server.port), connect(server.port)
        for peer in (one, two):
            receive(peer, b"<hits>")
        one.sendall(b"NEW?")
        assert receive(one, b"/>") == b"<none/>"
        append(log, 2, 3)
        for peer in (one, two):
            peer.sendall(b"NEW?")
            assert receive(peer, hit(3)) == hit(2) + hit(3)
        one.close()
        server.lines_until("^left: ")
        assert server.end()[1] == 0


def push_weblog_tells_all_of_its_clients(folder):
    log = f"{folder}/log"
    append(log, 1)
    with Example.server("push-weblog", log) as server:
        peers = [connect(server.port) for _ in range(3)]
        for peer in peers:
            receive(peer, b"<hits>")
        with open(log, "a", encoding="utf-8") as file:
            file.write("garbage\n")
        append(log, 2, 3)
        for peer in peers:
            assert receive(peer, hit(3)) == hit(2) + hit(3)
        server.process.terminate()
        for peer in peers:
            assert receive(peer, b"</hits>") == b"</hits>"
            peer.close()
        said, status = server.wait()
        assert status == 0 and said.count("connected: ") == said.count("left: ") == 3, said


def threaded_weblog_serves_each_client_in_a_thread(folder):
    log = f"{folder}/log"
    append(log, 1)
    free = socket.socket()
    free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the example does: two may be bound to it, one of which listens
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    with free, Example("threaded-weblog", f"tcp:127.0.0.1:{port}", log) as server:
        server.lines_until("^listening on ")
        one, two = connect(port), connect(port)
        for peer in (one, two):
            receive(peer, b"<hits>")
        append(log, 2, 3)
        for peer in (one, two):
            assert receive(peer, hit(3)) == hit(2) + hit(3)
        one.close()
        assert "connected: 127.0.0.1:" in "".join(server.lines_until("^left: 127.0.0.1:"))
        server.end()


def receive_to_the_end(peer):
    data = b""
    while more := peer.recv(65536):
        data += more
    return data


def accept(listener):
    peer, _ = listener.accept()
    peer.settimeout(PATIENCE_S)
    return peer


def proxied(test):
    """A client and the server behind the proxy, connected, and the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(PATIENCE_S)
        port = target.getsockname()[1]
        with Example.server("proxy", f"tcp:127.0.0.1:{port}", endpoint_at=1) as proxy, connect(proxy.port) as client, accept(target) as server:
            test(client, server, proxy)
            assert proxy.end() == ("", 0)


def most_kb_of(pid):
    return int(status_of(pid)["VmHWM"].split()[0])


def listen_in(folder, name):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/{name}")
    listener.listen()
    listener.settimeout(PATIENCE_S)
    return listener


def proxied_in(folder, test):
    """The same over UNIX sockets, whose buffers are small."""
    with listen_in(folder, "server") as target, listen_in(folder, "proxy") as door, socket.socket(socket.AF_UNIX) as client:
        with Example("proxy", f"unix:{folder}/server", f"fd:{door.fileno()}", pass_fds=[door.fileno()]) as proxy:
            client.settimeout(PATIENCE_S)
            client.connect(f"{folder}/proxy")
            with accept(target) as server:
                test(client, server, proxy)
            assert proxy.end() == ("", 0)


def proxy_passes_each_end_on_by_itself(folder):
    def talk(client, server, _):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert receive_to_the_end(server) == b"question"
        server.sendall(b"answer")
        server.close()
        assert receive_to_the_end(client) == b"answer"

    proxied(talk)


def receive_all(peer, size, got):
    while len(got) < size:
        more = peer.recv(4096)  # slower than it is sent
        assert more, f"closed after {len(got)} bytes"
        got += more


def proxy_keeps_little_and_loses_nothing_although_one_side_reads_only_when_it_has_said_all(folder):
    said = [os.urandom(1 << 20) * 24 for _ in range(2)]
    heard = [bytearray(), bytearray()]

    def talk(client, server, proxy):
        threads = [threading.Thread(target=server.sendall, args=(said[1],)),
                   threading.Thread(target=receive_all, args=(server, len(said[0]), heard[0]))]
        for thread in threads:
            thread.start()
        client.sendall(said[0])
        receive_all(client, len(said[1]), heard[1])
        for thread in threads:
            thread.join()
        assert sanitizer() != "none" or most_kb_of(proxy.process.pid) < 16 << 10, f"it has used {most_kb_of(proxy.process.pid)} kB"  # else memory is the sanitizer's

    proxied_in(folder, talk)
    assert [bytes(text) for text in heard] == said


def proxy_tells_each_side_that_the_other_is_gone(folder):
    reset = struct.pack("ii", 1, 0)

    def break_server(client, server, _):
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        server.close()
        assert client.recv(1) == b""

    def break_client(client, server, _):
        client.sendall(b"last words")
        assert server.recv(1) == b"l"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.close()
        assert receive_to_the_end(server) == b"ast words"

    proxied(break_server)
    proxied(break_client)


def weblog_client_prints_hits_of_a_document_without_end(folder):
    listener = socket.create_server(("127.0.0.1", 0))
    with Example("weblog-client", f"tcp:127.0.0.1:{listener.getsockname()[1]}") as client:
        listener.settimeout(PATIENCE_S)
        peer, _ = listener.accept()
        text = b"<hits>" + hit(1) + '<hit agent="ü&#10;&#7;x"/>'.encode().replace(b"&#7;", b"") + hit(2)
        for byte in range(len(text)):
            peer.sendall(text[byte:byte + 1])  # in any pieces
        assert client.line() == ('hit ip="192.0.2.1" timestamp="23/Nov/2026:10:00:00 +0000" request="GET /1?a&b HTTP/1.1" '
                                 'status="200" bytes="1" referrer="-" agent="<1>"\n')
        assert client.line() == 'hit agent="ü?x"\n'
        assert "GET /2?a&b" in client.line()
        peer.sendall(b'<lost count="7"/></hits>')
        assert client.line() == 'lost count="7"\n'
        assert client.wait() == ("", 0)
        peer.close()
    listener.close()


def weblog_client_asks_again_in_pull_mode(folder):
    listener = socket.create_server(("127.0.0.1", 0))
    with Example("weblog-client", "--pull", f"tcp:127.0.0.1:{listener.getsockname()[1]}", "0.01") as client:
        listener.settimeout(PATIENCE_S)
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE_S)
        peer.sendall(b"<hits>")
        for number in range(5):
            assert peer.recv(100)
            peer.sendall(hit(number) if number % 2 else b"<none/>")
        assert "GET /1" in client.line() and "GET /3" in client.line()
        peer.sendall(b"</hits>")
        assert client.wait() == ("", 0)
        peer.close()
    listener.close()


def weblog_client_fails_when_the_document_has_no_end(folder):
    listener = socket.create_server(("127.0.0.1", 0))
    for text in (b"<hits>", b"<hits><broken", b"<hits></nonsense>", b""):
        with Example("weblog-client", f"tcp:127.0.0.1:{listener.getsockname()[1]}") as client:
            listener.settimeout(PATIENCE_S)
            peer, _ = listener.accept()
            peer.sendall(text)
            peer.close()
            assert client.wait() == ("", 1)
    port = listener.getsockname()[1]
    listener.close()
    with Example("weblog-client", f"tcp:127.0.0.1:{port}") as client:
        assert client.wait() == ("", 1)


def deferred_timeout_gives_the_answer_or_says_that_it_came_too_late(folder):
    with Example("deferred-timeout", "0.01", "60") as example:
        assert example.wait() == ("the answer is 42\n", 0)
    with Example("deferred-timeout", "60", "0.01") as example:
        assert example.wait() == ("no answer: timed out\n", 0)


def thread_lets_the_reactor_go_on(folder):
    with Example("thread") as example:
        said, status = example.wait()
        assert status == 0 and said.endswith("the thread says: rested\n"), said
        assert said.startswith("the reactor goes on\n" * 2), said


# --- ./dev demo ------------------------------------------------------------------------------------------


def children_of(pid):
    return [int(child) for child in text_of(f"/proc/{pid}/task/{pid}/children").split()]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_demo(**environment):
    return Process([f"{TOP}/tools/demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, PLAIT_BUILD=BUILD, **environment))


def demo_prints_hits_and_ends_in_time(folder):
    with start_demo(PLAIT_DEMO_SECONDS="3") as demo:
        said = demo.communicate(timeout=PATIENCE_S)[0]
    print("".join(f"# {line}\n" for line in said.splitlines()), end="")
    assert demo.returncode == 0 and '\nhit ip="127.0.0.1" ' in said and said.endswith("demo: all has ended\n")


def demo_leaves_nobody_behind_after_ctrl_c(folder):
    with start_demo() as demo:
        for line in demo.stdout:
            if line.startswith("hit "):
                break
        children = children_of(demo.pid)
        assert len(children) == 2, children
        demo.send_signal(signal.SIGINT)
        said = demo.communicate(timeout=PATIENCE_S)[0]
    assert demo.returncode == 0 and said.endswith("demo: all has ended\n"), said
    assert not [child for child in children if is_alive(child)]


def every_example_has_a_test(folder):
    text = text_of(f"{TOP}/tests/examples_test.py") + text_of(f"{TOP}/tests/fib_test.py")  # which has those that are applications
    for name in sorted(os.listdir(f"{TOP}/examples")):
        if name.endswith(".c"):
            assert f'"{name[:-2]}"' in text, f"no test runs {name}"


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
