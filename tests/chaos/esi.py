#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Random pages of ESI under clients of which some leave early: every whole answer is what the pages say.

    esi.py --daemon build/asan/bin/objmapperd [--seconds 8] [--seed 1]

What a URL holds follows from the URL: text, includes up to four levels deep, packed or not, with a length or in chunks,
at once or after a while, now and then an error, now and then broken off.  So the answer can be computed, but where
something broke off.  The worker has to stay.
"""
import argparse
import gzip
import http.client
import os
import random
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import zlib

MAX_DEPTH = 5
VCL = """vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "%d"; .first_byte_timeout = 10s; }
sub vcl_recv {
    if (req.url ~ "^/leaf/.*7$") { return (pass); }
    if (req.url ~ "^/leaf/.*8$") { return (synth(200)); }
}
sub vcl_backend_response {
    set beresp.do_esi = bereq.url ~ "^/page/";
    set beresp.do_gzip = bereq.url ~ "[02468]$";
    set beresp.ttl = 0.3s;
    set beresp.grace = 0.3s;
    set beresp.uncacheable = bereq.url ~ "5$";
}
sub vcl_synth { set resp.body = "synth"; return (deliver); }
sub vcl_deliver {
    if (req.restarts == 0 && req.url ~ "3$") { return (restart); }
}
"""


def page(path):
    """What stands in a page: texts, and tuples (tag, what comes of it), where a path is what is included."""
    r = random.Random(path)
    level = int(path.split("/")[2])
    yield "<html>"
    for n in range(r.randrange(12)):
        yield "x" * r.choice((0, 1, 10, 500, 9000)) + str(n)
        kind = r.random()
        if kind < .35:
            src = f"/leaf/{r.randrange(40)}"
            yield f'<esi:include src="{src}"/>', src
        elif kind < .6 and level < 4:
            src = f"/page/{level + 1}/{r.randrange(6)}"
            yield f'<esi:include src="{src}" onerror="continue"/>', src
        elif kind < .7:
            yield "<esi:remove>no</esi:remove>", None
    yield "</html>"


def raw(path):
    if path.startswith("/page/"):
        return "".join(part if isinstance(part, str) else part[0] for part in page(path))
    return "L" * random.Random(path).choice((0, 1, 100, 5000, 200_000, 700_000))


def is_cut(path):
    return random.Random("cut" + path).random() < .006


def expected(path, level=0):
    """The body, or None where something of it breaks off."""
    if path.startswith("/leaf/") and path.endswith("8"):
        return "synth"
    if is_cut(path):
        return None
    if path.startswith("/leaf/"):
        return raw(path)
    texts = []
    for part in page(path):
        if isinstance(part, str):
            texts.append(part)
        elif part[1] is not None and level < MAX_DEPTH:
            texts.append(expected(part[1], level + 1))
    return None if None in texts else "".join(texts)


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        try:
            while self.answer():
                pass
        except OSError:
            pass

    def answer(self):
        line = self.rfile.readline(65536)
        if not line:
            return False
        while self.rfile.readline(65536) not in (b"\r\n", b"\n", b""):
            pass
        path = line.decode("latin-1").split()[1]
        r = random.Random("answer" + path)
        if r.random() < .2:
            time.sleep(r.random() * .06)
        body, fields = raw(path).encode(), []
        if r.random() < .4:
            body = gzip.compress(body)
            fields.append("Content-Encoding: gzip")
        is_chunked = r.random() < .5
        fields.append("Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}")
        status = r.choice(["200 OK"] * 12 + ["404 Not Found", "500 Oops"])
        self.wfile.write("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode())
        if is_cut(path):
            self.wfile.write(body[:len(body) // 2] if not is_chunked else b"ff\r\n")
            return False
        if not is_chunked:
            self.wfile.write(body)
            return True
        while body:
            size = min(len(body), r.choice((1, 100, 5000, 100_000)) if len(body) < 20_000 else 50_000)
            self.wfile.write(b"%x\r\n%s\r\n" % (size, body[:size]))
            body = body[size:]
        self.wfile.write(b"0\r\n\r\n")
        return True


class Origin(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256


class Run:
    def __init__(self, args, folder):
        self.args, self.folder, self.faults = args, folder, []
        self.whole = self.checked = self.left = self.broken = 0
        self.lock = threading.Lock()
        self.origin = Origin(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.origin.serve_forever, daemon=True).start()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]

    def start(self):
        r = random.Random(self.args.seed)
        vcl = os.path.join(self.folder, "esi.vcl")
        with open(vcl, "w", encoding="utf-8") as f:
            f.write(VCL % self.origin.server_address[1])
        params = [f"esi_buffer={r.choice((4096, 131072))}", f"esi_patience={r.choice((0, .001, .015))}",
                  f"esi_parallel={r.choice((1, 2, 8, 30))}", "loops=2"]
        words = [self.args.daemon, "-F", "-n", os.path.join(self.folder, "n"), "-a", f"127.0.0.1:{self.port}", "-f", vcl,
                 "-s", "malloc,20m", *(w for p in params for w in ("-p", p))]
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(.1)
        sys.exit("esi: the daemon did not start")

    def ask(self, r):
        path = f"/page/0/{r.randrange(8)}"
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            c.request("GET", path, headers={"Accept-Encoding": "gzip"} if r.random() < .5 else {})
            if r.random() < .3:
                time.sleep(r.random() * .05)
                if r.random() < .7:
                    c.getresponse().read(r.choice((1, 1000, 50_000)))
                self.left += 1
                return
            answer = c.getresponse()
            body = answer.read()
            if answer.getheader("Content-Encoding") == "gzip":
                body = zlib.decompress(body, 31)
        except (OSError, http.client.HTTPException):
            self.broken += 1
            return
        except zlib.error as e:
            self.faults.append(f"{path}: {e}")
            return
        finally:
            c.close()
        want = expected(path)
        with self.lock:
            self.whole += 1
            self.checked += want is not None
        if want is not None and body != want.encode():
            self.faults.append(f"{path}: {answer.status}, {len(body)} bytes instead of {len(want)}")

    def client(self, n, end):
        r = random.Random(self.args.seed * 1000 + n)
        while time.monotonic() < end and len(self.faults) < 10:
            self.ask(r)

    def finish(self):
        p = subprocess.run(["varnishstat", "-n", os.path.join(self.folder, "n"), "-1", "-f", "MGT.child_died", "-f",
                            "MGT.child_panic"], stdout=subprocess.PIPE, text=True, check=False)
        self.faults += [line for line in p.stdout.splitlines() if line.split()[1:2] not in (["0"], [])]
        self.daemon.terminate()
        if self.daemon.wait(30) != 0:
            self.faults.append(f"the daemon ended with {self.daemon.returncode}")
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            log = f.read()
        if "Sanitizer" in log:
            self.faults.append(log[-3000:])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--seconds", type=float, default=8)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    folder = tempfile.mkdtemp(prefix="objm-esi.")
    os.chmod(folder, 0o755)
    try:
        run = Run(args, folder)
        run.start()
        end = time.monotonic() + args.seconds
        threads = [threading.Thread(target=run.client, args=(n, end)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.finish()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"esi: seed {args.seed}: {run.whole} whole answers, {run.checked} compared, {run.left} clients left, {run.broken} answers broke off")
    for fault in run.faults:
        print("esi: FAULT", fault)
    sys.exit(1 if run.faults or run.checked == 0 else 0)


if __name__ == "__main__":
    main()
