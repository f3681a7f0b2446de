# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""An HTTP client that believes nothing: it knows whether a response was complete, and has no opinion on its content."""
import socket


class Cut(Exception):
    """The connection ended, or failed, before the response did."""


class Response:
    def __init__(self, status, headers):
        self.status, self.headers, self.body = status, headers, b""

    def header(self, name, default=None):
        return self.headers.get(name.lower(), default)

    @property
    def is_hit(self):
        """Two numbers in X-Varnish: this request's and that of the fetch which made the object."""
        return len(self.header("x-varnish", "").split()) == 2

    @property
    def serial(self):
        """Which of the origin's answers this came from; -1 if it does not say."""
        return int(self.header("x-serial", "-1"))

    @property
    def version(self):
        return int(self.header("x-version", "-1"))


class Client:
    """One connection.  Raises Cut when it ends where it should not, TimeoutError when nothing comes."""

    def __init__(self, address, timeout=10, rcvbuf=None):
        self.buf = b""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        try:
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Cut(str(e)) from e

    def more(self, size=262144):
        try:
            data = self.sock.recv(size)
        except ConnectionResetError as e:
            raise Cut(str(e)) from e
        if not data:
            raise Cut("end of connection")
        return data

    def line(self):
        while (end := self.buf.find(b"\r\n")) < 0:
            self.buf += self.more()
        line, self.buf = self.buf[:end], self.buf[end + 2:]
        return line

    def exactly(self, size):
        parts, have = [self.buf], len(self.buf)
        while have < size:
            data = self.more(min(max(size - have, 4096), 1 << 20))
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self.buf = data[size:]
        return data[:size]

    def head(self):
        status = int(self.line().split(b" ", 2)[1])
        headers = {}
        while line := self.line():
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return Response(status, headers)

    def response(self, method="GET"):
        """Reads one whole response."""
        resp = self.head()
        if method == "HEAD" or resp.status in (204, 304):
            return resp
        if resp.header("transfer-encoding") == "chunked":
            parts = []
            while (size := int(self.line(), 16)) > 0:
                parts.append(self.exactly(size))
                self.exactly(2)
            self.line()
            resp.body = b"".join(parts)
        elif resp.header("content-length") is not None:
            resp.body = self.exactly(int(resp.header("content-length")))
        else:
            parts = [self.buf]
            while data := self.sock.recv(262144):
                parts.append(data)
            resp.body, self.buf = b"".join(parts), b""
        return resp

    def ask(self, path, method="GET", host="h.example", headers=()):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def get(self, path, method="GET", **kw):
        self.ask(path, method, **kw)
        return self.response(method)


def get(address, path, timeout=10, **kw):
    """One request on a connection of its own."""
    with Client(address, timeout) as client:
        return client.get(path, **kw)
