#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What docs/operations.md and docs/attacks.md name exists: counters, parameters, commands, records, tests.

    pages_test.py --daemon build/bin/objmapperd
"""
import argparse
import fnmatch
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, HERE)
sys.path.insert(1, os.path.join(HERE, "..", "memcached"))
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402

import abuse                                            # noqa: E402
import attacks                                          # noqa: E402
import cases                                            # noqa: E402  (of memcached's protocol)
import limits                                           # noqa: E402
import odd                                              # noqa: E402

# Words of these pages that look like parameters and are none.
NO_PARAMETERS = {"accept4"}


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def spans(text):
    return re.findall(r"`([^`\n]+)`", text)


def test_sources():
    """All that tests say, but for this file."""
    parts = []
    for ext in ("py", "vtc", "c"):
        for name in glob.glob(os.path.join(TOP, "tests", "**", f"*.{ext}"), recursive=True):
            if not os.path.samefile(name, __file__):
                with open(name, encoding="utf-8", errors="replace") as f:
                    parts.append(f.read())
    return "\n".join(parts)


def check_operations(text, daemon):
    """Lines that say what is missing."""
    counters = daemon.counters()
    params = {line.split()[0] for line in daemon.cli_ok("param.show").splitlines() if line and not line.startswith(" ")}
    commands = set(re.findall(r"^(\S+)", daemon.cli_ok("help"), re.M))
    sources = test_sources()
    seen = 0
    for span in spans(text):
        seen += 1
        if m := re.fullmatch(r"(MAIN|MGT|OBJM|VBE|SMA)\.[\w.*<>]+", span):
            if not any(fnmatch.fnmatch(name, span) for name in counters):
                yield f"no counter {span}"
        elif m := re.match(r"varnishadm (\S+)", span):
            if m[1] not in commands:
                yield f"no command {m[1]}"
        elif m := re.fullmatch(r"(Error|FetchError|SessClose): (.+)", span):
            if m[2] not in sources:
                yield f"no test asserts the record {span}"
        elif re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", span) and span not in NO_PARAMETERS:
            if span not in params and span not in {*limits.CASES, *abuse.CASES}:
                yield f"no parameter {span}"
    assert seen > 100, "the page was not read"
    # The rows of tests: files, and cases behind those that have some.
    for row in re.findall(r"^\| tests \| (.*) \|$", text, re.M):
        where = ""
        for span in spans(row):
            path, _, name = span.partition(" ")
            if "/" in path:
                where = path
            elif "." in path:
                path = os.path.join(os.path.dirname(where), path)
            else:
                path, name = where, path
            if not glob.glob(os.path.join(TOP, path)):
                yield f"no file {path}"
            elif name and name not in {"requests", "responses", *limits.CASES, *abuse.CASES, *attacks.CASES}:
                yield f"no case {name} in {path}"


def check_attacks(text):
    where = {"case": attacks.CASES, "part": {**odd.REQUEST, **odd.RESPONSE}, "abuse": abuse.CASES, "limits": limits.CASES,
             "memcached": {**cases.CASES, **cases.AUTH_CASES}}
    rows = [line.rsplit("|", 2)[1] for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    named = set()
    for row in rows:
        kind = None
        for word, name in re.findall(r"\b(case|part|abuse|limits|memcached)s?\b(?= `)|`([^`]+)`", row):
            if word:
                kind = word
            elif "/" in name:
                if not glob.glob(os.path.join(TOP, name)):
                    yield f"no file {name}"
            elif kind:
                named.add((kind, name))
                if name not in where[kind]:
                    yield f"no {kind} {name}"
    for name in attacks.CASES:
        if ("case", name) not in named:
            yield f"docs/attacks.md does not name the case {name}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    args = ap.parse_args()
    origin = Origin()
    with Daemon(os.path.abspath(args.daemon), f"{origin.host}:{origin.port}") as daemon:
        missing = [*check_operations(read("docs", "operations.md"), daemon), *check_attacks(read("docs", "attacks.md"))]
    origin.close()
    for line in missing:
        print(line)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
