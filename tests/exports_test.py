#!/usr/bin/env python3
"""What the libraries export and need: the promises of their headers, and no more. Speaks TAP."""
import os
import re
import subprocess
import sys

import tap
from tap import BUILD, TOP

SANITIZERS = re.compile(r"lib(asan|ubsan|tsan|clang_rt)")
TESTING_HEADERS = ("testing.h", "swarm.h")
APP_HEADERS = ("application.h", "handover.h", "options.h", "plugin.h", "service.h", "state.h", "impl/store.h")


def exported(library):
    """symbol -> its version"""
    listed = subprocess.run(["nm", "-D", "--defined-only", os.path.join(BUILD, library)], capture_output=True, text=True, check=True)
    found = re.findall(r"^\S+ [TDBRV] (\w+)@@(\w+)$", listed.stdout, re.M)
    assert len(found) == len([line for line in listed.stdout.splitlines() if " A " not in line]), listed.stdout
    return dict(found)


def needed(library):
    listed = subprocess.run(["readelf", "-d", os.path.join(BUILD, library)], capture_output=True, text=True, check=True)
    return {name for name in re.findall(r"NEEDED.*\[(\S+?)\.so", listed.stdout) if not SANITIZERS.match(name)} - {"ld-linux-x86-64"}


def promised(names):
    found = set()
    for name in names:
        with open(os.path.join(TOP, "include/plait", name), encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        text = re.sub(r"^[ \t]*#(.*\\\n)*.*", "", text, flags=re.M)
        found |= {re.findall(r"(\w+)\s*\(", declaration)[0] for declaration in re.findall(r"PL_API([^;]*);", text) if "(" in declaration}
        found |= set(re.findall(r"PL_API extern const \w+ (\w+);", text))
    return found


def core_headers():
    for folder, _, names in os.walk(os.path.join(TOP, "include/plait")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), os.path.join(TOP, "include/plait"))
            if path not in APP_HEADERS:
                yield path


def core_exports_only_what_its_headers_promise(folder):
    symbols = exported("libplait.so")
    public = {name for name, version in symbols.items() if version != "PLAIT_PRIVATE"}
    assert public <= promised(core_headers()), public - promised(core_headers())
    assert {version for name, version in symbols.items() if name in public} == {"PLAIT_0"}


def core_exports_of_its_inside_only_what_is_listed_and_under_the_private_version(folder):
    listed = set()
    for path in ("src/os/private.h", "src/net/private.h"):
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            listed |= set(re.findall(r"^EXPORT\((\w+)\);", file.read(), re.M))
    private = {name for name, version in exported("libplait.so").items() if version == "PLAIT_PRIVATE"}
    assert private == listed, private ^ listed


def core_needs_nothing_but_libc_and_liburing(folder):
    assert needed("libplait.so") == {"libc", "liburing"}, needed("libplait.so")


def companion_exports_exactly_what_its_headers_promise(folder):
    names = [name for name in APP_HEADERS if os.path.exists(os.path.join(TOP, "include/plait", name))]
    symbols = exported("libplait-app.so")
    assert set(symbols) == promised(names), set(symbols) ^ promised(names)
    assert set(symbols.values()) == {"PLAIT_APP_0"}


def companion_needs_the_core_and_what_the_decisions_name(folder):
    assert needed("libplait-app.so") <= {"libc", "libplait", "libsqlite3", "libseccomp", "libjansson", "libz"}, needed("libplait-app.so")


def companion_for_tests_exports_exactly_what_its_headers_promise(folder):
    symbols = exported("libplait-testing.so")
    names = promised(TESTING_HEADERS) - set(exported("libplait.so"))
    assert set(symbols) == names, set(symbols) ^ names
    assert set(symbols.values()) == {"PLAIT_TESTING_0"}


def companions_find_all_that_they_use_of_the_inside(folder):
    there = set(exported("libplait.so"))
    for library in ("libplait-app.so", "libplait-testing.so"):
        listed = subprocess.run(["nm", "-D", "-u", os.path.join(BUILD, library)], capture_output=True, text=True, check=True)
        used = set(re.findall(r"^ +U (pli?_\w+)", listed.stdout, re.M))
        assert used <= there, used - there


def companion_for_tests_needs_the_core_only(folder):
    assert needed("libplait-testing.so") <= {"libc", "libplait"}, needed("libplait-testing.so")


if __name__ == "__main__":
    sys.exit(tap.main(tap.claims(globals())))
