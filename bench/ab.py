#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Before and after: CPU of two builds of objmapperd for the workloads of bench/run.py, side by side.

Both run at the same time, rounds are interleaved (A B, B A, A B ...: whoever comes second finds a warmer or a busier
machine), and the ratio B / A is taken within each round.  The median says how much dearer B is; the quartiles say how
much of that to believe.  On a machine with other work many short rounds tell more than a few long ones.
"""
import argparse
import os
import statistics
import sys

from load import Workload, measure
from origin import Origin
from run import UNITS, WORKLOADS, machine, say
from servers import ROOT, BenchError, Objmapperd


def started(name, binary, args, origin):
    server = Objmapperd(args.server_core, origin.port, ("loops=1", *args.param))
    server.name, server.binary = name, os.path.abspath(binary)
    server.start()
    return server


def compare(spec, args, origin, folder):
    name, size, connections, urls, _, figure, _ = spec
    workload, servers, rows = Workload(name, size, connections, urls), [], {"A": [], "B": []}
    script = workload.lua(folder)
    try:
        for which, binary in (("A", args.a), ("B", args.b)):
            servers.append(started(which, binary, args, origin))
            workload.warm(servers[-1])
        for n in range(args.rounds + 1):
            for server in servers if n % 2 == 0 else reversed(servers):
                r = measure(server, workload, script, args.seconds, args.load_core, origin)
                if n > 0:  # the first round warms up
                    rows[server.name].append(r[figure])
            say(f"  {name}: round {n}")
    finally:
        for server in servers:
            server.stop()
    ratios = sorted(b / a for a, b in zip(rows["A"], rows["B"]))
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return (f"| {name} | {statistics.median(rows['A']):.3g} | {statistics.median(rows['B']):.3g} {UNITS[figure]} "
            f"| {middle:.3f} | {low:.3f} to {high:.3f} |")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--a", required=True, help="the daemon before")
    ap.add_argument("--b", default=os.path.join(ROOT, "build/bin/objmapperd"), help="and after (build/bin/objmapperd)")
    ap.add_argument("--only", default="small,small-zipf", help="workloads of bench/run.py, comma separated")
    ap.add_argument("--rounds", type=int, default=11)
    ap.add_argument("--seconds", type=int, default=1)
    ap.add_argument("--param", action="append", default=[], help="for both, as name=value")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args = ap.parse_args()
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    origin, status = Origin(), 0
    print(f"{machine()}; {args.rounds} rounds of {args.seconds} s")
    print("\n| workload | A | B | B / A, median | its quartiles |\n|---|---|---|---|---|", flush=True)
    for spec in WORKLOADS:
        if spec[0] in args.only.split(","):
            try:
                print(compare(spec, args, origin, folder), flush=True)
            except BenchError as e:
                print(f"| {spec[0]} | rejected: {e} |", flush=True)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
