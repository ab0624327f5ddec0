"""What the test scripts have in common: they print TAP, and know their tests by name, as programs made of check.h do.

    tests/NAME_test.py [NAME...]      only the tests that have a NAME in their names
    tests/NAME_test.py --list         the names

A test is a function of `folder`, which is its own, or of `folder` and `backend`, and then there is one for each backend.
"""
import contextlib
import functools
import inspect
import json
import os
import signal
import sys
import tempfile
import traceback
import types

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.realpath(os.environ.get("PLAIT_BUILD", os.path.join(TOP, "build")))
PATIENCE_S = 60  # for what must happen; nothing waits this long when all is well
TEST_S = 10 * float(os.environ.get("PL_TEST_TIMEOUT", "30"))  # for a whole test, whatever it waits for


class Skip(Exception):
    """Raised by a test that can't be done here; says why."""


class Overdue(Exception):
    """The test has taken too long; its traceback tells what it waited for."""


def sanitizer():
    """What this build has: "none", "address,undefined" or "thread"."""
    with open(f"{BUILD}/meson-info/intro-buildoptions.json", encoding="utf-8") as file:
        return {option["name"]: option["value"] for option in json.load(file)}["b_sanitize"]


def equal(got, expected):
    assert got == expected, f"{got!r} instead of {expected!r}"


def skip(why, _):
    raise Skip(why)


def claims(script, backends=()):
    """The tests among the globals of a script, as pairs of a name and a function of a folder. `backends` are pairs, too: a name, and "can be had" or why not."""
    for name, value in list(script.items()):
        spec = inspect.getfullargspec(value) if isinstance(value, types.FunctionType) and value.__module__ == "__main__" else None
        if not spec or spec.varargs or spec.kwonlyargs:
            continue
        if spec.args == ["folder"]:
            yield name, value
        elif spec.args == ["folder", "backend"]:
            for backend, state in backends:
                yield f"{name}_on_{backend}", functools.partial(value, backend=backend) if state == "can be had" else functools.partial(skip, state)


def as_comment(text):
    return "".join(f"# {line}\n" for line in text.splitlines())


def overdue(*_):
    raise Overdue


@contextlib.contextmanager
def in_time():
    """Raises Overdue when it takes too long; and again, should what cleans up take long as well."""
    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, TEST_S, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_one(name, test):
    """(whether it passed, its line of TAP without the number, what follows it)"""
    with tempfile.TemporaryDirectory(prefix="plait-test-") as folder:
        try:
            with in_time():
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
