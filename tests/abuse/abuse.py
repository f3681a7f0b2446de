#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What clients and backends do that nobody would do on purpose, and some do on purpose.

    abuse.py --daemon build/bin/objmapperd [CASE...]

Each case has a daemon of its own. Afterwards it must still serve the right bytes, no worker may have died, and what the case
occupied (sessions, backend connections, objects being fetched) must be free again.
"""
import argparse
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies                                 # noqa: E402
from objm.client import Client, Cut, get                # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402

CASES = {}


def case(*args):
    """A case and the arguments of its daemon."""
    def enter(fn):
        CASES[fn.__name__] = (fn, list(args))
        return fn
    return enter


def raw(address, rcvbuf=None):
    sock = socket.socket()
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(20)
    sock.connect(address)
    return sock


def request(path, method="GET", *headers):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: h.example", *headers, "", ""]).encode()


def expect(path, resp, version=0):
    assert resp.status == 200, f"{path}: {resp.status}"
    assert resp.body == bodies.body(path, version), f"{path}: {bodies.first_difference(resp.body, bodies.body(path, version))}"


def drain(sock):
    """All that comes until the peer closes."""
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def tool(daemon, *words):
    """What one of Varnish's tools prints about a daemon."""
    return subprocess.run([words[0], "-n", daemon.workdir, *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          timeout=30, check=True).stdout.decode(errors="replace")


def fds_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# ---- clients ----

@case("-p", "timeout_idle=1")
def slow_requests(daemon, _):
    """Heads that arrive byte by byte, and heads that never end: others are served, and they are closed."""
    path = bodies.path_of("a", 1000)
    stuck = [raw(daemon.address) for _ in range(100)]
    for sock in stuck:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
    slow = raw(daemon.address)
    for byte in request(path, "GET", "Connection: close"):
        slow.sendall(bytes([byte]))
        time.sleep(0.002)
    began = time.monotonic()
    expect(path, get(daemon.address, path))
    assert time.monotonic() - began < 5, "a request waited for slow ones"
    assert bodies.body(path, 0) in drain(slow)
    for sock in stuck:
        drain(sock)


@case("-p", "idle_send_timeout=1", "-p", "send_timeout=3")
def slow_readers(daemon, _):
    """Clients that ask for much and read nothing: others are served, and in the end they are cut."""
    path = bodies.path_of("big", 8000000)
    expect(path, get(daemon.address, path))
    stuck = [raw(daemon.address, rcvbuf=4096) for _ in range(50)]
    for sock in stuck:
        sock.sendall(request(path) * 3)
    time.sleep(0.5)
    began = time.monotonic()
    expect(path, get(daemon.address, path))
    assert time.monotonic() - began < 5, "a request waited for slow readers"
    time.sleep(4)
    for sock in stuck:
        got = len(drain(sock))
        assert got < 3 * 8000000, "was never cut"


@case("-p", "idle_send_timeout=5")
def trickling_reader(daemon, _):
    """A client that reads slowly but steadily gets all of it, and right, while the object is replaced."""
    path = bodies.path_of("slow", 3000000, "max-age=1")
    expect(path, get(daemon.address, path))
    sock = raw(daemon.address, rcvbuf=8192)
    sock.sendall(request(path, "GET", "Connection: close"))
    got = b""
    while len(got) < 400000:
        got += sock.recv(4096)
        time.sleep(0.01)
    # It is reading what is then expired, replaced and freed.
    time.sleep(1)
    for _ in range(20):
        get(daemon.address, path)
        time.sleep(0.05)
    got += drain(sock)
    assert got.split(b"\r\n\r\n", 1)[1] == bodies.body(path, 0), "wrong bytes"


@case()
def garbage(daemon, _):
    """Random bytes, and requests with random damage."""
    rng = random.Random(1)
    seed = request("/b/x/100", "POST", "Content-Length: 5", "Transfer-Encoding: chunked", "Foo: bar")
    for i in range(400):
        if i % 3 == 0:
            data = rng.randbytes(rng.randrange(1, 5000))
        else:
            mutable = bytearray(seed)
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(mutable))
                mutable[at:at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            data = bytes(mutable) + rng.choice((b"", b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"\r\n", b"zz\r\n"))
        with raw(daemon.address) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            answer = drain(sock)
            assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:80]


