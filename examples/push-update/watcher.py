# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The watcher: follows the outbox, and brings the cache up to date by one of two ways.

  swap    gets the page's CAS value, has the application make the page anew, and puts it in with cas: clients get the
          old page until the moment they get the new one.
  purge   deletes the page and asks for it: whoever comes in between waits for the application.

The order in swap matters.  The CAS value is fetched before the page is made: if anything else changes the page in the
meantime, cas is refused (EXISTS), and the watcher begins again with what is in the database then.  And a row leaves
the outbox only when its page is in the cache: a watcher that dies in between does it again.
"""
import http.client
import socket
import threading


class Memcached:
    """As much of the protocol as the watcher needs; any client library would do."""

    def __init__(self, address):
        self.sock = socket.create_connection(address)
        self.file = self.sock.makefile("rb")

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the cache closed the connection")
        return line[:-2].decode()

    def gets(self, key):
        """The CAS value of what is there, or None."""
        self.sock.sendall(f"gets {key}\r\n".encode())
        line = self._line()
        if line == "END":
            return None
        word, _, _, length, cas = line.split()
        if word != "VALUE":
            raise ValueError(line)
        self.file.read(int(length) + 2)
        self._line()
        return cas

    def cas(self, key, value, cas):
        """STORED, EXISTS (somebody else was faster) or NOT_FOUND.  The time to live stays the page's own."""
        self.sock.sendall(f"cas {key} 0 0 {len(value)} {cas}\r\n".encode() + value + b"\r\n")
        return self._line()

    def delete(self, key):
        self.sock.sendall(f"delete {key}\r\n".encode())
        return self._line()

    def close(self):
        self.file.close()
        self.sock.close()


def get(address, host, path, headers=()):
    conn = http.client.HTTPConnection(*address, timeout=30)
    try:
        conn.request("GET", path, headers={"Host": host, **dict(headers)})
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


class Watcher:
    def __init__(self, connect, app, cache, memcached, host, mode="swap", poll_s=0.02):
        self.connect = connect
        self.app, self.cache, self.host = app, cache, host
        self.mode = mode
        self.poll_s = poll_s
        self.memcached = Memcached(memcached)
        self.done = []  # (path, outcome)
        self.stopping = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            conn = self.connect()
            with conn, conn.cursor() as cursor:
                while not self.stopping.is_set():
                    if not self._step(cursor):
                        self.stopping.wait(self.poll_s)
        except Exception as e:  # for who waits for the watcher
            self.error = e

    def _step(self, cursor):
        """One page; False: nothing has changed."""
        cursor.execute("SELECT MAX(id), path FROM outbox GROUP BY path ORDER BY 1 LIMIT 1")
        row = cursor.fetchone()
        if row is None:
            return False
        newest, path = row
        outcome = self._swap(path) if self.mode == "swap" else self._purge(path)
        self.done.append((path, outcome))
        # What changed while we were at it has a higher number, and stays.
        cursor.execute("DELETE FROM outbox WHERE path = %s AND id <= %s", (path, newest))
        return True

    def _swap(self, path):
        key = f"http://{self.host}{path}"
        while True:
            cas = self.memcached.gets(key)
            if cas is None:
                return "not cached"
            status, page = get(self.app, self.host, path, [("X-Watcher", "1")])
            if status != 200:
                return "deleted" if self.memcached.delete(key) == "DELETED" else "not cached"
            outcome = self.memcached.cas(key, page, cas)
            if outcome != "EXISTS":
                return outcome

    def _purge(self, path):
        outcome = self.memcached.delete(f"http://{self.host}{path}")
        if outcome != "DELETED":
            return "not cached"
        get(self.cache, self.host, path)
        return outcome

    def close(self):
        self.stopping.set()
        self.thread.join(30)
        self.memcached.close()
        if self.error is not None:
            raise self.error
