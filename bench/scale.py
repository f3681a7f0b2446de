#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""CPU a request of objmapperd with 1, 2, 4 ... loops, on one hot object and on many.

What loops share costs the more the more of them there are, and shows as CPU a request: with no line of the cache's
memory wanted by two cores it stays where one loop has it.  The daemon gets as many cores as it has loops and the load
generator the others; where there are not enough, both share all cores, and the number of loops is what is compared.
"""
import argparse
import json
import os
import statistics
import sys

from load import Workload, measure
from origin import Origin
from run import machine, say
from servers import ROOT, BenchError, Objmapperd

KIB = 1 << 10
LIMIT = 1.10


def core_sets(loops):
    """The daemon's cores and the load generator's, as taskset takes them."""
    count = os.cpu_count()
    if count >= 2 * loops:
        return f"0-{loops - 1}", f"{loops}-{count - 1}"
    return f"0-{count - 1}", f"0-{count - 1}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=int, default=4)
    ap.add_argument("--quick", action="store_true", help="three rounds of one second")
    ap.add_argument("--loops", default=",".join(str(n) for n in (1, 2, 4, 8, 16) if n <= max(2, os.cpu_count())))
    args = ap.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 1
    if Objmapperd.missing():
        sys.exit(f"bench-scale: {Objmapperd.missing()}")
    loops = [int(n) for n in args.loops.split(",")]
    # With one loop on a machine where two must share its cores, it has to share them as well, to be comparable.
    split = os.cpu_count() >= 2 * max(loops)
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    origin, results, status = Origin(), [], 0
    print(machine() + ("" if split else "; too few cores to separate load and server: both run on all of them"))
    print("\n| workload | loops | CPU us/request | against 1 loop | requests/s |\n|---|---|---|---|---|")
    for workload in (Workload("one", KIB, 64), Workload("many", KIB, 64, 10_000)):
        script, rows, servers = workload.lua(folder), {}, {}
        try:
            for n in loops:
                cores = core_sets(n) if split else core_sets(os.cpu_count())
                server = Objmapperd(cores[0], origin.port, (f"loops={n}",))
                server.start()
                servers[n] = (server, cores[1])
                workload.warm(server)
            for i in range(args.rounds):
                for n, (server, load_cores) in servers.items():
                    say(f"  {workload.name}: round {i + 1}, {n} loops")
                    rows.setdefault(n, []).append(measure(server, workload, script, args.seconds, load_cores, origin, n))
        except BenchError as e:
            print(f"rejected: {e}")
            status = 1
        finally:
            for server, _ in servers.values():
                server.stop()
        for n, rounds in rows.items():
            ratio = statistics.median(r["cpu_us"] / one["cpu_us"] for r, one in zip(rounds, rows[loops[0]]))
            row = {"workload": workload.name, "loops": n, "cpu_us": statistics.median(r["cpu_us"] for r in rounds),
                   "ratio": ratio, "rps": statistics.median(r["rps"] for r in rounds)}
            results.append(row)
            print(f"| {row['workload']} | {n} | {row['cpu_us']:.2f} | {ratio:.2f}{'' if ratio <= LIMIT else ' over ' + str(LIMIT)} "
                  f"| {row['rps']:.0f} |")
    with open(os.path.join(folder, "scale.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    return status


if __name__ == "__main__":
    sys.exit(main())
