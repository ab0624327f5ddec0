#!/usr/bin/env python3
"""One in so many of the points that ./dev torture takes: with each, a call of the system or an allocation of a test or a scenario fails."""
import os
import subprocess
import sys

import tap


def torture(*arguments):
    run = subprocess.run([os.path.join(tap.TOP, "tools/torture"), tap.BUILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return run.returncode, run.stdout


def one_call_in_so_many_of_all_tests_and_scenarios_may_fail(folder):
    # ThreadSanitizer does not know what a fork in a simulated process is, which is how scenarios are tortured.
    seeds = "0" if tap.sanitizer() == "thread" else "1"
    status, said = torture("--sample", "200", "--seeds", seeds)
    assert status == 0, said


def what_is_no_option_is_refused(folder):
    for arguments in (("--sample", "0"), ("--sample", "x"), ("--jobs", "0"), ("--seeds", "-1"), ("--bogus",)):
        status, said = torture(*arguments)
        assert status == 2 and "usage:" in said, (arguments, status, said)


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
