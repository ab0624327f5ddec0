#!/usr/bin/env python3
"""plaitd procmon: programs that are kept running. Speaks TAP."""
import os
import signal
import subprocess
import sys

import tap
from server import Server, run, wait_for_end
from tap import equal


class Procmon(Server):
    def __init__(self, folder, *arguments, **more):
        super().__init__(folder, "procmon", *arguments, **more)

    def started(self, service):
        return self.wait_for("started", service=service)["number"]

    def line_of(self, service, **fields):
        """The next that this one says."""
        return self.wait_for("says", service=service, **fields)["line"]


def refused(*arguments):
    status, _, err = run("-n", "procmon", *arguments)
    return status, err


# ---------------------------------------------------------------------------------------------------


def program_that_is_killed_is_started_again(folder):
    with Procmon(folder, "--min-delay", "0.01", "--", "sleep", "1000") as procmon:
        first = procmon.started("sleep")
        os.kill(first, signal.SIGKILL)
        procmon.wait_for("ended", service="sleep", status=0, signal=9, again_in_ms=10)
        second = procmon.started("sleep")
        assert second != first
        equal(procmon.stop(), -signal.SIGTERM)
        wait_for_end(second)


def arguments_go_to_the_program_and_its_words_to_the_log(folder):
    with Procmon(folder, "--min-delay", "60", "--", "printf", "%s|%s\\n", "--help", "a b") as procmon:
        procmon.line_of("printf", line="--help|a b")


def lines_that_are_long_or_no_text_are_said_as_far_as_they_fit(folder):
    with Procmon(folder, "--min-delay", "60", "--also", r"head -c 3000 /dev/zero | tr '\0' A; echo; printf 'a\377b\n'; head -c 9000 /dev/zero | tr '\0' '\001'; echo; echo then") as procmon:
        line = procmon.line_of("head")
        assert len(line) > 1900 and set(line) == {"A"}, line
        procmon.line_of("head", line="a\ufffdb")
        line = procmon.line_of("head")
        assert len(line) > 1500 and line == "\\x01" * (len(line) // 4), line  # the log writes each as five
        procmon.line_of("head", line="then")


def last_words_need_no_newline(folder):
    with Procmon(folder, "--min-delay", "60", "--max-delay", "60", "--also", "printf 'one\\ntwo'; printf 'the reason' >&2; exit 3") as procmon:
        said = [procmon.wait_for("says", service="printf", ns="process") for _ in range(3)]
        equal({(entry["level"], entry["line"]) for entry in said}, {("info", "one"), ("info", "two"), ("warning", "the reason")})


def several_programs_each_have_a_name(folder):
    with Procmon(folder, "--also", "exec sleep 1000", "--also", "sleep 1000 & wait", "--", "/bin/sleep", "1000") as procmon:
        numbers = [procmon.started("sleep"), procmon.started("exec"), procmon.started("sleep-2")]
        equal(procmon.stop(), -signal.SIGTERM)
        for number in numbers:
            wait_for_end(number)


def children_of_a_program_are_stopped_with_it(folder):
    with Procmon(folder, "--also", "echo I am $$; sleep 1000 & echo child $!; wait") as procmon:
        procmon.line_of("echo")
        child = int(procmon.line_of("echo").removeprefix("child "))
        procmon.stop()
        wait_for_end(child)


def program_that_does_not_listen_is_killed_after_its_grace(folder):
    with Procmon(folder, "--grace", "0.05", "--also", "trap '' TERM; echo deaf; while :; do sleep 1000; done") as procmon:
        procmon.line_of("trap", line="deaf")
        equal(procmon.stop(), -signal.SIGTERM)
        procmon.wait_for("stopped", service="trap", status=0, signal=9)


def program_ends_when_procmon_is_killed(folder):
    with Procmon(folder, "--", "sleep", "1000") as procmon:
        number = procmon.started("sleep")
        procmon.wait_for("running")
        procmon.stop(signal.SIGKILL)
        wait_for_end(number)


def program_inherits_the_output_if_that_is_wanted(folder):
    with Procmon(folder, "--output", "inherit", "--min-delay", "60", "--", "echo", "plain words", stdout=subprocess.PIPE) as procmon:
        equal(procmon.process.stdout.readline(), "plain words\n")


def program_stands_in_its_folder(folder):
    os.mkdir(f"{folder}/in")
    with Procmon(folder, "--folder", f"{folder}/in", "--min-delay", "60", "--", "pwd") as procmon:
        procmon.line_of("pwd", line=f"{folder}/in")


def mistakes_are_told(folder):
    equal(refused(), (2, "plaitd: procmon: what is to be kept running? procmon -- COMMAND, or --also COMMAND\n"))
    equal(refused("--output", "nowhere", "--", "true"), (2, "plaitd: procmon: --output: expected log or inherit, not 'nowhere'\n"))
    equal(refused("--min-delay", "0", "--", "true"), (2, "plaitd: procmon: --min-delay: expected more than 0 seconds\n"))
    equal(refused("--min-delay", "9", "--max-delay", "1.5", "--", "true"), (2, "plaitd: procmon: --max-delay 1.5 is less than --min-delay 9\n"))
    equal(refused("--", "/nowhere/at-all"), (1, "plaitd: procmon/at-all: running /nowhere/at-all: No such file or directory\n"))
    equal(refused("--folder", "/nowhere", "--", "true"), (1, "plaitd: procmon/true: going into the folder /nowhere: No such file or directory\n"))


def applications_that_are_saved_keep_their_programs(folder):
    equal(run("--save", "sleeper.tap", "procmon", "--", "sleep", "--", "1000", folder=folder)[0], 0)
    with Server(folder, "-o", "-f", "sleeper.tap") as server:
        server.wait_for("started", service="sleep")
        server.stop()


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
