#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""CPU of objmapperd, nginx and varnishd for cache hits, side by side, as ratios to the bare loop (bench/limit.c).

Each server is pinned to one core, the load generator to another.  What counts is the CPU that the server's processes
spent (from /proc) for each answer, not the rate: it does not depend on how fast the load generator is.  Rounds are
interleaved, so that a slow minute of the machine hits all alike; ratios are taken within a round, and the median of
the rounds is printed.
"""
import argparse
import json
import os
import statistics
import sys
import time

from load import Workload, measure
from origin import Origin
from servers import ROOT, BenchError, Limit, Nginx, Objmapperd, Varnishd

CACHES = {"objmapperd": Objmapperd, "nginx": Nginx, "varnishd": Varnishd}
KIB, MIB = 1 << 10, 1 << 20
# name, size, connections, URLs, the bare loop's ways, figure, the budget of objmapperd as a ratio to the cheapest way
WORKLOADS = (
    ("small", KIB, 64, 1, ("copy",), "cpu_us", 1.3),
    ("small-zipf", KIB, 64, 10_000, ("copy",), "cpu_us", 1.3),
    ("100k", 100 * KIB, 16, 1, ("copy", "sendfile", "splice"), "cpu_s_gib", 1.05),
    ("10m", 10 * MIB, 8, 1, ("copy", "sendfile", "splice"), "cpu_s_gib", 1.05),
)
UNITS = {"cpu_us": "us/request", "cpu_s_gib": "s/GiB"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_workload(spec, caches, args, origin, folder):
    name, size, connections, urls, ways, figure, budget = spec
    workload = Workload(name, size, connections, urls)
    servers, rows, notes = [], {}, []
    try:
        for server in ([Limit(args.server_core, way, size, urls) for way in ways] +
                       [CACHES[c](args.server_core, origin.port) for c in caches]):
            try:
                server.start()
                servers.append(server)
                workload.warm(server)
            except (BenchError, OSError) as e:
                notes.append(f"{server.name}: {e}")
                if server in servers:
                    servers.remove(server)
                    server.stop()
        script = workload.lua(folder)
        for n in range(args.rounds):
            for server in servers:
                say(f"  {name}: round {n + 1}, {server.name}")
                try:
                    rows.setdefault(server.name, {})[n] = measure(server, workload, script, args.seconds, args.load_core, origin)
                except (BenchError, OSError) as e:
                    notes.append(f"rejected: {e}")
    finally:
        for server in servers:
            server.stop()
    return summarise(name, figure, budget, rows, notes)


def summarise(name, figure, budget, rows, notes):
    """Medians, and ratios to the same round of the bare loop's cheapest way (that of the lowest median)."""
    ways = [rounds for server, rounds in rows.items() if server.startswith("limit-") and rounds]
    cheapest = min(ways, key=lambda rounds: statistics.median(r[figure] for r in rounds.values()), default={})
    lines = []
    for server, rounds in rows.items():
        values = [r[figure] for r in rounds.values()]
        ratios = [r[figure] / cheapest[n][figure] for n, r in rounds.items() if n in cheapest]
        if not values:
            continue
        lines.append({"server": server, "figure": statistics.median(values), "least": min(values), "most": max(values),
                      "ratio": statistics.median(ratios) if ratios else None, "rounds": len(values),
                      "rps": statistics.median(r["rps"] for r in rounds.values()),
                      "busy": statistics.median(r["busy"] for r in rounds.values()),
                      "p99_us": statistics.median(r["p99_us"] for r in rounds.values())})
    return {"workload": name, "unit": UNITS[figure], "budget": budget, "servers": lines, "notes": notes}


def table(result):
    head = f"{result['workload']}: CPU in {result['unit']}, median (least to most); ratio to the cheapest bare loop"
    out = ["", f"**{head}**", "", "| server | CPU | range | ratio | requests/s | core busy | p99 | |", "|---|---|---|---|---|---|---|---|"]
    for s in result["servers"]:
        verdict = ""
        if s["server"] == "objmapperd" and s["ratio"]:
            verdict = f"budget {result['budget']}: " + ("met" if s["ratio"] <= result["budget"] else "missed")
        ratio = f"{s['ratio']:.2f}" if s["ratio"] else "-"
        out.append(f"| {s['server']} | {s['figure']:.3g} | {s['least']:.3g}-{s['most']:.3g} | {ratio} | {s['rps']:.0f} "
                   f"| {100 * s['busy']:.0f} % | {s['p99_us'] / 1000:.2f} ms | {verdict} |")
    return "\n".join(out + [f"\n* {n}" for n in result["notes"]])


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")
    return f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--only", help="workloads, comma separated: " + ",".join(w[0] for w in WORKLOADS) + "; and vcl (bench/vcl.py)")
    ap.add_argument("--servers", default=",".join(CACHES), help="caches, comma separated")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=int, default=4, help="of load in each round")
    ap.add_argument("--quick", action="store_true", help="three rounds of one second")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args = ap.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 1
    caches = [c for c in args.servers.split(",") if c]
    for c in caches:
        if CACHES[c].missing():
            sys.exit(f"bench: {CACHES[c].missing()}")

    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    origin, results = Origin(), []
    about = f"{time.strftime('%Y-%m-%d')}, {machine()}; {args.rounds} rounds of {args.seconds} s"
    say(about)
    for spec in WORKLOADS:
        if not args.only or spec[0] in args.only.split(","):
            results.append(run_workload(spec, caches, args, origin, folder))
    text = about + "\n" + "\n".join(table(r) for r in results) + "\n"
    print(text)
    with open(os.path.join(folder, "run.md"), "w", encoding="utf-8") as f:
        f.write(text)
    with open(os.path.join(folder, "run.json"), "w", encoding="utf-8") as f:
        json.dump({"about": about, "results": results}, f, indent=1)
    return 1 if any(r["notes"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
