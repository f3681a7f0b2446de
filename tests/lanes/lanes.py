#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The same bytes on every lane.

    lanes.py --daemon build/bin/objmapperd [CASE...]

sizes     bodies of lengths around every threshold, told by length, by chunks and by close; as a miss, while the fetch still runs, and
          as a hit; under every setting of the lanes.
unix      the same on a Unix socket, which has thresholds of its own.
inflight  a client stops reading in the middle of a large body; the object is purged, evicted and its memory filled with others; then
          the worker is killed.  What the kernel still sends afterwards must be the old bytes: a socket goes on sending the pages it
          was given, whoever has died.
follow    the backend stops in the middle of the body; those who follow have its first half by then, no more and no less.
"""
import argparse
import os
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies                                 # noqa: E402
from objm.client import Client, Cut, get                # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
SIZES = [0, 1, 100, 4095, 4096, 4097, 16 * KIB - 1, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB - 1, 128 * KIB,
         128 * KIB + 1, 200000, MIB - 1, MIB, MIB + 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 4 * MIB + 3]
SETTINGS = {
    "default": (),
    "body": ("lane_body=on",),
    "no-fd": ("lane_fd=off",),
    "no-direct": ("lane_direct=off",),
    "fd-early": ("lane_fd_min_tcp=0", "lane_fd_min_unix=0"),
    "fd-128k": ("lane_fd_min_tcp=128k", "lane_fd_min_unix=128k", "lane_fd_chunk=64k"),
    "direct-only": ("lane_fd_min_tcp=1g", "lane_fd_min_unix=1g"),
}


def expect(path, resp):
    want = bodies.body(path, 0)
    assert resp.status == 200, f"{path}: {resp.status}"
    assert resp.body == want, f"{path}: {'hit' if resp.is_hit else 'miss'}: {bodies.first_difference(resp.body, want)}"


def expect_part(path, resp, first, last):
    """Bytes first to last of the body; the whole if its length could not be known yet."""
    whole = bodies.body(path, 0)
    want = whole if resp.status == 200 else whole[first:last + 1]
    assert resp.status in (200, 206), f"{path} {first}-{last}: {resp.status}"
    if resp.status == 206:
        says = f"bytes {first}-{min(last, len(whole) - 1)}/{len(whole)}"
        assert resp.header("content-range") == says, f"{path}: {resp.header('content-range')}, not {says}"
    assert resp.body == want, f"{path} {first}-{last}: {bodies.first_difference(resp.body, want)}"
    return resp.status == 206


def parts(client, path):
    """Ranges of a stored body, around the edges of the pieces that it leaves in."""
    size = bodies.parse(path)[0]
    for first in {0, 1, size // 2, 64 * KIB, MIB - 1, size - 1}:
        for length in (1, 100, 200000, 2 * MIB):
            if 0 <= first < size:
                resp = client.get(path, headers=[f"Range: bytes={first}-{first + length - 1}"])
                assert expect_part(path, resp, first, first + length - 1), path


def sizes(path_of_daemon):
    origin = Origin()
    for name, settings in SETTINGS.items():
        args = [a for s in settings for a in ("-p", s)] if not NO_LANES else []
        with Daemon(path_of_daemon, f"{origin.host}:{origin.port}", args) as daemon:
            for flags in ((), ("chunked",), ("eof",)):
                paths = [bodies.path_of(f"s{name}", size, *flags) for size in SIZES]
                with Client(daemon.address, timeout=30) as one, Client(daemon.address, timeout=30) as two:
                    for path in paths:
                        expect(path, one.get(path))
                        resp = two.get(path)
                        expect(path, resp)
                        assert resp.is_hit, path
                    for path in paths:
                        resp = one.get(path)
                        expect(path, resp)
                        assert resp.header("content-length") == str(bodies.parse(path)[0]), path
                        head = one.get(path, "HEAD")
                        assert head.header("content-length") == str(bodies.parse(path)[0]), path
                    for path in paths[-1:] + paths[2:15:6]:
                        parts(one, path)
                together(daemon, name, flags)
            lanes_used(daemon, name)
            print(f"lanes: sizes: {name}: passed", flush=True)


def together(daemon, name, flags):
    """Many read one body while it is being fetched, some from the start, some from the middle on."""
    for size in (100000, 200000, 3 * MIB):
        path = bodies.path_of(f"t{name}", size, "stall=150", *flags)
        faults = []

        def one(wait):
            time.sleep(wait)
            try:
                expect(path, get(daemon.address, path, timeout=30))
            except (AssertionError, Cut, OSError) as e:
                faults.append(f"{type(e).__name__} {e}")

        def part(wait):
            time.sleep(wait)
            first, last = int(size * wait), int(size * (0.5 + wait))
            try:
                got = get(daemon.address, path, timeout=30, headers=[f"Range: bytes={first}-{last}"])
                assert expect_part(path, got, first, last) or flags, f"{path}: {got.status}"
            except (AssertionError, Cut, OSError) as e:
                faults.append(f"{type(e).__name__} {e}")
        threads = [threading.Thread(target=each, args=(i * 0.03,)) for i in range(10) for each in (one, part)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not faults, faults[0]


def lanes_used(daemon, name):
    """A setting that was not taken would make this test worthless."""
    if NO_LANES:
        return
    c = daemon.counters()
    fd, direct, body = (c[f"OBJM.delivery.{lane}_hits"] for lane in ("fd", "direct", "body"))
    wanted = {"default": fd and direct, "body": body and not fd and not direct, "no-fd": not fd and direct,
              "no-direct": fd and not direct, "fd-early": fd, "fd-128k": fd and direct, "direct-only": direct}[name]
    assert wanted, f"{name}: fd {fd}, direct {direct}, body {body}"


def unix(path_of_daemon):
    origin = Origin()
    for name in ("default", "fd-128k", "body"):
        args = [a for s in SETTINGS[name] for a in ("-p", s)] if not NO_LANES else []
        where = f"/tmp/objm.{os.getpid()}.sock"
        try:
            with Daemon(path_of_daemon, f"{origin.host}:{origin.port}", [*args, "-a", f"uds={where},mode=666"]) as daemon:
                with Client(where, timeout=30) as client:
                    for _ in range(2):
                        for size in SIZES:
                            path = bodies.path_of(f"x{name}", size)
                            expect(path, client.get(path))
                lanes_used(daemon, name)
        finally:
            if os.path.exists(where):
                os.unlink(where)


def inflight(path_of_daemon):
    origin = Origin()
    for setting in ("default", "fd-128k", "body"):
        args = [a for s in SETTINGS[setting] for a in ("-p", s)] if not NO_LANES else []
        for way in ("evict", "purge", "kill"):
            with Daemon(path_of_daemon, f"{origin.host}:{origin.port}", [*args, "-s", "s0=malloc,24m"]) as daemon:
                path = bodies.path_of(f"inflight-{setting}-{way}", 6 * MIB)
                expect(path, get(daemon.address, path))
                stalled = [Client(daemon.address, timeout=20, rcvbuf=16384) for _ in range(3)]
                for client in stalled:
                    client.ask(path)
                    client.more(4096)
                time.sleep(0.2)
                if way == "purge" and not NO_LANES:
                    daemon.cli_ok("purge", "h.example", path)
                # Fill the store several times over, so that whatever was free has been written again.
                with Client(daemon.address, timeout=30) as client:
                    for i in range(40):
                        other = bodies.path_of(f"fill{i}", 2 * MIB - i * 1000)
                        resp = client.get(other)
                        if resp.status == 200:
                            expect(other, resp)
                if way == "kill":
                    assert daemon.kill_worker() is not None
                    daemon.wait_running(20)
                    with Client(daemon.address, timeout=30) as client:
                        for i in range(20):
                            other = bodies.path_of(f"again{i}", 2 * MIB)
                            resp = client.get(other)
                            if resp.status == 200:
                                expect(other, resp)
                prefix_only(path, stalled, whole=way != "kill")
            print(f"lanes: inflight: {setting} {way}: passed", flush=True)


def prefix_only(path, clients, whole):
    """What still comes is the old body, or, after the worker's death, a beginning of it."""
    want = bodies.body(path, 0)
    for client in clients:
        # The first bytes were taken off above; the rest is found by its place from the end of what the kernel sends.
        got = b""
        try:
            while piece := client.sock.recv(65536):
                got += piece
                if whole and want.endswith(got[-1000:]) and len(got) > len(want) - 5000:
                    break
        except (ConnectionResetError, TimeoutError):
            pass
        at = want.find(got[:1000])
        if at < 0:
            # The head's end may be in it.
            got = got.split(b"\r\n\r\n", 1)[1]
            at = want.find(got[:1000])
        assert at >= 0, f"{path}: unknown bytes"
        assert got == want[at:at + len(got)], f"{path}: " + bodies.first_difference(got, want[at:at + len(got)])
        if whole:
            assert at + len(got) == len(want), f"{path}: the end is missing"


