#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The daemon with -p http_rfc9111=on against a model of the RFC (model.py): random responses, random requests.

    model_test.py --daemon build/bin/objmapperd [--seed N] [--sequences N] [-v]

Each sequence has a URL of its own and a few requests: GET, HEAD, POST, with directives; an origin that answers with random heads,
with an error, or not at all.  After each request the model says what must have happened: answered from the cache, by which
response, or by the backend, or with an error of ours.
"""
import argparse
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from objm.client import Client                          # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.server import Server                          # noqa: E402
import model                                            # noqa: E402

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
BODY = 8
# The built-in VCL decides, but that a HEAD can be sent on as one.
VCL = 'vcl 4.1; backend b { .host = "127.0.0.1"; .port = "%d"; } sub vcl_recv { if (req.http.X-Pass) { return (pass); } }'


def fixdate(when):
    t = time.gmtime(when)
    return f"{DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"


class Origin(Server):
    """Answers each path with what plan[path] says: (status, fields, revision, fields of a 304 if it is asked
    conditionally, or None), or None: not at all."""

    def __init__(self):
        self.plan, self.seen = {}, []
        super().__init__()

    def serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline():
            method, path, _ = line.decode().split()
            fields = []
            while field := reader.readline().strip():
                name, _, value = field.decode("latin-1").partition(":")
                fields.append((name, value.strip()))
            length = model.values(fields, "content-length")
            reader.read(int(length[0]) if length else 0)
            self.seen.append((method, path, fields))
            answer = self.plan[path]
            if answer is None:
                break
            status, out, revision, renewal = answer
            is_conditional = model.values(fields, "if-none-match") or model.values(fields, "if-modified-since")
            if renewal is not None and is_conditional:
                lines = ["HTTP/1.1 304 Not Modified", *(f"{n}: {v}" for n, v in renewal)]
                conn.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
                continue
            lines = [f"HTTP/1.1 {status} Whatever", *(f"{n}: {v}" for n, v in out), f"X-Rev: {revision}"]
            if not model.values(out, "content-length"):
                lines.append(f"Content-Length: {BODY}")
            body = "" if method == "HEAD" else f"{revision:0{BODY}}"
            conn.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1"))


# ---- what is drawn; all ages and lifetimes stay 40 seconds apart ----

AGES = (0, 100, 300, 500)
SPANS = (0, 50, 150, 250, 400, 1000)


def spoil(rng, text):
    """The same directive, perhaps written otherwise, or so that it is no number any more."""
    name, _, arg = text.partition("=")
    if arg.isdigit() and rng.random() < 0.15:
        arg = rng.choice((f'"{arg}"', arg + "x", "-1", "", arg + ".5", "+" + arg, "99999999999"))
        text = f"{name}={arg}"
    return text.upper() if rng.random() < 0.1 else text


def draw_control(rng, choices, most):
    picked = [rng.choice(choices) for _ in range(rng.randint(0, most))]
    return rng.choice((", ", ",", " , ", ",,")).join(spoil(rng, x() if callable(x) else x) for x in picked)


def draw_response(rng, now):
    span = lambda name: lambda: f"{name}={rng.choice(SPANS)}"                # noqa: E731
    choices = ([span("max-age")] * 8 + [span("s-maxage")] * 2 + [span("stale-while-revalidate")] * 3 + [span("stale-if-error")] * 3 +
               ["no-store", "private", "no-cache", "public", "public", "must-revalidate", "proxy-revalidate", "must-understand",
                'private="x-a"', 'no-cache="X-A, x-b"', 'private="etag"', 'private=""', "immutable", "x-no-store", 'y="no-store, private"'])
    status = rng.choice((200,) * 12 + (203, 206, 299, 300, 301, 302, 307, 308, 403, 404, 405, 410, 414, 501, 500, 503))
    fields = []
    control = draw_control(rng, choices, 4)
    if control:
        if "," in control and '"' not in control and rng.random() < 0.2:
            first, _, rest = control.partition(",")
            fields.append(("Cache-Control", first))
            control = rest
        fields.append(("Cache-Control", control))
    made = now
    if rng.random() < 0.4:
        made = now - rng.choice(AGES)
        fields.append(("Date", fixdate(made)))
    elif rng.random() < 0.1:
        fields.append(("Date", "x"))
    if rng.random() < 0.4:
        fields.append(("Age", rng.choice(("100", "300", "500", "x", "-5", "300, 100"))))
    if rng.random() < 0.25:
        fields.append(("Expires", rng.choice((fixdate(made + rng.choice((-50, 50, 150, 400))), "0", "2040-01-01T00:00:00"))))
    if rng.random() < 0.4:
        fields.append(("ETag", rng.choice(('"1"', '"2"', 'W/"3"'))))
    if rng.random() < 0.3:
        fields.append(("Last-Modified", rng.choice((fixdate(made - rng.choice((500, 2500, 4000))), fixdate(made + 500), "x"))))
    if rng.random() < 0.2:
        fields.append(("Vary", rng.choice(("X-V", "x-v, X-W", "X-V, *"))))
    if rng.random() < 0.1:
        fields.append(("Set-Cookie", "a=b"))
    fields.append(("X-A", "a"))
    rng.shuffle(fields)
    return status, fields


def draw_request(rng):
    span = lambda name: lambda: f"{name}={rng.choice(SPANS)}"                # noqa: E731
    fields = []
    if rng.random() < 0.45:
        control = draw_control(rng, [span("max-age"), span("max-age"), span("min-fresh"), span("max-stale"), span("max-stale"), "max-stale",
                                     span("stale-if-error"), "no-cache", "no-store", "only-if-cached", "only-if-cached", "x-y=z"], 3)
        if control:
            fields.append(("Cache-Control", control))
    if rng.random() < 0.05:
        fields.append(("Pragma", rng.choice(("no-cache", "x"))))
    if rng.random() < 0.3:
        fields.append(("X-V", rng.choice("ab")))
    if rng.random() < 0.1:
        fields.append(("Authorization", "Basic YTpi"))
    if rng.random() < 0.1:
        fields.append(("Cookie", "a=b"))
    kind = rng.choice(("GET",) * 10 + ("HEAD", "HEAD", "POST", "PASSED HEAD"))
    return kind, fields


# ---- one sequence ----

class Mismatch(Exception):
    pass


class Sequence:
    def __init__(self, origin, client, path, rng, verbose):
        self.origin, self.client, self.path, self.rng, self.verbose = origin, client, path, rng, verbose
        self.cache = model.Cache()
        self.revisions = {}     # id(Stored) -> revision
        self.next_revision = rng.randrange(1000, 9000) * 1000
        self.story = []

    def tell(self, text):
        self.story.append(text)
        if self.verbose:
            print(text)

    def ask(self, kind, fields):
        method = kind.split()[-1]
        extra = [("X-Pass", "yes")] if kind == "PASSED HEAD" else []
        body = [("Content-Length", "0")] if method == "POST" else []
        del self.origin.seen[:]
        resp = self.client.get(self.path, method, headers=[f"{n}: {v}" for n, v in fields + extra + body])
        return resp, [s for s in self.origin.seen if s[1] == self.path]

    def check(self, want, have, what):
        if want != have:
            raise Mismatch(f"{what}: the model says {want}, the daemon {have}\n" + "\n".join(self.story))

    def revision(self, stored):
        return self.revisions[id(stored)]

    def served(self, resp, seen, stored, refreshed):
        """It came from the cache, by this response."""
        self.check(self.revision(stored), int(resp.header("x-rev", "0")), "which stored response")
        self.check(stored.status, resp.status, "status")
        self.check("x-a" in stored.withheld, resp.header("x-a") is None, "whether X-A is left out")
        if abs(int(resp.header("age")) - stored.age) > 20:
            raise Mismatch(f"age: {resp.header('age')} for {stored.age}\n" + "\n".join(self.story))
        if not refreshed:
            self.check(0, len(seen), "requests at the backend")

    def refused(self, resp, status):
        self.check(None, resp.header("x-rev"), "a page of our own")
        self.check(status, resp.status, "status")

    def get(self, kind, resp, seen, fields, answer, now):
        """True: the sequence can go on."""
        wish = model.Wish(fields)
        stored, use = self.cache.find(fields)
        if stored is not None:
            refreshed = use == "stale" and not wish.only_if_cached and not wish.no_store
            self.served(resp, seen, stored, refreshed)
            return not refreshed    # what the refresh brings is there at some time or other
        if wish.only_if_cached:
            self.refused(resp, 504)
            self.check(0, len(seen), "requests at the backend")
            return True
        self.check(True, len(seen) >= 1, "whether the backend was asked")
        is_error = answer is None or answer[0] in model.ERRORS
        old = None if wish.no_store else self.is_renewed(fields, answer, seen)
        if old is not None:
            self.renewal(resp, fields, answer, old, now)
            return True
        stand_in, status = (None, 503) if wish.no_store else self.cache.stand_in(fields)
        if is_error and stand_in is not None:
            self.served(resp, seen, stand_in, True)
            return True
        if answer is None:
            self.refused(resp, status)
            return True
        self.check(answer[2], int(resp.header("x-rev", "0")), "whose response")
        self.check(answer[0], resp.status, "status")
        self.check(False, resp.header("x-a") is None, "whether X-A is left out of the first answer")
        if wish.no_store:
            # It was passed on as it came.
            if kind == "HEAD":
                self.head(fields, answer, now)
        else:
            self.cache.fetched(fields, answer[0], answer[1], now)
            for s in self.cache.stored[:1]:
                self.revisions.setdefault(id(s), answer[2])
        return True

    def head(self, fields, answer, now):
        if self.cache.head(fields, answer[0], answer[1], BODY, now):
            self.revisions[id(self.cache.stored[0])] = answer[2]    # its head is the new one

    def draw_renewal(self, now):
        """A 304 with fields of some other response, but not of another entity."""
        if self.rng.random() < 0.4:
            return None
        _, fields = draw_response(self.rng, now)
        fields = [f for f in fields if f[0].lower() not in ("etag", "x-a", "vary")]
        return fields + ([("ETag", '"4"')] if self.rng.random() < 0.1 else [])

    def is_renewed(self, fields, answer, seen):
        """Whether the origin said 304, and to what."""
        old = self.cache.renewable(fields)
        sent = {n: model.values(seen[0][2], n) for n in ("if-none-match", "if-modified-since")}
        want = {"if-none-match": model.values(old.fields, "etag")[:1] if old else [],
                "if-modified-since": model.values(old.fields, "last-modified")[:1] if old else []}
        self.check(want, sent, "what the backend was asked")
        if old is None or answer is None or answer[3] is None:
            return None
        said, have = model.values(answer[3], "etag"), model.values(old.fields, "etag")
        is_other = said and have and said != have
        self.check(1 + bool(is_other), len(seen), "requests at the backend")
        return None if is_other else old

    def renewal(self, resp, fields, answer, old, now):
        revision = self.revision(old)
        self.check(revision, int(resp.header("x-rev", "0")), "which response was renewed")
        self.check(old.status, resp.status, "status")
        merged = self.cache.renewed(fields, old, answer[3], now)
        for name in {n.lower() for n, _ in answer[3]} - {"age", "date"}:
            # Of several fields the client's table keeps the last; the daemon joins those of lists.
            values = [value.strip() for value in model.values(merged, name)]
            want = ", ".join(values) if name == "cache-control" else values[-1]
            self.check(want, resp.header(name), f"{name} of the renewed response")
        for s in self.cache.stored[:1]:
            self.revisions.setdefault(id(s), revision)
            if "x-a" in old.withheld:
                s.withheld = s.withheld | {"x-a"}

    def step(self):
        rng, now = self.rng, int(time.time())
        answer = None
        if rng.random() < 0.9:
            self.next_revision += 1
            answer = (*draw_response(rng, now), self.next_revision, self.draw_renewal(now))
        kind, fields = draw_request(rng)
        if kind == "PASSED HEAD" and answer is not None and rng.random() < 0.5:
            answer[1].append(("Content-Length", rng.choice((str(BODY), "9"))))
        self.origin.plan[self.path] = answer
        self.tell(f"  {kind} {fields}\n    origin: {answer}")
        resp, seen = self.ask(kind, fields)
        self.tell(f"    answer: {resp.status} {resp.headers} after {[s[0] for s in seen]}")
        if kind in ("GET", "HEAD"):
            goes_on = self.get(kind, resp, seen, fields, answer, now)
        elif kind == "PASSED HEAD" and model.Wish(fields).only_if_cached:
            self.refused(resp, 504)
            self.check(0, len(seen), "requests at the backend")
            goes_on = True
        else:
            self.check(True, len(seen) >= 1, "whether the backend was asked")
            goes_on = True
            if answer is None:
                self.refused(resp, 503)
            elif kind == "POST":
                self.cache.unsafe(answer[0])
            else:
                self.head(fields, answer, now)
        self.keep = [*getattr(self, "keep", []), *self.cache.stored]    # no id is used twice
        return goes_on and not any(s.is_doubtful for s in self.cache.stored)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--sequences", type=int, default=1500)
    ap.add_argument("-v", action="store_true")
    args = ap.parse_args()
    origin = Origin()
    failed = steps = 0
    with Daemon(os.path.abspath(args.daemon), f"127.0.0.1:{origin.port}", ["-p", "http_rfc9111=on"]) as daemon:
        daemon.cli_ok("vcl.inline", "heads", json.dumps(VCL % origin.port))
        daemon.cli_ok("vcl.use", "heads")
        client = Client(daemon.address)
        for n in range(args.sequences):
            sequence = Sequence(origin, client, f"/{n}", random.Random(args.seed * 1000003 + n), args.v)
            try:
                while len(sequence.story) < 16 and sequence.step():
                    steps += 1
            except Mismatch as e:
                failed += 1
                print(f"rfc9111: sequence {n}: {e}")
                if failed == 10:
                    break
        client.close()
    print(f"rfc9111: seed {args.seed}: {args.sequences} sequences, {steps} steps, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
