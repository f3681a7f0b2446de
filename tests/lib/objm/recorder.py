# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""An origin that keeps every byte it was sent, and reads them with no tolerance at all (strict.py).

A request that came whole is answered with its serial number, and entered in `arrived` by the key in its target (KEY); what came and
was no canonical request is entered in `faults`.  `reply(message)` may say what to answer instead: bytes, and whether the
connection ends with them.
"""
import collections
import re

from .server import Server
from .strict import Fault, Reader, Short

KEY = re.compile(rb"\b[a-z]{1,2}[0-9]+\b")


class Recorder(Server):
    def __init__(self, reply=None, host="127.0.0.1"):
        self.reply = reply
        self.arrived = collections.defaultdict(list)
        self.faults = []
        self.serial = 0
        super().__init__((host, 0))

    def _enter(self, msg):
        with self.lock:
            self.serial += 1
            msg.serial = self.serial
            m = KEY.search(msg.start[1])
            self.arrived[m[0] if m else msg.start[1]].append(msg)

    def _answer(self, conn, msg):
        if self.reply and (answer := self.reply(msg)) is not None:
            data, ends = answer
            conn.sendall(data)
            return not ends
        body = b"%d" % msg.serial
        head = b"HTTP/1.1 200 OK\r\nX-Serial: %d\r\nContent-Length: %d\r\n\r\n" % (msg.serial, len(body))
        conn.sendall(head if msg.start[0] == b"HEAD" else head + body)
        return True

    def serve(self, conn):
        data = b""
        try:
            while piece := conn.recv(262144):
                data += piece
                goes_on = True
                while data and goes_on:
                    reader = Reader(data)
                    try:
                        msg = reader.request()
                    except Short:
                        break
                    data = data[reader.at:]
                    self._enter(msg)
                    goes_on = self._answer(conn, msg)
                if not goes_on:
                    return
        except Fault as e:
            with self.lock:
                self.faults.append(f"{e} in {data[:300]!r}")
