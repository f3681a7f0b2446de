#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""memcached's protocol: CPU for each get and set of 1 KiB, and memory for each key, beside Debian's memcached.

Each server is pinned to one core and has one thread that serves; the load generator (bench/mc_load.c) has another core.
What counts is the CPU that the server spent for each request, from /proc.  Rounds are interleaved; ratios are taken
within a round, and their median is printed.  Memory is what lies between a quarter and all of the keys, so no fixed
part is in it, less the value and the key.
"""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys

from run import machine, say
from servers import ROOT, BenchError, Objmapperd, Server, free_port, process_tree

LOAD = os.path.join(ROOT, "build/release/bin/mc_load")
BYTES, KEYS, CONNECTIONS = 1024, 1000, 50
SMALL_BYTES, KEY_BYTES = 100, 14
BUDGETS = {"get": 1.0, "set": 1.5}  # CPU beside memcached's: its rate, and two thirds of it


class Memcached(Server):
    name = "memcached"

    @staticmethod
    def missing():
        return None if shutil.which("memcached") else "no memcached"

    def command(self):
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        return ["memcached", *user, "-t", "1", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "6000"]

    @property
    def mc_port(self):
        return self.port


class Ours(Objmapperd):
    def __init__(self, cores, origin_port):
        super().__init__(cores, origin_port)
        self.mc_port = free_port()

    def command(self):
        words = [w if w != "malloc,1g" else "memory,6g" for w in super().command()]
        return words + ["-a", f"mc=127.0.0.1:{self.mc_port},MEMCACHED"]


def load(server, core, *words):
    p = subprocess.run(["taskset", "-c", core, LOAD, "-p", str(server.mc_port), *map(str, words)], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False)
    if p.returncode != 0:
        raise BenchError(f"{server.name}: {p.stderr.strip()}")
    return p.stdout


def cpu_of_a_request(server, what, args):
    before = server.cpu()
    said = load(server, args.load_core, "-m", what, "-k", KEYS, "-b", BYTES, "-c", CONNECTIONS, "-s", args.seconds)
    requests = int(said.split()[1])
    if requests < 1000:
        raise BenchError(f"{server.name}: only {requests} requests")
    return (server.cpu() - before) / requests * 1e6, requests / args.seconds


def private_bytes(pid):
    """Resident memory of the process and those under it; what two of them share counts once."""
    total = 0
    for one in process_tree(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(m) for m in re.findall(r"^Pss:\s+(\d+) kB", f.read(), re.M)) * 1024
        except OSError:
            pass
    return total


def items(server):
    with socket.create_connection(("127.0.0.1", server.mc_port), 30) as s:
        s.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            text += s.recv(65536)
    return int(re.search(rb"STAT curr_items (\d+)", text)[1])


def bytes_of_a_key(server, keys, args):
    first = keys // 4
    load(server, args.load_core, "-m", "fill", "-k", first, "-f", 1, "-b", SMALL_BYTES)
    before = private_bytes(server.process.pid)
    load(server, args.load_core, "-m", "fill", "-k", keys, "-f", first + 1, "-b", SMALL_BYTES)
    there = items(server)
    if there < keys * 0.999:
        raise BenchError(f"{server.name}: {there} of {keys} keys are there")
    return (private_bytes(server.process.pid) - before) / (keys - first) - SMALL_BYTES - KEY_BYTES


def each(args, run):
    """run(server) for both, fresh; {name: what it returned}."""
    out = {}
    for kind in (Memcached, Ours):
        server = kind(args.server_core, 1)
        try:
            server.start()
            out[kind.name] = run(server)
        finally:
            server.stop()
    return out


def speed(args):
    servers = [Memcached(args.server_core, 1), Ours(args.server_core, 1)]
    rows = {}
    try:
        for server in servers:
            server.start()
            load(server, args.load_core, "-m", "fill", "-k", KEYS, "-f", 0, "-b", BYTES)
        for n in range(args.rounds):
            for what in ("get", "set"):
                for server in servers:
                    say(f"  memcached: round {n + 1}, {what}, {server.name}")
                    rows.setdefault((what, server.name), []).append(cpu_of_a_request(server, what, args))
    finally:
        for server in servers:
            server.stop()
    return rows


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--quick", action="store_true", help="few and short rounds, fewer keys")
    ap.add_argument("--rounds", type=int)
    ap.add_argument("--seconds", type=int)
    ap.add_argument("--keys", type=int, help="for memory; 10,000,000")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args, _ = ap.parse_known_args()
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.seconds = args.seconds or (1 if args.quick else 3)
    args.keys = args.keys or (300_000 if args.quick else 10_000_000)
    for kind in (Memcached, Ours):
        if kind.missing():
            print(f"memcached: skipped: {kind.missing()}")
            return 0
    try:
        rows = speed(args)
        memory = each(args, lambda server: bytes_of_a_key(server, args.keys, args))
    except (BenchError, OSError) as e:
        print(f"memcached: rejected: {e}")
        return 1
    print(machine() + f"; {args.rounds} rounds of {args.seconds} s")
    print("\n| memcached's protocol, 1 KiB | objmapperd | memcached | ratio | budget |\n|---|---|---|---|---|")
    result = {}
    for what in ("get", "set"):
        ours, theirs = rows[(what, "objmapperd")], rows[(what, "memcached")]
        ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs))
        cpu = {name: statistics.median(v[0] for v in values) for name, values in (("ours", ours), ("theirs", theirs))}
        result[what] = {**cpu, "ratio": ratio}
        print(f"| {what}, CPU | {cpu['ours']:.2f} us | {cpu['theirs']:.2f} us | {ratio:.2f} | {BUDGETS[what]:.2f} |")
    print(f"| bytes beside key and value, {args.keys:,} keys of {SMALL_BYTES} bytes | {memory['objmapperd']:.0f} | {memory['memcached']:.0f} | "
          f"{memory['objmapperd'] / memory['memcached']:.2f} | - |")
    result["bytes"] = memory
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "mc.json"), "w", encoding="ascii") as f:
        json.dump(result, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
