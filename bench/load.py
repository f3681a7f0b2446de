# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Load by wrk, the CPU that a server spent on it, and the checks that keep a figure from being too good to be true."""
import itertools
import json
import os
import random
import shutil
import subprocess
import threading
import time

from origin import body_of
from servers import BenchError

# A head that any of the servers sends is shorter than this.
HEAD_BYTES_MAX = 1200

SCRIPT = """
local paths, order = {}, {}
%s
local i, n, requests = 0, #order, {}
function init(args)
    for k, path in ipairs(paths) do requests[k] = wrk.format("GET", path) end
    i = math.floor((tonumber(wrk.thread:get("id")) or 0) * 7919) %% n
end
function setup(thread) thread:set("id", counter or 0); counter = (counter or 0) + 1 end
function request()
    i = i %% n + 1
    return requests[order[i]]
end
"""

DONE = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('JSON {"requests": %d, "bytes": %.0f, "usec": %d, "errors": %d, "p50_us": %d, "p99_us": %d}\\n',
        summary.requests, summary.bytes, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""


class Workload:
    """What clients ask for: `urls` bodies of `size` bytes over `connections`; several are asked for by Zipf's law."""

    def __init__(self, name, size, connections, urls=1, zipf_s=1.0):
        self.name, self.size, self.connections, self.urls = name, size, connections, urls
        self.paths = [f"/{size}/{n}" for n in range(urls)]
        order = [1]
        if urls > 1:
            # A seeded sequence, the same for each server and round.
            weights = itertools.accumulate((rank + 1) ** -zipf_s for rank in range(urls))
            order = random.Random(1).choices(range(1, urls + 1), cum_weights=list(weights), k=100_000)
        self.order = order

    def lua(self, folder):
        path = os.path.join(folder, f"{self.name}.lua")
        with open(path, "w", encoding="ascii") as f:
            if self.urls > 1:
                tables = ("paths = {" + ",".join(f'"{p}"' for p in self.paths) + "}\n"
                          "order = {" + ",".join(map(str, self.order)) + "}")
                f.write(SCRIPT % tables)
            f.write(DONE)
        return path

    def warm(self, server):
        """Has the server fetch each URL, then checks one hit's bytes."""
        if not server.is_cache:
            return
        connection = server.connect()
        for path in self.paths:
            server.get(connection, path)
        self.check_body(server)
        connection.close()

    def check_body(self, server):
        if not server.is_cache:
            return
        connection = server.connect()
        path = self.paths[len(self.paths) // 2]
        if server.get(connection, path) != body_of(path):
            raise BenchError(f"{server.name} sent a wrong body for {path}")
        connection.close()


def wrk(server, workload, script, seconds, core, threads=1):
    p = subprocess.run(["taskset", "-c", core, shutil.which("wrk") or "wrk", f"-t{threads}", f"-c{workload.connections}",
                        f"-d{seconds}s", "--timeout", "20s", "-s", script, f"http://127.0.0.1:{server.port}{workload.paths[0]}"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in p.stdout.splitlines():
        if line.startswith("JSON "):
            return json.loads(line[5:])
    raise BenchError(f"wrk failed: {p.stdout[-500:]}")


def hits_at_last(server, before, requests):
    """Counters may be published a moment after the last answer, on a busy machine a long one."""
    for _ in range(20):
        after = server.hits()
        if before is None or after is None or after - before >= requests:
            break
        time.sleep(0.05)
    return after


def measure(server, workload, script, seconds, core, origin, threads=1):
    """One round.  Returns wrk's figures with `cpu_us` a request and `cpu_s_gib`, or raises BenchError."""
    fetched, hits, cpu = origin.requests, server.hits(), server.cpu()
    r = wrk(server, workload, script, seconds, core, threads)
    spent = server.cpu() - cpu
    after = hits_at_last(server, hits, r["requests"])
    workload.check_body(server)
    why = None
    if r["errors"]:
        why = f"{r['errors']} errors or answers that are not 2xx"
    elif r["requests"] < workload.connections:
        why = f"only {r['requests']} requests were answered"
    elif not r["requests"] * workload.size <= r["bytes"] <= (r["requests"] + workload.connections) * (workload.size + HEAD_BYTES_MAX):
        why = f"{r['bytes']} bytes for {r['requests']} answers of {workload.size}"
    elif origin.requests != fetched:
        why = f"{origin.requests - fetched} requests reached the origin"
    elif hits is not None and after is not None and after - hits < r["requests"]:
        why = f"it counts {after - hits} hits for {r['requests']} answers"
    if why:
        raise BenchError(f"{server.name}, {workload.name}: {why}")
    r["cpu_us"] = spent * 1e6 / r["requests"]
    r["cpu_s_gib"] = spent / (r["bytes"] / (1 << 30))
    r["busy"] = spent / (r["usec"] / 1e6)
    r["rps"] = r["requests"] / (r["usec"] / 1e6)
    return r


def drain_over_unix(server, path, seconds, connections):
    """GETs over a Unix socket from threads of this process, which wrk cannot do.  Returns requests and bytes."""
    totals, lock, stop = [0, 0], threading.Lock(), threading.Event()

    def client():
        connection, buf = server.connect(), bytearray(1 << 20)
        requests = received = 0
        while not stop.is_set():
            connection.request("GET", path, headers=server.host())
            answer = connection.getresponse()
            while n := answer.readinto(buf):
                received += n
            requests += 1
        with lock:
            totals[0] += requests
            totals[1] += received

    workers = [threading.Thread(target=client) for _ in range(connections)]
    for w in workers:
        w.start()
    stop.wait(seconds)
    stop.set()
    for w in workers:
        w.join()
    return totals
