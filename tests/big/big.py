#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Bodies much larger than the store go through it in bounded memory, to several readers, byte for byte.

    big.py --daemon build/bin/objmapperd [--size 5g] [--store 64m] [--readers 3] [--most 100m] [CASE...]

length    cacheable, and its length is known: not stored, each reader has a fetch of his own
chunked   cacheable, and how long it is shows only at its end: stored until it has outgrown the store, then passed on
private   not cacheable, chunked
slow      as chunked, and one of the readers rests in the middle
full      the store is full of objects that are being read, and none of them can go: what else is asked for is served unstored

The memory of the worker is what it has of its own (RssAnon) and what its memfds occupy (st_blocks), mapped or not.  Sanitizers have
their own ideas of memory: --most 0 checks only the memfds, which may not exceed the store.
"""
import argparse
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies                                 # noqa: E402
from objm.client import Client                          # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402
from objm.server import Server                          # noqa: E402

MIB = 1 << 20
UNIT = 1 << 16
FILL = os.urandom(UNIT - 8)


def bytes_of(text):
    scale = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    return int(float(text[:-1]) * scale[text[-1]]) if text[-1] in scale else int(text)


class Failure(Exception):
    pass


class Big(Server):
    """An origin whose every unit of 64 KiB begins with its number."""

    def __init__(self, size):
        self.units = size // UNIT
        self.requests = 0
        super().__init__()

    def serve(self, conn):
        with conn.makefile("rb") as reader:
            line = reader.readline()
            while reader.readline().strip():
                pass
            self.requests += 1
            self._answer(conn, line.split()[1].decode())

    def _answer(self, conn, path):
        chunked = "length" not in path
        control = "private" if "private" in path else "max-age=1000"
        how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {self.units * UNIT}"
        conn.sendall(f"HTTP/1.1 200 OK\r\nCache-Control: {control}\r\nConnection: close\r\n{how}\r\n\r\n".encode())
        head, tail = (b"%x\r\n" % UNIT, b"\r\n") if chunked else (b"", b"")
        for n in range(self.units):
            conn.sendall(b"".join((head, n.to_bytes(8, "big"), FILL, tail)))
        if chunked:
            conn.sendall(b"0\r\n\r\n")


class Body:
    """The bytes of a response, without their chunks."""

    def __init__(self, file, length):
        self.file, self.length, self.left = file, length, 0 if length is None else length

    def fill(self, view):
        """How many bytes it had, fewer than asked for only at the end."""
        done = 0
        while done < len(view):
            if self.left == 0 and (self.length is not None or not self._next_chunk()):
                break
            got = self.file.readinto(view[done:done + min(self.left, len(view) - done)])
            if not got:
                raise Failure("the connection ended in mid-body")
            done += got
            self.left -= got
            if self.left == 0 and self.length is None:
                self.file.readline()
        return done

    def _next_chunk(self):
        line = self.file.readline()
        if not line:
            raise Failure("the connection ended between chunks")
        self.left = int(line, 16)
        return self.left > 0


def read_all(address, path, units, rests):
    with socket.create_connection(address, timeout=60) as sock, sock.makefile("rb", buffering=UNIT) as file:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h.example\r\n\r\n".encode())
        status = int(file.readline().split()[1])
        length = None
        while line := file.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if status != 200:
            raise Failure(f"status {status}")
        body = Body(file, length)
        buf = bytearray(UNIT)
        view = memoryview(buf)
        for n in range(units):
            if rests and n == units // 2:
                time.sleep(3)
            if body.fill(view) != UNIT:
                raise Failure(f"the body ends in unit {n} of {units}")
            if buf[:8] != n.to_bytes(8, "big") or view[8:] != FILL:
                raise Failure(f"wrong bytes in unit {n}")
        if body.fill(view[:1]) != 0:
            raise Failure("the body goes on after its end")


class Memory(threading.Thread):
    """Looks at the worker until it is told to stop."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.anon, self.files, self.most = pid, 0, 0, 0
        self.ends = threading.Event()

    def look(self):
        anon = 0
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    anon = int(line.split()[1]) << 10
        files = {}
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                path = f"/proc/{self.pid}/fd/{fd}"
                if os.readlink(path).startswith("/memfd:"):
                    st = os.stat(path)
                    files[st.st_ino] = st.st_blocks * 512
            except OSError:
                pass    # closed meanwhile
        self.anon, self.files = max(self.anon, anon), max(self.files, sum(files.values()))
        self.most = max(self.most, anon + sum(files.values()))

    def run(self):
        while not self.ends.wait(0.05):
            self.look()


