#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The origin server of the demo: a few pages that may be cached, one that may not, and one big file made on the fly."""
import argparse
import email.utils
import http.server
import os
import time

SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".svg": "image/svg+xml"}
BIG_BYTES = 32 << 20
BIG_BLOCK = bytes(range(256)) * 256


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "demo-origin"

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        path = self.path.split("?")[0]
        if path == "/time":
            self.head(200, "text/plain", "no-store", len(text := time.strftime("%H:%M:%S\n").encode()))
            blocks = [text]
        elif path == "/big.bin":
            self.head(200, "application/octet-stream", "max-age=3600", BIG_BYTES)
            blocks = [BIG_BLOCK] * (BIG_BYTES // len(BIG_BLOCK))
        else:
            blocks = [self.page("index.html" if path == "/" else path[1:])]
        if with_body:
            for block in blocks:
                self.wfile.write(block)

    def page(self, name):
        """Sends the head for a file of the site, or a 404, and returns the body.  Only names in the folder count."""
        if name not in os.listdir(SITE):
            text = b"There is no such page here.\n"
            self.head(404, "text/plain", "max-age=5", len(text))
            return text
        path = os.path.join(SITE, name)
        with open(path, "rb") as f:
            text = f.read()
        self.head(200, TYPES.get(os.path.splitext(name)[1], "application/octet-stream"), "max-age=60", len(text),
                  os.stat(path).st_mtime)
        return text

    def head(self, status, content_type, cache_control, length, modified=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", cache_control)
        if modified is not None:
            self.send_header("Last-Modified", email.utils.formatdate(modified, usegmt=True))
        self.end_headers()

    def log_message(self, format, *args):  # the name is the base class's
        print(f"origin: {self.command} {self.path} was fetched from the origin", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--port", type=int, default=6080)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", ap.parse_args().port), Origin)
    server.daemon_threads = True
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
