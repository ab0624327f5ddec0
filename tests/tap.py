"""What the test scripts have in common: they print TAP, and know their tests by name, as programs made of check.h do.

    tests/NAME_test.py [NAME...]      only the tests that have a NAME in their names
    tests/NAME_test.py --list         the names
"""
import contextlib
import os
import sys
import tempfile
import traceback


class Skip(Exception):
    """Raised by a test that can't be done here; says why."""


def as_comment(text):
    return "".join(f"# {line}\n" for line in text.splitlines())


def run_one(name, test):
    """(whether it passed, its line of TAP without the number, what follows it)"""
    with tempfile.TemporaryDirectory(prefix="plait-test-") as folder:
        try:
            test(os.path.realpath(folder))
            return True, name, ""
        except Skip as reason:
            return True, f"{name} # SKIP {reason}", ""
        except Exception:  # whatever it is, it is this test's failure and not the end of the others
            return False, name, as_comment(traceback.format_exc())


def main(tests):
    """Runs `tests`, pairs of a name and a function of a folder that is the test's own. Returns: the exit status."""
    with contextlib.redirect_stdout(sys.stderr):  # finding out which there are may have something to say
        tests, wanted = list(tests), sys.argv[1:]
    if wanted == ["--list"]:
        print("\n".join(name for name, _ in tests))
        return 0
    chosen = [(name, test) for name, test in tests if not wanted or any(part in name for part in wanted)]
    if not chosen:
        print("no test has a name like that; --list shows them", file=sys.stderr)
        return 2
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, (name, test) in enumerate(chosen, 1):
        passed, line, more = run_one(name, test)
        failed += not passed
        print(f"{'ok' if passed else 'not ok'} {number} - {line}\n{more}", end="", flush=True)
    return 1 if failed else 0
