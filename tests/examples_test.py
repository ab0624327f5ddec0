#!/usr/bin/env python3
"""The examples, each run as its user would run it. Speaks TAP.

    tests/examples_test.py [NAME...]      only the tests that have NAME in their names
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("PLAIT_BUILD", os.path.join(TOP, "build"))
PATIENCE_S = 60  # for what must happen; nothing waits this long when all is well


class Example:
    """A running example; a server is given its listening socket, so that nobody has to wait for it to listen."""

    def __init__(self, name, *arguments, **options):
        self.process = subprocess.Popen([f"{BUILD}/examples/{name}", *arguments], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)

    @classmethod
    def server(cls, name, *arguments):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        self = cls(name, f"fd:{listener.fileno()}", *arguments, pass_fds=[listener.fileno()])
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
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    peer.settimeout(PATIENCE_S)
    return peer


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Example("threaded-weblog", f"tcp:127.0.0.1:{port}", log) as server:
        one, two = connect_when_it_listens(server, port), connect(port)
        for peer in (one, two):
            receive(peer, b"<hits>")
        append(log, 2, 3)
        for peer in (one, two):
            assert receive(peer, hit(3)) == hit(2) + hit(3)
        one.close()
        assert "connected: 127.0.0.1:" in "".join(server.lines_until("^left: 127.0.0.1:"))
        server.end()


def connect_when_it_listens(server, port):
    """It can't be given a socket, and says nothing when it has one: so it is asked until it answers."""
    while True:
        assert server.process.poll() is None, "it has ended"
        try:
            return connect(port)
        except ConnectionRefusedError:
            time.sleep(0.01)


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
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_demo(**environment):
    return subprocess.Popen([f"{TOP}/tools/demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=dict(os.environ, PLAIT_BUILD=BUILD, **environment))


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
    with open(f"{TOP}/tests/examples_test.py", encoding="utf-8") as file:
        text = file.read()
    with open(f"{TOP}/tests/fib_test.py", encoding="utf-8") as file:
        text += file.read()  # has those that are applications
    for name in sorted(os.listdir(f"{TOP}/examples")):
        if name.endswith(".c"):
            assert f'"{name[:-2]}"' in text, f"no test runs {name}"


NO_TESTS = {"main", "echoes", "connect", "receive", "append", "hit", "children_of", "is_alive", "start_demo", "connect_when_it_listens"}


def main():
    chosen = [(name, value) for name, value in globals().items()
              if callable(value) and getattr(value, "__code__", None) and name not in NO_TESTS
              and (len(sys.argv) < 2 or any(part in name for part in sys.argv[1:]))]
    print(f"1..{len(chosen)}")
    failed = 0
    for number, (name, test) in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory(prefix="plait-examples-") as folder:
            try:
                test(folder)
                print(f"ok {number} - {name}", flush=True)
            except Exception:  # whatever it is, it is this test's failure and not the end of the others
                failed += 1
                print(f"not ok {number} - {name}")
                print("".join(f"# {text}\n" for text in traceback.format_exc().splitlines()), end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
