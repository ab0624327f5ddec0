"""Clients of what plaitd serves, for the test scripts."""
import json
import socket
import sys

from tap import PATIENCE_S

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)  # numbers grow as they are given


def connect(address):
    """To a port of this machine, or to a path."""
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), PATIENCE_S)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE_S)
    client.connect(address)
    return client


def receive_until(client, text):
    """What comes, up to the piece that has the end of `text`."""
    got, looked = bytearray(), 0
    while got.find(text, looked) < 0:
        looked = max(0, len(got) - len(text))
        more = client.recv(1 << 20)
        assert more, f"it ended after {bytes(got[-200:])!r}"
        got += more
    return bytes(got)


class Client:
    """One that reads lines."""

    def __init__(self, address):
        self.socket = connect(address)
        self.lines = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.lines.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class Control(Client):
    """Of a control socket."""

    def answer(self):
        """None at the end."""
        line = self.lines.readline()
        return json.loads(line) if line else None

    def ask(self, command, **more):
        self.send(json.dumps({"command": command, **more}).encode() + b"\n")
        return self.answer()


class FibClient(Client):
    """Of fib. What it hears is None at the end of the connection, and when that breaks."""

    def send(self, data=b"more, please\r\n"):
        super().send(data)

    def answer(self):
        try:
            line = self.lines.readline()
        except ConnectionError:
            return None
        if not line.endswith(b"\n"):
            return None
        assert line[:-1].isdigit() and not line.startswith(b"0"), line
        return int(line)

    def ask(self):
        try:
            self.send()
        except ConnectionError:
            return None
        return self.answer()


def ask(address):
    """The next number of fib."""
    with FibClient(address) as client:
        number = client.ask()
    assert number is not None, "the connection ended without an answer"
    return number


def fibonacci(count):
    """The first `count` of the numbers that fib gives."""
    numbers, a, b = [], 1, 1
    for _ in range(count):
        a, b = b, a + b
        numbers.append(b)
    return numbers
