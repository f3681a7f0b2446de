#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Each limit of the client's side is reached, and what docs/operations.md says is seen.

    limits.py --daemon build/bin/objmapperd [--clients N] [CASE...]

A case has a daemon of its own, reaches one limit, and asserts the counter, the log record and what clients get; then the daemon
must still serve, and give back what was occupied.  Some inject faults into system calls of the running worker with strace.
"""
import argparse
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm.recorder import Recorder                      # noqa: E402
from objm.server import Server                          # noqa: E402
from abuse import aftermath, bodies, Client, Cut, Daemon, drain, expect, get, Origin, raw, request        # noqa: E402

CASES = {}
CLIENTS = 1500


class Skip(Exception):
    """This machine cannot do what a case needs."""


def case(*args, prefix=()):
    def enter(fn):
        CASES[fn.__name__] = (fn, list(args), prefix)
        return fn
    return enter


def counted(daemon, name, at_least=1):
    value = daemon.wait_counter(name, lambda v: v >= at_least)
    assert value >= at_least, f"{name} is {value}, not {at_least}"
    return value


def logged(daemon, tag, pattern, at_least=1):
    """How many records of a tag fit; the log is written at the end of a tick, so they may be a moment late."""
    end = time.monotonic() + 10
    while True:
        lines = [line for line in daemon.records(tag).splitlines() if re.search(pattern, line)]
        if len(lines) >= at_least:
            return len(lines)
        assert time.monotonic() < end, f"{len(lines)} records {tag} like {pattern}, not {at_least}: {daemon.records(tag)[-800:]}"
        time.sleep(0.1)


def until(what, probe, seconds=20):
    end = time.monotonic() + seconds
    while not (value := probe()):
        assert time.monotonic() < end, f"{what}: still {value}"
        time.sleep(0.05)
    return value


def is_shed(data):
    return data.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: " in data and b"\r\nConnection: close\r\n" in data


class Strace:
    """Faults in the system calls of a process that runs already.  Detached at the end: leak checks need that."""

    def __init__(self, pid, *expressions):
        self.out = tempfile.NamedTemporaryFile(prefix="objm.strace.", dir="/tmp")
        words = [w for e in expressions for w in ("-e", e)]
        self.proc = subprocess.Popen(["strace", "-f", "-q", "-o", self.out.name, *words, "-p", str(pid)], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until("strace attaches", lambda: self._is_attached(pid))

    def _is_attached(self, pid):
        if self.proc.poll() is not None:
            raise Skip(f"strace: {self.proc.stderr.read().decode()}")
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as f:
                if "TracerPid:\t0\n" in f.read():
                    return False
        return True

    def injected(self):
        with open(self.out.name, "rb") as f:
            return f.read().count(b"(INJECTED)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait(20)
        self.proc.stderr.close()
        self.out.close()


# ---- heads ----

@case("-p", "http_req_size=4k", "-p", "http_req_hdr_len=1k", "-p", "http_max_hdr=32")
def heads(daemon, _):
    """Heads that are too long by bytes, by one field, by their number: the right code, closed, counted."""
    for head, code in ((b"GET /" + b"u" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
                       (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: " % i + b"v" * 900 + b"\r\n" for i in range(9)) + b"\r\n", 431),
                       (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"v" * 1100 + b"\r\n\r\n", 400),
                       (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 40 + b"\r\n", 400)):
        with raw(daemon.address) as sock:
            sock.sendall(head)
            data = drain(sock)
        assert data.startswith(b"HTTP/1.1 %d " % code) and b"\r\nConnection: close\r\n" in data, (code, data[:100])
    counted(daemon, "OBJM.limit.heads", 4)
    counted(daemon, "MAIN.sc_rx_overflow", 4)
    assert logged(daemon, "BogoHeader", "too long|Too many", 4) == 4
    logged(daemon, "SessClose", "RX_OVERFLOW", 4)
    # What just fits is served.
    path = bodies.path_of("fits", 100)
    expect(path, get(daemon.address, path, headers=["A: " + "v" * 1000] * 2 + ["B: c"] * 25))


# ---- slow clients ----

@case("-p", "timeout_req=1")
def slow_heads(daemon, _):
    """A head that comes in drops: the whole of it has one deadline, however the drops are timed."""
    socks = [raw(daemon.address) for _ in range(30)]
    began = time.monotonic()
    open_socks = {s.fileno(): s for s in socks}
    for sock in socks:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    while open_socks and time.monotonic() < began + 10:
        for sock in list(open_socks.values()):
            try:
                sock.sendall(b"X")
                readable = select.select([sock], [], [], 0)[0]
                if readable and not sock.recv(100):
                    del open_socks[sock.fileno()]
            except OSError:
                open_socks.pop(sock.fileno(), None)
        time.sleep(0.1)
    assert not open_socks, "drops keep a connection open"
    counted(daemon, "OBJM.limit.slow_heads", 30)
    counted(daemon, "MAIN.sc_rx_timeout", 30)
    logged(daemon, "SessClose", "RX_TIMEOUT", 30)


@case("-p", "timeout_idle=1")
def silent_connections(daemon, _):
    """Connections that never send are closed, and cost no fiber meanwhile."""
    socks = [raw(daemon.address) for _ in range(100)]
    for sock in socks:
        assert drain(sock) == b""
    counted(daemon, "MAIN.sc_rx_close_idle", 100)
    logged(daemon, "SessClose", "RX_CLOSE_IDLE", 100)


@case("-p", "timeout_req_body=1", "-p", "req_body_min_rate=1000", "-p", "timeout_idle=30")
def slow_bodies(daemon, _):
    """A body in drops is given up; one that comes in bursts at the rate that is asked for is not."""
    path = bodies.path_of("post", 10)
    with raw(daemon.address) as slow, raw(daemon.address) as steady:
        slow.sendall(request(path, "POST", "Content-Length: 100000"))
        steady.sendall(request(path, "POST", "Content-Length: 8000"))
        answer, sent = b"", 0
        end = time.monotonic() + 15
        while not answer and time.monotonic() < end:
            if sent < 8000:
                steady.sendall(b"y" * 1000)
                sent += 1000
            try:
                slow.sendall(b"x")
            except OSError:
                break
            if select.select([slow], [], [], 0.25)[0]:
                answer = drain(slow)
                break
        assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nConnection: close\r\n" in answer, answer[:200]
        while sent < 8000:
            steady.sendall(b"y" * 1000)
            sent += 1000
            time.sleep(0.25)
        assert steady.recv(100).startswith(b"HTTP/1.1 200 ")
    counted(daemon, "OBJM.limit.slow_bodies")
    logged(daemon, "Error", "the request's body did not come in time")


@case("-p", "idle_send_timeout=1", "-p", "send_timeout=600")
def slow_readers(daemon, _):
    """Who takes no byte for idle_send_timeout is cut."""
    path = bodies.path_of("big", 8000000)
    expect(path, get(daemon.address, path))
    socks = [raw(daemon.address, rcvbuf=4096) for _ in range(20)]
    for sock in socks:
        sock.sendall(request(path))
    counted(daemon, "OBJM.limit.slow_readers", 20)
    logged(daemon, "Error", "the response was not taken in time", 20)
    logged(daemon, "SessClose", "TX_ERROR", 20)
    for sock in socks:
        assert len(drain(sock)) < 8000000
    # Slowly is not "not at all", as long as the whole is done in send_timeout.
    daemon.cli_ok("param.set", "send_timeout", "2")
    with raw(daemon.address, rcvbuf=4096) as sock:
        sock.sendall(request(path))
        end = time.monotonic() + 20
        try:
            while sock.recv(4096) and time.monotonic() < end:
                time.sleep(0.02)
        except ConnectionResetError:
            pass
        assert time.monotonic() < end, "send_timeout did not end it"
    counted(daemon, "OBJM.limit.slow_readers", 21)


# ---- descriptors ----

@case("-p", "fd_reserve=60", "-p", "timeout_req=60", "-p", "loops=1", prefix=("prlimit", "--nofile=256:256"))
def descriptors(daemon, _):
    """More connections at work than descriptors: accepting pauses, fetches still get theirs, and it goes on when some are closed."""
    early = []
    for i in range(20):
        early.append((bodies.path_of(f"f{i}", 300000), raw(daemon.address)))
        early[-1][1].sendall(request(early[-1][0])[:-2])
    # At work, as far as anybody can tell.
    socks = [raw(daemon.address) for _ in range(300)]
    for sock in socks:
        sock.sendall(b"GET / HTTP/1.1\r\n")
    counted(daemon, "MAIN.sess_fail_emfile")
    counted(daemon, "OBJM.limit.accept")
    logged(daemon, "Error", "accepting pauses: no descriptors left")
    # A miss needs a connection to the backend, and a body of its own file: from the reserve.
    for path, sock in early:
        sock.sendall(b"\r\n")
        with Client(daemon.address) as client:
            client.sock.close()
            client.sock = sock
            expect(path, client.response())
    # Not a spin: a pause is counted once for each time it begins.
    assert daemon.counter("OBJM.limit.accept") < 50
    waiting = raw(daemon.address)
    path = bodies.path_of("f", 10)
    waiting.sendall(request(path))
    for sock in socks:
        sock.close()
    assert waiting.recv(100).startswith(b"HTTP/1.1 200 ")
    waiting.close()
    logged(daemon, "Error", "accepting goes on")


@case("-p", "fd_reserve=60", "-p", "timeout_idle=600", "-p", "loops=1", prefix=("prlimit", "--nofile=256:256"))
def idle_give_way(daemon, _):
    """Idle connections hold all descriptors: those that were idle for longest are closed, and newcomers are served."""
    path = bodies.path_of("i", 10)
    with Client(daemon.address) as newest:
        socks = [raw(daemon.address) for _ in range(150)]
        counted(daemon, "MAIN.sess_conn", 152)
        expect(path, newest.get(path))
        socks += [raw(daemon.address) for _ in range(150)]
        for _ in range(20):
            expect(path, get(daemon.address, path, timeout=20))
        closed = counted(daemon, "OBJM.limit.idle", 100)
        logged(daemon, "SessClose", "OVERLOAD", 100)
        assert closed < 290, f"{closed} were closed"
        # In the order in which they became idle: the client that was served between the two crowds outlived the first.
        gone = [bool(select.select([s], [], [], 0)[0]) for s in socks]
        assert all(gone[:100]) and not all(gone), gone
        assert gone == sorted(gone, reverse=True), gone
        assert all(gone[:150]) or not select.select([newest.sock], [], [], 0)[0]
        for sock in socks:
            sock.close()


@case()
def descriptors_injected(daemon, _):
    """accept() says EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED: nobody is lost who waits in the queue."""
    path = bodies.path_of("e", 10)
    get(daemon.address, path)
    for error, name in (("EMFILE", "sess_fail_emfile"), ("ENFILE", "sess_fail_emfile"), ("ENOMEM", "sess_fail_enomem"), ("ENOBUFS", "sess_fail_enomem"),
                        ("ECONNABORTED", None), ("EINTR", None), ("EPROTO", None)):
        before = daemon.counter(f"MAIN.{name}")
        with Strace(daemon.worker_pid(), "trace=accept4", f"inject=accept4:error={error}:when=1+3") as strace:
            for _ in range(6):
                expect(path, get(daemon.address, path, timeout=20))
            until("faults", lambda s=strace: s.injected() >= 2)
        if name:
            assert daemon.wait_counter(f"MAIN.{name}", lambda v, b=before: v > b) > before, error
    logged(daemon, "Error", "accepting pauses")


# ---- too much at once ----

@case("-p", "max_requests=20", "-p", "loops=1")
def requests(daemon, origin):
    """More connections at work than max_requests: the newest get 503 with Retry-After at once, those at work are finished."""
    path = bodies.path_of("r", 100)
    get(daemon.address, path)
    origin.gate.clear()
    busy = [raw(daemon.address) for _ in range(20)]
    for i, sock in enumerate(busy):
        sock.sendall(request(bodies.path_of(f"r{i}", 100)))
    until("requests at the origin", lambda: origin.total >= 21)
    for _ in range(10):
        with raw(daemon.address) as sock:
            sock.sendall(request(path))
            data = drain(sock)
            assert is_shed(data), data[:200]
    # Who sent a body with it sees the answer too.
    with raw(daemon.address) as sock:
        sock.sendall(request(path, "POST", "Content-Length: 20000") + b"x" * 20000)
        assert is_shed(drain(sock))
    counted(daemon, "OBJM.limit.requests", 11)
    counted(daemon, "MAIN.sess_dropped", 11)
    counted(daemon, "MAIN.sc_overload", 11)
    logged(daemon, "Error", "answered 503: max_requests are being served", 11)
    logged(daemon, "SessClose", "OVERLOAD", 11)
    origin.gate.set()
    for i, sock in enumerate(busy):
        data = sock.recv(100)
        assert data.startswith(b"HTTP/1.1 200 "), data
        sock.close()
    until("served again", lambda: get(daemon.address, path).status == 200)


@case("-p", "max_fibers=64", "-p", "max_requests=1000", "-p", "loops=1", "-p", "backend_idle_timeout=1")
def fibers(daemon, origin):
    """No fiber left: the same."""
    path = bodies.path_of("r", 100)
    get(daemon.address, path)
    origin.gate.clear()
    busy = [raw(daemon.address) for _ in range(80)]
    for i, sock in enumerate(busy):
        sock.sendall(request(bodies.path_of(f"r{i}", 100)))
    counted(daemon, "OBJM.limit.fibers", 10)
    logged(daemon, "Error", "answered 503: no fiber is left", 10)
    shed = [s for s in busy if select.select([s], [], [], 0)[0]]
    assert len(shed) >= 10
    for sock in shed:
        assert is_shed(drain(sock))
    origin.gate.set()
    for sock in busy:
        if sock not in shed:
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        sock.close()


@case("-p", "loops=1")
def memory(daemon, origin):
    """More memory in use than memory_max: the newest are shed, and served again when the limit is no longer met."""
    path = bodies.path_of("r", 100)
    get(daemon.address, path)
    daemon.cli_ok("param.set", "memory_max", "1m")
    until("shed", lambda: get(daemon.address, path).status == 503)
    with raw(daemon.address) as sock:
        sock.sendall(request(path))
        assert is_shed(drain(sock))
    counted(daemon, "OBJM.limit.memory", 2)
    logged(daemon, "Error", "answered 503: more than memory_max is in use", 2)
    daemon.cli_ok("param.set", "memory_max", "100g")
    until("served", lambda: get(daemon.address, path).status == 200)
    daemon.cli_ok("param.set", "memory_max", "0")
    expect(path, get(daemon.address, path))


@case("-p", "backend_wait_limit=5", "-p", "backend_wait_timeout=30")
def backend_connections(daemon, origin):
    """All connections to a backend in use: so many fetches wait their turn, for so long; the rest get 503 at once."""
    vcl = f'vcl 4.1; backend b {{ .host = "{origin.host}"; .port = "{origin.port}"; .max_connections = 2; }} sub vcl_recv {{ return (pass); }}'
    daemon.cli_ok("vcl.inline", "two", json.dumps(vcl))
    daemon.cli_ok("vcl.use", "two")
    origin.gate.clear()
    paths = [bodies.path_of(f"q{i}", 100) for i in range(12)]
    before = origin.total
    socks = crowd(daemon.address, lambda i: paths[i], 2)
    until("two are at work", lambda: origin.total - before == 2)
    socks += crowd(daemon.address, lambda i: paths[2 + i], 10)
    assert counted(daemon, "VBE.two.b.busy", 5) == 5
    assert counted(daemon, "MAIN.backend_busy", 5) == 5
    logged(daemon, "FetchError", "backend b: busy", 5)
    until("five are answered", lambda: len(select.select(socks, [], [], 0)[0]) == 5)
    shed = select.select(socks, [], [], 0)[0]
    assert origin.total - before == 2, origin.total - before
    assert all_answered(shed, 5) == {503: 5}
    origin.gate.set()
    assert all_answered([s for s in socks if s not in shed], 20) == {200: 7}
    assert counted(daemon, "OBJM.backend.wait", 5) == 5
    # Who waits in vain is told so.
    daemon.cli_ok("param.set", "backend_wait_timeout", "0.2")
    origin.gate.clear()
    before = origin.total
    socks = crowd(daemon.address, lambda i: paths[i], 2)
    until("two are at work", lambda: origin.total - before == 2)
    late = crowd(daemon.address, lambda i: paths[i], 3)
    assert all_answered(late, 20) == {503: 3}
    assert counted(daemon, "OBJM.backend.wait_fail", 3) == 3
    origin.gate.set()
    assert all_answered(socks, 20) == {200: 2}
    daemon.cli_ok("vcl.use", "boot")


# ---- storms ----

class Failing(Server):
    """A backend that takes connections, reads a request, and after a moment closes without an answer.  Counts."""

    def __init__(self):
        self.requests = 0
        self.gate = threading.Event()
        super().__init__(backlog=4096)

    def serve(self, conn):
        if conn.recv(65536):
            with self.lock:
                self.requests += 1
            self.gate.wait()

    def close(self):
        self.gate.set()
        super().close()


def crowd(address, path_of, n):
    """n clients, each with its request sent."""
    socks = []
    for i in range(n):
        sock = raw(address)
        sock.sendall(request(path_of(i)))
        socks.append(sock)
    return socks


def all_answered(socks, seconds):
    """Answers of the whole crowd, by status; none may still wait after that time."""
    end = time.monotonic() + seconds
    found = {}
    for sock in socks:
        sock.settimeout(max(end - time.monotonic(), 0.01))
        data = sock.recv(65536)
        status = int(data[9:12]) if data.startswith(b"HTTP/1.1 ") else data[:20]
        found[status] = found.get(status, 0) + 1
        if status == 503:
            assert b"\r\nRetry-After: " in data, data[:300]
        sock.close()
    return found


@case("-p", "first_byte_timeout=30", "-p", "loops=2")
def storm_on_one_object(daemon, origin):
    """All wait for one object, whose fetch fails: the backend sees the fetch and one more, not everybody's."""
    failing = Failing()
    try:
        with Daemon(daemon.argv[daemon.argv.index("-F") - 1], "%s:%d" % failing.address, ["-p", "loops=2"]) as target:
            socks = crowd(target.address, lambda i: "/one", CLIENTS)
            until("all were read", lambda: target.counter("MAIN.s_sess") >= CLIENTS)
            time.sleep(0.3)
            failing.gate.set()
            found = all_answered(socks, 20)
            assert found == {503: CLIENTS}, found
            assert failing.requests <= 4, f"{failing.requests} requests for one object reached the backend"
            counted(target, "MAIN.fetch_failed")
            logged(target, "FetchError", "HTC eof")
            print(f"limits: {CLIENTS} clients on one object, fetch fails: {failing.requests} requests at the backend")
            assert target.counter("MGT.child_died") == 0
    finally:
        failing.close()


