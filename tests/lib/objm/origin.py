# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""An origin server whose bodies can be checked (bodies.py), one thread a connection.

Flags of a path: chunked | eof (how the body's end is told), max-age=N | private | cc=WORD (Cache-Control), delay=MS
(before the head), stall=MS (in mid-body), cut (close in mid-body), trickle=BYTES (that many at a time, 1 ms apart), close.
Each response says its X-Path and its X-Version; bump() makes the next version of a path.  It also says its X-Serial, a number that no other
response has: answer() tells what the origin did for that one, and when.
"""
import collections
import threading
import time

from . import bodies
from .server import Server


class Origin(Server):
    def __init__(self, host="127.0.0.1"):
        self.versions = collections.Counter()
        self.history = collections.defaultdict(list)
        self.requests = collections.Counter()
        self.total = 0
        self.answers = []
        self.gate = threading.Event()
        self.gate.set()
        super().__init__((host, 0))

    # ---- answers ----

    def _begin(self, path, version):
        with self.lock:
            self.answers.append([path, version, time.monotonic(), None])
            return len(self.answers) - 1

    def serials(self):
        """Answers that begin from now on have this number or a higher one."""
        with self.lock:
            return len(self.answers)

    def answer(self, serial):
        """(path, version, when it began, when its last piece began to leave or None) of a response."""
        with self.lock:
            return tuple(self.answers[serial])

    # ---- versions ----

    def version(self, path):
        with self.lock:
            return self.versions[path]

    def bump(self, path):
        """The path has a new content from now on; returns its version."""
        with self.lock:
            self.versions[path] += 1
            self.history[path].append((time.monotonic(), self.versions[path]))
            return self.versions[path]

    def version_at(self, path, when):
        """The version that was current at a moment of time.monotonic()."""
        with self.lock:
            return max((v for t, v in self.history[path] if t <= when), default=0)

    def fetched(self, path):
        with self.lock:
            return self.requests[path]

    # ---- serving ----

    def serve(self, conn):
        reader = conn.makefile("rb")
        try:
            while self._one(conn, reader):
                pass
        except ValueError:
            pass        # not HTTP: a cache's fault only if a client notices

    def _one(self, conn, reader):
        line = reader.readline(65536)
        if not line:
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        length, chunked = 0, False
        while True:
            field = reader.readline(65536).strip().lower()
            if not field:
                break
            if field.startswith(b"content-length:"):
                length = int(field.split(b":")[1])
            chunked |= field.replace(b" ", b"") == b"transfer-encoding:chunked"
        if chunked:
            while (size := int(reader.readline(), 16)) > 0:
                reader.read(size + 2)
            reader.readline()
        elif length:
            reader.read(length)
        return self._answer(conn, method, target)

    def _answer(self, conn, method, target):
        with self.lock:
            self.requests[target] += 1
            self.total += 1
        parsed = bodies.parse(target)
        if parsed is None:
            conn.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        _, flags = parsed
        self.gate.wait()
        if "delay" in flags:
            time.sleep(int(flags["delay"]) / 1000)
        version = self.version(target)
        body = bodies.body(target, version)
        chunked = "chunked" in flags
        serial = self._begin(target, version)
        head = [f"HTTP/1.1 200 OK\r\nX-Version: {version}\r\nX-Serial: {serial}\r\nX-Path: {target}\r\n"]
        if "max-age" in flags:
            head.append(f"Cache-Control: max-age={flags['max-age']}\r\n")
        if "private" in flags:
            head.append("Cache-Control: private\r\n")
        if chunked:
            head.append("Transfer-Encoding: chunked\r\n")
        elif "eof" not in flags:
            head.append(f"Content-Length: {len(body)}\r\n")
        ends = "eof" in flags or "close" in flags
        if ends:
            head.append("Connection: close\r\n")
        head.append("\r\n")
        if method == "HEAD":
            conn.sendall("".join(head).encode())
            return not ends
        step = int(flags.get("trickle") or 0) or (65536 if chunked else max(len(body), 1))
        half = len(body) // 2
        pieces = ["".join(head).encode()]
        if "stall" in flags or "cut" in flags:
            pieces += self._pieces(body[:half], step, chunked)
            self._send(conn, pieces, flags)
            if "cut" in flags:
                return False
            time.sleep(int(flags["stall"]) / 1000)
            pieces = self._pieces(body[half:], step, chunked)
        else:
            pieces += self._pieces(body, step, chunked)
        if chunked:
            pieces.append(b"0\r\n\r\n")
        self._send(conn, pieces[:-1], flags)
        # Before and not after: when the last bytes have left, this thread may sleep while a cache has them already.
        self.answers[serial][3] = time.monotonic()
        self._send(conn, pieces[-1:], flags)
        return not ends

    @staticmethod
    def _pieces(part, step, chunked):
        parts = [part[i:i + step] for i in range(0, len(part), step)]
        return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in parts] if chunked else parts

    @staticmethod
    def _send(conn, pieces, flags):
        for piece in pieces:
            conn.sendall(piece)
            if "trickle" in flags:
                time.sleep(0.001)
