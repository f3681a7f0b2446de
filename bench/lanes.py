#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""CPU a GiB of each lane (direct, fd, body) by body size, over TCP on loopback and over a Unix socket.

Which lane is cheaper depends on size, transport, kernel and machine, so the thresholds lane_fd_min_* are parameters,
and this is how their values are found: one daemon for each lane, the others switched off, rounds interleaved.
A body that is too small to have a file of its own cannot take the fd lane; its figure there is that of a copying lane.
"""
import argparse
import json
import os
import statistics
import sys

from load import Workload, drain_over_unix, measure
from origin import Origin
from run import machine, say
from servers import ROOT, BenchError, Objmapperd

KIB, MIB = 1 << 10, 1 << 20
SIZES = (4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB)
LANES = {
    "direct": ("lane_direct=on", "lane_fd=off", "lane_body=off"),
    "fd": ("lane_direct=off", "lane_fd=on", "lane_body=off", "lane_fd_min_tcp=0", "lane_fd_min_unix=0"),
    "body": ("lane_body=on",),
}
# A lane must be this much cheaper before a threshold is moved for it: less is noise.
MARGIN = 0.97


def size_text(size):
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def measure_unix(server, workload, seconds):
    cpu = server.cpu()
    requests, received = drain_over_unix(server, workload.paths[0], seconds, min(4, workload.connections))
    if received != requests * workload.size:
        raise BenchError(f"{server.name}: {received} bytes for {requests} answers of {workload.size} over the Unix socket")
    return (server.cpu() - cpu) / (received / (1 << 30))


def run_size(size, args, origin, folder):
    """Medians of CPU seconds a GiB: {transport: {lane: figure}}."""
    workload = Workload(f"lane-{size}", size, 16 if size < MIB else 4 if size < 16 * MIB else 2)
    # A round has to see each connection served more than once.
    seconds = args.seconds if size < 16 * MIB else max(3, args.seconds)
    script, figures, servers = workload.lua(folder), {"tcp": {}, "unix": {}}, {}
    try:
        for lane, params in LANES.items():
            server = Objmapperd(args.server_core, origin.port, ("loops=1", *params), unix=not args.no_unix)
            server.name = lane
            server.start()
            servers[lane] = server
            workload.warm(server)
        for n in range(args.rounds):
            for lane, server in servers.items():
                say(f"  {size_text(size)}: round {n + 1}, {lane}")
                unix, server.unix_path = server.unix_path, None
                r = measure(server, workload, script, seconds, args.load_core, origin)
                figures["tcp"].setdefault(lane, []).append(r["cpu_s_gib"])
                server.unix_path = unix
                if unix:
                    figures["unix"].setdefault(lane, []).append(measure_unix(server, workload, seconds))
    finally:
        for server in servers.values():
            server.stop()
    return {t: {lane: statistics.median(v) for lane, v in lanes.items()} for t, lanes in figures.items()}


def recommend(results, transport):
    """The smallest size from which on, at this and every larger size, the fd lane is clearly the cheapest."""
    best = None
    for size, figures in sorted(results.items(), reverse=True):
        lanes = figures[transport]
        if not lanes or lanes["fd"] > MARGIN * lanes["direct"]:
            break
        best = size
    return best


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=2)
    ap.add_argument("--quick", action="store_true", help="one round of one second")
    ap.add_argument("--no-unix", action="store_true")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args = ap.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 1
    if Objmapperd.missing():
        sys.exit(f"bench-lanes: {Objmapperd.missing()}")
    os.sched_setaffinity(0, {int(args.load_core)})
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    origin, results = Origin(), {}
    print(machine() + "; CPU in s/GiB, medians")
    print("\n| size | tcp direct | tcp fd | tcp body | unix direct | unix fd | unix body |\n|---|---|---|---|---|---|---|")
    for size in SIZES:
        try:
            results[size] = run_size(size, args, origin, folder)
        except BenchError as e:
            print(f"| {size_text(size)} | rejected: {e} |")
            continue
        cells = [results[size][t].get(lane) for t in ("tcp", "unix") for lane in LANES]
        print(f"| {size_text(size)} | " + " | ".join("-" if c is None else f"{c:.3f}" for c in cells) + " |", flush=True)
    for transport in ("tcp", "unix"):
        best = recommend(results, transport)
        print(f"\nlane_fd_min_{transport}: " + (f"{size_text(best)} ({best})" if best else
                                               "the fd lane is not clearly the cheapest at any size: leave it to `direct`"))
    with open(os.path.join(folder, "lanes.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    return 0 if len(results) == len(SIZES) else 1


if __name__ == "__main__":
    sys.exit(main())