@case("-p", "cli_timeout=10")
def garbage_cli(daemon, _):
    """Bytes at the command line port from somebody who does not know the secret."""
    words = daemon.argv[daemon.argv.index("-T") + 1].rsplit(":", 1)
    address = words[0], int(words[1])
    rng = random.Random(2)
    for data in (b"", b"\n" * 1000, b"stop\n", b"auth 0000\n", b"auth " + b"f" * 64 + b"\n", b"help\nping\n", b"\"" * 5000 + b"\n",
                 b"x" * 200000 + b"\n", b"ping << EOF\n" + b"y\n" * 10000, rng.randbytes(10000), b"\0" * 3000, b"quit\n"):
        with raw(address) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            answer = drain(sock)
            assert b"107 " in answer[:20], f"no challenge: {answer[:60]}"
            assert b"Child in state" not in answer, answer[-200:]
    assert "running" in daemon.cli("status")[1], "a stranger stopped the worker"
    held = [raw(address) for _ in range(60)]
    assert daemon.cli("status")[0] == 200, "idle connections keep others from the command line interface"
    for sock in held:
        sock.close()


@case()
def opened_and_dropped(daemon, _):
    """Thousands of connections, opened and closed: at once, by reset, in the middle of a request."""
    path = bodies.path_of("d", 500)
    get(daemon.address, path)
    linger0 = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    for i in range(3000):
        sock = raw(daemon.address)
        if i % 4 == 1:
            sock.sendall(b"GET /b/d/500 HT")
        elif i % 4 == 2:
            sock.sendall(request(path))
        elif i % 4 == 3:
            sock.sendall(request(bodies.path_of(f"d{i}", 100)))
        if i % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger0)
        sock.close()


@case("-p", "timeout_idle=30")
def many_idle(daemon, _):
    """A thousand idle keep-alive connections stay usable."""
    path = bodies.path_of("i", 300)
    clients = [Client(daemon.address) for _ in range(1000)]
    for client in clients:
        expect(path, client.get(path))
    for client in reversed(clients):
        expect(path, client.get(path))
        client.close()


@case()
def half_closed(daemon, _):
    """A client that closes its sending side after the request still gets its answers."""
    path, big = bodies.path_of("h", 2000, "delay=50"), bodies.path_of("hb", 2000000)
    for _ in range(2):
        with Client(daemon.address) as client:
            client.ask(path)
            client.ask(big)
            client.sock.shutdown(socket.SHUT_WR)
            expect(path, client.response())
            expect(big, client.response())


@case()
def client_gone(daemon, origin):
    """Clients that leave during the fetch: the fetch goes on for others and for the cache."""
    path = bodies.path_of("gone", 2000000, "stall=500")
    first = Client(daemon.address)
    first.ask(path)
    first.more()
    others = [Client(daemon.address) for _ in range(10)]
    for client in others:
        client.ask(path)
    first.close()
    for client in others[:5]:
        client.close()
    for client in others[5:]:
        expect(path, client.response())
        client.close()
    resp = get(daemon.address, path)
    expect(path, resp)
    assert resp.is_hit
    assert origin.fetched(path) == 1, f"{origin.fetched(path)} fetches"


@case()
def client_gone_waiting(daemon, origin):
    """Clients that leave while they wait for a head."""
    path = bodies.path_of("wait", 1000, "delay=600")
    clients = [Client(daemon.address) for _ in range(50)]
    for client in clients:
        client.ask(path)
    time.sleep(0.1)
    for client in clients[:49]:
        client.close()
    expect(path, clients[49].response())
    clients[49].close()
    assert origin.fetched(path) == 1


@case()
def client_gone_pass(daemon, _):
    """Clients that leave in the middle of what passes: with a request body half sent, and with a response half read."""
    for i in range(30):
        with raw(daemon.address) as sock:
            sock.sendall(request(bodies.path_of("pp", 100), "POST", "Content-Length: 100000") + b"x" * (i * 1000))
        with raw(daemon.address, rcvbuf=4096) as sock:
            sock.sendall(request(bodies.path_of(f"pr{i}", 3000000), "GET", "Cookie: a"))
            sock.recv(1000)


