#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What has broken HTTP caches, one case each; docs/attacks.md says which advisory or class of attack a case stands for.

    attacks.py --daemon build/bin/objmapperd [--mode strict] [CASE...]

The origin is one that tolerates nothing (recorder.py); a case may tell it what to answer.  After all cases it is still the same
worker, and the origin has read nothing but canonical requests.
"""
import argparse
import hashlib
import json
import os
import re
import signal
import socket
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm.daemon import Daemon                          # noqa: E402
from objm.recorder import Recorder                      # noqa: E402
from objm.strict import Reader                          # noqa: E402

CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


class Peer:
    """The daemon and its origin, as a case sees them."""

    def __init__(self, path, options):
        self.replies = {}
        self.recorder = Recorder(self._reply)
        self.daemon = Daemon(path, f"{self.recorder.host}:{self.recorder.port}", options)
        self.pid = self.daemon.worker_pid()

    def _reply(self, msg):
        return self.replies.get(msg.start[1])

    def answers(self, path, head, body=b"", ends=False):
        """From now on the origin answers so; "LEN" in the head stands for the body's length."""
        data = head.replace(b"\n", b"\r\n").replace(b"LEN", b"%d" % len(body)) + b"\r\n\r\n" + body
        self.replies[path] = data, ends

    def arrived(self, key):
        with self.recorder.lock:
            return list(self.recorder.arrived[key])

    def send(self, data):
        """All that is answered until the end."""
        with socket.socket() as sock:
            sock.settimeout(20)
            sock.connect(self.daemon.address)
            parts = []
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            try:
                while piece := sock.recv(262144):
                    parts.append(piece)
            except ConnectionResetError:
                pass
            return b"".join(parts)

    def ask(self, *requests, methods=None):
        """Responses to requests on one connection, each read without tolerance."""
        reader = Reader(self.send(b"".join(requests)))
        found = []
        for i, _ in enumerate(requests):
            msg = reader.response(methods[i] if methods else b"GET")
            if msg is None:
                break
            found.append(msg)
        assert reader.at == len(reader.data), f"more was answered: {reader.data[reader.at:][:200]!r}"
        return found


def request(target, *lines, method=b"GET", body=b"", host=b"h.example"):
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: " + host, *lines, b"", b""]) + body


def status(msg):
    return int(msg.start[0])


EVIL = request(b"/evil/e1")


# ---- Varnish's own advisories ----

@case
def chunk_size_huge(peer):
    """2017: a huge chunk size asserted."""
    for size in (b"ffffffffffffffff", b"fffffffffffffffff", b"7fffffffffffffff", b"8000000000000000", b"fffffffffffffff0", b"00000000000000000001"):
        for method in (b"POST", b"GET"):
            data = peer.send(request(b"/c/c1", b"Transfer-Encoding: chunked", method=method) + size + b"\r\nx\r\n0\r\n\r\n" + EVIL)
            assert data.count(b"HTTP/1.1 ") <= 1, data[:300]
    assert not peer.arrived(b"e1")


