#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Encoded bodies that are no good: cut off, damaged, followed by something, of another encoding than they say, or bombs.

    bad_bodies.py --daemon build/bin/objmapperd [--case PATTERN]

Each comes by length, in chunks and until the connection ends; is stored as it came, unpacked, rewritten or parsed for ESI; streamed and not;
with one and with three clients that want it.  Then: no client has an answer that looks whole, nothing of it is in the cache, the daemon
lives, its memory did not grow with the bombs, and the good answer that comes next is kept.
"""
import argparse
import collections
import dataclasses
import itertools
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from objm.client import Client, Cut                     # noqa: E402
from objm.daemon import Daemon, Failed                  # noqa: E402
from objm.server import Server                          # noqa: E402
from cells import escaped                               # noqa: E402
from packing import PACK, UNPACK, Broken                # noqa: E402

MOST_SHOWN = 40
MIB = 1 << 20
BOMB_MIB = 256
# A bomb is stopped at filter_expand_floor (8 MiB), or at filter_expand_max (250) times what was read of it, which is 65 MiB with the
# best compressor; one at a time.  Nobody lets go of memory at once, the sanitizer least of all.
GROWN_MAX_MIB = 400
TEXT = b"<p>" + b"".join(b"%d dogs, <esi:remove>none</esi:remove>\n" % (i * i * 7919) for i in range(400))

# What a VCL does with them, in vcl_backend_response.
WAYS = {
    "kept": "",
    "gunzip": "set beresp.do_gunzip = true;",
    "esi": "set beresp.do_esi = true;",
}


# ---- the bodies ----

def detected(encoding, body):
    """Whether this can be known to be bad: brotli and zstd have no checksum here, what was damaged may mean something else."""
    try:
        UNPACK[encoding](body)
    except Broken:
        return True
    return False


def flipped(body, at):
    return body[:at] + bytes([body[at] ^ 0x5a]) + body[at + 1:]


def bodies(encoding):
    """{name: bytes} that no decoder may take."""
    good = PACK[encoding](TEXT)
    size = len(good)
    bad = {f"cut-{n}": good[:n] for n in (1, 2, 5, 9, 10, 11, size // 3, size // 2, size - 9, size - 8, size - 4, size - 1)}
    for n in (0, 1, 2, 3, 4, 10, size // 3, size // 2, size - 8, size - 6, size - 3, size - 1):
        bad[f"flip-{n}"] = flipped(good, n)
    bad["junk-1"] = good + b"x"
    bad["junk-zero"] = good + b"\0"
    bad["junk-long"] = good + TEXT
    bad["twice-and-cut"] = good + good[:-3]
    bad["text"] = TEXT
    for other in ("gzip", "br", "zstd"):
        if other != encoding:
            bad[f"is-{other}"] = PACK[other](TEXT)
    bad["is-itself"] = PACK[encoding](good)[:-1]
    return {name: body for name, body in bad.items() if detected(encoding, body)}


@dataclasses.dataclass(frozen=True)
class Case:
    encoding: str
    fault: str
    framing: str
    way: str
    streams: bool
    clients: int

    @property
    def name(self):
        return f"{self.encoding}/{self.fault}/{self.framing}/{self.way}/{'stream' if self.streams else 'whole'}/{self.clients}"

    @property
    def path(self):
        return f"/{self.way}/{'stream' if self.streams else 'whole'}/{self.name}"


def cases(of):
    """of: {encoding: names of faults}"""
    for encoding, faults in of.items():
        for fault, framing, way, streams, clients in itertools.product(faults, ("length", "chunked", "close"), WAYS, (True, False), (1, 3)):
            if way != "gunzip" or encoding == "gzip":
                yield Case(encoding, fault, framing, way, streams, clients)


class Origin(Server):
    """Gives the bad body of a case until it is told to be good."""

    def __init__(self, bad):
        self.bad, self.is_good = bad, False
        self.gates = collections.defaultdict(threading.Event)
        self.good = {encoding: PACK[encoding](TEXT) for encoding in bad}
        super().__init__()

    def serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline():
            path = line.decode().split()[1]
            while reader.readline().strip():
                pass
            encoding, fault, framing = path.split("/")[3:6]
            self.gates[path].wait(60)
            body = self.good[encoding] if self.is_good else self.bad[encoding][fault]
            head = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"e\"\r\nContent-Encoding: {encoding}\r\n"
            if framing == "chunked":
                pieces = [body[i:i + 50000] for i in range(0, len(body), 50000)] + [b""]
                conn.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces))
            elif framing == "length":
                conn.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            else:
                conn.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
                return


def vcl(port):
    ways = "\n".join(f'    if (bereq.url ~ "^/{way}/") {{ {text} }}' for way, text in WAYS.items() if text)
    return f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}
sub vcl_backend_response {{
{ways}
    if (bereq.url ~ "^/[a-z]+/whole/") {{ set beresp.do_stream = false; }}
}}
sub vcl_backend_error {{ return (abandon); }}
"""