@case()
def pipelined_flood(daemon, _):
    """Thousands of requests in one write, from a client that only then begins to read."""
    path = bodies.path_of("pipe", 200)
    get(daemon.address, path)
    with Client(daemon.address, timeout=30) as client:
        n = 20000
        def flood():
            try:
                client.sock.sendall(request(path) * n)
            except OSError:
                pass
        client.sock.settimeout(30)
        writer = threading.Thread(target=flood, daemon=True)
        writer.start()
        time.sleep(0.5)
        expect(path, get(daemon.address, path))
        for _ in range(n):
            expect(path, client.response())
        writer.join(10)


@case()
def pipelined_mixed(daemon, _):
    """Hits, misses, passes, bodies, HEADs in random order in one stream, in random pieces: answers in order, each right."""
    rng = random.Random(3)
    for _ in range(20):
        stream, wanted = b"", []
        for _ in range(100):
            kind = rng.choice(("get", "get", "head", "post", "chunked", "fat", "miss"))
            path = bodies.path_of("m", rng.choice((0, 1, 100, 5000, 70000)))
            if kind == "miss":
                path = bodies.path_of(f"m{rng.random()}", 300)
            if kind == "head":
                stream += request(path, "HEAD")
            elif kind == "post":
                stream += request(path, "POST", "Content-Length: 30") + b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"[:30]
            elif kind == "chunked":
                stream += request(path, "POST", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n10\r\n" + b"z" * 16 + b"\r\n0\r\n\r\n"
            elif kind == "fat":
                stream += request(path, "GET", "Content-Length: 10") + b"0123456789"
            else:
                stream += request(path)
            wanted.append((kind, path))
        with Client(daemon.address, timeout=20) as client:
            def write(data=stream, sock=client.sock):
                while data:
                    n = rng.randrange(1, 3000)
                    try:
                        sock.sendall(data[:n])
                    except OSError:
                        return
                    data = data[n:]
            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            for kind, path in wanted:
                resp = client.response("HEAD" if kind == "head" else "GET")
                if kind == "head":
                    assert resp.header("content-length") == str(bodies.parse(path)[0]), (kind, path)
                else:
                    expect(path, resp)
            writer.join(10)


@case()
def many_headers(daemon, _):
    """Heads that are too long, by bytes and by lines: refused, and not at the cost of others."""
    for head in (b"A: b\r\n" * 5000, b"A: " + b"b" * 1000000 + b"\r\n", b"A" * 100000 + b": b\r\n", b"A: b\r\n b\r\n" * 5000):
        with raw(daemon.address) as sock:
            try:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            except OSError:
                pass
            answer = drain(sock)
            assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:60]
    with raw(daemon.address) as sock:
        try:
            sock.sendall(b"GET /" + b"u" * 500000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        except OSError:
            pass
        answer = drain(sock)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:60]


EVIL = b"GET /b/evil/10 HTTP/1.1\r\nHost: h.example\r\n\r\n"
# Requests whose end two readers could see in different places, each with what would then be taken for a request of its own.
AMBIGUOUS = {
    "CL and TE": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + EVIL,
    "TE and CL": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + EVIL,
    "two lengths": b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + EVIL,
    "list of lengths": b"Content-Length: 0, 50\r\n\r\n" + EVIL,
    "signed length": b"Content-Length: +0\r\n\r\n" + EVIL,
    "negative length": b"Content-Length: -50\r\n\r\n" + EVIL,
    "hexadecimal length": b"Content-Length: 0x0\r\n\r\n" + EVIL,
    "huge length": b"Content-Length: 18446744073709551616\r\n\r\n" + EVIL,
    "empty length": b"Content-Length: \r\n\r\n" + EVIL,
    "blank before colon": b"Content-Length : 0\r\n\r\n" + EVIL,
    "TE unknown": b"Transfer-Encoding: xchunked\r\n\r\n" + EVIL,
    "TE list": b"Transfer-Encoding: chunked, identity\r\n\r\n" + EVIL,
    "TE twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + EVIL,
    "TE with control": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + EVIL,
    "NUL in a value": b"Foo: a\0b\r\nContent-Length: 0\r\n\r\n" + EVIL,
    "two hosts": b"Host: other.example\r\nContent-Length: 0\r\n\r\n" + EVIL,
    "no colon": b"Content-Length 0\r\n\r\n" + EVIL,
    "chunk size signed": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + EVIL,
    "chunk size negative": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + EVIL,
    "chunk size 0x": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + EVIL,
    "chunk size huge": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" + EVIL,
    "chunk size none": b"Transfer-Encoding: chunked\r\n\r\n\r\n\r\n" + EVIL,
    "chunk end missing": b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n" + EVIL,
    "chunk end half": b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\rX0\r\n\r\n" + EVIL,
    "chunk extension with CR": b"Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\nab\r\n0\r\n\r\n" + EVIL,
}
# Requests whose end is clear: what looks like a request is their body.
CLEAR = {
    "body": b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
    "chunk": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(EVIL) + EVIL + b"\r\n0\r\n\r\n",
    "named in Connection": b"Connection: Content-Length\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
}


