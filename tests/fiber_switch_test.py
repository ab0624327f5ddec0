#!/usr/bin/env python3
"""The stack switch, compiled in all ways that a user may and for AArch64, which qemu runs. What is not installed is skipped."""
import functools
import os
import shutil
import subprocess
import sys

import tap
from tap import TOP

SOURCES = ["tests/fiber_switch_main.c", "src/base/context.c", "src/os/stack_map.c"]
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-Iinclude", "-Isrc", "-I."]
AARCH64 = "aarch64-linux-gnu-gcc"
QEMU = ["qemu-aarch64"]
HOW_AARCH64 = " (packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user)"

# What is claimed, the compiler, its arguments, what runs the program.
WAYS = [
    (f"stacks_are_switched_by_{compiler}_at_{level}{more}", compiler, [f"-{level}"] + arguments, [])
    for compiler in ("gcc", "clang") for level in ("O0", "O1", "O2", "O3") for more, arguments in (
        ("", []),
        ("_with_all_the_processor_has", ["-march=native"]),
        ("_with_frame_pointers_and_branch_tracking", ["-fno-omit-frame-pointer", "-fcf-protection=full"]),
        ("_by_ucontext", ["-DPLI_FIBER_UCONTEXT"]),
    )
] + [
    (f"stacks_are_switched_on_aarch64_at_{level}{more}", AARCH64, ["-static", f"-{level}"] + arguments, QEMU)
    for level in ("O0", "O2", "O3") for more, arguments in (
        ("", []),
        ("_with_signed_returns_and_branch_tracking", ["-march=armv8.5-a", "-mbranch-protection=standard"]),
        ("_with_vectors_of_any_length", ["-march=armv8.5-a+sve2"]),
        ("_by_ucontext", ["-DPLI_FIBER_UCONTEXT"]),
    )
]


def run(command):
    """(status, what it printed)"""
    done = subprocess.run(command, cwd=TOP, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def attempt(compiler, arguments, runner, folder):
    for tool in [compiler] + runner[:1]:
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool}" + (HOW_AARCH64 if compiler == AARCH64 else ""))
    if compiler != AARCH64 and "-fcf-protection=full" in arguments and os.uname().machine != "x86_64":
        raise tap.Skip("branch tracking is x86's here")
    program = os.path.join(folder, "fiber_switch")
    status, said = run([compiler] + FLAGS + arguments + SOURCES + ["-o", program])
    if status == 0:
        status, said = run(runner + [program])
    assert status == 0 and "all well" in said, f"status {status}\n{said}"


if __name__ == "__main__":
    sys.exit(tap.main((way[0], functools.partial(attempt, *way[1:])) for way in WAYS))
