# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The origin behind the caches that are measured: /SIZE/NUMBER answers with SIZE bytes that follow from the path,
/stuck/... never."""
import hashlib
import socketserver
import threading


def body_of(path):
    """The body of /SIZE/NUMBER: a digest of the path, repeated, so that no two paths share a body."""
    size = int(path.split("/")[1])
    piece = hashlib.sha256(path.encode()).hexdigest().encode()
    return (piece * (size // len(piece) + 1))[:size]


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while True:
            line = self.rfile.readline(8192)
            if not line:
                return
            method, path = line.decode("latin-1").split()[:2]
            while self.rfile.readline(8192) not in (b"\r\n", b"\n", b""):
                pass
            if path.startswith("/stuck/"):
                self.rfile.read(1)  # until the cache gives up
                return
            try:
                body = body_of(path)
                head = "200 OK"
            except (IndexError, ValueError):
                body, head = b"", "404 Not Found"
            with self.server.lock:
                self.server.requests += 1
            text = (f"HTTP/1.1 {head}\r\nContent-Type: application/octet-stream\r\n"
                    f"Cache-Control: max-age=3600\r\nContent-Length: {len(body)}\r\n\r\n").encode()
            self.wfile.write(text if method == "HEAD" else text + body)


class Origin(socketserver.ThreadingTCPServer):
    """Runs on threads of this process; `requests` tells how many reached it, so a miss cannot pass for a hit."""
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.requests = 0
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a cache that closes its connection is no news
