#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""System calls of manager and worker write less than they were given, and are interrupted: nobody notices.

    short.py --daemon build/bin/objmapperd --library build/tests/faults/libshort_calls.so [NAME...]

The library (short_calls.c) stands between the daemon and its system calls.  With each setting all ways that bytes leave by are taken:
to clients by every lane, to backends with bodies of known and of unknown length, through pipes, over the command line interface in all
its four directions, and to the vault; each byte is checked.
"""
import argparse
import hashlib
import json
import mmap
import os
import re
import socket
import struct
import sys
import tempfile
import threading
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies                                 # noqa: E402
from objm.client import Client, Cut                     # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402

# most bytes a write, of how many calls one is interrupted, largest body
SETTINGS = {
    "bytes": (1, 0, 20000),
    "few": (7, 0, 200000),
    "many": (1009, 0, 1500000),
    "interrupted": (0, 3, 1500000),
    "both": (1009, 2, 200000),
}

EXIT_CHILD_DIED = 64     # one was killed

VCL = """vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "%d"; }
backend echo { .host = "127.0.0.1"; .port = "%d"; }
sub vcl_recv {
    if (req.url ~ "^/(echo|pipe)") {
        set req.backend_hint = echo;
    }
    if (req.url ~ "^/pipe") {
        return (pipe);
    }
}
"""


class Faults:
    """What the daemon's system calls do, from now on."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="objm.short.", dir="/tmp")
        self.file.truncate(4096)
        self.map = mmap.mmap(self.file.fileno(), 4096)

    def set(self, most, every):
        self.map[:8] = struct.pack("=II", most, every)

    def counts(self):
        """(calls cut short, calls interrupted) so far"""
        return struct.unpack("=II", self.map[8:16])

    def prefix(self, library):
        asan = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0")))
        return ["env", f"LD_PRELOAD={library}", f"OBJM_SHORT_CALLS={self.file.name}", f"ASAN_OPTIONS={asan}"]


class Echo:
    """Answers each request with the length and the checksum of the body that came."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline():
            fields = {}
            while field := reader.readline().strip().lower():
                name, _, value = field.partition(b":")
                fields[name] = value.strip()
            body = b""
            if fields.get(b"transfer-encoding") == b"chunked":
                while (size := int(reader.readline(), 16)) > 0:
                    body += reader.read(size)
                    reader.readline()
                reader.readline()
            else:
                body = reader.read(int(fields.get(b"content-length", 0)))
            text = digest(body)
            conn.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            if b" /pipe" in line:
                break
        conn.shutdown(socket.SHUT_RDWR)
        conn.close()


def digest(body):
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


# ---- ways that bytes leave by ----

def check(path, resp):
    assert resp.status == 200, f"{path}: {resp.status}"
    want = bodies.make(path, 0)
    assert resp.body == want, f"{path}: {bodies.first_difference(resp.body, want)}"


def to_clients(daemon, name, largest):
    """Misses and hits on every lane, ranges, what passes."""
    for size in {0, 1, 100, 5000, min(70000, largest), largest}:
        for flags in ((), ("chunked",), ("private",)):
            path = bodies.path_of(name, size, *(flags or ("max-age=1000",)))
            with Client(daemon.address, timeout=60) as client:
                check(path, client.get(path))
                check(path, client.get(path))
                check(path, client.get(path, headers=["Cookie: a=b"]))
                if size > 100 and "private" not in flags:
                    part = client.get(path, headers=["Range: bytes=50-" + str(size - 20)])
                    assert part.status == 206 and part.body == bodies.make(path, 0)[50:size - 19], part.status


def to_backends(daemon, _name, largest):
    """Bodies of requests, and a pipe."""
    body = bodies.make(bodies.path_of("b", largest), 0)
    with Client(daemon.address, timeout=60) as client:
        head = f"POST /echo HTTP/1.1\r\nHost: h\r\nX-Pad: {'x' * 3000}\r\n"
        client.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.response().body.decode() == digest(body)
        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(body), 30000):
            piece = body[at:at + 30000]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert client.response().body.decode() == digest(body)
        client.send(f"POST /pipe HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.response().body.decode() == digest(body)


def told(daemon):
    """Long answers of manager and worker, without what changes by itself: how many objects a ban has yet to be tried against."""
    answers = [daemon.cli_ok(*words.split()) for words in ("param.show -l", "vcl.show -v long", "ban.list")]
    return [re.sub(r"^([\d.]+) +\d+ ", r"\1 ", answer, flags=re.M) for answer in answers]


def to_operators(daemon, name, _largest):
    """Long commands and long answers, between the operator's tool and the manager, and between manager and worker."""
    for now, before in zip(told(daemon), daemon.told):
        assert now == before, f"{now[:500]} in place of {before[:500]}"
    text = VCL % (1, 1) + "# " + "x" * 20000 + "\n"
    daemon.cli_ok("vcl.inline", f"v{name}", json.dumps(text))
    assert daemon.cli_ok("vcl.show", f"v{name}").strip() == text.strip()
    daemon.cli_ok("vcl.discard", f"v{name}")