def stream(args, case):
    origin = Big(args.size)
    with Daemon(args.daemon, f"{origin.host}:{origin.port}", ["-s", f"s0=malloc,{args.store}", "-s", "Transient=malloc,16m"]) as daemon:
        memory = Memory(daemon.worker_pid())
        memory.start()
        errors = []

        def read(rests):
            try:
                read_all(daemon.address, f"/{case}", origin.units, rests)
            except (OSError, ValueError, Failure) as e:
                errors.append(f"{type(e).__name__}: {e}")

        readers = [threading.Thread(target=read, args=(case == "slow" and i == 1,)) for i in range(args.readers)]
        began = time.monotonic()
        for r in readers:
            r.start()
        for r in readers:
            r.join()
        took = time.monotonic() - began
        memory.ends.set()
        memory.join()
        if errors:
            raise Failure("; ".join(errors))
        # Gauges are brought up to date once a second.
        relayed = daemon.wait_counter("OBJM.storage.relayed", lambda n: case not in ("chunked", "slow") or n > 0, 3)
        limited = daemon.counter("MAIN.n_lru_limited")
        print(f"big: {case}: {args.readers} readers of {args.size / MIB:.0f} MiB, {origin.requests} fetches, {took:.1f} s; at most "
              f"{memory.anon / MIB:.0f} MiB of its own, {memory.files / MIB:.0f} MiB in memfds, {memory.most / MIB:.0f} MiB together")
        check(args, memory)
        if case in ("chunked", "slow") and (relayed == 0 or limited == 0):
            raise Failure(f"storage.relayed {relayed}, n_lru_limited {limited}")
        if case in ("length", "private") and relayed != 0:
            raise Failure(f"storage.relayed {relayed} where nothing should have been stored")
        died = daemon.counter("MGT.child_died") + daemon.counter("MGT.child_panic")
        if died:
            raise Failure("the worker died")


def check(args, memory):
    store = bytes_of(args.store) + 16 * MIB
    if memory.files > store:
        raise Failure(f"{memory.files} bytes in memfds, where the stores have {store}")
    if args.most and memory.most > args.most:
        raise Failure(f"the worker had {memory.most} bytes")


def full(args):
    """Objects on their way cannot be evicted for each other."""
    origin = Origin()
    size = 2 * MIB
    with Daemon(args.daemon, f"{origin.host}:{origin.port}", ["-s", "s0=malloc,8m"]) as daemon:
        memory = Memory(daemon.worker_pid())
        memory.start()
        # Each is announced, and stops in the middle for a while: so many do not fit.
        slow = [bodies.path_of(f"f{i}", size, "stall=3000", "max-age=100") for i in range(12)]
        late = [bodies.path_of(f"l{i}", 300000, "chunked", "max-age=100") for i in range(20)]
        errors = []

        def get(path):
            try:
                with Client(daemon.address, timeout=30) as client:
                    resp = client.get(path)
                    if resp.status != 200 or resp.body != bodies.make(path, 0):
                        errors.append(f"{path}: {resp.status}, {len(resp.body)} bytes")
            except Exception as e:      # whatever it is, it is no answer
                errors.append(f"{path}: {type(e).__name__}: {e}")

        threads = [threading.Thread(target=get, args=(p,)) for p in slow]
        for t in threads:
            t.start()
        time.sleep(1)
        more = [threading.Thread(target=get, args=(p,)) for p in late]
        for t in more:
            t.start()
        for t in threads + more:
            t.join()
        memory.ends.set()
        memory.join()
        if errors:
            raise Failure("; ".join(errors[:5]))
        fails = daemon.wait_counter("SMA.s0.c_fail", lambda n: n > 0, 3)
        if fails == 0:
            raise Failure("c_fail is 0, so the store was never full")
        print(f"big: full: {len(slow)} bodies of {size >> 20} MiB at once through 8 MiB, {len(late)} beside them, all whole; "
              f"{memory.files / MIB:.0f} MiB in memfds, {fails} times no room")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--size", default="1g")
    ap.add_argument("--store", default="64m")
    ap.add_argument("--readers", type=int, default=3)
    ap.add_argument("--most", default="100m", help="what the worker may have; 0: whatever it likes")
    ap.add_argument("case", nargs="*", default=[])
    args = ap.parse_args()
    args.daemon = os.path.abspath(args.daemon)
    args.size, args.most = bytes_of(args.size), bytes_of(args.most)
    failed = 0
    for case in args.case or ("length", "chunked", "private", "slow", "full"):
        try:
            if case == "full":
                full(args)
            else:
                stream(args, case)
        except Failure as e:
            print(f"big: {case}: FAILED: {e}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
