# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What the tests of memcached's protocol share: both daemons, and a client that only moves bytes."""
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm.daemon import Daemon, Failed                  # noqa: E402

SKIPPED = 77  # the exit status of a test that says what is missing
LONG = 30


class Skipped(Exception):
    """Something that the test needs is not installed."""


class Ours(Daemon):
    """Our daemon, with an address for HTTP and one for memcached's protocol."""

    def __init__(self, path, options="", args=(), backend="none", **more):
        super().__init__(path, backend, ("-a", f"mc=127.0.0.1:0,MEMCACHED{options}", "-s", "memory,64m", *args), **more)
        self.mc_port = int(re.search(r"^mc \S+ (\d+)$", self.cli_ok("debug.listen_address"), re.M)[1])

    def close(self):
        """Ends it; what a sanitizer has said of it fails the test."""
        if self.proc.poll() is None:
            self.proc.terminate()
            self.proc.wait(LONG)
        said = self.output() if self.said("Sanitizer") else ""
        status = super().close()
        assert not said, said
        return status


def users_file(path, directory, **users):
    """A file of auth= with these users, made by the program itself; its path."""
    lines = "".join(f"{name}:{password}\n" for name, password in users.items())
    made = subprocess.run([path, "-x", "mcpasswd"], input=lines, stdout=subprocess.PIPE, text=True, timeout=LONG, check=True).stdout
    name = os.path.join(directory, "users")
    with open(name, "w", encoding="ascii") as f:
        f.write("# made by a test\n" + made)
    return name


class Theirs:
    """Debian's memcached."""

    def __init__(self, *args):
        program = shutil.which("memcached")
        if program is None:
            raise Skipped("memcached is not installed")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.mc_port = s.getsockname()[1]
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self.proc = subprocess.Popen([program, *user, "-t", "1", "-l", "127.0.0.1", "-U", "0", "-p", str(self.mc_port), *args],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + LONG
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.mc_port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.proc.poll() is not None:
                    self.close()
                    raise Failed("memcached does not listen") from None
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.proc.terminate()
        self.proc.wait()


class Peer:
    """A connection.  Everything it reads has a deadline."""

    def __init__(self, port, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), LONG)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def more(self):
        got = self.sock.recv(65536)
        self.left += got
        return bool(got)

    def line(self):
        """A line without its end; None at the end of the stream."""
        while b"\r\n" not in self.left:
            if not self.more():
                assert self.left == b"", f"the stream ends in {self.left!r}"
                return None
        line, _, self.left = self.left.partition(b"\r\n")
        return line

    def take(self, size):
        while len(self.left) < size:
            assert self.more(), f"the stream ends {size - len(self.left)} bytes early"
        got, self.left = self.left[:size], self.left[size:]
        return got

    def rest(self):
        """All that comes until the peer closes."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        got, self.left = self.left, b""
        return got

    def ask(self, text):
        """The one line that answers."""
        self.send(text)
        return self.line()

    def until(self, last):
        """Bytes up to and with a line."""
        got = b""
        while True:
            line = self.line()
            assert line is not None, f"the stream ends after {got!r}"
            got += line + b"\r\n"
            if line == last:
                return got

    def get(self, key, command="get"):
        """(flags, cas or None, value), or None."""
        self.send(f"{command} {key}\r\n")
        line = self.line()
        if line == b"END":
            return None
        words = line.split()
        assert words[0] == b"VALUE" and words[1] == key.encode(), line
        value = self.take(int(words[3]))
        assert self.take(7) == b"\r\nEND\r\n"
        return int(words[2]), int(words[4]) if len(words) > 4 else None, value

    def set(self, key, value, flags=0, exptime=0):
        value = value if isinstance(value, bytes) else value.encode()
        return self.ask(f"set {key} {flags} {exptime} {len(value)}\r\n".encode() + value + b"\r\n")

    def stats(self, what=""):
        self.send(f"stats {what}\r\n")
        out = {}
        while (line := self.line()) != b"END":
            _, name, value = line.decode().split(" ", 2)
            out[name] = value
        return out

    def packet(self):
        """(opcode, status, extras, key, value, cas, opaque); None at the end of the stream."""
        if not self.left and not self.more():
            return None
        head = self.take(24)
        magic, opcode, key_len, extras_len, _, status, body_len, opaque, cas = struct.unpack(">BBHBBHI4sQ", head)
        assert magic == 0x81, head
        body = self.take(body_len)
        return opcode, status, body[:extras_len], body[extras_len:extras_len + key_len], body[extras_len + key_len:], cas, opaque


def packet(opcode, key=b"", value=b"", extras=b"", cas=0, opaque=b"opaq", body_len=None, key_len=None, extras_len=None):
    return struct.pack(">BBHBBHI4sQ", 0x80, opcode, len(key) if key_len is None else key_len,
                       len(extras) if extras_len is None else extras_len, 0, 0,
                       len(extras) + len(key) + len(value) if body_len is None else body_len, opaque, cas) + extras + key + value


def main(cases, run):
    """Runs run(case) for those named on the command line, or all; prints what fails."""
    failed = 0
    for name, case in cases.items():
        try:
            run(case)
            print(f"{name}: ok", flush=True)
        except Skipped as e:
            print(f"{name}: skipped: {e}", flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print(f"{name}: FAILED: {type(e).__name__}: {e}", flush=True)
            import traceback
            traceback.print_exc()
    return failed
