#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""House rules that no compiler checks: lengths, heads, guards, nothing left undone, no paths of someone's machine."""
import argparse
import os
import re
import sys

from layering import ROOT, read_doors

FOLDERS = ("src", "tests", "bench", "fuzz", "client", "varnish", "examples", "scripts", "cmake", "docs")
FILES = ("Makefile", "README.md", "CMakeLists.txt", "CMakePresets.json")
CODE = (".c", ".h", ".S", ".py", ".sh", ".def", ".cmake", ".vtc", ".lua")
SPDX = "SPDX-License-Identifier: BSD-2-Clause"
MAX_LINES, MAX_DOOR_LINES, MAX_COLUMNS = 800, 200, 140
# Spelled so that this file does not find itself.
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
# Absolute paths that exist on a developer's machine only.
FOREIGN_PATH = re.compile(r"(?<![\w.])/(wo" r"rk|ro" r"ot|ho" r"me|Us" r"ers)/\w")


def project_files(root):
    for name in FILES:
        if os.path.exists(os.path.join(root, name)):
            yield name
    for folder in FOLDERS:
        for where, subs, names in os.walk(os.path.join(root, folder)):
            subs[:] = sorted(s for s in subs if s not in ("corpus", "__pycache__"))
            for name in sorted(names):
                yield os.path.relpath(os.path.join(where, name), root)


def guard_of(path):
    """src/base/str.h is guarded by BASE_STR_H."""
    parts = path.split(os.sep)
    return re.sub(r"\W", "_", "_".join(parts[1:] if parts[0] == "src" else parts)).upper()


def check_header(path, text):
    guard = guard_of(path)
    if not re.search(rf"^#ifndef {guard}\n#define {guard}\n", text, re.MULTILINE):
        yield f"{path}: the include guard is not {guard}"


def check_file(root, path, doors, long_doors):
    try:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
    except UnicodeDecodeError:
        return
    lines = text.splitlines()
    is_code = path.endswith(CODE) or os.path.basename(path) == "Makefile"
    if is_code and len(lines) > MAX_LINES:
        yield f"{path}: {len(lines)} lines, more than {MAX_LINES}"
    if path.endswith((".c", ".h", ".py", ".sh")) and not any(SPDX in line for line in lines[:3]):
        yield f"{path}: no {SPDX} in its head"
    if path.endswith(".h"):
        yield from check_header(path, text)
    if path in doors and len(lines) > MAX_DOOR_LINES and path not in long_doors:
        yield f"{path}: a door of {len(lines)} lines, more than {MAX_DOOR_LINES} (or a reason in tests/layering/long_doors)"
    for number, line in enumerate(lines, 1):
        if is_code and LEFTOVER.search(line):
            yield f"{path}:{number}: something left undone: {line.strip()[:80]}"
        if FOREIGN_PATH.search(line):
            yield f"{path}:{number}: a path of one machine: {line.strip()[:80]}"
        if path.endswith((".c", ".h")) and len(line) > MAX_COLUMNS:
            yield f"{path}:{number}: {len(line)} columns"


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--root", default=ROOT)
    root = ap.parse_args().root
    src = os.path.join(root, "src")
    doors = {os.path.join("src", room, door) for room in (sorted(os.listdir(src)) if os.path.isdir(src) else [])
             for door in read_doors(src, room) or ()}
    long_doors = set()
    listed = os.path.join(root, "tests", "layering", "long_doors")
    if os.path.exists(listed):
        with open(listed, encoding="utf-8") as f:
            long_doors = {line.split()[0] for line in f if len(line.split()) > 1 and not line.startswith("#")}
    faults = [fault for path in project_files(root) for fault in check_file(root, path, doors, long_doors)]
    for fault in faults:
        print(fault)
    print(f"house: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
