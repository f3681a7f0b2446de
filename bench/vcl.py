#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What VCL costs: loading one of 1,000 lines, and running the built-in policy and one of 20 regexes on a hit.

objmapperd and varnishd are measured in one run, on the same texts.  Loading is the time that varnishadm waits for
vcl.load, less what it waits for a ping.  Running is measured twice: as CPU of a hit in whole servers, both daemons with
both policies, rounds interleaved as in bench/run.py; and as the VM alone (bench/micro/vcl_bench), without server, log
and network.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

from load import Workload, measure
from origin import Origin
from run import machine, say
from servers import ROOT, BenchError, Objmapperd, Varnishd

LINES = 1000
VM = os.path.join(ROOT, "build/release/bin/vcl_bench")
# In nanoseconds: the VM alone, with the built-in policy.
VM_BUDGET_NS = 1000
KIB = 1 << 10


def head(port):
    return ["vcl 4.1;", f'backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}']


def long_vcl(port):
    """A site's VCL as they grow: lists of addresses, and one sub after the other for one part of the site each."""
    lines = head(port)
    for n in range(4):
        lines += [f"acl office{n} {{", *(f'\t"10.{n}.{i}.0"/24;' for i in range(20)), "}"]
    subs = []
    while len(lines) + len(subs) < LINES - 17:
        n = len(subs)
        subs.append(f"\tcall part{n};")
        lines += [
            f"sub part{n} {{",
            f'\tif (req.url ~ "^/part{n}/[0-9]+" && req.http.host != "other{n}.example") {{',
            f'\t\tset req.http.X-Part = "{n}: " + req.url + " of " + req.http.host;',
            f'\t\tset req.url = regsub(req.url, "^/part{n}/([0-9]+)", "/new/\\1");',
            f"\t}} elseif (client.ip ~ office{n % 4} || req.restarts > 2) {{",
            f"\t\tset req.http.X-Ttl = 1h + {n}s;",
            "\t\tunset req.http.X-Debug;",
            "\t} else {",
            f'\t\t# nothing of part {n}',
            "\t}",
            "}",
        ]
    lines += ["sub vcl_recv {", *subs, "}"]
    lines += [f"# line {n}" for n in range(len(lines), LINES)]
    assert len(lines) == LINES, len(lines)
    return "\n".join(lines) + "\n"


def regex_vcl(port):
    """Twenty expressions that each hit runs and none matches."""
    lines = head(port) + ["sub vcl_recv {"]
    for n in range(12):
        lines.append(f'\tif (req.url ~ "^/(static|img|css){n}/[^?]*[.](png|jpe?g|css)([?].*)?$") {{ set req.http.X-Kind = "{n}"; }}')
    for n in range(4):
        lines.append(f'\tif (req.http.host ~ "(?i)^(www|shop){n}[.]example[.](com|org)(:[0-9]+)?$") {{ set req.http.X-Site = "{n}"; }}')
    lines += ["}", "sub vcl_deliver {"]
    for n in range(4):
        lines.append(f'\tif (resp.http.Content-Type ~ "^(text|image){n}/(html|xml|gif)") {{ set resp.http.X-Type = "{n}"; }}')
    return "\n".join(lines + ["}"]) + "\n"


POLICIES = (("built-in", lambda port: "\n".join(head(port)) + "\n"), ("20 regexes", regex_vcl))


