#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""A new VCL every few milliseconds, while clients go on: none of them may notice.

    swap.py --daemon OBJMAPPERD [--rounds N]

Each round loads a VCL, uses it (or moves a label to it, that the one in use returns to), and discards the one before.  Clients
on kept connections, with pipelines, passes, slow fetches, and new connections check of each answer that it is whole, that all its
subs were one VCL's, and that this VCL was in use (or the label's) at a moment between request and answer.  At the end only what
should be there is there.
"""
import argparse
import contextlib
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies  # noqa: E402
from objm.client import Client  # noqa: E402
from objm.daemon import Daemon  # noqa: E402
from objm.origin import Origin  # noqa: E402

# What a request goes through says its name at each stop.
VCL = """vcl 4.1;
import directors;
backend b { .host = "127.0.0.1"; .port = "%(port)d"; %(probe)s }
sub vcl_init { new d = directors.round_robin(); d.add_backend(b); }
sub vcl_recv {
%(recv)s
    set req.http.X-Recv = "%(name)s";
    set req.backend_hint = d.backend();
    if (req.url ~ "/private") { return (pass); }
    return (hash);
}
sub vcl_hash { set req.http.X-Hash = "%(name)s"; }
sub vcl_backend_fetch { set bereq.http.X-Fetch = "%(name)s"; if (bereq.http.X-Recv != "%(name)s") { return (abandon); } }
sub vcl_backend_response { set beresp.http.X-Fetch = "%(name)s"; }
sub vcl_deliver {
    set resp.http.X-Vcl = req.http.X-Recv + " " + req.http.X-Hash + " %(name)s";
}
"""


class Cli:
    """The daemon connects to us (-M), so that hundreds of commands are hundreds of lines and no processes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(30)
        self.port = self.listener.getsockname()[1]
        self.file = None

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(60)
        self.file = sock.makefile("rwb")
        self.answer()

    def answer(self):
        status, length = self.file.read(13).split()
        return int(status), self.file.read(int(length) + 1)[:-1].decode()

    def ask(self, line):
        self.file.write(line.encode() + b"\n")
        self.file.flush()
        return self.answer()

    def ok(self, line):
        status, text = self.ask(line)
        if status != 200:
            raise RuntimeError(f"{line.splitlines()[0]}: {status} {text}")
        return text


class Uses:
    """When which VCL was in use: from before the command that began it until after the one that ended it."""

    def __init__(self):
        self.began, self.ended = {}, {}

    def begin(self, name):
        self.began[name] = time.monotonic()

    def end(self, name):
        self.ended[name] = time.monotonic()

    def was(self, name, sent, came):
        return name in self.began and self.began[name] <= came and self.ended.get(name, came) >= sent


class Clients:
    def __init__(self, address, main, label):
        self.address, self.main, self.label = address, main, label
        self.stop, self.faults, self.counts = threading.Event(), [], {}
        self.threads = []

    def fault(self, text):
        self.faults.append(text)
        self.stop.set()

    def check(self, path, resp, sent):
        came = time.monotonic()
        if resp.status != 200 or resp.body != bodies.body(path.split("?")[0], 0):
            return self.fault(f"{path}: {resp.status} {len(resp.body)} bytes {resp.headers}")
        names = resp.header("x-vcl", "").split()
        uses = self.label if "?label" in path else self.main
        if len(names) != 3 or len(set(names)) != 1 or not uses.was(names[0], sent, came):
            return self.fault(f"{path}: by {names} and not in use: {uses.began.get(names[0] if names else '')} "
                              f"{uses.ended.get(names[0] if names else '')} {sent} {came}")
        if "private" in path and not resp.header("x-fetch") == names[0]:
            return self.fault(f"{path}: fetched by {resp.header('x-fetch')}, delivered by {names[0]}")
        return None

    def kept(self, kind, paths, depth):
        """One connection for all; `depth` requests at a time."""
        with Client(self.address, 30) as c:
            n = 0
            while not self.stop.is_set():
                batch = [paths(n + i) for i in range(depth)]
                sent = time.monotonic()
                c.send("".join(f"GET {p} HTTP/1.1\r\nHost: h.example\r\n\r\n" for p in batch).encode())
                for path in batch:
                    self.check(path, c.response(), sent)
                n += depth
                self.counts[kind] = n
                time.sleep(0.001)

    def fresh(self, kind, paths, _):
        n = 0
        while not self.stop.is_set():
            with Client(self.address, 30) as c:
                sent = time.monotonic()
                self.check(paths(n), c.get(paths(n)), sent)
            n += 1
            self.counts[kind] = n
            time.sleep(0.002)

    def start(self, kind, paths, depth=1, fresh=False):
        def run():
            try:
                (self.fresh if fresh else self.kept)(kind, paths, depth)
            except Exception as e:  # pylint: disable=broad-except
                self.fault(f"{kind}: {e!r}")
        self.threads.append(threading.Thread(target=run, name=kind))
        self.threads[-1].start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(60)