# What is done with the error: it is kept for a second, as Varnish does; or there is none that could be kept.
POLICIES = {"kept": "", "abandoned": "sub vcl_backend_error { return (abandon); }"}


@case()
def waiters(daemon, _):
    """Of those who wait for a fetch that fails waiter_retries try again, one after the other; the rest get 503, counted and told."""
    waiting = 60
    for policy, sub in POLICIES.items():
        for retries in (0, 1, 3):
            failing = Failing()
            try:
                host, port = failing.address
                vcl = f'vcl 4.1; backend b {{ .host = "{host}"; .port = "{port}"; }} {sub}'
                daemon.cli_ok("vcl.inline", f"{policy}{retries}", json.dumps(vcl))
                daemon.cli_ok("vcl.use", f"{policy}{retries}")
                daemon.cli_ok("param.set", "waiter_retries", str(retries))
                before = daemon.counters()
                socks = crowd(daemon.address, lambda i: f"/{policy}/{retries}", waiting + 1)
                until("all but one wait", lambda: daemon.counter("MAIN.busy_sleep") - before["MAIN.busy_sleep"] == waiting)
                failing.gate.set()
                found = all_answered(socks, 20)
                assert found == {503: waiting + 1}, found
                assert failing.requests == retries + 1, f"{policy}: {failing.requests} requests with waiter_retries={retries}"
                refused = before["OBJM.limit.waiters"] + waiting - retries
                assert counted(daemon, "OBJM.limit.waiters", refused) == refused
            finally:
                failing.close()
    logged(daemon, "Error", "the fetches that it waited for failed", 6 * waiting - 8)
    daemon.cli_ok("vcl.use", "boot")


