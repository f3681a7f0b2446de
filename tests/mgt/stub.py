# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What the tests of the manager share: a daemon under test, its log, and a client of its command line interface."""
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

LONG = 30  # seconds; only a failing test waits that long


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def read_answer(read):
    """Status and text of one answer; read(n) gives exactly n bytes."""
    head = read(13)
    assert re.fullmatch(rb"\d{3} \d+ *\n", head), head
    status, length = head.split()
    body = read(int(length) + 1)
    assert body[-1:] == b"\n", body
    return int(status), body[:-1].decode("latin-1")


class Client:
    """A peer of the command line interface on a socket or a pair of pipes."""

    def __init__(self, to, back):
        self.to, self.back = to, back

    def _read(self, n):
        data = b""
        while len(data) < n:
            got = self.back.read(n - len(data))
            if not got:
                raise EOFError(data)
            data += got
        return data

    def answer(self):
        return read_answer(self._read)

    def send(self, text):
        self.to.write(text.encode("latin-1"))
        self.to.flush()

    def ask(self, line):
        self.send(line + "\n")
        return self.answer()


class Daemon:
    """objmapperd with a working directory of its own.  With console=True it has -d, and a client on stdin."""

    binary = None

    def __init__(self, *args, console=False, workdir=None, listen="127.0.0.1:0", backend="127.0.0.1:1",
                 prefix=()):
        self.own = None
        if workdir is None:
            self.own = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
            os.chmod(self.own, 0o755)
            workdir = self.own
        self.workdir = workdir
        words = [*prefix, self.binary, "-n", workdir, "-d" if console else "-F"]
        words += ["-a", listen] if listen else []
        words += ["-b", backend] if backend else []
        words += ["-p", "feature=+no_coredump", *args]
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE if console else subprocess.DEVNULL,
                                        stdout=subprocess.PIPE if console else subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()
        self.cli = None
        if console:
            self.cli = Client(self.process.stdin, self.process.stdout)
            try:
                self.banner = self.cli.answer()
            except EOFError:
                self.__exit__()
                raise AssertionError("\n".join(str(x) for x in self.lines)) from None

    def _collect(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def line(self, pattern, count=1):
        """Waits for the count-th line of the log that the pattern is found in."""
        def found():
            hits = [m for m in (re.search(pattern, text) for text in self.lines if text is not None) if m]
            return hits[count - 1] if len(hits) >= count else None
        with self.changed:
            self.changed.wait_for(lambda: found() or (self.lines and self.lines[-1] is None), LONG)
            hit = found()
        assert hit, f"no line like {pattern!r} in:\n" + "\n".join(str(x) for x in self.lines)
        return hit

    def started(self, count=1):
        """The process id of the count-th worker, once it has been started."""
        return int(self.line(r"Child \((\d+)\) Started", count)[1])

    def running(self, count=1):
        """The same, once it accepts connections."""
        pid = self.started(count)
        for _ in range(1000):
            if self.admin("status").stdout.strip() == "Child in state running":
                return pid
        raise AssertionError("the worker does not get to run")

    def admin(self, *words):
        return subprocess.run(["varnishadm", "-n", self.workdir, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LONG, check=False)

    def counter(self, name):
        out = subprocess.run(["varnishstat", "-n", self.workdir, "-1", "-f", name], stdout=subprocess.PIPE, text=True,
                             timeout=LONG, check=True).stdout
        return int(out.split()[1])

    def end(self, signal=15):
        """Tells it to end, and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal)
        return self.wait()

    def wait(self):
        status = self.process.wait(LONG)
        self.thread.join(LONG)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(LONG)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        self.process.wait()
        self.thread.join(LONG)
        self.process.stderr.close()
        if self.own:
            shutil.rmtree(self.own, ignore_errors=True)


def accept_master(port, secret=None):
    """The daemon connects to us (-M).  With a secret file: answers the challenge."""
    sock, _ = port.accept()
    sock.settimeout(LONG)
    client = Client(sock.makefile("wb"), sock.makefile("rb"))
    client.sock = sock
    client.greeting = client.answer()
    if secret:
        with open(secret, "rb") as f:
            assert client.ask("auth " + proof(client.greeting[1], f.read()))[0] == 200
    return client


def proof(challenge, secret):
    letters = challenge[:32].encode()
    return hashlib.sha256(letters + b"\n" + secret + letters + b"\n").hexdigest()


def listener():
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(LONG)
    return sock


def run(*words):
    return subprocess.run([Daemon.binary, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=LONG, check=False)


def main():
    Daemon.binary = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2, warnings="ignore")
