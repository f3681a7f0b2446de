# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""A listener with one thread a connection: what all origins of tests stand on.

A subclass says in serve(conn) what it does with a connection; that is closed when serve() returns or fails with OSError.
"""
import socket
import threading


class Server:
    def __init__(self, address=("127.0.0.1", 0), backlog=1024):
        self.lock = threading.Lock()
        self.open = set()
        self.connections = 0
        self._listen(address, backlog)
        self.address = self.listener.getsockname()
        self.host, self.port = self.address[:2]

    def _listen(self, address, backlog=1024):
        self.listener = socket.create_server(address, backlog=backlog)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def reopen(self):
        """After close(): the same port once more."""
        self._listen((self.host, self.port))

    def close(self):
        """Nobody listens from now on, and what is open is closed."""
        try:
            # Closing alone leaves the port open as long as accept() waits in another thread.
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            conns = list(self.open)
        for conn in conns:
            self._shut(conn)

    @staticmethod
    def _shut(conn):
        try:
            conn.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self, listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open.add(conn)
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()

    def _run(self, conn):
        try:
            self.serve(conn)
        except OSError:
            pass        # it has gone: a cache's fault only if a client notices
        finally:
            with self.lock:
                self.open.discard(conn)
            # A close alone leaves the connection open as long as a file made of it lives.
            self._shut(conn)
            conn.close()

    def serve(self, conn):
        raise NotImplementedError
