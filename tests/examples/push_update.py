#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""examples/push-update, under load: with purges visitors wait for the application, with swaps nobody ever does.

What is asserted is an order of events: a visitor waited when the making of a page lies wholly within one of his requests."""
import argparse
import os
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(ROOT, "examples/push-update"))
DEBIAN_PYTHON = "/usr/bin/python3"
SKIPPED = 77
GENERATION_S = 0.5
EDITS = 4


def check(holds, text):
    if not holds:
        sys.exit(f"push_update: {text}")


def run(daemon, mode):
    from push_update import Site
    site = Site(daemon, mode, GENERATION_S)
    try:
        version = 1
        for _ in range(EDITS):
            version = site.edit()
            site.wait_seen(version)
        answers = site.visitors.stop()
        return version, answers, site.app.generations, site.cache.counter("MAIN.cache_miss"), site.watcher.done
    finally:
        site.close()


def waited(answers, generations):
    """The answers to requests that were there before some page was begun, and still when it was made."""
    return [a for mine in answers for a in mine if any(a[0] <= begin and end <= a[1] for _, _, begin, end, _ in generations)]


def visitors_see_a_site_that_moves_on(version, answers):
    for mine in answers:
        check(all(status == 200 for _, _, status, _ in mine), "an answer was not a 200")
        versions = [v for _, _, _, v in mine]
        check(versions == sorted(versions), f"a version went back: {versions}")
        check(versions[-1] == version, f"the last version seen is {versions[-1]}, not {version}")


def purging(daemon):
    version, answers, generations, misses, _ = run(daemon, "purge")
    visitors_see_a_site_that_moves_on(version, answers)
    check(misses >= 1 + EDITS, f"{misses} misses for {EDITS} purges")
    check(len(waited(answers, generations)) >= EDITS, "nobody waited, though each purge leaves nothing to answer with")
    print(f"purge: {len(waited(answers, generations))} waited, {misses} misses")


def swapping(daemon):
    version, answers, generations, misses, done = run(daemon, "swap")
    visitors_see_a_site_that_moves_on(version, answers)
    check(misses == 1, f"cache_miss is {misses}: somebody met an empty place")
    check([g[1] for g in generations].count("client") == 1, "the application was asked for a visitor after the first one")
    check([outcome for _, outcome in done] == ["STORED"] * len(done) and len(done) >= EDITS, f"the swaps: {done}")
    late = waited(answers, generations)
    check(not late, f"{len(late)} visitors waited for the application: {late[:3]}")
    print(f"swap: none of {sum(map(len, answers))} waited, {misses} miss")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--daemon", required=True)
    a = args.parse_args()
    if not os.path.exists("/usr/sbin/mariadbd"):
        print("skipped: mariadb-server is not installed")
        sys.exit(SKIPPED)
    try:
        import pymysql  # noqa: F401
    except ImportError:
        # Debian's module is for Debian's interpreter, which need not be the first in PATH.
        if sys.executable == DEBIAN_PYTHON or not os.path.exists(DEBIAN_PYTHON):
            print("skipped: python3-pymysql is not installed")
            sys.exit(SKIPPED)
        os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])
    tempfile.tempdir = "/tmp"
    purging(a.daemon)
    swapping(a.daemon)


if __name__ == "__main__":
    main()
