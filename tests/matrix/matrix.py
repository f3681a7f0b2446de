#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Every feature with every encoding, range, condition and way to join a fetch: what the client gets, and by which lane.

    matrix.py --daemon build/bin/objmapperd [--reference /usr/sbin/varnishd] [--cell PATTERN] [--write] [--list]

cells.py has the table from which all cells are made, model.py the rules that say what each has to answer.  The lane and its reason come
from the log; the counters OBJM.delivery.* must have moved by what the cells say.  Where the distribution's varnishd is installed it is asked
the same, as far as it can do it: what it answers otherwise stands in DIFFERENCES (varnish.py), or the test fails.
docs/compatibility-matrix.md is made of the model (--write) and must be current.  --cell NAME, also with * in it, asks only those.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import cells as table                                   # noqa: E402
import model                                            # noqa: E402
import page                                             # noqa: E402
import varnish                                          # noqa: E402
from objm import reference                              # noqa: E402
from objm.bodies import first_difference                # noqa: E402
from objm.client import Client, Cut, Response           # noqa: E402
from objm.daemon import Daemon, Failed                  # noqa: E402
from objm.server import Server                          # noqa: E402
from packing import UNPACK, Broken                      # noqa: E402

TIMEOUT_S = 20
REFERENCE_WAIT_S = 0.05
PAGE = os.path.join(HERE, "..", "..", "docs", "compatibility-matrix.md")
LOST_MAX = 20               # answers that never came; then it ends
COUNTED = ("direct_hits", "fd_hits", "body_hits", "direct_bytes", "fd_bytes", "body_bytes", "fd_fallbacks", "fallback_gzip", "fallback_gunzip", "fallback_esi",
           "fallback_synthetic", "fallback_range", "fallback_filter", "fallback_transport", "fallback_cold")


class Origin(Server):
    """/FEATURE/ENCODING/SIZE/FRAMING/...; of paths that end in /hold it sends the second half when told."""

    def __init__(self):
        self.gates = collections.defaultdict(threading.Event)
        self.halves = collections.defaultdict(threading.Event)
        super().__init__()

    def serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline():
            method, path, _ = line.decode().split()
            while reader.readline().strip():
                pass    # nobody sends a body
            self.answer(conn, method, path)

    def answer(self, conn, method, path):
        words = path.split("/")
        if words[1] == "include":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(table.INCLUDED) + table.INCLUDED)
            return
        encoding, size, framing = words[2:5]
        body = table.packed(encoding, size)
        head = [f"HTTP/1.1 200 OK\r\nETag: {table.ETAG}\r\nLast-Modified: {table.MODIFIED}\r\nCache-Control: max-age=3600\r\nX-Path: {path}\r\n"]
        if encoding != "identity":
            head.append(f"Content-Encoding: {encoding}\r\n")
        head.append("Transfer-Encoding: chunked\r\n\r\n" if framing == "chunked" else f"Content-Length: {len(body)}\r\n\r\n")
        head = "".join(head).encode()
        if method == "HEAD":
            conn.sendall(head)
            return
        half = len(body) // 2
        pieces = [body[:half], body[half:], b""]
        if framing == "chunked":
            pieces = [b"%x\r\n%s\r\n" % (len(p), p) for p in pieces]
        if not path.endswith("/hold"):
            conn.sendall(head + b"".join(pieces))
            return
        conn.sendall(head + pieces[0])
        self.halves[path].set()
        self.gates[path].wait(60)
        conn.sendall(pieces[1] + pieces[2])


class Answered(Response):
    """With all fields as they came, and how the end of the body was told."""

    def __init__(self, status, fields):
        super().__init__(status, {n.lower(): v for n, v in fields})
        self.fields, self.framing = fields, "none"

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name]


