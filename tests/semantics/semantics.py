#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Conditions, ranges, HEAD and renewals, answer by answer as the distribution's varnishd gives them.

    semantics.py --daemon build/bin/objmapperd [--reference /usr/sbin/varnishd]

Both daemons have the same origin and get the same requests: GET and HEAD with every condition and range of REQUESTS, for each kind of
response in KINDS, as a miss and as a hit; then objects are renewed by the 304s of RENEWALS.  Status, fields and body must be the same, but
for what is_known() lists, each with its row in docs/compatibility.md.  Exit status 77 when the reference is not there.
"""
import argparse
import collections
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import reference                              # noqa: E402
from objm.client import Client                          # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.server import Server                          # noqa: E402

BODY = b"0123456789"
MODIFIED = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
FRESH = "Cache-Control: max-age=1000"

# What the origin answers with: status line, fields, body.
KINDS = {
    "strong": ("200 OK", ('ETag: "a"', MODIFIED, FRESH), BODY),
    "weak": ("200 OK", ('ETag: W/"a"', MODIFIED, FRESH), BODY),
    "dated": ("200 OK", (MODIFIED, FRESH), BODY),
    "bare": ("200 OK", (FRESH,), BODY),
    "empty": ("200 OK", ('ETag: "a"', MODIFIED, FRESH), b""),
    "chunked": ("200 OK", ('ETag: "a"', FRESH, "Transfer-Encoding: chunked"), b"a\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "gone": ("404 Not Found", ('ETag: "a"', FRESH), b"nope"),
    "moved": ("301 Moved", ("Location: /x", MODIFIED, FRESH), b"there"),
    "none": ("204 No Content", ('ETag: "a"', FRESH), None),
    "passed": ("200 OK", ('ETag: "a"', MODIFIED, "Cache-Control: no-store"), BODY),
}
REQUESTS = [(), ("Connection: close",), ("Accept-Encoding: gzip",), ("TE: trailers",), ("X: 1", "X: 2")]
REQUESTS += [(f"Range: {r}",) for r in (
    "bytes=0-3", "bytes=-3", "bytes=7-", "bytes=9-9", "bytes=10-", "bytes=20-", "bytes=3-1", "bytes=-0", "bytes=0-999", "bytes=-999", "octets=0-3",
    "bytes=0-99999999999999999999", "bytes=99999999999999999999-", "bytes=-99999999999999999999", "bytes=0-9223372036854775807",
    "bytes=9223372036854775806-9223372036854775807", "bytes = 0-3", "bytes= 0-3", "Bytes=0-3", "bytes=a-3", "bytes=", "bytes=-", "", "0-3",
    "bytes=0-1, 3-4")]
REQUESTS += [("Range: bytes=0-3", f"If-Range: {v}") for v in (
    '"a"', '"b"', 'W/"a"', "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT", "rubbish")]
REQUESTS += [(f"If-None-Match: {v}",) for v in ('"a"', 'W/"a"', '"b"', "*", '"b", "a"', "a", '"a')]
REQUESTS += [(f"If-Modified-Since: {v}",) for v in (
    "Mon, 01 Jan 2024 00:00:00 GMT", "Sun, 31 Dec 2023 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT", "rubbish", "Monday, 01-Jan-24 00:00:00 GMT",
    "Mon Jan  1 00:00:00 2024")]
REQUESTS += [('If-None-Match: "b"', "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"), ('If-None-Match: "a"', "Range: bytes=0-3"),
             ('If-Match: "b"',), ("If-Unmodified-Since: Sun, 31 Dec 2023 00:00:00 GMT",)]

# Objects to be renewed have these fields too; a 304 says one of those.
RENEWED = {"plain": (), "vary": ("Vary: X-V",), "twice": ("X-M: 1", "X-M: 2")}
RENEWALS = {
    "other": ("X-A: new",), "lifetime": ("Cache-Control: max-age=50", "X-A: new"), "etag": ('ETag: "f"',), "body": ("Content-Encoding: gzip", "Content-Length: 3"),
    "vary": ("Vary: X-W",), "nostore": ("Cache-Control: no-store",), "cookie": ("Set-Cookie: a=b",), "twice": ("X-M: 3",), "coding": ("Transfer-Encoding: chunked",),
    "age": ("Age: 7",), "date": ("Date: Mon, 01 Jan 2024 00:00:00 GMT",), "close": ("Connection: close",),
}

# Of every answer of either daemon, or with the time in it.
OWN = {"date", "x-varnish", "via", "age", "server", "retry-after"}


def packed(status, fields, body):
    lines = [f"HTTP/1.1 {status}", *fields]
    if body is not None and "Transfer-Encoding: chunked" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


class Origin(Server):
    """/KIND/... and /renew/RENEWED/RENEWAL; counts what it is asked."""

    def __init__(self):
        self.asked = collections.Counter()
        super().__init__()

    def answer(self, path, is_conditional):
        words = path.split("/")
        if words[1] != "renew":
            return packed(*KINDS[words[1]])
        if is_conditional:
            return packed("304 Not Modified", RENEWALS[words[3]], None)
        fields = ("Cache-Control: max-age=1", 'ETag: "e"', MODIFIED, "X-A: old", "X-B: b", *RENEWED[words[2]])
        return packed("200 OK", fields, b"body of %d" % self.asked[path])

    def serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline():
            method, path, _ = line.decode().split()
            is_conditional = False
            while field := reader.readline().strip().lower():
                is_conditional |= field.startswith((b"if-none-match:", b"if-modified-since:"))
            self.asked[path] += 1
            data = self.answer(path, is_conditional)
            conn.sendall(data[:data.index(b"\r\n\r\n") + 4] if method == "HEAD" else data)


def ask(client, method, path, fields):
    """(status, fields in order of their names, body): all that is compared."""
    resp = client.get(path, method, headers=fields)
    kept = sorted(f"{n}: {v}" for n, v in resp.headers.items() if n not in OWN)
    return resp.status, kept, resp.body


def all_of(daemon):
    """{what was asked: what was answered}"""
    out = {}
    for turn in ("miss", "hit"):
        for kind in KINDS:
            for method in ("GET", "HEAD"):
                for n, fields in enumerate(REQUESTS):
                    # On connections of their own: some answers end one.
                    with Client(daemon.address, timeout=20) as client:
                        out[kind, method, fields, turn] = ask(client, method, f"/{kind}/{method}{n}", fields)
    return out


def renewals_of(daemon):
    paths = [f"/renew/{kind}/{renewal}" for kind in RENEWED for renewal in RENEWALS]
    out = {}
    for turn, method in enumerate(("GET", "GET", "GET", "HEAD")):
        for path in paths:
            with Client(daemon.address, timeout=20) as client:
                out[path, "", ("X-V: 1",), turn] = ask(client, method, path, ["X-V: 1"])
        if turn == 0:
            time.sleep(1.3)     # past their TTL: they are kept, and not in grace
    return out


def is_known(what, ours, theirs):
    """What differs on purpose (docs/compatibility.md)."""
    kind, method, fields, turn = what
    text = " ".join(fields)
    if text.startswith("If-None-Match: *") or '"b", "a"' in text:
        return ours[0] == 304
    if "bytes=0-1, 3-4" in text:
        return (ours[0], theirs[0]) == (200, 416)
    if kind == "passed" and method == "HEAD" and "Range" in text:
        return ours[0] == theirs[0]     # the length that goes with a 206 or 416
    # Whether all chunks, and so the length, are there by the time of the answer is a matter of luck in both.
    return kind == "chunked" and turn == "miss"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--reference", default="/usr/sbin/varnishd")
    args = ap.parse_args()
    missing = reference.missing(args.reference)
    if missing:
        print(f"semantics: skipped, {missing}")
        return reference.SKIPPED
    common = ["-p", "default_grace=0", "-p", "default_keep=100"]
    answers, asked = [], []
    for path, more in ((os.path.abspath(args.daemon), []), (args.reference, ["-s", "malloc,32m"])):
        origin = Origin()
        with Daemon(path, f"127.0.0.1:{origin.port}", [*common, *more]) as daemon:
            answers.append({**all_of(daemon), **renewals_of(daemon)})
        asked.append(origin.asked)
        origin.close()
    ours, theirs = answers
    bad = [what for what in ours if ours[what] != theirs[what] and not is_known(what, ours[what], theirs[what])]
    for what in bad:
        print(f"semantics: {what}\n  ours:   {ours[what]}\n  theirs: {theirs[what]}")
    counts = [p for p in asked[1] if asked[0][p] != asked[1][p]]
    for path in counts:
        print(f"semantics: {path}: the origin was asked {asked[0][path]} times, by the reference {asked[1][path]}")
    print(f"semantics: {len(ours)} answers, {len(bad)} differ; {len(asked[1])} objects, {len(counts)} fetched more or less often")
    return 1 if bad or counts else 0


if __name__ == "__main__":
    sys.exit(main())
