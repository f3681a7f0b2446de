# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Tables of odd requests and responses, part by part, and what is right for each.

A part is (bytes, verdict, ...).  OK: as the RFCs have it.  LOOSE: tolerated and normalised by default, refused with
http_strict=on.  BAD: refused, always.  BROKEN: the head is good and the body is not.  A message is as good as its worst part.
"""
import itertools
import random

OK, LOOSE, BROKEN, BAD = range(4)
HOST = b"h.example"
HELLO = b"hello, body"

# No method that would make a tunnel: behind it anything may follow, by definition.
METHODS = [(m, OK) for m in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")] + [
    (m, BAD) for m in (b"", b"G(T", b"GET\x00", b"\x00GET", b"POST\x0b", b"P\xd6ST", b"GET:", b"\x7fGET", b"GE\rT", b"\"GET\"")]

# target, verdict, target and host that arrive (None: as sent)
TARGETS = [(b"/d/ID", OK, None, None), (b"/d/ID?a=b&c=%0d%0a", OK, None, None), (b"/%2e%2e//d/ID", OK, None, None),
           (b"/d/../d/ID", OK, None, None), (b"/d/ID;x", OK, None, None), (b"/d/ID/", OK, None, None),
           (b"http://h.example/d/ID", OK, b"/d/ID", None), (b"HTTP://H.example:80/d/ID?q", OK, b"/d/ID?q", b"h.example:80"),
           (b"http://h.example?/d/ID", OK, b"/?/d/ID", None), (b"http://[::1]:8080/d/ID", OK, b"/d/ID", b"[::1]:8080"),
           (b"/d/\xc3\xa4/ID", LOOSE, None, None), (b"/d/ID#frag", LOOSE, None, None), (b"d/ID", LOOSE, None, None),
           (b"ftp://h.example/d/ID", LOOSE, None, None), (b"\\d\\ID/ID", LOOSE, None, None),
           (b"/d/\x00ID", BAD, None, None), (b"/d/\x01/ID", BAD, None, None), (b"/d/\x7f/ID", BAD, None, None),
           (b"/d/ ID", BAD, None, None), (b"/d/\t/ID", BAD, None, None), (b"/d/\r/ID", BAD, None, None), (b"", BAD, None, None),
           (b"http:///d/ID", BAD, None, None), (b"http://u:p@h.example/d/ID", BAD, None, None),
           (b"http://h.example:8x/d/ID", BAD, None, None), (b"http://h<b>/d/ID", BAD, None, None), (b"http://:80/d/ID", BAD, None, None)]

VERSIONS = [(b"HTTP/1.1", OK), (b"HTTP/1.0", OK), (b"http/1.1", LOOSE), (b"Http/1.1", LOOSE)] + [
    (v, BAD) for v in (b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/11", b"HTTP/1,1", b"HTTP/1",
                       b"HTTP/1.", b"HTTP/1.1x", b"HTTP/-1.1", b"HTTQ/1.1", b"", b"HTTP/1.\x001", b"HTTP\x0b/1.1", b"HTTP/1.1\x0b")]

SEPARATORS = [(b" ", OK), (b"  ", LOOSE), (b"\t", LOOSE), (b" \t ", LOOSE), (b"\x0b", BAD), (b"\x0c", BAD), (b"\xa0", BAD), (b"\x00 ", BAD)]
LEADS = [(b"", OK), (b"\r\n", OK), (b"\r\n\r\n", LOOSE), (b"\n", LOOSE), (b" ", LOOSE), (b"\t\r\n ", LOOSE), (b"\r\r\n", LOOSE), (b"\x00", BAD)]
ENDS = [(b"\r\n", OK), (b"\n", LOOSE), (b"\r", BAD), (b"\r\r\n", BAD), (b"\n\r", BAD), (b"\r\x00\n", BAD), (b" \r\n", BAD)]

# lines, verdict, the Host that arrives
HOSTS = [([b"Host: h.example"], OK, HOST), ([b"host:h.example"], OK, HOST), ([b"HOST:\t h.example \t"], OK, HOST),
         ([b"Host: H.Example"], OK, HOST), ([b"Host: h.example:8080"], OK, b"h.example:8080"), ([b"Host: [::1]"], OK, b"[::1]"),
         ([b"Host: h.example", b"Host: h.example"], BAD, None), ([b"Host: h.example", b"Host: other.example"], BAD, None),
         ([b"Host: h.example", b"host: other.example"], BAD, None), ([b"Host: h.example, other.example"], BAD, None),
         ([b"Host: h.example/x"], BAD, None), ([b"Host: h.example x"], BAD, None), ([b"Host: a@h.example"], BAD, None),
         ([b"Host: h.example:"], OK, b"h.example:"), ([b"Host: h.example:8a"], BAD, None), ([b"Host: h\x00.example"], BAD, None),
         ([b"Host : h.example"], BAD, None), ([b" Host: h.example"], BAD, None), ([b"Host: h.example?"], BAD, None),
         ([b"Host: h.example#"], BAD, None), ([b"Host: h.example", b"Host : other.example"], BAD, None),
         ([b"Host:\r\n h.example"], LOOSE, HOST)]

LEN = b"%d" % len(HELLO)
# lines, verdict, how the bytes behind the head are made: None, "plain" (HELLO), "chunked", "junk" (no body, but bytes)
FRAMINGS = [([], OK, None), ([b"Content-Length: " + LEN], OK, "plain"), ([b"Content-Length: 0"], OK, None),
            ([b"content-length:" + LEN + b"\t"], OK, "plain"), ([b"Content-Length: 000" + LEN], OK, "plain"),
            ([b"Transfer-Encoding: chunked"], OK, "chunked"), ([b"transfer-encoding:CHUNKED "], OK, "chunked"),
            ([b"Transfer-Encoding:\r\n chunked"], LOOSE, "chunked"), ([b"Content-Length:\r\n " + LEN], LOOSE, "plain"),
            ([b"Content_Length: " + LEN], OK, "junk"), ([b"X-Content-Length: " + LEN], OK, "junk")] + [
    (lines, BAD, kind) for lines, kind in (
        ([b"Content-Length: " + LEN, b"Content-Length: " + LEN], "plain"), ([b"Content-Length: 0", b"Content-Length: " + LEN], "plain"),
        ([b"Content-Length: " + LEN, b"content-length: 3"], "plain"), ([b"Content-Length: " + LEN + b", " + LEN], "plain"),
        ([b"Content-Length: +" + LEN], "plain"), ([b"Content-Length: -" + LEN], "plain"), ([b"Content-Length: 0xb"], "plain"),
        ([b"Content-Length: b"], "plain"), ([b"Content-Length: 11.0"], "plain"), ([b"Content-Length: 1 1"], "plain"),
        ([b"Content-Length: "], "plain"), ([b"Content-Length: 11;"], "plain"), ([b"Content-Length: \"11\""], "plain"),
        ([b"Content-Length: 18446744073709551616"], "plain"), ([b"Content-Length: 18446744073709551627"], "plain"),
        ([b"Content-Length: 9223372036854775808"], "plain"), ([b"Content-Length : " + LEN], "plain"),
        ([b"Content-Length\x00: " + LEN], "plain"), ([b"Content-Length: 11\x00"], "plain"), ([b"Content-Length: \x0b11"], "plain"),
        ([b"Content-Length: 1\r\n 1"], "plain"), ([b"Content-Length " + LEN], "plain"),
        ([b"Content-Length: " + LEN, b"Transfer-Encoding: chunked"], "chunked"),
        ([b"Transfer-Encoding: chunked", b"Content-Length: " + LEN], "plain"),
        ([b"Content-Length: 0", b"Transfer-Encoding: chunked"], "chunked"),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], "chunked"),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], "chunked"),
        ([b"Transfer-Encoding: identity"], "plain"), ([b"Transfer-Encoding: gzip"], "chunked"), ([b"Transfer-Encoding: gzip, chunked"], "chunked"),
        ([b"Transfer-Encoding: chunked, gzip"], "chunked"), ([b"Transfer-Encoding: chunked, chunked"], "chunked"),
        ([b"Transfer-Encoding: , chunked"], "chunked"), ([b"Transfer-Encoding: chunked,"], "chunked"), ([b"Transfer-Encoding: chunked;a=b"], "chunked"),
        ([b"Transfer-Encoding: xchunked"], "chunked"), ([b"Transfer-Encoding: chunked\x00"], "chunked"), ([b"Transfer-Encoding: \x0bchunked"], "chunked"),
        ([b"Transfer-Encoding: \"chunked\""], "chunked"), ([b"Transfer-Encoding: chun ked"], "chunked"), ([b"Transfer-Encoding:"], "chunked"),
        ([b"Transfer-Encoding : chunked"], "chunked"), ([b"Transfer\x00-Encoding: chunked"], "chunked"), ([b"Transfer-Encoding\x0b: chunked"], "chunked"),
        ([b"Transfer-Encoding chunked"], "chunked"), ([b": chunked"], "chunked"))]

HEX = b"%x" % len(HELLO)
END = b"0\r\n\r\n"
ONE = HEX + b"\r\n" + HELLO + b"\r\n"
CHUNKS = [(ONE + END, OK), (b"6\r\n" + HELLO[:6] + b"\r\n5\r\n" + HELLO[6:] + b"\r\n" + END, OK), (HEX.upper() + ONE[1:] + END, OK),
          (b"000" + ONE + b"000\r\n\r\n", OK), (HEX + b";a=b" + ONE[1:] + END, OK), (HEX + b";a=\"\r" + b"b\"" + ONE[1:] + END, BROKEN),
          (HEX + b";a=\"b;c\"" + ONE[1:] + b"0;d\r\n\r\n", OK), (ONE + b"0\r\nX-Trailer: y\r\n\r\n", OK),
          (ONE + b"0\r\nX-Trailer: y\r\nContent-Length: 5\r\n\r\n", OK), (ONE + b"0\r\nHost: evil.example\r\n\r\n", OK),
          (HEX + b" " + ONE[1:] + END, LOOSE), (HEX + b" \t;a" + ONE[1:] + END, LOOSE)] + [(c, BROKEN) for c in (
              HEX + b"\n" + HELLO + b"\r\n" + END, HEX + b"\r\n" + HELLO + b"\n" + END, HEX + b"\r" + HELLO + b"\r\n" + END,
              HEX + b"\r\n" + HELLO + b"XX" + END, HEX + b"\r\n" + HELLO + END, HEX + b"\r\n" + HELLO + b"\r" + END,
              b"+" + ONE + END, b"-" + ONE + END, b"0x" + ONE + END, b" " + ONE + END, b"\r\n" + ONE + END, b"g" + ONE + END,
              HEX + b"\x00" + ONE[1:] + END, HEX + b";\x00" + ONE[1:] + END, HEX + b"," + ONE[1:] + END, b";" + ONE + END,
              HEX + b";" + b"e" * 5000 + ONE[1:] + END, b"0" * 17 + ONE + END, b"10000000000000000\r\n" + END, b"ffffffffffffffff\r\n" + END,
              b"8000000000000000\r\n" + END, b"7fffffffffffffff\r\n" + END, ONE + b"0\r\nX y\r\n\r\n", ONE + b"0\r\n: y\r\n\r\n",
              ONE + b"0\r\nX : y\r\n\r\n", ONE + b"0\r\n X: y\r\n\r\n", ONE + b"0\r\nX: \x00\r\n\r\n", ONE + b"0\r\nX: y\n\r\n",
              ONE + b"0\r\n" + b"X: y\r\n" * 3000 + b"\r\n", ONE + b"0\n\r\n", ONE + b"0\r\n\n", ONE, HEX + b"\r\n" + HELLO[:5])]

# lines, verdict, what arrives as X-Odd (None: nothing)
FIELDS = [([], OK, []), ([b"X-Odd: y"], OK, [b"y"]), ([b"x-oDd:y"], OK, [b"y"]), ([b"X-Odd: \t y \t"], OK, [b"y"]), ([b"X-Odd:"], OK, [b""]),
          ([b"X-Odd: a\tb"], OK, [b"a\tb"]), ([b"X-Odd: \xc3\xa4\xff"], OK, [b"\xc3\xa4\xff"]), ([b"X-Odd: a", b"X-Odd: b"], OK, [b"a", b"b"]),
          ([b"X-Odd: y", b"Connection: X-Odd"], OK, []), ([b"X-Odd: y", b"Connection: keep-alive , x-odd,,"], OK, []),
          ([b"Keep-Alive: 5", b"TE: trailers", b"Proxy-Connection: close", b"X-Odd: y"], OK, [b"y"]), ([b"Connection: close"], OK, []),
          ([b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", b"Connection: HTTP2-Settings"], OK, []),
          ([b"X-HTTP-Method-Override: DELETE", b"X-Odd: y"], OK, [b"y"]),
          ([b"X-Odd: y\r\n z"], LOOSE, [b"y   z"]), ([b"X-Odd:\r\n\ty"], LOOSE, [b"y"]), ([b"X-Odd: y\r\n Transfer-Encoding: chunked"], LOOSE,
                                                                                 [b"y   Transfer-Encoding: chunked"]),
          ([b"X-Odd: y\r\n "], LOOSE, [b"y"])] + [(lines, BAD, None) for lines in (
              [b"X-Odd : y"], [b"X-Odd\t: y"], [b" X-Odd: y"], [b": y"], [b"X-Odd"], [b"X-Odd y"], [b"X Odd: y"], [b"X@Odd: y"], [b"X-\xd6dd: y"],
              [b"X-Odd: a\x00b"], [b"X-Odd: a\x01b"], [b"X-Odd: a\x1bb"], [b"X-Odd: a\x7fb"], [b"X-Odd: a\rb"], [b"X-Odd: a\rContent-Length: 5"],
              [b"X-\x00Odd: y"], [b"X(Odd): y"], [b"\"X-Odd\": y"], [b"Connection: Host"], [b"Connection: close, Content-Length"],
              [b"Connection: cookie"], [b"Connection: Transfer-Encoding, host"], [b"Connection: " + b",".join([b"x"] * 40)],
              [b"Expect: 200-maybe"], [b"Expect: 100-continue, 200-maybe"], [b"X-Odd: " + b"y" * 9000], [b"X" * 9000 + b": y"], [b"X-Odd: y"] * 70,
              [b"X-Odd: " + b"y" * 8000] * 5)]

COOKIES = [([], OK), ([b"Cookie: a=b"], OK), ([b"Authorization: Basic Og=="], OK)]

REQUEST = {"lead": LEADS, "method": METHODS, "sep1": SEPARATORS, "target": TARGETS, "sep2": SEPARATORS, "version": VERSIONS, "end": ENDS,
           "host": HOSTS, "framing": FRAMINGS, "chunks": CHUNKS, "field": FIELDS, "cookie": COOKIES}


def sum_up(head, chunks, is_strict):
    """Of a head and a body; no longer LOOSE."""
    if head == BAD or head == LOOSE and is_strict:
        return BAD
    return BROKEN if BROKEN in (head, chunks) or chunks == LOOSE and is_strict else OK


class Request:
    """One request of the corpus: its bytes and what is right."""

    def __init__(self, number, pick):
        self.id = b"r%d" % number
        self.pick = pick
        self.method = pick["method"][0]
        target, _, self.target, host = pick["target"]
        target = target.replace(b"ID", self.id)
        self.target = (self.target or target).replace(b"ID", self.id)
        self.host = host or pick["host"][2]
        lines, _, kind = pick["framing"]
        if target[:7].lower() == b"http://" and host is None:
            self.host = HOST
        end = pick["end"][0]
        sep2 = pick["sep2"][0] if pick["version"][0] else b""
        start = pick["lead"][0] + self.method + pick["sep1"][0] + target + sep2 + pick["version"][0]
        fields = [*pick["host"][0], *pick["field"][0], *pick["cookie"][0], *lines]
        ends = [end] * (len(fields) + 2)
        self.head = b"".join(itertools.chain.from_iterable(zip([start, *fields, b""], ends)))
        self.body = HELLO if kind in ("plain", "chunked") else b""
        self.is_junk = kind == "junk"
        tail = {"plain": HELLO, "chunked": pick["chunks"][0], "junk": b"\x01\x02", None: b""}[kind]
        self.bytes = self.head + tail
        self.kind = kind

    def verdict(self, is_strict):
        pick, kind = self.pick, self.kind
        worst = max(pick[name][1] for name in pick if name != "chunks")
        is_old = pick["version"][0] == b"HTTP/1.0"
        if self.method == b"HEAD" and self.body or is_old and kind == "chunked":
            return BAD
        if is_old and self.method in (b"POST", b"PUT") and not pick["framing"][0] or is_old and self.method in (b"POST", b"PUT") and kind == "junk":
            return BAD
        return sum_up(worst, pick["chunks"][1] if kind == "chunked" else OK, is_strict)

    def __str__(self):
        return " ".join(f"{k}={v[0]!r:.120}" for k, v in self.pick.items() if v is not REQUEST[k][0]) + f" as {self.bytes[:400]!r}"


def requests(count, seed):
    """Every part once in each of a few surroundings, then `count` drawn at random with one to four odd parts."""
    number = itertools.count()
    plain = {name: parts[0] for name, parts in REQUEST.items()}
    around = [{}, {"method": METHODS[2], "framing": FRAMINGS[1]}, {"method": METHODS[2], "framing": FRAMINGS[5]},
              {"cookie": COOKIES[1], "version": VERSIONS[1]}, {"method": METHODS[3], "target": TARGETS[6], "framing": FRAMINGS[5]}]
    for base in around:
        for name, parts in REQUEST.items():
            for part in parts:
                yield Request(next(number), {**plain, **base, name: part})
    rng = random.Random(seed)
    for _ in range(count):
        odd = rng.sample(sorted(REQUEST), rng.choice((1, 2, 2, 3, 4)))
        pick = {name: rng.choice([p for p in parts if p[1] == OK]) for name, parts in REQUEST.items()}
        pick.update({name: rng.choice(REQUEST[name]) for name in odd})
        yield Request(next(number), pick)


# ---- responses ----

STATUS_LINES = [(s, OK) for s in (b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 Own \xe4 words",
                                  b"HTTP/1.1 404 No", b"HTTP/1.1 999 Odd", b"HTTP/1.1 500 Oh")] + [
    (s, LOOSE) for s in (b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"http/1.1 200 OK", b"HTTP/1.3 200 OK")] + [
    (s, BAD) for s in (b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 -20 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 20x OK",
                       b"HTTP/1.1 200OK", b"HTTP/2.0 200 OK", b"HTTP/1.1200 OK", b"ICY 200 OK", b"200 OK", b"", b"HTTP/1.1", b"HTTP/1.1 ",
                       b"HTTP/1.1 200 O\x01K", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\x1b[2J", b"\x00HTTP/1.1 200 OK",
                       b"HTTP/1.1 200 " + b"O" * 9000, b"HTTP/1.1 101 Switching", b"<html>hello</html>")]
BEFORE = [(b"", OK), (b"HTTP/1.1 100 Continue\r\n\r\n", OK), (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3, OK),
          (b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n", OK), (b"HTTP/1.1 100 Continue\r\n\r\n" * 200, BAD),
          (b"\r\n", LOOSE), (b"\x00\x01", BAD), (b"HTTP/1.1 100 Continue\r\nX: \x00\r\n\r\n", BAD)]
# lines, verdict, kind of body; "open": to the end of the connection, "short": less than announced, "more": bytes behind it
RESPONSE_FRAMINGS = [([b"Content-Length: " + LEN], OK, "plain"), ([b"Transfer-Encoding: chunked"], OK, "chunked"), ([], OK, "open"),
                     ([b"Content-Length: " + LEN], OK, "more"), ([b"Content-Length: " + LEN], BROKEN, "short"),
                     ([b"Connection: keep-alive"], OK, "open"), ([b"Content-Length: 0"], OK, "none")] + [
    (f[0], BAD, f[2]) for f in FRAMINGS if f[1] == BAD]
RESPONSE_FIELDS = [f for f in FIELDS if not any(line.startswith(b"Expect") for line in f[0]) and f[0] != [b"Connection: close"]] + [
    ([b"Connection: Set-Cookie"], BAD, None), ([b"X-Odd: a\r\rSet-Cookie: b"], BAD, None)]
# Of "LF CR" the CR is the first byte of a body that lasts until the end.
RESPONSE_ENDS = [e for e in ENDS if e[0] != b"\n\r"]
RESPONSE = {"before": BEFORE, "status": STATUS_LINES, "end": RESPONSE_ENDS, "field": RESPONSE_FIELDS, "framing": RESPONSE_FRAMINGS, "chunks": CHUNKS}


class Response:
    """One response of the corpus."""

    def __init__(self, number, pick):
        self.id = b"a%d" % number
        self.pick = pick
        lines, _, kind = pick["framing"]
        end = pick["end"][0]
        fields = [*pick["field"][0], *lines]
        ends = [end] * (len(fields) + 2)
        head = b"".join(itertools.chain.from_iterable(zip([pick["status"][0], *fields, b""], ends)))
        tail = {"plain": HELLO, "open": HELLO, "short": HELLO[:-2], "none": b"", "chunked": pick["chunks"][0], "junk": b"",
                "more": HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}[kind]
        self.body = b"" if kind == "none" else HELLO
        # With a length of its own the connection could go on; a peer that is asked to close must not be waited for.
        self.keeps = kind in ("plain", "more") or kind == "chunked" and pick["chunks"][1] != BROKEN
        self.bytes = pick["before"][0] + head + tail
        self.kind = kind

    def verdict(self, is_strict):
        pick = self.pick
        worst = max(pick[name][1] for name in pick if name != "chunks")
        if self.kind == "chunked" and pick["status"][0].startswith(b"HTTP/1.0"):
            return BAD
        return sum_up(worst, pick["chunks"][1] if self.kind == "chunked" else OK, is_strict)

    def __str__(self):
        return " ".join(f"{k}={v[0]!r:.120}" for k, v in self.pick.items() if v is not RESPONSE[k][0]) + f" as {self.bytes[:400]!r}"


def responses(count, seed):
    """As requests()."""
    number = itertools.count()
    plain = {name: parts[0] for name, parts in RESPONSE.items()}
    for base in ({}, {"framing": RESPONSE_FRAMINGS[1]}, {"framing": RESPONSE_FRAMINGS[2], "status": STATUS_LINES[3]}):
        for name, parts in RESPONSE.items():
            for part in parts:
                yield Response(next(number), {**plain, **base, name: part})
    rng = random.Random(seed)
    for _ in range(count):
        odd = rng.sample(sorted(RESPONSE), rng.choice((1, 2, 3)))
        pick = {name: rng.choice([p for p in parts if p[1] == OK]) for name, parts in RESPONSE.items()}
        pick.update({name: rng.choice(RESPONSE[name]) for name in odd})
        yield Response(next(number), pick)
