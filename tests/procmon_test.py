#!/usr/bin/env python3
"""plaitd procmon: programs that are kept running. Speaks TAP."""
import functools
import os
import queue
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading

import tap

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.realpath(os.environ.get("PLAIT_BUILD", os.path.join(TOP, "build")))
PLAITD = os.path.join(BUILD, "plaitd")
PATIENCE_S = 60


class Procmon:
    """plaitd -n procmon, whose log is read line by line."""

    def __init__(self, *arguments, **more):
        self.process = subprocess.Popen([PLAITD, "-n", "procmon", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, **more)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            print(f"# {line}", end="", file=sys.stderr)
            self.lines.put(line)
        self.lines.put("")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.reader.join()

    def await_line(self, pattern):
        """The match of the next line that has the pattern."""
        while line := self.lines.get(timeout=PATIENCE_S):
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"it ended without {pattern}")

    def started(self, service):
        return int(self.await_line(rf"started service={service} number=(\d+)")[1])

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)


def gone(pid):
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], PATIENCE_S)[0], f"{pid} still runs"
    os.close(fd)


def one(*arguments):
    done = subprocess.run([PLAITD, "-n", "procmon", *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stderr


def equal(got, expected):
    assert got == expected, f"{got!r} instead of {expected!r}"


# ---------------------------------------------------------------------------------------------------


def test_program_that_is_killed_is_started_again():
    with Procmon("--min-delay", "0.01", "--", "sleep", "1000") as procmon:
        first = procmon.started("sleep")
        os.kill(first, signal.SIGKILL)
        procmon.await_line(r"ended service=sleep status=0 signal=9 .* again_in_ms=10")
        second = procmon.started("sleep")
        assert second != first
        equal(procmon.stop(), -signal.SIGTERM)
        gone(second)


def test_arguments_go_to_the_program_and_its_words_to_the_log():
    with Procmon("--min-delay", "60", "--", "printf", "%s|%s\\n", "--help", "a b") as procmon:
        procmon.await_line(r"says service=printf line=--help\|a b$")


def test_lines_that_are_long_or_no_text_are_said_as_far_as_they_fit():
    with Procmon("--min-delay", "60", "--also", r"head -c 3000 /dev/zero | tr '\0' A; echo; printf 'a\377b\n'; head -c 9000 /dev/zero | tr '\0' '\001'; echo; echo then") as procmon:
        assert len(procmon.await_line(r"says service=head line=(A+)$")[1]) > 1900
        procmon.await_line(r"says service=head line=a\\xffb$")
        assert len(procmon.await_line(r"says service=head line=((\\x01)+)$")[1]) > 1900
        procmon.await_line(r"says service=head line=then$")


def test_last_words_need_no_newline():
    with Procmon("--min-delay", "60", "--max-delay", "60", "--also", "printf 'one\\ntwo'; printf 'the reason' >&2; exit 3") as procmon:
        said = {procmon.await_line(r"(info|warning) process: says service=printf line=(.*)$").groups() for _ in range(3)}
        equal(said, {("info", "one"), ("info", "two"), ("warning", "the reason")})


def test_several_programs_each_have_a_name():
    with Procmon("--also", "exec sleep 1000", "--also", "sleep 1000 & wait", "--", "/bin/sleep", "1000") as procmon:
        numbers = [procmon.started("sleep"), procmon.started("exec"), procmon.started("sleep-2")]
        equal(procmon.stop(), -signal.SIGTERM)
        for number in numbers:
            gone(number)


def test_children_of_a_program_are_stopped_with_it():
    with Procmon("--also", "echo I am $$; sleep 1000 & echo child $!; wait") as procmon:
        child = int(procmon.await_line(r"line=child (\d+)")[1])
        procmon.stop()
        gone(child)


def test_program_that_does_not_listen_is_killed_after_its_grace():
    with Procmon("--grace", "0.05", "--also", "trap '' TERM; echo deaf; while :; do sleep 1000; done") as procmon:
        procmon.await_line("line=deaf")
        equal(procmon.stop(), -signal.SIGTERM)
        procmon.await_line(r"stopped service=trap status=0 signal=9")


def test_program_ends_when_procmon_is_killed():
    with Procmon("--", "sleep", "1000") as procmon:
        number = procmon.started("sleep")
        procmon.await_line("running")
        procmon.stop(signal.SIGKILL)
        gone(number)


def test_program_inherits_the_output_if_that_is_wanted():
    with Procmon("--output", "inherit", "--min-delay", "60", "--", "echo", "plain words") as procmon:
        procmon.await_line("^plain words$")


def test_program_stands_in_its_folder():
    with tempfile.TemporaryDirectory() as folder, Procmon("--folder", folder, "--min-delay", "60", "--", "pwd") as procmon:
        procmon.await_line(f"line={re.escape(os.path.realpath(folder))}$")


def test_mistakes_are_told():
    equal(one(), (2, "plaitd: procmon: what is to be kept running? procmon -- COMMAND, or --also COMMAND\n"))
    equal(one("--output", "nowhere", "--", "true"), (2, "plaitd: procmon: --output: expected log or inherit, not 'nowhere'\n"))
    equal(one("--min-delay", "0", "--", "true"), (2, "plaitd: procmon: --min-delay: expected more than 0 seconds\n"))
    equal(one("--min-delay", "9", "--max-delay", "1.5", "--", "true"), (2, "plaitd: procmon: --max-delay 1.5 is less than --min-delay 9\n"))
    equal(one("--", "/nowhere/at-all"), (1, "plaitd: procmon/at-all: running /nowhere/at-all: No such file or directory\n"))
    equal(one("--folder", "/nowhere", "--", "true"), (1, "plaitd: procmon/true: going into the folder /nowhere: No such file or directory\n"))


def test_applications_that_are_saved_keep_their_programs():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([PLAITD, "--save", "sleeper.tap", "procmon", "--", "sleep", "--", "1000"], cwd=folder, check=True, timeout=PATIENCE_S)
        with subprocess.Popen([PLAITD, "-n", "-o", "-f", "sleeper.tap"], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
            assert "started service=sleep" in process.stderr.readline()
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def in_time(test, _):
    signal.alarm(2 * PATIENCE_S)
    test()


TESTS = [(name[5:], functools.partial(in_time, value)) for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(tap.main(TESTS))
