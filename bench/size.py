#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Bytes of memory that an object takes beside its body and its headers.

The worker's resident memory (its stores are mapped, so it has them all) is read at a quarter and at all of the objects:
what lies between has no fixed part in it.  The origin is the bare loop, whose canned answer may be cached.
"""
import argparse
import json
import os
import subprocess
import sys
import time

from run import machine, say
from servers import ROOT, BenchError, Limit, Objmapperd, process_tree

BODY = 100
BUDGET = 300
# Fields of the answer that are not stored.
NOT_STORED = ("x-varnish", "age", "connection", "accept-ranges")
FILL = """
local n, last = tonumber(os.getenv("FROM")), tonumber(os.getenv("TO"))
function request() if n < last then n = n + 1 end; return wrk.format("GET", "/o/" .. n) end
"""


def stored_bytes(server):
    """Of the body, and of the text of its headers."""
    connection = server.connect()
    connection.request("GET", "/o/1", headers=server.host())
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    # One Via is the origin's, the other our own.
    own = next((v for k, v in reversed(answer.getheaders()) if k.lower() == "via"), "")
    text = sum(len(k) + len(v) + 4 for k, v in answer.getheaders() if k.lower() not in NOT_STORED)
    return len(body), text - (len("via") + len(own) + 4 if own else 0)


def fill(server, script, start, end, core):
    """wrk does not end by itself: it is stopped when the objects are there."""
    env = {**os.environ, "FROM": str(start), "TO": str(end)}
    load = subprocess.Popen(["taskset", "-c", core, "wrk", "-t1", "-c64", "-d3600s", "-s", script,
                             f"http://127.0.0.1:{server.port}/o"], env=env, stdout=subprocess.DEVNULL)
    try:
        stuck = time.monotonic() + 30
        while (there := counters(server, "MAIN.n_object")[0]) < end - 64:  # wrk makes some requests that it does not send
            if there > start:
                start, stuck = there, time.monotonic() + 30
            if time.monotonic() > stuck:
                raise BenchError(f"there are {there} objects, and no more of them come")
            time.sleep(0.5)
    finally:
        load.terminate()
        load.wait()
    time.sleep(1)  # what replaced tables leave goes with a grace period


def counters(server, *names):
    words = ["varnishstat", "-n", server.workdir(), "-1"]
    for name in names:
        words += ["-f", name]
    p = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    values = {line.split()[0]: int(line.split()[1]) for line in p.stdout.splitlines() if line.strip()}
    return [values[name] for name in names]


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_size(args, folder):
    script = os.path.join(folder, "size.lua")
    with open(script, "w", encoding="ascii") as f:
        f.write(FILL)
    origin = Limit(args.load_core, "copy", BODY, 1)
    origin.start()
    server, seen, at = Objmapperd(args.server_core, origin.port, ("loops=1", "vsl_mask=none")), [], 0
    if args.daemon:
        server.binary = os.path.abspath(args.daemon)
    try:
        server.start()
        for end in (args.objects // 4, args.objects):
            say(f"  size: {end} objects")
            fill(server, script, at, end, args.load_core)
            at = end
            objects, evicted = counters(server, "MAIN.n_object", "MAIN.n_lru_nuked")
            if evicted:
                raise BenchError(f"{evicted} objects were evicted")
            seen.append((objects, max(resident_bytes(p) for p in process_tree(server.process.pid))))
        body, head = stored_bytes(server)
    finally:
        server.stop()
        origin.stop()
    each = (seen[1][1] - seen[0][1]) / (seen[1][0] - seen[0][0])
    return {"objects": seen[1][0], "bytes": each, "body": body, "head": head, "beside": each - body - head}


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--objects", type=int, default=1 << 20)
    ap.add_argument("--daemon", help="another build than build/bin/objmapperd")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args = ap.parse_args()
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    try:
        r = measure_size(args, folder)
    except (BenchError, OSError, subprocess.CalledProcessError) as e:
        print(f"size: rejected: {e}")
        return 1
    print(machine())
    print(f"\n{r['objects']} objects: {r['bytes']:.0f} bytes each, {r['body']} of body and {r['head']} of headers; "
          f"beside these {r['beside']:.0f} (budget {BUDGET}: {'met' if r['beside'] < BUDGET else 'missed'})")
    with open(os.path.join(folder, "size.json"), "w", encoding="utf-8") as f:
        json.dump(r, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
