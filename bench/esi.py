#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""How long a page of ESI takes: ten includes that the backend answers after 50 ms each, which nobody has yet, and ten
that are stored.  objmapperd with all of them in parallel, as it comes, and one after another; and varnishd, which knows
only that.  Pages are asked for in turn, so that a slow minute hits all alike; medians are printed.
"""
import argparse
import http.client
import os
import socketserver
import statistics
import sys
import threading
import time

from run import machine, say
from servers import BenchError, Objmapperd, Varnishd

INCLUDES = 10
SLOW_S = 0.050
BUDGET_MS = 80
FIRST_HITS = 20

VCL = """vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "%d"; }
sub vcl_backend_response {
    set beresp.do_esi = bereq.url ~ "^/page";
    set beresp.ttl = 1h;
}
"""


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while True:
            line = self.rfile.readline(8192)
            if not line:
                return
            path = line.decode("latin-1").split()[1]
            while self.rfile.readline(8192) not in (b"\r\n", b"\n", b""):
                pass
            name, _, number = path[1:].partition("/")
            if name == "page":
                body = "<page>" + "".join(f'[<esi:include src="/part/{number}/{n}"/>]' for n in range(INCLUDES)) + "</page>"
            else:
                time.sleep(SLOW_S)
                body = f"part {path}"
            text = body.encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)


class Origin(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


def with_vcl(kind, name, port, params):
    server = kind("0-63", port)
    server.cores = ",".join(str(c) for c in sorted(os.sched_getaffinity(0)))
    server.name = name
    server.params = params
    path = os.path.join(server.dir, "esi.vcl")
    with open(path, "w", encoding="utf-8") as f:
        f.write(VCL % port)
    plain = server.command

    def command():
        words = plain()
        at = words.index("-b")
        return words[:at] + ["-f", path] + words[at + 2:]

    server.command = command
    return server


def ask(server, path):
    """Milliseconds up to the last byte, on a connection that is there."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    c.connect()
    begin = time.monotonic()
    c.request("GET", path)
    answer = c.getresponse()
    body = answer.read().decode()
    took = (time.monotonic() - begin) * 1000
    c.close()
    number = path.rpartition("/")[2]
    want = "<page>" + "".join(f"[part /part/{number}/{n}]" for n in range(INCLUDES)) + "</page>"
    if answer.status != 200 or body != want:
        raise BenchError(f"{server.name} answered {answer.status}, {len(body)} bytes for {path}")
    return took


def run(servers, rounds):
    missed, hit = {}, {}
    for n in range(rounds):
        for server in servers:
            missed.setdefault(server.name, []).append(ask(server, f"/page/{n}"))
            hit.setdefault(server.name, []).extend(ask(server, f"/page/{n}") for _ in range(FIRST_HITS))
    return missed, hit


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--rounds", type=int, default=10)
    ap.add_argument("--quick", action="store_true")
    args = ap.parse_args()
    origin = Origin()
    one = ("loops=1",)
    servers = [with_vcl(Objmapperd, "objmapperd, esi_parallel=10", origin.port, one + ("esi_parallel=10",)),
               with_vcl(Objmapperd, "objmapperd, esi_parallel=8", origin.port, one),
               with_vcl(Objmapperd, "objmapperd, esi_parallel=1", origin.port, one + ("esi_parallel=1",))]
    if Varnishd.missing() is None:
        servers.append(with_vcl(Varnishd, "varnishd", origin.port, ()))
    started = []
    try:
        for server in servers:
            server.start()
            started.append(server)
        missed, hit = run(servers, 3 if args.quick else args.rounds)
    except (BenchError, OSError) as e:
        sys.exit(f"esi: {e}")
    finally:
        for server in started:
            server.stop()
    say(machine())
    print(f"{INCLUDES} includes of {SLOW_S * 1000:.0f} ms each: milliseconds a page, median (longest)")
    for name in missed:
        print(f"  {name:30} fetched {statistics.median(missed[name]):7.1f} ({max(missed[name]):.1f})"
              f"   stored {statistics.median(hit[name]):6.2f} ({max(hit[name]):.2f})")
    best = statistics.median(missed[servers[0].name])
    verdict = "ok" if best < BUDGET_MS else "MISSED"
    print(f"budget: {servers[0].name} under {BUDGET_MS} ms: {best:.1f} {verdict}")
    sys.exit(0 if best < BUDGET_MS else 1)


if __name__ == "__main__":
    main()
