# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The web application: a page for each article, which takes its time to make (what a page of a real site does)."""
import html
import http.server
import threading
import time


class App:
    """`generations` says of each page made: the path, who asked ("client" or "watcher"), begin and end, the version."""

    def __init__(self, connect, seconds=0.5, address=("127.0.0.1", 0)):
        self.connect = connect
        self.seconds = seconds
        self.generations = []
        self.begun = threading.Condition()
        self.running = 0
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                who = "watcher" if self.headers.get("X-Watcher") else "client"
                page = app.page(self.path, who)
                body = (page or "<p>There is no such article.</p>\n").encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "max-age=3600" if page else "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(address, Handler)
        self.address = self.server.server_address
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, path, who):
        """The text of a page, or None."""
        begin = time.monotonic()
        with self.begun:
            self.running += 1
            self.begun.notify_all()
        try:
            row = self._row(path)
            time.sleep(self.seconds)
        finally:
            with self.begun:
                self.running -= 1
        if row is None:
            return None
        title, body, version = row
        self.generations.append((path, who, begin, time.monotonic(), version))
        return (f"<!DOCTYPE html>\n<title>{html.escape(title)}</title>\n<h1>{html.escape(title)}</h1>\n"
                f"<p>{html.escape(body)}</p>\n<p>Version <b>{version}</b></p>\n")

    def _row(self, path):
        if not path.startswith("/article/") or not path[9:].isdigit():
            return None
        conn = self.connect()
        with conn, conn.cursor() as cursor:
            cursor.execute("SELECT title, body, version FROM article WHERE id = %s", (int(path[9:]),))
            return cursor.fetchone()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
