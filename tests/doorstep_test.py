#!/usr/bin/env python3
"""The tools judged: each is shown something wrong and must say so. And the library as it is installed."""
import json
import os
import shutil
import subprocess
import sys

import tap
from tap import BUILD, TOP


def run(*command, cwd=TOP, env=None):
    """(exit status, everything printed)"""
    done = subprocess.run(command, cwd=cwd, env=dict(os.environ, **(env or {})), text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print("#", " ".join(command), "->", done.returncode)
    print("".join(f"#   {line}\n" for line in done.stdout.splitlines()), end="")
    return done.returncode, done.stdout


def write(folder, path, text):
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def expect(done, status, *said):
    assert done[0] == status, f"status {done[0]}, expected {status}"
    for text in said:
        assert text in done[1], f"it did not say {text!r}"


# --- tools/lint/floors -----------------------------------------------------------------------------


def floors(tree):
    return run(f"{TOP}/tools/lint/floors", tree)


def floors_allow_what_is_below(folder):
    write(folder, "include/plait/x.h", "")
    write(folder, "src/base/list.h", "#include <plait/x.h>\n#include <stdio.h>\n")
    write(folder, "src/net/tcp.c", '#include "base/list.h"\n')
    write(folder, "src/net/tcp_test.c", '#include "tests/check.h"\n#include "base/list.h"\n')
    write(folder, "tests/check.h", "")
    expect(floors(folder), 0, "0 wrong includes")


def floors_refuse_what_is_above(folder):
    write(folder, "src/base/list.c", '#include "net/tcp.h"\n')
    write(folder, "src/net/tcp.h", "")
    expect(floors(folder), 1, "src/base/list.c:1", "net is above base")


def floors_refuse_a_protocol_in_another(folder):
    write(folder, "src/proto/a/a.c", '\n#include "../b/b.h"\n')
    write(folder, "src/proto/b/b.h", "")
    expect(floors(folder), 1, "src/proto/a/a.c:2", "do not see each other")


def floors_refuse_internals_in_a_public_header(folder):
    write(folder, "include/plait/x.h", '#include "base/list.h"\n')
    write(folder, "src/base/list.h", "")
    expect(floors(folder), 1, "a public header may include public headers only")


def floors_refuse_a_folder_they_do_not_know(folder):
    write(folder, "src/attic/x.c", "")
    expect(floors(folder), 1, "it stands on no floor")


# --- tools/lint/banned -----------------------------------------------------------------------------


def banned(tree):
    return run(f"{TOP}/tools/lint/banned", "out", cwd=tree)


def compile_into(folder, path):
    os.makedirs(f"{folder}/out", exist_ok=True)
    subprocess.run(["cc", "-O2", "-c", path, "-o", "out/x.o"], cwd=folder, check=True)
    write(folder, "out/compile_commands.json", json.dumps(
        [{"directory": f"{folder}/out", "file": f"../{path}", "command": "cc", "output": "x.o"}]))


def banned_sees_a_call_behind_a_macro(folder):
    write(folder, "src/net/x.c", "#include <unistd.h>\n#define GET re##ad\nlong f(char *p) { return GET(0, p, 1); }\n")
    compile_into(folder, "src/net/x.c")
    expect(banned(folder), 1, "src/net/x.c: calls read (kernel)")


def banned_sees_what_the_compiler_replaces(folder):
    write(folder, "src/net/x.c", "#include <stdlib.h>\nint f(const char *p) { return atoi(p); }\n")
    compile_into(folder, "src/net/x.c")
    expect(banned(folder), 1, "src/net/x.c:2: calls atoi (never)")


def banned_reads_the_source_where_there_is_no_object(folder):
    write(folder, "src/flow/x.c", "void *f(void) { return malloc(1); }\n")
    expect(banned(folder), 1, "src/flow/x.c:1: calls malloc (memory)")


def banned_knows_by_ways_to_clocks_chance_files_and_the_environment(folder):
    names = "timespec_get clock localtime_r lrand48 arc4random getenv sysconf getcwd realpath mkstemp readlink getuid gethostname dlopen".split()
    write(folder, "src/net/x.c", "void x(void) {\n" + "".join(f"    {name}();\n" for name in names) + "}\n")
    expect(banned(folder), 1, *(f"calls {name} (kernel)" for name in names))


def banned_leaves_members_comments_and_the_os_floor_alone(folder):
    write(folder, "src/net/x.c", '/* read() */ int f(struct x *x) { return x->read(x, "open(1)"); }\n')
    write(folder, "src/os/x.c", "long f(char *p) { return read(0, p, 1); }\n")
    expect(banned(folder), 0, "0 banned calls")


# --- tools/man -------------------------------------------------------------------------------------


def tree_with_header(folder, text):
    shutil.copytree(f"{TOP}/tools", f"{folder}/tools")
    write(folder, "meson.build", "project('x', version: '1.2.3')\n")
    write(folder, "include/plait/x.h", text)
    return f"{folder}/tools/man"


def man_refuses_a_public_function_without_a_comment(folder):
    tool = tree_with_header(folder, "PL_API int pl_x(void);\n")
    expect(run(tool, "--check"), 1, "include/plait/x.h:1: pl_x() has no comment")


def man_makes_one_page_of_one_comment(folder):
    tool = tree_with_header(folder, "/**\n * Does it. And more.\n *\n * Returns: 0, always.\n */\n"
                            "PL_API int pl_x(int a);\nstatic inline int pl_y(void)\n{\n    return 0;\n}\n")
    expect(run(tool, "--check"), 0, "2 functions, macros and types with a comment, 0 without")
    expect(run(tool, "--output", f"{folder}/man"), 0)
    with open(f"{folder}/man/man3/pl_x.3", encoding="utf-8") as file:
        page = file.read()
    for text in ("pl_x, pl_y \\- does it", "int pl_x(int a);", "int pl_y(void);", ".SH RETURN VALUE\n0, always."):
        assert text in page, page
    with open(f"{folder}/man/man3/pl_y.3", encoding="utf-8") as file:
        assert file.read() == ".so man3/pl_x.3\n"


def man_refuses_a_macro_with_arguments_without_a_comment(folder):
    tool = tree_with_header(folder, "#define PL_X_(a) (a)\n#define PL_Y 1\n#define pl_x(a) \\\n    ((a) + 1)\n")
    expect(run(tool, "--check"), 1, "include/plait/x.h:3: pl_x() has no comment\nman: 0 functions, macros and types with a comment, 1 without")


def man_refuses_a_struct_without_a_comment(folder):
    tool = tree_with_header(folder, "typedef struct pl_gone pl_gone;\n\ntypedef struct pl_x {\n    int a;\n} pl_x;\n")
    expect(run(tool, "--check"), 1, "include/plait/x.h:3: pl_x has no comment\nman: 0 functions, macros and types with a comment, 1 without")


def page_of(folder, name, header):
    tool = tree_with_header(folder, header)
    expect(run(tool, "--output", f"{folder}/man"), 0)
    with open(f"{folder}/man/man3/{name}.3", encoding="utf-8") as file:
        return file.read()


def man_gives_a_macro_the_types_of_the_function_that_it_calls(folder):
    page = page_of(folder, "pl_x", "/** Does it. And more. */\n#define pl_x(to, n) \\\n    pl_x_at((to), (n), 1)\n"
                   "/** What it calls. */\nPL_API int pl_x_at(char *to, unsigned n, int at);\n")
    for text in ("pl_x \\- does it", "int pl_x(char *to, unsigned n);", "And more."):
        assert text in page, page


def man_lists_the_fields_of_a_struct_with_their_comments(folder):
    page = page_of(folder, "pl_x", "/** What it is made with. All zero. */\ntypedef struct pl_x {\n    int a, b; /**< a pair */\n"
                   "    /** Called.\n     * Twice. */\n    void (*fn)(int a);\n    int plain;\n    union {\n        char c[2]; /**< bytes */\n    } in;\n} pl_x;\n")
    for text in ("typedef struct pl_x {", "    void (*fn)(int a);", ".SH FIELDS\n.TP\n.B a, b\na pair\n.TP\n.B fn\nCalled.\nTwice.\n.TP\n.B in.c\nbytes\n"):
        assert text in page, page


def man_lists_the_values_of_an_enum_with_their_comments(folder):
    page = page_of(folder, "pl_x", "/** Which. */\ntypedef enum pl_x { PL_A, /**< one */\n    PL_B = 3 /**< three */ } pl_x;\n")
    assert ".SH VALUES\n.TP\n.B PL_A\none\n.TP\n.B PL_B\nthree\n" in page, page


# --- tools/lint/docs -------------------------------------------------------------------------------


def tree_with_page(folder, listing):
    subprocess.run(["git", "init", "-q", folder], check=True)
    write(folder, "x.c", "/* What it is. */\nint y(int x);\n\n/* Adds. */\nint x(int a)\n{\n    int y = a;\n\n    return y + 1;\n}\n\n"
          "struct y {\n    int x;\n};\n")
    return write(folder, "page.md", f"<!-- listing: {listing} -->\n```c\n```\n")


def docs_see_a_listing_that_is_not_what_the_tree_says(folder):
    tree_with_page(folder, "x.c")
    expect(run(f"{TOP}/tools/lint/docs", cwd=folder), 1, "page.md:1: this is not what x.c says")


def docs_fill_in_the_definitions_that_are_named(folder):
    page = tree_with_page(folder, "x.c#y,x")
    expect(run(f"{TOP}/tools/lint/docs", "--fill", cwd=folder), 0, "0 broken links or listings")
    with open(page, encoding="utf-8") as file:
        text = file.read()
    assert "```c\nstruct y {\n    int x;\n};\n\n/* Adds. */\nint x(int a)\n{\n    int y = a;\n\n    return y + 1;\n}\n```\n" in text, text


def docs_see_that_nothing_has_the_name(folder):
    tree_with_page(folder, "x.c#z")
    expect(run(f"{TOP}/tools/lint/docs", cwd=folder), 1, "page.md:1: there is no x.c#z")


# --- tests/run -------------------------------------------------------------------------------------


def run_one(folder, script, *arguments, protocol="tap", suite="x"):
    program = write(folder, "program", "#!/bin/sh\n" + script)
    os.chmod(program, 0o755)
    write(folder, "build/meson-info/intro-tests.json", json.dumps([{
        "name": "program", "cmd": [program], "suite": [suite], "is_parallel": True, "timeout": 1, "workdir": folder,
        "env": {}, "protocol": protocol}]))
    return run(f"{TOP}/tests/run", f"{folder}/build", *arguments)


def last_line(done):
    return done[1].splitlines()[-1]


def run_counts_cases_and_not_programs(folder):
    done = run_one(folder, "echo 1..3; echo ok 1 - a; echo ok 2 - b; echo 'ok 3 - c # SKIP rain'\n")
    expect(done, 0, "skipped: rain")
    assert last_line(done) == "2 passed, 0 failed, 1 skipped"


def run_fails_when_a_planned_test_is_missing(folder):
    done = run_one(folder, "echo 1..2; echo ok 1 - a\n")
    expect(done, 1, "1 of the 2 planned tests have reported")
    assert last_line(done) == "1 passed, 1 failed"


def run_names_the_signal_of_a_crash(folder):
    expect(run_one(folder, "echo 1..1; kill -SEGV $$\n"), 1, "SIGSEGV")


def run_kills_what_does_not_end(folder):
    expect(run_one(folder, "echo 1..1; exec tail -f /dev/null\n"), 1, "no end after 1 s: killed")


def run_fails_when_nothing_has_passed(folder):
    done = run_one(folder, "echo '1..1'; echo 'ok 1 - a # SKIP rain'\n")
    expect(done, 1)
    assert last_line(done) == "0 passed, 0 failed, 1 skipped"


def run_fails_when_no_test_has_the_name(folder):
    expect(run_one(folder, "echo 1..1; echo ok 1 - a\n", "nothing-like-it"), 1, "0 passed, 0 failed")


def run_names_a_case_of_a_script(folder):
    script = 'case "$1" in --list) echo one; echo two;; "") echo 1..2; echo ok 1 - one; echo ok 2 - two;; *) echo 1..1; echo "ok 1 - $1";; esac\n'
    expect(run_one(folder, script, "wo", suite="plait:script"), 0, "1 passed, 0 failed")
    expect(run_one(folder, script, "prog", suite="plait:script"), 0, "2 passed, 0 failed")
    expect(run_one(folder, script, "wo", suite="plait:x"), 1, "0 passed, 0 failed")


def run_shows_what_a_failing_case_has_printed(folder):
    expect(run_one(folder, "echo 1..1; echo not ok 1 - a; echo '# x is 3'\n"), 1, "not ok: a", "x is 3", "0 passed, 1 failed")


def run_refuses_what_is_no_build_folder(folder):
    expect(run(f"{TOP}/tests/run", folder), 2, f"{folder} is no build folder")
    expect(run_one(folder, "echo 1..1; echo ok 1 - a\n", "--jobs", "0"), 2, "--jobs and --timeout-factor are at least 1")


# --- Tools that take a build folder ------------------------------------------------------------------


def torture_and_coverage_refuse_what_cannot_be(folder):
    for tool in ("torture", "coverage"):
        expect(run(f"{TOP}/tools/{tool}", folder), 2, f"{folder} is no build folder: there is no swarm in it")
        expect(run(f"{TOP}/tools/{tool}", "--help"), 0, "usage: ")
    expect(run(f"{TOP}/tools/torture", BUILD, "nothing-like-it"), 2, "no test program has a name like nothing-like-it")
    expect(run(f"{TOP}/tools/coverage", BUILD, "--seeds", "0"), 2, "--seeds: a number from 1 is expected")


def test_program_refuses_a_torture_that_cannot_be(folder):
    program = f"{BUILD}/test-base-slots"
    for words in (("--sample",), ("--sample", "0"), ("--sample", "-3"), ("--sample", "3x"), ("--bogus",)):
        expect(run(program, "--torture", *words), 2, "--torture takes --sample N or --fail CALL N TEST")
    expect(run(program, "--torture", "nothing_like_it"), 2, "no test has a name like that")


def fuzzing_takes_a_number_of_seconds(folder):
    for seconds in ("0", "-1", "x", ""):
        expect(run(f"{TOP}/dev", "fuzz", "netstring", seconds), 1, f"a number of seconds from 1 is expected, not {seconds}")


# --- tests/tap.py ----------------------------------------------------------------------------------


def tap_fails_what_takes_too_long_where_it_waits_and_goes_on(folder):
    script = write(folder, "x_test.py", "import sys, threading\nimport tap\ndef hangs(folder):\n    threading.Event().wait()\ndef passes(folder):\n    pass\n"
                   "sys.exit(tap.main(tap.claims(globals())))\n")
    expect(run(sys.executable, script, env={"PYTHONPATH": f"{TOP}/tests", "PL_TEST_TIMEOUT": "0.02"}), 1,
           "not ok 1 - hangs\n", "#     threading.Event().wait()\n", "tap.Overdue\n", "ok 2 - passes\n")


def tap_runs_a_test_on_each_backend_that_can_be_had(folder):
    script = write(folder, "x_test.py", "import sys\nimport tap\ndef passes(folder, backend):\n    assert backend == 'one'\ndef helps(folder, *more):\n    pass\n"
                   "sys.exit(tap.main(tap.claims(globals(), [('one', 'can be had'), ('two', 'no kernel for it')])))\n")
    done = run(sys.executable, script, env={"PYTHONPATH": f"{TOP}/tests"})
    assert done == (0, "1..2\nok 1 - passes_on_one\nok 2 - passes_on_two # SKIP no kernel for it\n"), done


# --- The library as it is installed ------------------------------------------------------------------


def install(root):
    with open(f"{BUILD}/meson-info/intro-buildoptions.json", encoding="utf-8") as file:
        options = {option["name"]: option["value"] for option in json.load(file)}
    if options["b_sanitize"] != "none":
        raise tap.Skip("a library with a sanitizer is not for users")
    expect(run("meson", "install", "-C", BUILD, "--no-rebuild", env={"DESTDIR": root}), 0)
    prefix = root + options["prefix"]
    return prefix, f"{prefix}/{options['libdir']}"


def user_program_builds_and_runs_with_what_is_installed(folder):
    _, lib = install(folder)
    source = write(folder, "user.c", "#include <plait/base.h>\nint main(void) { return pl_version() != PL_VERSION; }\n")
    env = {"PKG_CONFIG_PATH": f"{lib}/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": folder, "LD_LIBRARY_PATH": lib}
    status, flags = run("pkg-config", "--cflags", "--libs", "plait", env=env)
    assert status == 0
    expect(run("cc", source, *flags.split(), "-o", f"{folder}/user"), 0)
    expect(run(f"{folder}/user", env=env), 0)


def compiler_complains_of_a_message_of_the_log_that_is_used_as_a_format(folder):
    text = '#include <plait/plait.h>\nvoid f(pl_reactor *r, const char *name, int n);\nvoid f(pl_reactor *r, const char *name, int n)\n{\n    %s;\n}\n'
    calls = {'pl_log(r, PL_INFO, "x", "for", PL_LOG_STR("name", name), PL_LOG_INT("n", n)); pl_log(r, PL_INFO, "x", "plain")': 0,
             'pl_log(r, PL_INFO, "x", "for %s", name)': 1, 'pl_log(r, PL_INFO, "x", "for %d", n)': 1}
    for call, status in calls.items():
        source = write(folder, "log.c", text % call + "int main(void) { return ENOENT == 0; }\n")
        expect(run("cc", "-Werror", "-fsyntax-only", f"-I{TOP}/include", source), status)


def user_application_builds_and_runs_with_what_is_installed(folder):
    _, lib = install(folder)
    env = {"PKG_CONFIG_PATH": f"{lib}/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": folder, "LD_LIBRARY_PATH": lib}
    status, flags = run("pkg-config", "--cflags", "--libs", "plait-app", env=env)
    assert status == 0
    expect(run("cc", f"{TOP}/examples/visitors.c", *flags.split(), "-o", f"{folder}/user"), 0)
    expect(run(f"{folder}/user", "--version", env=env), 0, "visitors 0.")


def user_test_builds_and_runs_with_what_is_installed(folder):
    _, lib = install(folder)
    env = {"PKG_CONFIG_PATH": f"{lib}/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": folder, "LD_LIBRARY_PATH": lib}
    status, flags = run("pkg-config", "--cflags", "--libs", "plait-testing", env=env)
    assert status == 0
    for step in ("testing", "simulate"):
        expect(run("cc", f"{TOP}/docs/guide/steps/{step}.c", *flags.split(), "-o", f"{folder}/{step}"), 0)
    expect(run(f"{folder}/testing", env=env), 0)
    expect(run(f"{folder}/simulate", "--seeds", "5", env=env), 0, "5 passed, 0 failed")


def shared_libraries_have_their_sonames_and_show_public_names_only(folder):
    _, lib = install(folder)
    for library in ("libplait", "libplait-app", "libplait-testing"):
        expect(run("readelf", "-d", f"{lib}/{library}.so"), 0, f"[{library}.so.0]")
        _, symbols = run("nm", "-D", "--defined-only", f"{lib}/{library}.so")
        names = [line.split()[2] for line in symbols.splitlines() if line.split()[1] != "A"]  # A: the names of versions
        assert names and all(name.startswith("pl_") or name.endswith("@@PLAIT_PRIVATE") for name in names), names


def manual_pages_are_installed(folder):
    prefix, _ = install(folder)
    assert os.path.isfile(f"{prefix}/share/man/man3/pl_version.3")


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