@case("-p", "backend_remote_error_holddown=0.25")
def storm_on_many_objects(daemon, origin):
    """Each wants another object of a backend that refuses connections: a handful are tried, not everybody's."""
    path = bodies.path_of("s", 10)
    get(daemon.address, path)
    origin.close()
    began = time.monotonic()
    assert get(daemon.address, bodies.path_of("first", 10)).status == 503
    socks = crowd(daemon.address, lambda i: bodies.path_of(f"s{i}", 10), CLIENTS)
    found = all_answered(socks, 30)
    took = time.monotonic() - began
    assert found == {503: CLIENTS}, found
    tried = daemon.counter("VBE.boot.default.fail_econnrefused")
    held = counted(daemon, "VBE.boot.default.helddown", 1)
    print(f"limits: {CLIENTS} clients on as many objects, backend down for {took:.1f} s: {tried} connections tried, {held} held down")
    # One for each time that the holddown ended.
    assert 1 <= tried <= took / 0.25 + 2, f"{tried} connections were tried in {took:.1f} s"
    assert held >= CLIENTS / 2
    logged(daemon, "FetchError", "Connection refused", 10)
    # What is stored is served all the while.
    expect(path, get(daemon.address, path))
    origin.reopen()
    back = bodies.path_of("back", 10)
    until("the backend is used again", lambda: get(daemon.address, back).status == 200)