# ---- asking ----

def looks_whole(client):
    """Reads an answer; says what it was if it was a good one and complete."""
    try:
        resp = client.response()
    except (Cut, ValueError):
        return None
    return f"{resp.status}, {len(resp.body)} bytes, {resp.headers}" if resp.status < 400 else None


def may_have_it(case, fields):
    """A bomb that lies in the cache as it came harms nobody who takes it so; but bombs of ratios that gzip has not are not even stored."""
    return case.fault == "bomb" and case.encoding == "gzip" and case.way == "kept" and fields


def ask_bad(daemon, origin, case):
    """What is wrong with what the clients got."""
    faults = []
    # Half of the clients take the encoding as it is.
    accepts = [[f"Accept-Encoding: {case.encoding}"], [], [f"Accept-Encoding: {case.encoding}"]][:case.clients]
    clients = []
    try:
        for fields in accepts:
            client = Client(daemon.address, timeout=20)
            clients.append(client)
            client.ask(case.path, headers=fields)
        origin.gates[case.path].set()
        for n, client in enumerate(clients):
            whole = looks_whole(client)
            if whole and not may_have_it(case, accepts[n]):
                faults.append(f"client {n} has a whole answer: {whole}")
    except OSError as e:
        faults.append(f"{type(e).__name__} {e}")
    finally:
        for client in clients:
            client.close()
    return faults


def means(resp, text):
    try:
        return UNPACK[resp.header("content-encoding", "identity")](resp.body) == text
    except (Broken, KeyError):
        return False


def ask_good(client, case):
    """What is wrong with the answers when the origin is well again."""
    faults = []
    text = TEXT.replace(b"<esi:remove>none</esi:remove>", b"") if case.way == "esi" else TEXT
    for turn in range(2):
        resp = client.get(case.path, headers=[f"Accept-Encoding: {case.encoding}"])
        if resp.status != 200 or not means(resp, text):
            faults.append(f"the good answer: {resp.status} {resp.body[:40]}")
        elif turn == 1 and not resp.is_hit:
            faults.append("the good answer is not kept")
    return faults


def resident_mib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") // MIB


def bombs():
    text = bytes(BOMB_MIB * MIB)
    return {encoding: {"bomb": PACK[encoding](text)} for encoding in ("gzip", "br", "zstd")}


def run(daemon, origin, wanted, faults):
    pid = daemon.worker_pid()
    for case in wanted:
        faults[case.name] += ask_bad(daemon, origin, case)
    used = daemon.counter("SMA.s0.g_bytes")
    objects = daemon.counter("MAIN.n_object")
    if objects:
        faults["cache"].append(f"{objects} objects of {used} bytes are in the cache")
    if daemon.worker_pid() != pid or daemon.counter("MGT.child_panic") + daemon.counter("MGT.child_died"):
        faults["daemon"].append(f"the worker died: {daemon.output()}")
        return
    origin.is_good = True
    with Client(daemon.address, timeout=20) as client:
        for case in wanted:
            faults[case.name] += ask_good(client, case)


def run_bombs(daemon, origin, wanted, faults):
    pid = daemon.worker_pid()
    before = resident_mib(pid)
    for case in wanted:
        faults[case.name] += ask_bad(daemon, origin, case)
        grown = resident_mib(pid) - before
        if grown > GROWN_MAX_MIB:
            faults[case.name].append(f"the worker has grown by {grown} MiB")
            before = resident_mib(pid)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--case", default="*", help="only those whose name this is; * stands for anything")
    args = ap.parse_args()
    match = escaped(args.case)
    bad = {encoding: bodies(encoding) for encoding in ("gzip", "br", "zstd")}
    wanted = [c for c in cases(bad) if match.fullmatch(c.name)]
    big = bombs()
    wanted_bombs = [c for c in cases(big) if match.fullmatch(c.name) and c.framing != "close"]
    faults = collections.defaultdict(list)
    began = time.monotonic()
    for what, some, todo in ((run, bad, wanted), (run_bombs, big, wanted_bombs)):
        origin = Origin(some)
        with Daemon(os.path.abspath(args.daemon), f"127.0.0.1:{origin.port}", ["-s", "memory,512m"]) as daemon:
            path = os.path.join(daemon.dir, "bad.vcl")
            with open(path, "w", encoding="ascii") as f:
                f.write(vcl(origin.port))
            try:
                daemon.cli_ok("vcl.load", "bad", path)
                daemon.cli_ok("vcl.use", "bad")
            except Failed as e:
                print(f"bad_bodies: {e}")
                return 1
            what(daemon, origin, todo, faults)
        origin.close()
    failed = {name: texts for name, texts in faults.items() if texts}
    for name, texts in list(failed.items())[:MOST_SHOWN]:
        print(f"bad_bodies: {name}: " + "; ".join(texts))
    print(f"bad_bodies: {len(wanted)} cases and {len(wanted_bombs)} bombs in {time.monotonic() - began:.1f} s, {len(failed)} have faults")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
