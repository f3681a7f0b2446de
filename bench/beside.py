#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""p99 of small hits while something slow goes on beside them.

  alone   nothing else
  stuck   64 clients wait for fetches that the origin never answers
  warm    large bodies are read
  cold    large bodies that a killed worker left are read for the first time, so each is checked on an offload thread
          before its first byte leaves

What takes time must take it from nobody else: the budget for `cold` is twice the p99 of `alone`.  Server and load have a
core each, so a body's check shares the server's core with the hits, and its reader that of the load generator.
"""
import argparse
import json
import os
import signal
import socket
import statistics
import sys
import threading
import time

from load import Workload, wrk
from origin import Origin
from run import machine, say
from servers import ROOT, BenchError, Objmapperd, process_tree

KIB, MIB = 1 << 10, 1 << 20
STUCK = 64
BODIES = 4
BUDGET = 2.0


class Reader(threading.Thread):
    """Reads bodies, one after the other, again and again or each once."""

    def __init__(self, server, paths, again):
        super().__init__(daemon=True)
        self.server, self.paths, self.again = server, paths, again
        self.ends, self.read, self.error = threading.Event(), 0, None

    def run(self):
        try:
            connection, buf = self.server.connect(), bytearray(MIB)
            todo = list(self.paths)
            while todo and not self.ends.is_set():
                path = todo.pop(0)
                connection.request("GET", path, headers=self.server.host())
                answer = connection.getresponse()
                while answer.readinto(buf):
                    pass
                self.read += answer.status == 200
                todo += [path] if self.again else []
            connection.close()
        except (OSError, ValueError) as e:
            self.error = e


def kill_worker(server, workload):
    worker = process_tree(server.process.pid)[-1]
    os.kill(worker, signal.SIGKILL)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            workload.check_body(server)
            return
        except (OSError, BenchError):
            time.sleep(0.05)
    raise BenchError("no worker came after the one that was killed")


def hold(server):
    """Connections whose answers never come."""
    held = []
    for n in range(STUCK):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(f"GET /stuck/{n} HTTP/1.1\r\nHost: stuck\r\n\r\n".encode())
        held.append(s)
    return held


def one(case, server, small, large, script, args):
    reader, held = None, []
    if case in ("warm", "cold"):
        if case == "cold":
            kill_worker(server, small)
        small.warm(server)
        reader = Reader(server, large.paths, case == "warm")
        reader.start()
    if case == "stuck":
        held = hold(server)
        time.sleep(0.2)
    r = wrk(server, small, script, args.seconds, args.load_core)
    for s in held:
        s.close()
    if reader:
        reader.ends.set()
        reader.join(60)
        if reader.error or not reader.read:
            raise BenchError(f"{case}: the reader of large bodies got {reader.read}: {reader.error}")
    if r["errors"]:
        raise BenchError(f"{case}: {r['errors']} errors")
    return r["p99_us"] / 1000


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=int, default=2)
    ap.add_argument("--mib", type=int, default=128, help="size of a large body")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args = ap.parse_args()
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    origin, rows = Origin(), {}
    small, large = Workload("beside", KIB, 16), Workload("large", args.mib * MIB, 1, BODIES)
    script = small.lua(folder)
    server = Objmapperd(args.server_core, origin.port, ("loops=1", "first_byte_timeout=600"))
    try:
        server.start()
        small.warm(server)
        large.warm(server)
        for n in range(args.rounds):
            for case in ("alone", "stuck", "warm", "cold"):
                say(f"  beside: round {n + 1}, {case}")
                rows.setdefault(case, []).append(one(case, server, small, large, script, args))
    except (BenchError, OSError) as e:
        print(f"beside: rejected: {e}")
        return 1
    finally:
        server.stop()
    print(machine() + f"; {args.rounds} rounds of {args.seconds} s")
    print("\n| beside small hits | p99 | against alone | |\n|---|---|---|---|")
    result = {}
    for case, values in rows.items():
        ratio = statistics.median(v / alone for v, alone in zip(values, rows["alone"]))
        result[case] = {"p99_ms": statistics.median(values), "ratio": ratio}
        verdict = "" if case != "cold" else f"budget {BUDGET}: " + ("met" if ratio <= BUDGET else "missed")
        print(f"| {case} | {statistics.median(values):.2f} ms | {ratio:.2f} | {verdict} |")
    with open(os.path.join(folder, "beside.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