class Wire(Client):
    def head(self):
        status = int(self.line().split(b" ", 2)[1])
        fields = []
        while line := self.line():
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name, value.strip()))
        return Answered(status, fields)

    def request(self, path, req):
        lines = [f"{req.method} {path} HTTP/{req.proto}", "Host: h.example", "User-Agent: ua", *req.fields, "", ""]
        self.send("\r\n".join(lines).encode())

    def body_of(self, resp, method):
        """Reads the rest of a response."""
        if resp.header("content-length") is not None:
            resp.framing = "length"
        if method == "HEAD" or resp.status in (204, 304):
            return resp
        if resp.header("transfer-encoding") == "chunked":
            resp.framing = "chunked"
            parts = []
            while (size := int(self.line(), 16)) > 0:
                parts.append(self.exactly(size))
                self.exactly(2)
            self.line()
            resp.body = b"".join(parts)
        elif resp.framing == "length":
            resp.body = self.exactly(int(resp.header("content-length")))
        else:
            resp.framing = "close"
            parts = [self.buf]
            while data := self.sock.recv(262144):
                parts.append(data)
            resp.body, self.buf = b"".join(parts), b""
        return resp


class Wires:
    """Connections that are used again and again; a cell of HTTP/1.0 gets one of its own."""

    def __init__(self, address):
        self.address, self.kept = address, []

    def take(self, proto):
        if proto == "1.1" and self.kept:
            return self.kept.pop()
        return Wire(self.address, timeout=TIMEOUT_S)

    def give(self, wire, proto, is_whole=True):
        if proto == "1.1" and is_whole:
            self.kept.append(wire)
        else:
            wire.close()

    def close(self):
        for wire in self.kept:
            wire.close()