def follow(path_of_daemon):
    origin = Origin()
    for setting in ("default", "fd-128k", "body", "no-fd"):
        args = [a for s in SETTINGS[setting] for a in ("-p", s)] if not NO_LANES else []
        with Daemon(path_of_daemon, f"{origin.host}:{origin.port}", args) as daemon:
            for flags in ((), ("chunked",)):
                path = bodies.path_of(f"follow-{setting}", 4 * MIB, "stall=1500", *flags)
                want = bodies.body(path, 0)
                half = len(want) // 2
                began = time.monotonic()
                results = []

                def one(wait):
                    time.sleep(wait)
                    with Client(daemon.address, timeout=30) as client:
                        client.ask(path)
                        resp = client.head()
                        body = b""
                        while len(body) < half:
                            if resp.header("transfer-encoding") == "chunked":
                                size = int(client.line(), 16)
                                body += client.exactly(size)
                                client.exactly(2)
                            else:
                                body += client.buf or client.more()
                                client.buf = b""
                        at_half = time.monotonic() - began
                        if resp.header("transfer-encoding") == "chunked":
                            while size := int(client.line(), 16):
                                body += client.exactly(size)
                                client.exactly(2)
                        else:
                            body += client.exactly(len(want) - len(body))
                        results.append((at_half, body == want))
                threads = [threading.Thread(target=one, args=(w,)) for w in (0, 0.2, 0.4)]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                assert len(results) == 3 and all(ok for _, ok in results), f"{setting} {flags}: wrong bytes"
                assert all(at < 1.5 for at, _ in results), f"{setting} {flags}: the first half came late: {results}"
                resp = get(daemon.address, path)
                expect(path, resp)
                assert resp.is_hit and origin.fetched(path) == 1
                print(f"lanes: follow: {setting} {' '.join(flags) or 'length'}: passed", flush=True)


CASES = {"sizes": sizes, "unix": unix, "inflight": inflight, "follow": follow}
NO_LANES = False


def main():
    global NO_LANES                                     # noqa: PLW0603
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--no-lanes", action="store_true", help="set no parameters of ours: to try this test on varnishd")
    ap.add_argument("cases", nargs="*", metavar="CASE", help="of: " + " ".join(CASES))
    args = ap.parse_args()
    NO_LANES = args.no_lanes
    failed = 0
    for name in args.cases or CASES:
        try:
            CASES[name](os.path.abspath(args.daemon))
            print(f"lanes: {name}: passed", flush=True)
        except Exception:       # one case's failure is not the others'
            traceback.print_exc()
            print(f"lanes: {name}: FAILED", flush=True)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
