#!/usr/bin/env python3
"""The swarm in short, and that a run of it can be had again: the same seed gives the same story in every process."""
import os
import re
import subprocess
import sys

import tap

SWARM = os.path.join(tap.BUILD, "swarm")
SCENARIOS = [line.split()[0] for line in
             subprocess.run([SWARM, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()]


def swarm(*arguments):
    run = subprocess.run([SWARM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return run.returncode, run.stdout


def last_line(text):
    return text.splitlines()[-1]


def each_scenario_holds_for_the_first_seeds(folder):
    status, said = swarm("--seeds", "150")
    assert status == 0, said
    assert last_line(said) == f"{150 * len(SCENARIOS)} passed, 0 failed", last_line(said)


def each_scenario_holds_for_seeds_of_today(folder):
    day = subprocess.run(["date", "+%Y%m%d"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    status, said = swarm("--seed", day + "000", "--seeds", "100")
    assert status == 0, said


def each_call_and_each_allocation_of_a_scenario_may_fail(folder):
    if tap.sanitizer() == "thread":
        raise tap.Skip("ThreadSanitizer does not know what a fork in a simulated process is")
    for name in ("datagrams", "echo", "threads", "trees"):
        status, said = swarm("--torture", "--seeds", "1", "--scenario", name)
        assert status == 0, said


def the_same_seed_has_the_same_trace_in_every_process(folder):
    for name in SCENARIOS:
        traces = {last_line(swarm("--scenario", name, "--seed", "5")[1]) for _ in range(3)}
        assert len(traces) == 1 and re.fullmatch("trace [0-9a-f]{16}", traces.pop()), (name, traces)


def the_same_seed_has_the_same_trace_whatever_ran_before_it(folder):
    for name in SCENARIOS:
        alone = swarm("--scenario", name, "--seed", "4", "--trace")[1].splitlines()[:-1]
        after = swarm("--scenario", name, "--seed", "3", "--seeds", "2", "--jobs", "1", "--trace")[1].splitlines()
        begin = next(i for i in range(len(after)) if after[i:i + len(alone)] == alone)
        assert begin > 0, name


def another_seed_has_another_trace(folder):
    traces = {last_line(swarm("--scenario", "echo", "--seed", str(seed))[1]) for seed in range(1, 21)}
    assert len(traces) == 20, traces


def what_is_no_option_is_refused(folder):
    one = ("--scenario", "echo", "--seed", "1")
    for arguments, text in (
            (("--bogus",), "--bogus: there is no such option"),
            (("--seed",), "--seed: what follows it is missing"),
            (("--seeds", "x"), "--seeds: a number from 1 is expected"),
            (("--seeds", "0"), "--seeds: a number from 1 is expected"),
            (("--jobs", "65"), "--jobs: a number from 1 to 64 is expected"),
            (("--scenario", "bogus"), "there is no such scenario: bogus"),
            (("--sample", "3"), "--sample: of a --torture only"),
            (("--torture", "--trace"), "--trace: a torture tells no story"),
            ((*one, "--fail", "send", "0"), "--fail: which one is to fail?"),
            ((*one, "--fail", "bogus", "1"), "--fail: there is no such kind of call"),
            (("--fail", "send", "1"), "--fail: one --scenario and one --seed are expected")):
        status, said = swarm(*arguments)
        assert status == 2 and text in said, (arguments, status, said)


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
