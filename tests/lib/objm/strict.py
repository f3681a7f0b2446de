# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The least tolerant reader of HTTP/1.1: anything but one canonical form of a message is a Fault.

Both ends of a cache are read with it: what reaches the origin, and what reaches the client.  So it knows nothing of what the
cache was sent; whoever compares does.
"""
import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
START = re.compile(rb"(" + TOKEN + rb") ([!-~\x80-\xff]+) HTTP/1\.1")
STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*)")
# No blank before the colon, one behind it, none at the ends of the value; no control character but TAB.
FIELD = re.compile(rb"(" + TOKEN + rb"):(?: ([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?))? ?")


class Fault(Exception):
    """Not in canonical form."""


class Short(Exception):
    """The bytes end before the message does."""


class Message:
    def __init__(self, start, fields):
        self.start, self.fields, self.body, self.trailers = start, fields, b"", []

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def one(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default


class Reader:
    """Takes messages off a string of bytes, from its front."""

    def __init__(self, data=b""):
        self.data, self.at = data, 0

    def line(self):
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Short("in a line")
        line = self.data[self.at:end]
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Fault(f"line end of {line[:80]!r}")
        self.at = end + 1
        return line[:-1]

    def take(self, size):
        if len(self.data) - self.at < size:
            raise Short("in a body")
        self.at += size
        return self.data[self.at - size:self.at]

    def fields(self):
        fields = []
        while line := self.line():
            m = FIELD.fullmatch(line)
            if not m:
                raise Fault(f"field {line[:80]!r}")
            fields.append((m[1], m[2] or b""))
        return fields

    def chunks(self):
        parts = []
        while True:
            line = self.line()
            if not re.fullmatch(rb"0|[1-9a-fA-F][0-9a-fA-F]{0,15}", line):
                raise Fault(f"chunk size {line[:40]!r}")
            size = int(line, 16)
            if size == 0:
                return b"".join(parts), self.fields()
            parts.append(self.take(size))
            if self.take(2) != b"\r\n":
                raise Fault("end of a chunk")

    def _body(self, msg, without):
        lengths, codings = msg.all(b"Content-Length"), msg.all(b"Transfer-Encoding")
        if len(lengths) + len(codings) > 1:
            raise Fault(f"two framings: {lengths} {codings}")
        if codings and codings != [b"chunked"]:
            raise Fault(f"coding {codings}")
        if lengths and not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
            raise Fault(f"length {lengths[0]!r}")
        if without:
            return False
        if codings:
            msg.body, msg.trailers = self.chunks()
        elif lengths:
            msg.body = self.take(int(lengths[0]))
        return bool(codings or lengths)

    def request(self):
        """A request, or None at the end of the bytes."""
        if self.at == len(self.data):
            return None
        m = START.fullmatch(line := self.line())
        if not m:
            raise Fault(f"request line {line[:80]!r}")
        msg = Message(m.groups(), self.fields())
        if len(msg.all(b"Host")) != 1:
            raise Fault(f"hosts {msg.all(b'Host')}")
        self._body(msg, False)
        return msg

    def response(self, method):
        """A final response, or None at the end of the bytes; interim ones are left out."""
        while True:
            if self.at == len(self.data):
                return None
            m = STATUS.fullmatch(line := self.line())
            if not m:
                raise Fault(f"status line {line[:80]!r}")
            msg = Message(m.groups(), self.fields())
            status = int(m[1])
            if status >= 200:
                break
        without = method == b"HEAD" or status in (204, 304)
        if not self._body(msg, without) and not without:
            # Until the end of the connection.
            if b"close" not in msg.all(b"Connection"):
                raise Fault("a body without end on a connection that goes on")
            msg.body, self.at = self.data[self.at:], len(self.data)
        return msg
