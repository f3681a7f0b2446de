#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What connections cost that do nothing, and those that read slowly: memory, and the CPU of small hits beside them.

    bench/idle.py [--connections N] [--daemon PATH]

Memory is what the worker has of its own (resident and not shared, from /proc); sockets are the kernel's, and not in it.  Each idle
connection has been answered once.  Each slow reader has asked for a large object through a small window, and takes nothing.
"""
import argparse
import json
import os
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "lib"))
from objm import bodies                                  # noqa: E402
from objm.client import Client, get                     # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402

from run import machine                                 # noqa: E402
from servers import ROOT, cpu_seconds                   # noqa: E402

IDLE_BUDGET = 1024
HITS = 20_000


def own_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        words = [int(w) for w in f.read().split()]
    return (words[1] - words[2]) * os.sysconf("SC_PAGE_SIZE")


def settled(pid):
    """Once it no longer changes: stacks that nobody needs are given back after a second or two."""
    last = own_bytes(pid)
    for _ in range(10):
        time.sleep(3)
        now = own_bytes(pid)
        if abs(now - last) < 32768:
            return now
        last = now
    return last


def small_hit_us(daemon, pid, path):
    """CPU of the worker for a hit of 1 KiB, on one connection that is kept."""
    want = bodies.body(path, 0)
    with Client(daemon.address) as client:
        assert client.get(path).body == want
        before = cpu_seconds(pid)
        for _ in range(HITS // 50):
            client.send(b"GET %s HTTP/1.1\r\nHost: h.example\r\n\r\n" % path.encode() * 50)
            for _ in range(50):
                assert client.response().body == want, "wrong bytes"
        return (cpu_seconds(pid) - before) / HITS * 1e6


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: h.example\r\n\r\n".encode()


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--connections", type=int, default=10_000)
    ap.add_argument("--size", type=int, default=102400, help="of the object that slow readers ask for; much of a small one goes to the kernel at once")
    ap.add_argument("--daemon", default=os.path.join(ROOT, "build/bin/objmapperd"))
    args = ap.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(args.connections, hard - 1000)
    origin = Origin()
    small, large = bodies.path_of("small", 1024), bodies.path_of("large", args.size)
    limits = ["-p", "loops=1", "-p", "timeout_idle=600", "-p", "send_timeout=600", "-p", "idle_send_timeout=600", "-p", "max_requests=20000"]
    with Daemon(os.path.abspath(args.daemon), f"{origin.host}:{origin.port}", limits) as daemon:
        pid = daemon.worker_pid()
        get(daemon.address, small)
        get(daemon.address, large)
        alone_us = small_hit_us(daemon, pid, small)
        bare = settled(pid)
        print(f"{machine()}; {n} connections, one loop\n")

        idle = []
        for _ in range(n):
            client = Client(daemon.address)
            client.get(small)
            idle.append(client)
        each = (settled(pid) - bare) / n
        idle_us = small_hit_us(daemon, pid, small)
        for client in idle:
            client.close()
        daemon.wait_counter("MAIN.sess_closed", lambda v: v >= n)
        bare = settled(pid)

        done = daemon.counter("MAIN.client_req")
        slow = []
        for _ in range(n):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(daemon.address)
            sock.sendall(request(large))
            slow.append(sock)
        time.sleep(2)
        waiting = n - (daemon.counter("MAIN.client_req") - done)
        slow_each = (own_bytes(pid) - bare) / max(waiting, 1)
        slow_us = small_hit_us(daemon, pid, small)
        shed = daemon.counter("OBJM.limit.requests")
        for sock in slow:
            sock.close()
        daemon.wait_counter("MAIN.sess_closed_err", lambda v: v >= waiting, 30)
        after = settled(pid) - bare
        died = daemon.counter("MGT.child_died")
    origin.close()
    print("| what | figure |\n| --- | --- |")
    print(f"| memory of an idle connection, beside the kernel's | {each:.0f} bytes{'' if each < IDLE_BUDGET else f', over {IDLE_BUDGET}'} |")
    print(f"| responses of {args.size} bytes under way to slow readers; the others are in the kernel's buffers | {waiting} of {n} |")
    print(f"| memory of each | {slow_each / 1024:.1f} KiB |")
    print(f"| what is kept of it a few seconds after they left | {after / 1048576:.1f} MiB in all |")
    print(f"| CPU of a hit of 1 KiB: alone; beside the idle ones; beside the slow readers | {alone_us:.1f}, {idle_us:.1f}, {slow_us:.1f} us |")
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "idle.json"), "w", encoding="utf-8") as f:
        json.dump({"connections": n, "idle_bytes": each, "slow": waiting, "slow_bytes": slow_each, "alone_us": alone_us, "idle_us": idle_us,
                   "slow_us": slow_us}, f, indent=1)
    return 1 if each >= IDLE_BUDGET or died or shed else 0


if __name__ == "__main__":
    sys.exit(main())