@case()
def smuggling(daemon, origin):
    """Whatever a request's framing says: what stands behind or in it never becomes a request that was not meant."""
    evil = "/b/evil/10"
    hot = bodies.path_of("hot", 10)
    get(daemon.address, hot)
    for method, target in (("POST", bodies.path_of("x", 10)), ("GET", hot), ("GET", bodies.path_of("cold", 10)), ("HEAD", hot)):
        for name, rest in {**AMBIGUOUS, **CLEAR}.items():
            with raw(daemon.address) as sock:
                sock.settimeout(5)
                sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: h.example\r\n".encode() + rest)
                sock.shutdown(socket.SHUT_WR)
                answer = drain(sock)
            assert origin.fetched(evil) == 0, f"{method} {name}: the backend got what was not meant as a request"
            # From the cache it would be as bad.
            assert bodies.body(evil, 0) not in answer, f"{method} {name}: it was answered"
            assert answer.count(b"HTTP/1.1 ") <= 1, f"{method} {name}: {answer.count(b'HTTP/1.1 ')} answers: {answer[:300]}"


@case("-p", "first_byte_timeout=1")
def unread_body(daemon, origin):
    """The backend fails before the request's body was read: the body does not become the next request."""
    origin.close()
    evil = "/b/evil/10"
    for rest in CLEAR.values():
        with raw(daemon.address) as sock:
            sock.sendall(b"POST /b/x/10 HTTP/1.1\r\nHost: h.example\r\n" + rest)
            sock.shutdown(socket.SHUT_WR)
            answer = drain(sock)
        assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert origin.fetched(evil) == 0
    origin.reopen()
    # A backend that refused is left alone for a moment.
    time.sleep(0.5)


# ---- backends ----

@case()
def trickling_backend(daemon, origin):
    """Bodies that come in drops: many at once, each right, and small hits are not held up."""
    paths = [bodies.path_of(f"t{i}", 60000, "trickle=200", "chunked" if i % 2 else "max-age=9") for i in range(20)]
    hot = bodies.path_of("hot", 100)
    get(daemon.address, hot)
    faults = []

    def one(path):
        try:
            expect(path, get(daemon.address, path, timeout=60))
        except (AssertionError, Cut, OSError) as e:
            faults.append(e)
    threads = [threading.Thread(target=one, args=(p,)) for p in paths for _ in range(2)]
    for t in threads:
        t.start()
    with Client(daemon.address) as client:
        for _ in range(50):
            expect(hot, client.get(hot))
    for t in threads:
        t.join()
    assert not faults, faults[0]
    assert all(origin.fetched(p) == 1 for p in paths)


