#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""System calls of the storage fail, and what docs/reliability.md says is seen.

    faults.py --daemon build/bin/objmapperd [NAME...]

One row of TABLE is one test: the call fails with the error, at the times given (as strace has it: 1+ is always), while a client asks
for a body; then what the client got is compared with the row, as are counter and log; and when the fault is over the worker is the
same, and stores again.  Calls that also serve something else (mmap, sendmsg) fail in tests/unit/store/full_test.c instead.
"""
import argparse
import collections
import os
import re
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "abuse"))
from limits import Skip, Strace                                                 # noqa: E402
from abuse import bodies, Client, Cut, Daemon, Origin                           # noqa: E402

Row = collections.namedtuple("Row", "call errors when size flags seen counters log")

# What a client sees: "stored" (a hit at once), "unstored" (all of it, and a miss again), "cut" (of a hit).
FULL = ("MAIN.n_lru_limited", "OBJM.storage.relayed", "SMA.s0.c_fail")
TOLD = ("FetchError", r"Could not get storage")
TABLE = {
    "pages": Row("fallocate", ("ENOSPC", "ENOMEM", "EIO"), "1+", 300000, (), "unstored", FULL, TOLD),
    "pages_chunked": Row("fallocate", ("ENOSPC",), "1+", 3000000, ("chunked",), "unstored", FULL, TOLD),
    "pages_later": Row("fallocate", ("ENOSPC",), "4+", 3000000, ("chunked",), "unstored", FULL, TOLD),
    "pages_interrupted": Row("fallocate", ("EINTR",), "1..3", 300000, (), "stored", (), None),
    "file": Row("memfd_create", ("EMFILE", "ENFILE", "ENOMEM"), "1+", 300000, (), "unstored", FULL, TOLD),
    "file_once": Row("memfd_create", ("EMFILE",), "1", 300000, ("chunked",), "unstored", FULL, TOLD),
    "cutting": Row("ftruncate", ("EIO", "EINTR"), "1+", 300001, ("chunked",), "stored", (), None),
    "sealing": Row("fcntl", ("EBUSY", "EPERM"), "1+", 3000000, (), "stored", (), None),
    "sending": Row("sendfile", ("EIO", "ENOMEM"), "1+", 3000000, (), "cut", (), None),
    "sending_interrupted": Row("sendfile", ("EINTR",), "1+2", 3000000, (), "stored", (), None),
}


def fetch(daemon, path):
    """The response, whole and right, or None if it was cut."""
    try:
        with Client(daemon.address, timeout=30) as client:
            resp = client.get(path)
    except (Cut, ConnectionError):
        return None
    assert resp.status == 200, resp.status
    want = bodies.make(path, 0)
    assert resp.body == want, bodies.first_difference(resp.body, want)
    return resp


def check_log(daemon, want):
    tag, pattern = want
    end = time.monotonic() + 10
    while not re.search(pattern, daemon.records(tag)):
        assert time.monotonic() < end, f"no record {tag} like {pattern}"
        time.sleep(0.1)


def one(daemon, name, row, error):
    pid = daemon.worker_pid()
    path = bodies.path_of(f"{name}{error}", row.size, "max-age=1000", *row.flags)
    if row.seen == "cut":
        assert fetch(daemon, path) is not None
    before = daemon.counters()
    with Strace(pid, f"trace={row.call}", f"inject={row.call}:error={error}:when={row.when}") as strace:
        first = fetch(daemon, path)
        # A body is complete for its client a moment before it is for the store.
        time.sleep(0.1)
        if row.seen == "cut":
            assert first is None, "it came whole"
        else:
            assert first is not None, "it was cut"
            second = fetch(daemon, path)
            assert second is not None and second.is_hit == (row.seen == "stored"), "stored" if second.is_hit else "not stored"
        assert strace.injected() > 0, "nothing failed"
    for counter in row.counters:
        assert daemon.wait_counter(counter, lambda v, c=counter: v > before.get(c, 0)) > before.get(counter, 0), f"{counter} is as before"
    if row.log:
        check_log(daemon, row.log)
    # It is over.
    assert daemon.worker_pid() == pid, "the worker is another"
    path = bodies.path_of(f"{name}{error}after", row.size, "max-age=1000", *row.flags)
    assert fetch(daemon, path) is not None
    time.sleep(0.1)
    resp = fetch(daemon, path)
    assert resp is not None and resp.is_hit, "afterwards nothing is stored"


def run(name, path):
    origin = Origin()
    row = TABLE[name]
    daemon = None
    try:
        # What is lent is not cut, so nothing is lent there.
        lane = ["-p", "lane_fd=off"] if row.call == "ftruncate" else []
        daemon = Daemon(path, f"{origin.host}:{origin.port}", ["-s", "s0=malloc,64m", *lane])
        for error in row.errors:
            one(daemon, name, row, error)
        status = daemon.close()
        assert status == 0, f"the daemon ended with {status}"
        print(f"faults: {name}: {row.call} {', '.join(row.errors)} ({row.when}): {row.seen}")
        return 0
    except Skip as e:
        print(f"faults: {name}: skipped: {e}")
        return 77
    except Exception:       # a row may fail in any way; the next one is run all the same
        traceback.print_exc()
        print(f"faults: {name}: FAILED")
        if daemon:
            print(daemon.cli("panic.show")[1][:3000])
            print(daemon.output())
        return 1
    finally:
        if daemon and daemon.proc.poll() is None:
            daemon.close()
        origin.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("names", nargs="*", metavar="NAME", help="of: " + " ".join(TABLE))
    args = ap.parse_args()
    results = [run(name, os.path.abspath(args.daemon)) for name in args.names or TABLE]
    return 1 if 1 in results else max(results, default=0)


if __name__ == "__main__":
    sys.exit(main())
