# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Visitors: each asks for the page again and again, and writes down when, how long it took, and which version came."""
import http.client
import re
import threading
import time

VERSION = re.compile(rb"Version <b>(\d+)</b>")


class Visitors:
    def __init__(self, address, host, path, count=4):
        self.address, self.host, self.path = address, host, path
        self.stopping = threading.Event()
        self.answers = [[] for _ in range(count)]  # of each visitor: (begin, end, status, version)
        self.errors = []
        self.threads = [threading.Thread(target=self._visit, args=(mine,), daemon=True) for mine in self.answers]
        for thread in self.threads:
            thread.start()

    def _visit(self, mine):
        try:
            conn = http.client.HTTPConnection(*self.address, timeout=30)
            while not self.stopping.is_set():
                begin = time.monotonic()
                conn.request("GET", self.path, headers={"Host": self.host})
                answer = conn.getresponse()
                body = answer.read()
                found = VERSION.search(body)
                mine.append((begin, time.monotonic(), answer.status, int(found[1]) if found else None))
                # A visitor reads; and four threads of one Python would measure each other otherwise.
                self.stopping.wait(0.002)
            conn.close()
        except Exception as e:
            self.errors.append(e)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)
        if self.errors:
            raise self.errors[0]
        return self.answers

    def newest(self):
        """The version that each visitor saw last."""
        return [mine[-1][3] if mine else None for mine in self.answers]
