#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What a new user types first: `make run`, as root and as anybody, with the demo site and with an origin of one's own.

    run_test.py --daemon build/asan/bin/objmapperd
"""
import argparse
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOBODY = 65534
DAEMON = None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"mine!\n")

    def log_message(self, *_):
        pass


class Run:
    """scripts/run.sh until it has said that Ctrl-C stops it."""

    def __init__(self, origin="", user=None):
        self.port, self.demo_port = free_port(), free_port()
        self.tmp = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
        os.chmod(self.tmp, 0o777)
        env = dict(os.environ, PORT=str(self.port), DEMO_PORT=str(self.demo_port), OBJMAPPERD=DAEMON, XDG_RUNTIME_DIR=self.tmp)
        self.proc = subprocess.Popen([os.path.join(ROOT, "scripts/run.sh"), origin], env=env, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, user=user, group=user,
                                     extra_groups=None if user is None else [], start_new_session=True)
        self.said = ""
        for line in self.proc.stdout:
            self.said += line
            if "Ctrl-C stops it" in line:
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait()
        self.proc.stdout.close()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def get(self, path="/"):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return answer.headers, answer.read()

    def hits(self):
        """By the command that was printed, typed as it stands."""
        command = re.search(r"^  (varnishstat -n \S+)", self.said, re.M)[1]
        text = subprocess.run([*command.split(), "-1", "-f", "MAIN.cache_hit"], stdout=subprocess.PIPE, text=True, timeout=20,
                              check=True).stdout
        return int(text.split()[1])

    def ctrl_c(self):
        os.killpg(self.proc.pid, signal.SIGINT)
        for line in self.proc.stdout:       # ends when the last process that could write has ended
            self.said += line
        return self.proc.wait(20)


@unittest.skipIf(os.getuid() != 0, "starts it as two users, so needs root")
class MakeRun(unittest.TestCase):
    def check(self, run, *in_body):
        first, body = run.get()
        for text in in_body:
            self.assertIn(text, body)
        again, body2 = run.get()
        self.assertEqual(body, body2)
        self.assertEqual(len(again["X-Varnish"].split()), 2, "the second answer is a hit")
        deadline = time.monotonic() + 20        # a loop adds its counters up after it has answered
        while run.hits() == 0 and time.monotonic() < deadline:
            pass
        self.assertEqual(run.hits(), 1)
        self.assertEqual(run.ctrl_c(), 0, run.said)
        for port in (run.port, run.demo_port):
            with socket.socket() as s:
                self.assertNotEqual(s.connect_ex(("127.0.0.1", port)), 0, "somebody still listens")

    def test_anybody_with_the_demo_site(self):
        with Run(user=NOBODY) as run:
            self.check(run, b"<html")

    def test_an_origin_of_ones_own(self):
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as origin:
            threading.Thread(target=origin.serve_forever, daemon=True).start()
            with Run(f"127.0.0.1:{origin.server_port}", user=NOBODY) as run:
                self.assertIn(f"in front of 127.0.0.1:{origin.server_port}", run.said)
                self.check(run, b"mine!")
            origin.shutdown()

    def test_port_in_use(self):
        with Run(user=NOBODY) as run, socket.create_server(("127.0.0.1", 0)) as taken:
            env = dict(os.environ, PORT=str(taken.getsockname()[1]), OBJMAPPERD=DAEMON)
            p = subprocess.run([os.path.join(ROOT, "scripts/run.sh")], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, timeout=60, check=False)
            self.assertEqual(p.returncode, 1)
            self.assertRegex(p.stdout, r"^run: port \d+ is in use already")
            run.get()


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    args, rest = ap.parse_known_args()
    DAEMON = os.path.abspath(args.daemon)
    unittest.main(argv=[sys.argv[0], *rest])