class Log:
    """The lane of every response, by its transaction."""

    def __init__(self, daemon):
        self.path = os.path.join(daemon.dir, "lanes")
        self.lanes = {}
        with open(self.path, "wb") as out:
            self.proc = subprocess.Popen(["varnishlog", "-n", daemon.workdir, "-g", "raw", "-i", "Debug", "-I", "Debug:^OBJM lane"], stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        with Wire(daemon.address) as wire:
            # It reads from where the log is when it has opened it.
            while not self.lanes:
                if time.monotonic() > end:
                    raise Failed("varnishlog shows no lanes")
                wire.request("/none/identity/small/length/log", table.Req())
                wire.body_of(wire.head(), "GET")
                time.sleep(0.02)
                self.read()

    def read(self):
        with open(self.path, encoding="latin-1") as f:
            for m in re.finditer(r'^ *(\d+) Debug +\S "OBJM lane (\S+) variant (\S+) reason ([^\s%"]+)', f.read(), re.M):
                self.lanes[int(m[1])] = m.groups()[1:]

    def wait(self, xids):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.read()
            if all(x in self.lanes for x in xids):
                return
            time.sleep(0.1)

    def close(self):
        self.proc.terminate()
        self.proc.wait()


class Matrix:
    """All cells, asked of one daemon: ours, or varnishd, of which is only noted what it says."""

    def __init__(self, daemon, origin, is_ours=True):
        self.daemon, self.origin, self.is_ours = daemon, origin, is_ours
        self.wires = Wires(daemon.address)
        self.log = Log(daemon) if is_ours else None
        self.said = {}              # cell: what it was answered, for comparisons
        self.learned = {}           # (obj, encoding): the bytes of a body that a compressor made
        self.faults = collections.defaultdict(list)
        self.lost = self.parked = 0
        self.lanes = {}             # cell: (xid, answer, bytes of the body)

    # ---- one cell ----

    def settle(self, cell, resp):
        """Compares what came with what the model says."""
        self.said[cell] = resp
        if not self.is_ours:
            return
        key = cell.obj, model.coding(cell)
        want = model.answer(cell, self.learned.get(key))
        fault = self.faults[cell.name].append

        def same(what, got, wanted):
            if got != wanted:
                fault(f"{what}: {got}, not {wanted}")
        same("status", resp.status, want.status)
        if resp.status != want.status:
            return
        body = want.body
        same("Content-Encoding", resp.all("content-encoding"), [] if body.encoding == "identity" else [body.encoding])
        same("ETag", resp.all("etag"), [body.etag])
        same("Vary", {w.strip().lower() for v in resp.all("vary") for w in v.split(",")}, set(body.vary))
        same("Accept-Ranges", resp.all("accept-ranges"), ["bytes"] if want.accept_ranges else [])
        same("Content-Range", resp.all("content-range"), [want.content_range] if want.content_range else [])
        same("framing", resp.framing, want.framing)
        if len(resp.all("content-length")) + len(resp.all("transfer-encoding")) > 1:
            fault(f"framed twice: {resp.fields}")
        whole = body.exact if body.exact is not None else self.learned.get(key)
        if want.sends_body and want.part is None and body.exact is None:
            whole = self.unpacked(key, body, resp, fault)
            want = model.answer(cell, whole)
        if whole is None:
            fault("no cell before this one has told the bytes of the whole")
            return
        wanted = whole if want.part is None else b"" if want.part == () else whole[want.part[0]:want.part[1] + 1]
        if want.framing == "length":
            same("Content-Length", resp.all("content-length"), [str(len(wanted))])
        if want.sends_body and resp.body != wanted:
            fault(f"body: {first_difference(resp.body, wanted)}")
        self.features(cell, resp, same)
        self.lanes[cell] = int(resp.header("x-varnish", "0").split()[0]), want, len(resp.body)

    def unpacked(self, key, body, resp, fault):
        """A body that a compressor made: whatever unpacks to the right text."""
        try:
            text = UNPACK[body.encoding](resp.body)
        except Broken as e:
            fault(f"body: no {body.encoding}: {e}")
            return None
        if text != body.text:
            fault(f"unpacked body: {first_difference(text, body.text)}")
        return self.learned.setdefault(key, resp.body)

    @staticmethod
    def features(cell, resp, same):
        if cell.obj.feature.name == "header":
            same("X-Fetched", resp.all("x-fetched"), ["yes"])
            same("X-Delivered", resp.all("x-delivered"), ["ua!"])
            same("X-Path", resp.all("x-path"), [])

    def guarded(self, cell, fn):
        try:
            return fn()
        except (Cut, OSError, ValueError) as e:
            self.faults[cell.name].append(f"{type(e).__name__} {e}")
            self.lost += isinstance(e, TimeoutError)
            if self.lost > LOST_MAX:
                raise Failed(f"too many answers never came, the last for {cell.name}") from e
            return None

    # ---- a hit ----

    def ask(self, cell, path):
        resp = self.ask_once(cell, path)
        if resp is not None and resp.status == 503 and not self.is_ours:
            resp = self.ask_once(cell, path)    # a moment's failure of varnishd is not what is looked for
        return resp

    def ask_once(self, cell, path):
        wire = self.wires.take(cell.req.proto)

        def fn():
            wire.request(path, cell.req)
            return wire.body_of(wire.head(), cell.req.method)
        resp = self.guarded(cell, fn)
        # After a HEAD with a range varnishd cuts the connection.
        goes_on = resp is not None and "close" not in resp.all("connection") and (self.is_ours or cell.req.method != "HEAD")
        self.wires.give(wire, cell.req.proto, goes_on)
        return resp

    def fill(self, objects):
        """All that is to be hit is fetched, and asked for again: then no fetch goes on any more."""
        with Wire(self.daemon.address, timeout=TIMEOUT_S) as wire:
            for obj in 2 * objects:
                wire.request(f"/{obj.name}/hit", table.Req(accept="all"))
                wire.body_of(wire.head(), "GET")

    def hits(self, obj, cells):
        path = f"/{obj.name}/hit"
        for cell in cells:
            resp = self.ask(cell, path)
            if resp is not None:
                if not resp.is_hit and not cell.is_passed and not obj.feature.is_synthetic:
                    self.faults[cell.name].append("no hit")
                self.settle(cell, resp)

    # ---- together with a fetch that goes on ----

    def joined(self, obj, cells):
        path = f"/{obj.name}/hold"
        wires = []
        first = next((c for c in cells if c.state == "first"), table.Cell(obj, table.Req(accept="all"), "first"))
        cells = [first] + [c for c in cells if c.state == "joined"]
        for cell in cells:
            wire = self.wires.take(cell.req.proto)
            wires.append(wire)
            self.guarded(cell, lambda w=wire, c=cell: w.request(path, c.req))
            if cell is first and not self.origin.halves[path].wait(20):
                self.faults[cell.name].append("the fetch has not begun")
        if self.is_ours and not obj.streams:
            # All but the first have to wait for the whole.
            self.parked += len(cells) - 1
            self.daemon.wait_counter("MAIN.busy_sleep", lambda n: n >= self.parked)
        comes_early = obj.streams and self.is_ours
        heads = [self.guarded(c, w.head) if comes_early else None for c, w in zip(cells, wires)]
        if not self.is_ours:
            # varnishd sends no head before what follows it fills a buffer: there is nothing to wait for but that it has seen the requests.
            time.sleep(REFERENCE_WAIT_S)
        self.origin.gates[path].set()
        for cell, wire, head in zip(cells, wires, heads):
            def fn(w=wire, c=cell, h=head):
                return w.body_of(h if h is not None else w.head(), c.req.method)
            resp = self.guarded(cell, fn) if head is not None or not comes_early else None
            self.wires.give(wire, cell.req.proto, resp is not None and "close" not in resp.all("connection"))
            if resp is not None:
                self.settle(cell, resp)

    # ---- lanes ----

    def check_lanes(self):
        self.log.wait([xid for xid, _, _ in self.lanes.values()])
        for cell, (xid, want, _) in self.lanes.items():
            got = self.log.lanes.get(xid)
            wanted = want.lane, want.variant, want.reason
            if got != wanted:
                self.faults[cell.name].append(f"lane, variant, reason: {got}, not {wanted}")

    def counters(self):
        every = self.daemon.counters()
        return collections.Counter({name: every[f"OBJM.delivery.{name}"] for name in COUNTED})

    def check_counters(self, before):
        want = model.counted((cell, answer, sent) for cell, (_, answer, sent) in self.lanes.items())
        end = time.monotonic() + 5
        while True:
            grown = self.counters()
            grown.subtract(before)
            wrong = {name: (grown[name], want[name]) for name in COUNTED if grown[name] != want[name]}
            if not wrong or time.monotonic() > end:
                break
            time.sleep(0.1)
        self.faults["counters"] += [f"{name} grew by {got}, not {wanted}" for name, (got, wanted) in wrong.items()]

    # ---- updates ----

    def updated(self, obj, address):
        """A page that memcached's `set` puts in the place of a fetched one is what the next request gets, by the lane of any hit."""
        name, path = f"update/{obj.name}", f"/{obj.name}/update"
        new = model.rewritten(table.plain(obj.size))
        req = table.Req()
        with Wire(self.daemon.address, timeout=TIMEOUT_S) as wire, Wire(address, timeout=TIMEOUT_S) as mc:
            for body in (table.plain(obj.size), new):
                if body is new:
                    mc.send(b"set http://h.example%s 0 3600 %d\r\n%s\r\n" % (path.encode(), len(new), new))
                    said = mc.line()
                    if said != b"STORED":
                        self.faults[name].append(f"set: {said}")
                for _ in range(2):
                    wire.request(path, req)
                    resp = wire.body_of(wire.head(), "GET")
                if not resp.is_hit or resp.body != body:
                    self.faults[name].append(f"hit {resp.is_hit}, body: {first_difference(resp.body, body)}")
        xid = int(resp.header("x-varnish").split()[0])
        self.log.wait([xid])
        wanted = ("fd" if obj.size == "large" else "direct", "identity", "-")
        if self.log.lanes.get(xid) != wanted:
            self.faults[name].append(f"lane, variant, reason: {self.log.lanes.get(xid)}, not {wanted}")

    def run(self, wanted, memcached=None):
        hits, others = collections.defaultdict(list), collections.defaultdict(list)
        for cell in wanted:
            (hits if cell.state == "hit" else others)[cell.obj].append(cell)
        self.fill(list(hits))
        before = self.counters() if self.is_ours else None
        for obj, cells in hits.items():
            self.hits(obj, cells)
        for obj, cells in others.items():
            self.joined(obj, cells)
        if self.is_ours:
            self.check_lanes()
            # Of cells that went wrong nobody knows what was counted.
            if not any(self.faults.values()):
                self.check_counters(before)
            for size in table.SIZES if memcached else ():
                self.updated(table.Obj(table.FEATURES["none"], "identity", size, "length"), memcached)
            self.log.close()
        self.wires.close()
        if self.daemon.counter("MGT.child_panic") + self.daemon.counter("MGT.child_died"):
            self.faults["daemon"].append(self.daemon.output())
        return {name: faults for name, faults in self.faults.items() if faults}


def run(path, wanted, is_ours, args):
    """Starts a daemon and asks it all of them; (what it said, faults)."""
    origin = Origin()
    memcached = f"/tmp/objm.{os.getpid()}.mc" if is_ours else None
    if memcached:
        args = [*args, "-a", f"mc={memcached},MEMCACHED,mode=666"]
    try:
        with Daemon(path, f"127.0.0.1:{origin.port}", args) as daemon:
            vcl = os.path.join(daemon.dir, "matrix.vcl")
            with open(vcl, "w", encoding="ascii") as f:
                f.write(table.vcl(origin.port, is_ours))
            daemon.cli_ok("vcl.load", "matrix", vcl)
            daemon.cli_ok("vcl.use", "matrix")
            matrix = Matrix(daemon, origin, is_ours)
            faults = matrix.run(wanted, memcached)
            return matrix.said, faults
    finally:
        origin.close()


def choose(pattern):
    every = list(table.cells())
    kept = [c for c in every if table.left_out(c) is None]
    if pattern:
        match = table.escaped(pattern)
        # Whoever is asked for by name is asked, there or not.
        kept = [c for c in every if match.fullmatch(c.name)]
        # With those before them that tell what the bytes of the whole are.
        missing = {(c.obj, model.coding(c)) for c in kept}
        teachers = [c for c in every if c.state == "hit" and c.req.method == "GET" and c.req.name.endswith("r-none/c-none")]
        kept = list(dict.fromkeys([c for c in teachers if (c.obj, model.coding(c)) in missing] + kept))
    return every, kept


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon")
    ap.add_argument("--reference", default="/usr/sbin/varnishd")
    ap.add_argument("--cell", help="only those whose name this is; * stands for anything")
    ap.add_argument("--most", type=int, default=40, help="how many faults are shown")
    ap.add_argument("--write", action="store_true", help="make the page in docs/ anew, and nothing else")
    ap.add_argument("--list", action="store_true", help="print the names")
    args = ap.parse_args()
    if not args.daemon and not (args.write or args.list):
        ap.error("--daemon is missing")
    every, wanted = choose(args.cell)
    if args.list:
        print("\n".join(c.name for c in wanted))
        return 0
    if args.write:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(page.text())
        return 0
    began = time.monotonic()
    try:
        said, faults = run(os.path.abspath(args.daemon), wanted, True, ["-p", "vsl_mask=+Debug", "-s", "memory,512m", "-p", "timeout_idle=60"])
        missing = reference.missing(args.reference)
        if missing:
            print(f"matrix: not compared with varnishd: {missing}")
        else:
            theirs, broken = run(args.reference, [c for c in said if varnish.can(c)], False, ["-s", "malloc,512m", "-p", "timeout_idle=60"])
            faults.update({f"varnishd: {name}": texts for name, texts in broken.items()})
            faults.update(varnish.compare(said, theirs, is_all=not args.cell))
            print(f"matrix: {len(theirs)} cells asked of varnishd, too")
    except Failed as e:
        print(f"matrix: {e}")
        return 1
    with open(PAGE, encoding="utf-8") as f:
        if f.read() != page.text():
            faults["docs/compatibility-matrix.md"] = ["is not current: matrix.py --write"]
    for name, texts in list(faults.items())[:args.most]:
        print(f"matrix: {name}: " + "; ".join(texts))
    reasons = collections.Counter(why for why in map(table.left_out, every) if why)
    for why, count in reasons.items():
        print(f"matrix: {count} cells left out: {why}")
    print(f"matrix: {len(said)} of {len(every)} cells asked in {time.monotonic() - began:.1f} s, {len(faults)} have faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