def to_the_vault(daemon, name, largest):
    """What a worker that is killed has told the manager is what the next one finds."""
    paths = [bodies.path_of(f"{name}v{i}", size, "max-age=1000") for i, size in enumerate((10, 5000, largest))]
    with Client(daemon.address, timeout=60) as client:
        for path in paths:
            check(path, client.get(path))
        for path in paths:
            resp = client.get(path)
            check(path, resp)
            assert resp.is_hit, path
    daemon.kill_worker()
    daemon.wait_running(60)
    with Client(daemon.address, timeout=60) as client:
        for path in paths:
            resp = client.get(path)
            check(path, resp)
            assert resp.is_hit, f"{path} was lost"


# ---- running ----

def one(daemon, faults, name):
    most, every, largest = SETTINGS[name]
    for way in (to_clients, to_backends, to_operators, to_the_vault):
        pid = daemon.worker_pid()
        before = faults.counts()
        faults.set(most, every)
        way(daemon, name, largest)
        faults.set(0, 0)
        short, interrupted = (b - a for a, b in zip(before, faults.counts()))
        print(f"short: {name}: {way.__name__}: {short} calls cut short, {interrupted} interrupted")
        assert (short > 0 or most == 0) and (interrupted > 0 or every == 0), "nothing was done to the calls"
        assert way is to_the_vault or daemon.worker_pid() == pid, "the worker is another"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--library", required=True)
    ap.add_argument("names", nargs="*", metavar="NAME", help="of: " + " ".join(SETTINGS))
    args = ap.parse_args()
    origin, echo, faults = Origin(), Echo(), Faults()
    failed = 0
    for name in args.names or SETTINGS:
        daemon = Daemon(os.path.abspath(args.daemon), f"{origin.host}:{origin.port}", ["-s", "s0=malloc,64m", "-p", "cli_timeout=60"],
                        prefix=faults.prefix(os.path.abspath(args.library)))
        try:
            long_text = VCL % (origin.port, echo.port) + "# " + "y" * 30000 + "\n"
            daemon.cli_ok("vcl.inline", "long", json.dumps(long_text))
            daemon.cli_ok("vcl.use", "long")
            for i in range(200):
                daemon.cli_ok("ban", "req.url", "==", f"/banned/{i}/{'z' * 60}")
            daemon.told = told(daemon)
            one(daemon, faults, name)
            status = daemon.close()
            assert status == EXIT_CHILD_DIED, f"the daemon ended with {status}"
        except Exception:       # a setting may fail in any way; the next one is tried all the same
            traceback.print_exc()
            print(f"short: {name}: FAILED")
            if daemon.proc.poll() is None:
                print(daemon.cli("panic.show")[1][:3000])
                print(daemon.output())
            failed = 1
        finally:
            faults.set(0, 0)
            if daemon.proc.poll() is None:
                daemon.close()
    origin.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