def start_clients(clients):
    p = bodies.path_of
    clients.start("hit", lambda n: p(n % 7, 100, "max-age=1000"))
    clients.start("hit, large", lambda n: p(n % 3, 200000, "max-age=1000"))
    clients.start("miss", lambda n: p(f"m{n}", 3000, "max-age=1000", "chunked"))
    clients.start("pass", lambda n: p(n % 5, 500, "private"))
    clients.start("pipeline", lambda n: p(n % 11, 300, "max-age=1000" if n % 3 else "private"), depth=8)
    clients.start("slow head", lambda n: p(f"s{n}", 900, "private", "delay=150"))
    clients.start("slow body", lambda n: p(f"t{n}", 40000, "private", "chunked", "stall=200"))
    clients.start("slow miss", lambda n: p(f"u{n}", 40000, "max-age=1000", "stall=100"))
    clients.start("label", lambda n: p(n % 9, 100, "max-age=1000" if n % 2 else "private") + "?label")
    clients.start("label, slow", lambda n: p(f"v{n}", 100, "private", "delay=120") + "?label")
    clients.start("new", lambda n: p(n % 4, 100, "max-age=1000"), fresh=True)


class Swapper:
    def __init__(self, cli, port):
        self.cli, self.port = cli, port
        self.main, self.label = Uses(), Uses()
        self.now = {"main": None, "label": None}

    def text(self, name, kind):
        n = int(name[1:])
        return VCL % {
            "name": name, "port": self.port,
            # Backends that have something to take down, now and then.
            "probe": '.probe = { .url = "%s"; .interval = 1s; .initial = 8; }' % bodies.path_of("p", 10) if n % 4 == 0 else "",
            "recv": '    if (req.url ~ "[?]label$") { return (vcl(lab)); }' if kind == "main" else
                    '    set req.url = regsub(req.url, "[?]label$", "");'}

    def load(self, name, kind):
        self.cli.ok(f"vcl.inline {name} << END\n{self.text(name, kind)}\nEND")

    def first(self):
        self.label.begin("l0")
        self.load("l0", "label")
        self.cli.ok("vcl.label lab l0")
        self.main.begin("m0")
        self.load("m0", "main")
        self.cli.ok("vcl.use m0")
        self.cli.ok("vcl.discard boot")
        self.now = {"main": "m0", "label": "l0"}

    def round(self, n):
        kind = "main" if n % 3 else "label"
        uses = self.main if kind == "main" else self.label
        name, old = f"{kind[0]}{n}", self.now[kind]
        self.load(name, kind)
        uses.begin(name)
        self.cli.ok(f"vcl.use {name}" if kind == "main" else f"vcl.label lab {name}")
        uses.end(old)
        self.cli.ok(f"vcl.discard {old}")
        self.now[kind] = name
        if n % 5 == 0:
            # A name that is taken by a discarded one.
            self.load("r0", "label")
            self.cli.ok("vcl.state r0 " + ("warm" if n % 2 else "cold"))
            self.cli.ok("vcl.discard r0")


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def leftovers(daemon, swapper):
    """What is there that should not be."""
    wrong = []

    def is_quiet():
        swapper.cli.ok("backend.list")
        c = daemon.counters()
        return c.get("MAIN.n_vcl") == 2 and c.get("MAIN.n_vcl_discard") == 0 and c.get("MAIN.n_backend") == 2
    if not wait_for(is_quiet):
        wrong.append("counters: " + str({k: v for k, v in daemon.counters().items() if "n_vcl" in k or "n_backend" in k}))
    c = daemon.counters()
    names = sorted({k.split(".")[1] for k in c if k.startswith("VBE.")})
    if names != sorted(swapper.now.values()):
        wrong.append(f"backends of {names}, and not of {swapper.now}")
    for name in ("MAIN.sess_fail", "MAIN.req_dropped", "MAIN.vcl_fail", "MAIN.fetch_failed", "MGT.child_died", "MGT.child_panic"):
        if c.get(name, 0):
            wrong.append(f"{name} {c[name]}")
    lines = [line for line in swapper.cli.ok("vcl.list").splitlines() if line]
    if len(lines) != 3:
        wrong.append("vcl.list: " + "; ".join(lines))
    return wrong


def run(daemon, cli, port, rounds):
    swapper = Swapper(cli, port)
    swapper.first()
    clients = Clients(daemon.address, swapper.main, swapper.label)
    start_clients(clients)
    try:
        for n in range(1, rounds + 1):
            if clients.stop.is_set():
                break
            swapper.round(n)
        # Each kind shall have seen some of it.
        wait_for(lambda: clients.stop.is_set() or (len(clients.counts) == len(clients.threads) and min(clients.counts.values()) > 10))
    finally:
        clients.end()
    print(f"{n} rounds, {sum(clients.counts.values())} requests: {clients.counts}")
    return clients.faults + ([] if clients.faults else leftovers(daemon, swapper))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--rounds", type=int, default=240)
    a = ap.parse_args()
    cli = Cli()
    with contextlib.closing(Origin()) as origin:
        daemon = Daemon(a.daemon, "127.0.0.1:9", ["-S", "none", "-M", f"127.0.0.1:{cli.port}", "-p", "loops=3"])
        try:
            cli.accept()
            wrong = run(daemon, cli, origin.address[1], a.rounds)
        finally:
            status = daemon.close()
    # The sanitizers' checks for leaks are part of the status.
    wrong += [f"the daemon ended with {status}: {daemon.output()}"] if status else []
    for text in wrong[:10]:
        print("swap:", text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