@case
def error_on_kept_connection(peer):
    """2019: a parse error on a connection that had been kept alive asserted."""
    for rubbish in (b"\x00" * 9, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nA\r\n\r\n", b"\r\n\r\n\x01", b"GET / HTTP/9.9\r\n\r\n", b":\r\n\r\n", b"X" * 70000):
        found = peer.ask(request(b"/k/k1"), request(b"/k/k1"), rubbish)
        assert [status(m) for m in found[:2]] == [200, 200], found
        assert len(found) == 2 or 400 <= status(found[2]) < 500 and found[2].one(b"Connection") == b"close"


@case
def nothing_left_of_the_last_request(peer):
    """2019: memory of one request showed in the next one of the connection."""
    secret = b"s3cr3t"
    first = request(b"/l/l1?" + secret * 40, b"Cookie: " + secret * 50, b"Authorization: " + secret, b"X-Odd: " + secret * 99, method=b"POST",
                    body=b"", ).replace(b"\r\n\r\n", b"\r\nContent-Length: 600\r\n\r\n") + secret * 100
    for second in (request(b"/l/l2"), request(b"/l/l2", method=b"POST"), b"GET /l/l2 HTTP/1.1\r\n\r\n", b"GET /l/l2\x01 HTTP/1.1\r\n\r\n"):
        data = peer.send(first + second)
        assert data.startswith(b"HTTP/1.1 200"), data[:80]
        assert secret not in data, "the first request's text in an answer"
    for msg in peer.arrived(b"l2"):
        assert not any(secret in v or secret in n for n, v in msg.fields) and secret not in msg.body


@case
def unread_body_is_no_request(peer):
    """2022 and 2025: the body of a request that was refused, or answered without reading it, is never taken for the next one."""
    inner = b"Content-Length: %d" % len(EVIL)
    for lines in ([b"Host: h.example", inner], [b"Host: other.example", inner], [inner, inner], [b"Content-Length: 0", inner],
                  [inner, b"Expect: 200-maybe"], [inner, b"Foo : bar"], [inner, b"Foo: \x01"], [inner, b"Connection: host"]):
        data = peer.send(request(b"/u/u1", *lines, method=b"POST", body=EVIL))
        assert re.match(rb"HTTP/1\.1 4\d\d ", data) and data.count(b"HTTP/1.1 ") == 1, (lines, data[:300])
        assert b"\r\nConnection: close\r\n" in data
    peer.answers(b"/u/u2", b"HTTP/1.1 403 No\nContent-Length: LEN")
    for method in (b"POST", b"PUT", b"GET", b"DELETE"):
        found = peer.ask(request(b"/u/u2", inner, method=method, body=EVIL), request(b"/u/u3"))
        assert [status(m) for m in found] == [403, 200], [status(m) for m in found]
    assert not peer.arrived(b"e1"), "a body was taken for a request"


@case
def reason_phrases(peer):
    """2022: a backend's reason phrase asserted."""
    for i, reason in enumerate((b"", b" ", b" \xff\xfe", b" " + b"x" * 4000, b" a\tb", b" %s%n%p", b" \"';<!--")):
        path = b"/p/p%d" % (i + 10)
        peer.answers(path, b"HTTP/1.1 200" + reason + b"\nContent-Length: LEN", b"ok")
        for line in ((), (b"Cookie: a=b",)):
            found = peer.ask(request(path, *line))
            assert status(found[0]) == 200 and found[0].body == b"ok", found[0].start
    for i, reason in enumerate((b" a\0b", b" a\x1bb", b" a\rb", b" \x7f")):
        path = b"/p/p%d" % (i + 50)
        peer.answers(path, b"HTTP/1.1 200" + reason + b"\nContent-Length: LEN", b"ok")
        assert status(peer.ask(request(path))[0]) == 503


@case
def connection_names_what_is_not_its(peer):
    """2022: Connection listed Host or Content-Length, which were then left out."""
    for name in (b"Host", b"Content-Length", b"Cookie", b"Authorization", b"host ,close", b"Content-Type", b"X-Forwarded-For"):
        data = peer.send(request(b"/n/n1", b"Connection: " + name, b"Content-Length: 3", b"Cookie: a", b"Authorization: b", method=b"POST", body=b"abc"))
        for msg in peer.arrived(b"n1"):
            assert msg.one(b"Host") == b"h.example" and msg.body == b"abc" and msg.one(b"Cookie") == b"a", msg.fields
        assert data.count(b"HTTP/1.1 ") == 1


@case
def preface_of_http2(peer):
    """HTTP/2 is not spoken: its preface is refused, and its frames are no requests."""
    data = peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + EVIL)
    assert re.match(rb"HTTP/1\.1 4\d\d ", data) and data.count(b"HTTP/1.1 ") == 1, data[:200]
    data = peer.send(request(b"/h/h1", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"))
    assert data.startswith(b"HTTP/1.1 200 ") and b"101" not in data[:20]
    assert not any(m.one(b"HTTP2-Settings") or m.one(b"Upgrade") for m in peer.arrived(b"h1"))


@case
def absolute_form(peer):
    """2026: an absolute URI with an empty path."""
    for target, want in ((b"http://h.example", b"/"), (b"http://h.example?a1", b"/?a1"), (b"HTTP://h.example/", b"/"),
                         (b"http://h.example#a1", None), (b"http://", None), (b"http://?", None), (b"http:///", None), (b"http://@", None)):
        with peer.recorder.lock:
            peer.recorder.arrived.clear()
        data = peer.send(request(target, b"Cookie: a=b", host=b"x.example"))
        came = [m for ms in list(peer.recorder.arrived.values()) for m in ms]
        for msg in came:
            assert msg.start[1].startswith(b"/") and msg.one(b"Host") == b"h.example", (target, msg.start, msg.fields)
        if want is not None:
            assert [m.start[1] for m in came] == [want], (target, came and came[0].start)
        assert data.startswith(b"HTTP/1.1 "), data[:80]


@case
def pipelined_up_to_the_limits(peer):
    """2026: pipelining overflowed the workspace."""
    peer.ask(request(b"/w/w1"))
    for size in (7000, 8150, 8180, 8192, 8200):
        one = request(b"/w/w1", b"X-Pad: " + b"p" * (size - 7))
        found = peer.ask(*[one] * 40)
        if size <= 8180:
            assert [status(m) for m in found] == [200] * 40, (size, [status(m) for m in found])
        else:
            assert 400 <= status(found[-1]) or len(found) == 40
    pad = [b"X-Pad%d: " % i + b"p" * 4000 for i in range(7)]
    found = peer.ask(*[request(b"/w/w1", *pad)] * 30)
    assert [status(m) for m in found] == [200] * 30


@case
def upper_case_hosts(peer):
    """2026: overflow where letters are made lower case."""
    for size in (1, 255, 256, 1000, 4095, 4096, 8000, 8180):
        host = b"A" * size
        found = peer.ask(request(b"/o/o%d" % size, host=host), request(b"/o/o%d" % size, host=host.lower()))
        assert [status(m) for m in found] == [200, 200]
        assert [m.one(b"Host") for m in peer.arrived(b"o%d" % size)] == [host.lower()], "two names for one host, or a damaged one"


# ---- classes ----

@case
def expect_games(peer):
    """Expect: with a body that has come already, that never comes, that comes after a refusal; unknown ones; in HTTP/1.0."""
    found = peer.ask(request(b"/x/x1", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST", body=b"abc"), request(b"/x/x2"))
    assert [status(m) for m in found] == [200, 200] and peer.arrived(b"x1")[0].body == b"abc"
    assert peer.arrived(b"x1")[0].one(b"Expect") is None
    for value in (b"200-ok", b"100-continue, 100-continue", b"100-continue;a=b", b"x", b""):
        data = peer.send(request(b"/x/x3", b"Expect: " + value, b"Content-Length: %d" % len(EVIL), method=b"POST", body=EVIL))
        assert data.startswith(b"HTTP/1.1 417 ") and data.count(b"HTTP/1.1 ") == 1, (value, data[:100])
    # A hit answers without asking for the body: what comes then may be the body or not, so the connection ends.
    peer.ask(request(b"/x/x4"))
    found = peer.ask(request(b"/x/x4", b"Expect: 100-continue", b"Content-Length: %d" % len(EVIL)), EVIL)
    assert len(found) == 1 and status(found[0]) == 200
    assert not peer.arrived(b"x3") and not peer.arrived(b"e1")


@case
def upgrade_games(peer):
    """A request that asks for another protocol gets no tunnel through the cache by a 101 that nobody asked for."""
    peer.answers(b"/g/g1", b"HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade", ends=True)
    for lines in ((), (b"Cookie: a",), (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 777")):
        data = peer.send(request(b"/g/g1", *lines) + EVIL)
        assert data.startswith(b"HTTP/1.1 503 "), data[:80]
    assert all(m.one(b"Host") == b"h.example" for m in peer.arrived(b"e1"))


@case
def fat_get_does_not_poison(peer):
    """The body of a GET, which is in no key, never reaches the origin by way of the cache."""
    for lines, body in (([b"Content-Length: 9"], b"user=evil"), ([b"Transfer-Encoding: chunked"], b"9\r\nuser=evil\r\n0\r\n\r\n")):
        path = b"/f/f%d" % len(body)
        found = peer.ask(request(path, *lines, body=body), request(path))
        msgs = peer.arrived(path.rsplit(b"/")[-1])
        assert [status(m) for m in found] == [200, 200] and len(msgs) == 1
        assert not msgs[0].body and not msgs[0].all(b"Content-Length") and not msgs[0].all(b"Transfer-Encoding")
        assert found[0].body == found[1].body


@case
def head_does_not_poison(peer):
    """HEAD first: the origin is asked with GET, and the next GET gets the body."""
    peer.answers(b"/y/y1", b"HTTP/1.1 200 OK\nContent-Length: LEN", b"whole")
    found = peer.ask(request(b"/y/y1", method=b"HEAD"), request(b"/y/y1"), methods=[b"HEAD", b"GET"])
    assert found[0].one(b"Content-Length") == b"5" and found[1].body == b"whole"
    assert [m.start[0] for m in peer.arrived(b"y1")] == [b"GET"]


@case
def range_and_conditions_do_not_poison(peer):
    """What a fetch for the cache asks for is the whole, whoever asked for a part or on conditions."""
    peer.answers(b"/z/z1", b"HTTP/1.1 200 OK\nContent-Length: LEN\nETag: \"a\"", b"0123456789")
    for lines in ((b"Range: bytes=2-3",), (b"Range: bytes=5-2",), (b"If-None-Match: \"nope\"",), (b"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",),
                  (b"If-Match: \"nope\"",), (b"If-Range: \"nope\"", b"Range: bytes=0-0")):
        peer.ask(request(b"/z/z1", *lines))
    assert peer.ask(request(b"/z/z1"))[0].body == b"0123456789"
    for msg in peer.arrived(b"z1"):
        for name in (b"Range", b"If-None-Match", b"If-Modified-Since", b"If-Match", b"If-Range"):
            assert msg.one(name) is None, (name, msg.fields)


@case
def unasked_304_and_206_are_not_kept(peer):
    """A 304 or 206 from the origin to a plain request is no object; odd fields in it change none."""
    for i, head in enumerate((b"HTTP/1.1 304 Not Modified\nCache-Control: max-age=9999\nContent-Length: 5\nX-Evil: 1",
                              b"HTTP/1.1 206 Partial Content\nCache-Control: max-age=9999\nContent-Range: bytes 0-1/10\nContent-Length: LEN")):
        path = b"/m/m%d" % (i + 1)
        peer.answers(path, head, b"01" if i else b"")
        peer.ask(request(path))
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN", b"0123456789")
        found = peer.ask(request(path))
        assert status(found[0]) == 200 and found[0].body == b"0123456789" and not found[0].one(b"X-Evil"), (status(found[0]), found[0].body)


@case
def vary_games(peer):
    """Vary by everything, by nothing that is a name, by more than fits: never the wrong variant, never a crash."""
    for i, vary in enumerate((b"*", b"X-V, *", b",,,", b"X-V" + b", X-V" * 500, b", ".join(b"X-%d" % n for n in range(400)), b"X-V;q=1", b"\"X-V\"")):
        path = b"/v/v%d" % (i + 1)
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN\nVary: " + vary, b"for a")
        found = peer.ask(request(path, b"X-V: a"), request(path, b"X-V: a"))
        assert all(m.body == b"for a" for m in found if status(m) == 200)
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN\nVary: " + vary, b"for b")
        if b"X-V," in vary or vary.startswith(b"*"):
            found = peer.ask(request(path, b"X-V: b"))
            assert status(found[0]) == 503 or found[0].body == b"for b", (vary[:40], found[0].body)
    peer.answers(b"/v/v90", b"HTTP/1.1 200 OK\nContent-Length: LEN\nVary: X-V", b"fits")
    for size in (0, 1, 255, 256, 1000, 8000):
        found = peer.ask(*[request(b"/v/v90", b"X-V: " + b"x" * size)] * 2)
        assert all(m.body == b"fits" for m in found)


UNKEYED = (b"X-Forwarded-Host", b"X-Forwarded-Scheme", b"Forwarded", b"X-Original-URL", b"X-Rewrite-URL", b"X-HTTP-Method-Override", b"X-Host")


@case
def unkeyed_fields(peer):
    """Poisoning by fields that are in no key: what the built-in policy leaves to the origin, and the two ways to mend it."""
    for i, name in enumerate(UNKEYED):
        evil = name + b": evil.example"
        # Nobody mends it: the origin gets the field, and what it makes of it is for all.
        path, key = b"/keys/ka%d" % i, b"ka%d" % i
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN", b"evil")
        assert peer.ask(request(path, evil))[0].body == b"evil"
        assert peer.arrived(key)[0].one(name) == b"evil.example", name
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN", b"good")
        assert peer.ask(request(path))[0].body == b"evil", name
        # The origin says that it looks at the field.
        path = b"/keys/kb%d" % i
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN\nVary: " + name, b"evil")
        assert peer.ask(request(path, evil))[0].body == b"evil"
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN\nVary: " + name, b"good")
        assert peer.ask(request(path))[0].body == b"good", name
        assert peer.ask(request(path, evil))[0].body == b"evil", name
    # The policy removes them.
    removes = "".join(f" unset req.http.{name.decode()};" for name in UNKEYED)
    vcl = f'vcl 4.1; backend b {{ .host = "{peer.recorder.host}"; .port = "{peer.recorder.port}"; }} sub vcl_recv {{{removes} }}'
    peer.daemon.cli_ok("vcl.inline", "removes", json.dumps(vcl))
    peer.daemon.cli_ok("vcl.use", "removes")
    try:
        for i, name in enumerate(UNKEYED):
            peer.answers(b"/keys/kc%d" % i, b"HTTP/1.1 200 OK\nContent-Length: LEN", b"good")
            assert peer.ask(request(b"/keys/kc%d" % i, name + b": evil.example"))[0].body == b"good"
            assert peer.arrived(b"kc%d" % i)[0].one(name) is None, name
    finally:
        peer.daemon.cli_ok("vcl.use", "boot")


@case
def hash_flooding(peer):
    """Hundreds of names that were chosen to come under one lock of the cache, and as many fields as a head may have: all are served."""
    paths, n = [], 0
    while len(paths) < 400:
        path = b"/flood/fl%d" % n
        digest = hashlib.sha256(path + b"\0h.example\0").digest()
        if int.from_bytes(digest[-2:], "little") % 1024 == 7:
            paths.append(path)
        n += 1
    for round_ in range(2):
        for at in range(0, len(paths), 100):
            found = peer.ask(*[request(path) for path in paths[at:at + 100]])
            assert [status(m) for m in found] == [200] * 100
    assert all(len(peer.arrived(path[7:])) == 1 for path in paths), "some were fetched twice"
    for name in (b"X-A", b"Cookie", b"Accept", b"Cache-Control", b"Via"):
        for values in ([b"%d" % i for i in range(55)], [b"a"] * 55, [b"," * 80] * 55):
            found = peer.ask(request(b"/flood/fm1", *[name + b": " + value for value in values]))
            assert status(found[0]) == 200, (name, found[0].start)


@case
def deception(peer):
    """Web cache deception: what was answered to somebody with a cookie or credentials is nobody else's."""
    for line in (b"Cookie: session=1", b"Authorization: Basic YTpi"):
        for path in (b"/account/d1.css", b"/account/d2%2fx.js", b"/account/..%2fd3.png", b"/account;d4.css", b"/account/d5%00.css", b"/account/d6%0a.css"):
            peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN\nCache-Control: max-age=60", b"private")
            assert peer.ask(request(path, line))[0].body == b"private"
            peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN\nCache-Control: no-store", b"public")
            assert peer.ask(request(path))[0].body == b"public", path
    peer.answers(b"/account/d9.css", b"HTTP/1.1 200 OK\nContent-Length: LEN\nSet-Cookie: s=1\nCache-Control: max-age=60", b"private")
    peer.ask(request(b"/account/d9.css"))
    peer.answers(b"/account/d9.css", b"HTTP/1.1 200 OK\nContent-Length: LEN", b"public")
    assert peer.ask(request(b"/account/d9.css"))[0].body == b"public"


@case
def keys_do_not_run_together(peer):
    """Host and URL of one request never make the key of another."""
    for i, (host, path) in enumerate(((b"a", b"/b/q1"), (b"a/b", b"/q1"), (b"a", b"//b/q1"), (b"a.b", b"/q1"), (b"ab", b"/q1"), (b"a:80", b"/b/q1"))):
        peer.answers(path, b"HTTP/1.1 200 OK\nContent-Length: LEN", b"%d" % i)
        found = peer.ask(request(path, host=host))
        assert status(found[0]) == 400 or found[0].body == b"%d" % i, (host, path, found[0].body)


@case
def response_splitting(peer):
    """Encoded line ends stay encoded, and a bare CR or LF in a backend's field makes no field of ours by itself."""
    found = peer.ask(request(b"/s/i1?x=%0d%0aSet-Cookie:%20evil=1"))
    assert peer.arrived(b"i1")[0].start[1] == b"/s/i1?x=%0d%0aSet-Cookie:%20evil=1"
    assert status(found[0]) == 200
    peer.answers(b"/s/i2", b"HTTP/1.1 200 OK\nLocation: /x\rSet-Cookie: evil=1\nContent-Length: LEN", b"ok")
    assert status(peer.ask(request(b"/s/i2"))[0]) == 503


@case
def leftovers_of_a_response(peer):
    """Bytes behind a response on a connection that could be used again are nobody's answer."""
    for kind in (b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"):
        path = b"/j/j%d" % len(kind)
        peer.replies[path] = b"HTTP/1.1 200 OK\r\n" + kind + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", False
        found = peer.ask(request(path, b"Cookie: a"), request(b"/j/j1", b"Cookie: a"), request(b"/j/j2"))
        assert [m.body for m in found][:1] == [b"ok"] and all(b"evil" not in m.body for m in found)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--mode", choices=("varnish", "strict"), default="varnish", help="strict: with http_strict=on")
    ap.add_argument("--list", action="store_true", help="print the names of the cases")
    ap.add_argument("cases", nargs="*", metavar="CASE")
    args = ap.parse_args()
    if args.list:
        print("\n".join(CASES))
        return 0
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    options = ["-p", "timeout_idle=2", "-p", "first_byte_timeout=5"] + (["-p", "http_strict=on"] if args.mode == "strict" else [])
    peer = Peer(os.path.abspath(args.daemon), options)
    failed = 0
    for name in args.cases or CASES:
        try:
            CASES[name](peer)
            assert not peer.recorder.faults, f"the origin read {peer.recorder.faults}"
            assert peer.daemon.worker_pid() == peer.pid, "the worker is another one"
            print(f"attacks: {name}: passed", flush=True)
        except Exception:       # a case may fail in any way; the next one is run all the same
            traceback.print_exc()
            print(f"attacks: {name}: FAILED", flush=True)
            peer.recorder.faults.clear()
            failed += 1
    died = peer.daemon.counter("MGT.child_died")
    if died:
        print(peer.daemon.cli("panic.show")[1][:3000])
    ended = peer.daemon.close()
    peer.recorder.close()
    return 1 if failed or died or ended else 0


if __name__ == "__main__":
    sys.exit(main())