@case("-p", "default_grace=3600")
def storm_on_a_stale_object(daemon, origin):
    """The backend is down, and what is in grace is wanted by all: everybody gets it, and the backend sees no crowd."""
    path = bodies.path_of("g", 1000, "max-age=1")
    get(daemon.address, path)
    time.sleep(1.2)
    origin.close()
    assert get(daemon.address, bodies.path_of("first", 10)).status == 503
    socks = crowd(daemon.address, lambda i: path, CLIENTS // 2)
    assert all_answered(socks, 30) == {200: CLIENTS // 2}
    tried = daemon.counter("VBE.boot.default.fail_econnrefused")
    assert tried <= CLIENTS // 20, f"{tried} connections were tried"
    origin.reopen()
    back = bodies.path_of("back", 10)
    until("the backend is used again", lambda: get(daemon.address, back).status == 200)


# ---- system calls that do less than they could ----

def work(daemon, seed, rounds=12):
    """Misses, hits, passes with bodies, small and large, on both lanes; each byte checked."""
    for i in range(rounds):
        with Client(daemon.address, timeout=30) as client:
            for size in (0, 100, 70000, 1500000):
                path = bodies.path_of(f"{seed}{i}", size)
                expect(path, client.get(path))
                expect(path, client.get(path))
            client.send(request(bodies.path_of("p", 10), "POST", "Content-Length: 50000") + b"p" * 50000)
            expect(bodies.path_of("p", 10), client.response())


@case()
def interrupted(daemon, _):
    """EINTR from every call that moves bytes or waits: nobody notices."""
    # Not epoll_wait, which idle loops are in when strace lets go of them: a call that is changed in that moment says ENOSYS.
    calls = "sendmsg,sendto,recvfrom,sendfile,accept4,connect,read,write,ftruncate,fallocate"
    work(daemon, "x", 1)
    with Strace(daemon.worker_pid(), f"trace={calls}", *[f"inject={c}:error=EINTR:when=2+3" for c in calls.split(",")
                                                         if c not in ("read", "write", "connect", "ftruncate")]) as strace:
        work(daemon, "i", 4)
        assert strace.injected() > 50


@case("-p", "lane_fd_min_tcp=64k")
def out_of_memory_in_the_kernel(daemon, _):
    """ENOMEM and ENOBUFS from sockets and mappings now and then: a connection may be cut, a byte is never wrong."""
    path = bodies.path_of("m", 70000)
    expect(path, get(daemon.address, path))
    pid = daemon.worker_pid()
    with Strace(pid, "trace=sendmsg,sendto,fallocate,memfd_create,socket",
                "inject=sendmsg:error=ENOBUFS:when=5+7", "inject=sendto:error=ENOBUFS:when=5+7", "inject=fallocate:error=ENOSPC:when=2+3",
                "inject=memfd_create:error=EMFILE:when=1+2", "inject=socket:error=ENOBUFS:when=2+3") as strace:
        served = 0
        for i in range(120):
            one = bodies.path_of(f"m{i % 60}", (0, 100, 70000, 1500000)[i % 4])
            try:
                resp = get(daemon.address, one, timeout=20)
            except (Cut, OSError):
                continue
            assert resp.status in (200, 503), resp.status
            if resp.status == 200:
                expect(one, resp)
                served += 1
        assert strace.injected() > 20
        assert served > 10, served
    assert daemon.worker_pid() == pid


@case()
def command_line_out_of_memory(daemon, _):
    """ENOMEM and ENOBUFS on the way between manager and worker: commands are answered, and nobody ends."""
    worker = daemon.worker_pid()
    for pid, calls in ((worker, "recvfrom,sendto"), (daemon.proc.pid, "recvfrom,sendto,poll")):
        errors = {"sendto": "ENOBUFS"}
        # They are over before strace detaches: a call that is being failed just then would fail with ENOSYS.
        with Strace(pid, f"trace={calls}", *[f"inject={c}:error={errors.get(c, 'ENOMEM')}:when=3..23+4" for c in calls.split(",")]) as strace:
            for i in range(8):
                daemon.cli_ok("ban", "req.url", "==", f"/{i}/{'x' * 3000}")
                assert f"/{i}/" in daemon.cli_ok("ban.list")
            assert strace.injected() > 8, strace.injected()
        assert daemon.worker_pid() == worker
    path = os.path.join(daemon.dir, "small.vcl")
    with open(path, "w", encoding="ascii") as f:
        f.write("vcl 4.1; backend none none;")
    os.chmod(path, 0o644)
    # Each wait of the manager that belongs to a vcl.load, that for the compiler among them.
    for nth in range(1, 11):
        with Strace(daemon.proc.pid, "trace=poll", f"inject=poll:error=ENOMEM:when={nth}") as strace:
            daemon.cli_ok("vcl.load", f"small_{nth}", path)
            until("a wait failed", lambda s=strace: s.injected() == 1)
        assert daemon.proc.poll() is None, daemon.output()
    assert daemon.worker_pid() == worker


# ---- what is seen of others' faults ----

@case("-p", "first_byte_timeout=0.3", "-p", "between_bytes_timeout=0.3", "-p", "loops=1")
def slow_backend(daemon, _):
    """The records of a backend that is slow to answer, or stops in mid-body."""
    assert get(daemon.address, bodies.path_of("d", 100, "delay=900")).status == 503
    try:
        get(daemon.address, bodies.path_of("d", 100000, "stall=900"))
        raise AssertionError("a body that stopped looked whole")
    except Cut:
        pass
    logged(daemon, "FetchError", "first byte timeout")
    logged(daemon, "FetchError", "between bytes timeout")
    counted(daemon, "MAIN.fetch_failed", 2)


@case()
def nonsense_backend(daemon, _):
    """The records of responses that make no sense."""
    replies = {b"/n1": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"/n2": b"HELLO\r\n\r\n"}
    recorder = Recorder(lambda msg: (replies[msg.start[1]], True))
    with Daemon(daemon.argv[daemon.argv.index("-F") - 1], f"{recorder.host}:{recorder.port}") as target:
        for path in replies:
            assert get(target.address, path.decode()).status == 503
        logged(target, "FetchError", "http format error", 2)
        counted(target, "MAIN.fetch_failed", 2)
    recorder.close()


@case("-s", "malloc,8m")
def no_room(daemon, _):
    """The records of a body that is larger than the store."""
    path = bodies.path_of("huge", 30000000, "chunked")
    expect(path, get(daemon.address, path, timeout=60))
    logged(daemon, "FetchError", "Could not get storage")
    counted(daemon, "OBJM.storage.relayed")
    counted(daemon, "MAIN.n_lru_limited")


@case("-p", "stall_limit=0.2", "-p", "loops=1")
def stalled_loop(daemon, _):
    """A system call that blocks (here: one that is held up) is named, with the fiber that made it."""
    path = bodies.path_of("st", 100)
    get(daemon.address, path)
    with Strace(daemon.worker_pid(), "trace=sendmsg,sendto", "inject=sendmsg,sendto:delay_enter=800000:when=1"):
        expect(path, get(daemon.address, path))
    logged(daemon, "Error", "h1 held it for")


# ---- the frame ----

def run(name, path):
    fn, args, prefix = CASES[name]
    origin = Origin()
    began = time.monotonic()
    daemon = None
    try:
        daemon = Daemon(path, f"{origin.host}:{origin.port}", args, prefix=prefix)
        pid = daemon.worker_pid()
        get(daemon.address, bodies.path_of("before", 10))
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        fn(daemon, origin)
        aftermath(daemon, origin, pid, fds)
        status = daemon.close()
        assert status == 0, f"the daemon ended with {status}"
        print(f"limits: {name}: passed ({time.monotonic() - began:.1f} s)", flush=True)
        return 0
    except Skip as e:
        print(f"limits: {name}: skipped: {e}")
        return 77
    except Exception:       # a case may fail in any way; the next one is run all the same
        traceback.print_exc()
        print(f"limits: {name}: FAILED ({time.monotonic() - began:.1f} s)", flush=True)
        if daemon and daemon.proc.poll() is None:
            print(daemon.cli("panic.show")[1][:3000])
            print(daemon.output())
        return 1
    finally:
        origin.gate.set()
        if daemon and daemon.proc.poll() is None:
            daemon.close()
        origin.close()


def main():
    global CLIENTS
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--clients", type=int, default=CLIENTS, help="of the storms")
    ap.add_argument("cases", nargs="*", metavar="CASE", help="of: " + " ".join(CASES))
    args = ap.parse_args()
    CLIENTS = args.clients
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * CLIENTS + 4096)), hard))
    results = [run(name, os.path.abspath(args.daemon)) for name in args.cases or CASES]
    return 1 if 1 in results else 77 if results == [77] else 0


if __name__ == "__main__":
    sys.exit(main())