def admin(server, *words):
    begin = time.monotonic()
    p = subprocess.run(["varnishadm", "-n", server.workdir(), *words], check=False, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    if p.returncode != 0:
        raise BenchError(f"{server.name}: {' '.join(words)}: {p.stdout[-500:]}")
    return time.monotonic() - begin


def with_vcl(cls, text, policy, args, origin):
    """A server that starts with this VCL; named after both."""
    class WithVcl(cls):
        def command(self):
            words = super().command()
            at = words.index("-b")
            path = os.path.join(self.dir, "policy.vcl")
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
            words[at:at + 2] = ["-f", path]
            return words
    server = WithVcl(args.server_core, origin.port)
    server.name, server.policy = cls.name, policy
    return server


def load_times(servers, args, origin):
    """Milliseconds of vcl.load, by server; rounds interleaved."""
    times = {s.name: [] for s in servers}
    for n in range(args.rounds):
        for server in servers:
            say(f"  compile: round {n + 1}, {server.name}")
            path = os.path.join(server.dir, f"long{n}.vcl")
            with open(path, "w", encoding="ascii") as f:
                f.write(long_vcl(origin.port))
            ping = min(admin(server, "ping") for _ in range(3))
            times[server.name].append(max(0, admin(server, "vcl.load", f"long{n}", path) - ping) * 1e3)
            admin(server, "vcl.discard", f"long{n}")
    return times


def hit_cpu(servers, args, origin, folder):
    workload = Workload("vcl", KIB, 64)
    script, rows = workload.lua(folder), {}
    for server in servers:
        workload.warm(server)
    for n in range(args.rounds):
        for server in servers:
            say(f"  hit: round {n + 1}, {server.name}, {server.policy}")
            r = measure(server, workload, script, args.seconds, args.load_core, origin)
            rows.setdefault((server.name, server.policy), []).append(r["cpu_us"])
    return rows


def vm_alone(folder, port):
    """(run_ns, compile_us) of each policy, and of the long VCL."""
    if not os.access(VM, os.X_OK):
        raise BenchError(f"{VM} is not there")
    figures = {}
    for name, text_of in (*POLICIES, ("1,000 lines", long_vcl)):
        path = os.path.join(folder, "vm.vcl")
        with open(path, "w", encoding="ascii") as f:
            f.write(text_of(port))
        words = subprocess.run([VM, path], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        figures[name] = int(words[1]), int(words[3])
    return figures


def report(loads, hits, vm):
    out = [f"\n**Loading a VCL of {LINES} lines**: milliseconds that vcl.load takes, median (least to most)\n",
           "| server | ms | range | |", "|---|---|---|---|"]
    slow = statistics.median(loads["varnishd"]) if "varnishd" in loads else None
    for name, ms in loads.items():
        middle = statistics.median(ms)
        times = f"{slow / middle:.0f} times as fast" if slow and name != "varnishd" and middle > 0 else ""
        out.append(f"| {name} | {middle:.1f} | {min(ms):.1f}-{max(ms):.1f} | {times} |")
    out += ["\n**A hit with either policy**: CPU in us/request, median; what 20 regexes add, median of the rounds\n",
            "| server | built-in | 20 regexes | added |", "|---|---|---|---|"]
    for name in dict.fromkeys(server for server, _ in hits):
        plain, more = hits[name, "built-in"], hits[name, "20 regexes"]
        added = statistics.median(b - a for a, b in zip(plain, more))
        out.append(f"| {name} | {statistics.median(plain):.2f} | {statistics.median(more):.2f} | {added:.2f} |")
    out += ["\n**The VM alone** (objmapperd): recv, hash, hit and deliver of one hit; and the compiler alone\n",
            "| policy | ns a hit | compiled in ms | |", "|---|---|---|---|"]
    for name, (ns, us) in vm.items():
        verdict = f"budget {VM_BUDGET_NS}: {'met' if ns < VM_BUDGET_NS else 'missed'}" if name == "built-in" else ""
        out.append(f"| {name} | {ns} | {us / 1000:.2f} | {verdict} |")
    return "\n".join(out) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=int, default=2, help="of load in each round")
    ap.add_argument("--quick", action="store_true", help="three rounds of one second")
    ap.add_argument("--only", help="`make bench` hands on what bench/run.py is given: without `vcl` in it nothing is done")
    ap.add_argument("--server-core", default="0")
    ap.add_argument("--load-core", default="1")
    args, _ = ap.parse_known_args()
    if args.only and "vcl" not in args.only.split(","):
        return 0
    if args.quick:
        args.rounds, args.seconds = 3, 1
    for cls in (Objmapperd, Varnishd):
        if cls.missing():
            sys.exit(f"bench: {cls.missing()}")
    folder = os.path.join(ROOT, "build/bench")
    os.makedirs(folder, exist_ok=True)
    origin, servers = Origin(), []
    about = f"{time.strftime('%Y-%m-%d')}, {machine()}; {args.rounds} rounds of {args.seconds} s"
    say(about)
    try:
        for cls in (Objmapperd, Varnishd):
            for policy, text_of in POLICIES:
                server = with_vcl(cls, text_of(origin.port), policy, args, origin)
                server.start()
                servers.append(server)
        text = about + "\n" + report(load_times([s for s in servers if s.policy == "built-in"], args, origin),
                                     hit_cpu(servers, args, origin, folder), vm_alone(folder, origin.port))
    finally:
        for server in servers:
            server.stop()
    print(text)
    with open(os.path.join(folder, "vcl.md"), "w", encoding="utf-8") as f:
        f.write(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as e:
        sys.exit(f"bench: {e}")