@case()
def cutting_backend(daemon, origin):
    """Bodies that are cut: never a response that looks whole, never kept, whoever waits."""
    for flags in (("cut",), ("cut", "chunked"), ("cut", "delay=100", "trickle=500")):
        for size in (10, 1000, 100000, 1000000):
            path = bodies.path_of(f"c{size}", size, *flags)
            whole = []

            def one(p=path):
                try:
                    resp = get(daemon.address, p)
                    if resp.status == 200:
                        whole.append(p)
                except (Cut, OSError):
                    pass
            threads = [threading.Thread(target=one) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert not whole, f"{whole[0]}: a cut body looked whole, {len(whole)} times"
            n = origin.fetched(path)
            assert n >= 1
    assert daemon.wait_counter("MAIN.n_object", lambda v: v <= 1, 8) <= 1, "something that was cut is kept"


@case("-p", "between_bytes_timeout=0.5", "-p", "first_byte_timeout=0.5")
def silent_backend(daemon, origin):
    """A backend that takes requests and says nothing: 503 in time, for all, and hits go on."""
    hot = bodies.path_of("hot", 100)
    get(daemon.address, hot)
    origin.gate.clear()
    began = time.monotonic()
    clients = [Client(daemon.address, timeout=15) for _ in range(60)]
    for i, client in enumerate(clients):
        client.ask(bodies.path_of(f"s{i % 6}", 1000))
    expect(hot, get(daemon.address, hot))
    for client in clients:
        assert client.response().status == 503
        client.close()
    # Those who waited on one URL may have been tried one after another, but not without end.
    assert time.monotonic() - began < 12
    origin.gate.set()
    path = bodies.path_of("s0", 1000)
    deadline = time.monotonic() + 8
    while (resp := get(daemon.address, path)).status != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    expect(path, resp)


@case()
def unanswered_connect(daemon, _):
    """A backend whose kernel answers no connect (its queue is full): 503 once connect_timeout has passed. The kernel itself would
    try for two minutes, so whoever answers sooner has a timer."""
    with socket.socket() as listener, socket.socket() as only:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        only.connect(listener.getsockname())
        backend = "127.0.0.1:%d" % listener.getsockname()[1]
        with Daemon(daemon.argv[0], backend, ["-p", "connect_timeout=0.2"]) as unlucky, Client(unlucky.address, timeout=30) as client:
            assert client.get("/").status == 503
            log = tool(unlucky, "varnishlog", "-d", "-g", "raw", "-i", "FetchError,BackendOpen")
            assert "timed out" in log and "BackendOpen" not in log, log
            counters = unlucky.counters()
            assert counters["MAIN.backend_fail"] == 1, counters["MAIN.backend_fail"]
            assert counters["VBE.boot.default.fail_etimedout"] == 1
            assert counters["VBE.boot.default.conn"] == 0


@case()
def piped(daemon, _):
    """Pipes: both ends may finish first and still get what the other sends; ends that vanish take nothing with them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        listener.settimeout(20)
        with Daemon(daemon.argv[0], "127.0.0.1:%d" % listener.getsockname()[1], ["-p", "pipe_timeout=20"]) as piping:
            def connect():
                client = raw(piping.address)
                client.sendall(request("/p", "CONNECT") + b"early")
                backend, _ = listener.accept()
                backend.settimeout(20)
                head = b""
                while not head.endswith(b"\r\n\r\nearly"):
                    head += backend.recv(4096)
                assert head.startswith(b"CONNECT /p HTTP/1.1\r\n")
                return client, backend

            much = random.Random(5).randbytes(3000000)
            for first in (0, 1):
                ends = connect()
                done, open_ = ends[first], ends[1 - first]
                sender = threading.Thread(target=done.sendall, args=(much,))
                sender.start()
                got = b""
                while len(got) < len(much):
                    got += open_.recv(65536)
                sender.join()
                assert got == much
                done.shutdown(socket.SHUT_WR)
                assert open_.recv(1) == b"", "the end was not passed on"
                sender = threading.Thread(target=open_.sendall, args=(much,))
                sender.start()
                got = b""
                while len(got) < len(much):
                    got += done.recv(65536)
                sender.join()
                assert got == much
                open_.close()
                assert done.recv(1) == b""
                done.close()
            # Both are gone without a word, while bytes are on their way.
            client, backend = connect()
            backend.sendall(bytes(200000))
            for sock in (client, backend):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.close()
            assert piping.wait_counter("MAIN.n_pipe", lambda n: n == 0) == 0
            counters = piping.counters()
            assert counters["MAIN.s_pipe"] == 3
            assert counters["MAIN.s_pipe_in"] == 2 * len(much) + 15
            assert counters["VBE.boot.default.conn"] == 0
            assert counters["MGT.child_died"] == 0


@case("-s", "malloc,16m")
def full_store(daemon, _):
    """More than the store holds, from several clients, with bodies of a sixth of it among them: all fit that are in use at one time."""
    rng = random.Random(4)
    seeds = [rng.random() for _ in range(4)]
    faults = []

    def one(seed):
        mine = random.Random(seed)
        try:
            with Client(daemon.address, timeout=30) as client:
                for _ in range(150):
                    n = mine.randrange(200)
                    path = bodies.path_of(f"f{n}", (n * 7919) % 900000 if n % 20 else 2500000)
                    resp = client.get(path)
                    if resp.status != 503:
                        expect(path, resp)
        except (AssertionError, Cut, OSError) as e:
            faults.append(f"{type(e).__name__} {e}")
    threads = [threading.Thread(target=one, args=(s,)) for s in seeds]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults, faults
    assert daemon.counter("MAIN.n_lru_nuked") > 0


@case()
def too_large(daemon, _):
    """A body that is larger than the whole store is answered, by way of Transient or not at all, and hurts nobody."""
    path = bodies.path_of("huge", 40000000)
    try:
        resp = get(daemon.address, path, timeout=30)
        if resp.status == 200:
            expect(path, resp)
        else:
            assert resp.status == 503, resp.status
    except Cut:
        pass
    small = bodies.path_of("small", 1000)
    expect(small, get(daemon.address, small))
    resp = get(daemon.address, small)
    expect(small, resp)
    assert resp.is_hit


CASES["too_large"] = (CASES["too_large"][0], ["-s", "malloc,8m"])
CASES["garbage_cli"] = (CASES["garbage_cli"][0], ["-T", "127.0.0.1:0"])


# ---- the frame ----

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def settle(what, probe, good, seconds=12):
    end = time.monotonic() + seconds
    while not good(value := probe()):
        assert time.monotonic() < end, f"{what}: still {value}"
        time.sleep(0.1)


def aftermath(daemon, origin, pid, fds):
    """It serves, nobody died, and what was occupied is free."""
    path = bodies.path_of("after", 12345)
    expect(path, get(daemon.address, path))
    resp = get(daemon.address, path)
    expect(path, resp)
    assert resp.is_hit, "no hit any more"
    counters = daemon.counters()
    assert counters.get("MGT.child_died") == 0, "a worker died"
    assert counters.get("MGT.child_panic") == 0, "a worker panicked"
    assert daemon.worker_pid() == pid, "the worker is another one"
    # The pool may keep some connections to the backend, and stored bodies have descriptors.
    objects = counters.get("MAIN.n_object", 0)
    settle("descriptors", lambda: fds_of(pid), lambda n: n <= fds + objects + 60)
    fibers = [name for name in counters if re.search(r"fibers?(_active|_live|_busy|)$", name)]
    for name in fibers:
        settle(name, lambda n=name: daemon.counter(n), lambda v: v <= 40)


def run(name, path):
    fn, args = CASES[name]
    args = [f"127.0.0.1:{free_port()}" if a == "127.0.0.1:0" else a for a in args]
    origin = Origin()
    began = time.monotonic()
    daemon = None
    try:
        daemon = Daemon(path, f"{origin.host}:{origin.port}", args)
        pid = daemon.worker_pid()
        get(daemon.address, bodies.path_of("before", 10))
        fds = fds_of(pid)
        fn(daemon, origin)
        aftermath(daemon, origin, pid, fds)
        status = daemon.close()
        assert status == 0, f"the daemon ended with {status}"
        print(f"abuse: {name}: passed ({time.monotonic() - began:.1f} s)", flush=True)
        return True
    except Exception:       # a case may fail in any way; the next one is run all the same
        traceback.print_exc()
        print(f"abuse: {name}: FAILED ({time.monotonic() - began:.1f} s)", flush=True)
        if daemon and daemon.proc.poll() is None:
            print(daemon.cli("panic.show")[1][:3000])
            print(daemon.output())
        return False
    finally:
        if daemon and daemon.proc.poll() is None:
            daemon.close()
        origin.gate.set()
        origin.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("cases", nargs="*", metavar="CASE", help="of: " + " ".join(CASES))
    args = ap.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    failed = [name for name in args.cases or CASES if not run(name, os.path.abspath(args.daemon))]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
