#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""VCL that makes no sense, under traffic: no text and no value may end the worker, and none may put a field into an answer.

    chaos.py --daemon build/bin/objmapperd --source DIR [--seed N] [--rounds N | --seconds S] [-v]

Each round writes a VCL at random from the tables of variables, subs and returns that the compiler itself is built of (DIR is the
source tree): odd statuses, lengths, times and texts, functions of modules, workspaces that are all but full.  It is loaded, put into
use, and asked by clients that are no better.  A VCL that the compiler refuses is a fault of this program and is counted as one.
The same seed writes the same VCLs.
"""
import argparse
import http.client
import os
import random
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm.daemon import Daemon                          # noqa: E402
from objm.server import Server                          # noqa: E402

URLS = ("/", "/a", "/b?x=1", "/big", "/private", "/slow", "/vary", "/304", "/cut", "/500", "/chunked")
# A field that only a text with a line end in it can have made.
SMUGGLED = "smuggled"
ANYTHING = ('""', '"x"', '"0"', '"-1"', '"gzip"', '"close"', '"chunked"', '"5"', '"18446744073709551616"', '"bytes=0-1"', '"*"', '"Cookie"',
            '"max-age=0, s-maxage=99999999999999"', '"W/\\"e\\""'.replace('\\"', ''), '"Thu, 01 Jan 1970 00:00:00 GMT"',
            '{"a\r\n' + SMUGGLED + ': yes"}', '{"a\n b"}', '{"\x01\x7f"}', '"%00%0d%0a"', '"100-continue"', '"websocket"', '"GET"', '"HEAD"',
            '"PRI"', '"http://u:p@[::1]:99999/"', '"/\u00e4\u00f6"')
FIELDS = ("x", "y", "Content-Length", "Transfer-Encoding", "Connection", "Vary", "ETag", "Last-Modified", "Range", "If-None-Match", "Host", "Age",
          "Date", "Expires", "Cache-Control", "Set-Cookie", "Cookie", "Expect", "Upgrade", "Content-Range", "Accept-Ranges", "X-Varnish", "Via",
          "Retry-After", "Content-Encoding", "Accept-Encoding", "Trailer", "TE", "X-Forwarded-For", "Authorization", "If-Modified-Since", "Location")
NUMBERS = ("0", "1", "-1", "99", "100", "199", "200", "204", "206", "304", "404", "999", "1000", "1404", "65535", "65536", "-999999999999999",
           "999999999999999")
SPANS = ("0s", "1ms", "1s", "-1s", "10s", "1y", "-1000y", "99999999y")
PATTERNS = ("(a+)+$", "^/", ".*", "(?i)x", "", "^(.*)(.*)(.*)$", "[^a]")


class Table:
    """What the compiler knows: which sub may read, set and unset what, and return where."""

    def __init__(self, source):
        read = lambda name: open(os.path.join(source, "src/vcl", name), encoding="utf-8").read()        # noqa: E731
        self.subs, self.returns, sides = [], {}, {"CLIENT": [], "BACKEND": [], "HOUSE": []}
        for sub, side, words in re.findall(r"^SUB\((\w+), +\w+, +(\w+), +(.*)\)$", read("subs.def"), re.M):
            sides[side].append(sub)
            self.returns[sub] = re.findall(r"R\((\w+)\)", words)
        self.subs = sides["CLIENT"] + sides["BACKEND"]
        groups = {"0": [], "CLIENT": sides["CLIENT"], "BACKEND": sides["BACKEND"], "ALL": self.subs}
        for name, value in re.findall(r"^#define (\w+) +\((.*)\)$", read("cc_init.c").replace("\\\n", ""), re.M):
            groups.setdefault(name, self._subs(value, groups))
        self.vars = []
        for name, type_, may_read, may_set, may_unset, low, high in re.findall(
                r'^VAR(?:_AGAIN)?\("([\w.]+)", +\w+, +(\w+), +([^,]+), ([^,]+), ([^,]+), (\d+), (\d+)\)$', read("vars.def"), re.M):
            self.vars.append((name, type_, *(self._subs(m, groups) for m in (may_read, may_set, may_unset)), int(low), int(high)))
        assert len(self.vars) > 80 and len(self.returns) > 12, (len(self.vars), len(self.returns))

    @staticmethod
    def _subs(text, groups):
        found = []
        for word in re.findall(r"M\(\w+\)|\w+", text):
            found += [word[2:-1].lower()] if word.startswith("M(") else groups[word]
        return found


class Writer:
    """One VCL."""

    def __init__(self, table, rng, version):
        self.table, self.rng, self.version = table, rng, version

    def one_of(self, items):
        return self.rng.choice(items)

    def readable(self, sub, type_):
        return [name for name, t, read, _, _, low, high in self.table.vars if t == type_ and sub in read and low <= self.version <= high]

    def field(self, sub, which):
        """A field that may be read (2), set (3), or unset (4) there."""
        heads = [v[0] for v in self.table.vars if v[1] == "HEADER" and sub in v[which]]
        return f"{self.one_of(heads)}.{self.one_of(FIELDS)}" if heads else None

    # ---- expressions ----

    def value(self, sub, type_, depth=0):
        names = self.readable(sub, type_)
        if names and self.rng.random() < 0.3:
            return self.one_of(names)
        return getattr(self, "a_" + type_.lower())(sub, depth + 1)

    def a_int(self, sub, depth):
        if depth < 3 and self.rng.random() < 0.2:
            return f"std.integer({self.value(sub, 'STRING', depth)}, {self.one_of(NUMBERS)})"
        return self.one_of(NUMBERS)

    def a_real(self, sub, depth):
        return self.one_of(("0.5", "std.random(0, 10)", "1000000.0", "-1.5"))

    def a_duration(self, sub, depth):
        if depth < 3 and self.rng.random() < 0.2:
            return f"std.duration({self.value(sub, 'STRING', depth)}, {self.one_of(SPANS)})"
        return self.one_of(SPANS)

    def a_time(self, sub, depth):
        return self.one_of(("now", f"now + {self.one_of(SPANS)}", "std.time(\"nonsense\", now)", "std.real2time(-1.0, now)"))

    def a_bool(self, sub, depth):
        kind = self.rng.randrange(5)
        if kind == 0 and depth < 3:
            return f"({self.value(sub, 'STRING', depth)} ~ \"{self.one_of(PATTERNS)}\")"
        if kind == 1 and depth < 3:
            return f"(0 < {self.value(sub, 'INT', depth)})"
        if kind == 2:
            return "(std.random(0, 1) > 0.7)"
        return self.one_of(("true", "false"))

    def a_string(self, sub, depth):
        kind = self.rng.randrange(12)
        if depth < 4:
            if kind == 0 and (field := self.field(sub, 2)):
                return field
            if kind == 1:
                return f"{self.value(sub, 'STRING', depth)} + {self.value(sub, 'STRING', depth)}"
            if kind == 2:
                return f"regsuball({self.value(sub, 'STRING', depth)}, \"{self.one_of(PATTERNS)}\", {self.value(sub, 'STRING', depth)})"
            if kind == 3:
                call = self.one_of(("std.toupper(", "std.tolower(", "std.querysort(", "std.strstr(\"aXb\", "))
                return call + self.value(sub, "STRING", depth) + ")"
            if kind == 4:
                return f"\"\" + {self.value(sub, self.one_of(('INT', 'DURATION', 'TIME', 'BOOL', 'IP')), depth)}"
            if kind == 5:
                return "cookie.get_string()"
        return self.one_of(ANYTHING)

    def a_ip(self, sub, depth):
        if depth < 3 and self.rng.random() < 0.5:
            return f"std.ip({self.value(sub, 'STRING', depth)}, \"192.0.2.1\")"
        return "std.ip(\"::1\", \"192.0.2.1\")"

    def a_backend(self, sub, depth):
        return self.one_of(("default", "dead", "nothing", "both.backend()", "turns.backend()", "sick.backend()"))

    def a_stevedore(self, sub, depth):
        return self.one_of(("storage.s0", "storage.small", "storage.Transient"))

    def a_body(self, sub, depth):
        return self.value(sub, "STRING", depth)

    # ---- statements ----

    def statement(self, sub, depth=0):
        kind = self.rng.randrange(14)
        if kind < 4:
            return self.setting(sub)
        if kind < 6 and (field := self.field(sub, 3)):
            return f"set {field} {self.one_of(('=', '=', '+='))} {self.value(sub, 'STRING')};"
        if kind == 6 and (field := self.field(sub, 4)):
            return f"unset {field};"
        if kind == 7 and depth < 2:
            return f"if ({self.value(sub, 'BOOL')}) {{ {self.statement(sub, depth + 1)} }} else {{ {self.statement(sub, depth + 1)} }}"
        if kind == 8:
            return self.leaving(sub)
        return self.call(sub)

    def setting(self, sub):
        settable = [v for v in self.table.vars if sub in v[3] and v[1] != "HEADER" and v[5] <= self.version <= v[6]]
        if not settable:
            return "std.log(\"x\");"
        name, type_ = self.one_of(settable)[:2]
        return f"set {name} = {self.value(sub, type_)};"

    def leaving(self, sub):
        word = self.one_of([w for w in self.table.returns[sub] if w != "vcl"])
        if word in ("synth", "error"):
            word = f"{word}({self.value(sub, 'INT')}, {self.value(sub, 'STRING')})"
        elif word == "pass" and sub == "backend_response":
            word = f"pass({self.value(sub, 'DURATION')})"
        return f"if (std.random(0, 1) > 0.6) {{ return ({word}); }}"

    def call(self, sub):
        text = self.value(sub, "STRING")
        side = "backend" if sub.startswith("backend") else "client"
        calls = [f"std.log({text});", f"std.timestamp({text});", f"cookie.parse({text});", f"cookie.set({text}, {text});", "cookie.clean();",
                 f"vtc.workspace_alloc({side}, {self.one_of((-1, -10, -100, -500, 10, 1000))});", f"ban({text});",
                 f"ban(\"obj.http.x ~ \" + {text});"]
        if sub == "recv":
            calls += [f"std.cache_req_body({self.one_of(('0B', '1B', '1KB', '10MB'))});", f"std.late_100_continue({self.value(sub, 'BOOL')});"]
        if sub == "hash":
            calls += [f"hash_data({text});"] * 4
        if sub in ("synth", "backend_error"):
            calls += [f"synthetic({text});"] * 4
        if sub in ("hit", "miss"):
            calls += ["purge.hard();", f"purge.soft({self.one_of(SPANS)}, {self.one_of(SPANS)}, {self.one_of(SPANS)});"]
        if side == "client":
            calls += ["std.rollback(req);"]
        if side == "backend":
            calls += ["std.rollback(bereq);"]
        field = self.field(sub, 3)
        if field:
            calls += [f"std.collect({field});", f"cookie.parse({field});", f"unset {field};"]
        return self.one_of(calls)

    def text(self, host, port, dead):
        lines = [f"vcl {self.version / 10};", "import std; import directors; import cookie; import purge; import vtc;",
                 f'backend default {{ .host = "{host}"; .port = "{port}"; .first_byte_timeout = 1s; .between_bytes_timeout = 1s; }}',
                 f'backend dead {{ .host = "127.0.0.1"; .port = "{dead}"; .connect_timeout = 0.2s; .max_connections = 2; }}',
                 "backend nothing none;",
                 "sub vcl_init { new both = directors.fallback(); both.add_backend(dead); both.add_backend(default);",
                 "new turns = directors.round_robin(); turns.add_backend(default); turns.add_backend(dead);",
                 "new sick = directors.random(); sick.add_backend(dead, 1.0); }",
                 'sub vcl_recv { if (req.url == "/none") { set req.backend_hint = nothing; } }']
        for sub in self.table.subs:
            body = [self.statement(sub) for _ in range(self.rng.randrange(5))]
            if body:
                lines.append(f"sub vcl_{sub} {{\n    " + "\n    ".join(body) + "\n}")
        return "\n".join(lines) + "\n"


class Backend(Server):
    """Answers by the path; whatever it is sent, it stays."""

    def serve(self, conn):
        reader = conn.makefile("rb")
        while line := reader.readline(100000):
            words = line.split()
            length, fields = 0, {}
            while field := reader.readline(100000).strip():
                name, _, value = field.partition(b":")
                fields[name.lower()] = value.strip()
            if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
                while size := int(reader.readline(), 16):
                    reader.read(size + 2)
                reader.readline()
            else:
                length = fields.get(b"content-length", b"0")
                reader.read(int(length) if length.isdigit() else 0)
            path = words[1] if len(words) == 3 else b"/"
            conn.sendall(self.answer(path, words[0] == b"HEAD"))
            if b"cut" in path:
                return

    @staticmethod
    def answer(path, is_head):
        fields, status, body = ["ETag: \"e\"", "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"], "200 OK", b"body of " + path
        if b"big" in path:
            body = b"b" * 300000
        if b"private" in path:
            fields.append("Cache-Control: private")
        if b"vary" in path:
            fields.append("Vary: x, y, Accept-Encoding")
        if b"500" in path:
            status = "500 Oops"
        if b"304" in path:
            status, body = "304 Not Modified", b""
        if b"slow" in path:
            time.sleep(0.05)
        if b"chunked" in path:
            fields.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            fields.append(f"Content-Length: {len(body) + (100 if b'cut' in path else 0)}")
        head = f"HTTP/1.1 {status}\r\n" + "".join(f + "\r\n" for f in fields) + "\r\n"
        return head.encode() + (b"" if is_head else body)


def ask(address, rng, faults):
    """Some requests on one connection.  What comes may be anything, but it is HTTP, or the connection ends."""
    conn = http.client.HTTPConnection(*address, timeout=3)
    try:
        for _ in range(rng.randrange(1, 5)):
            headers = {"x": rng.choice("abc"), "Cookie": "a=1; b=2"}
            if rng.random() < 0.2:
                headers["Range"] = rng.choice(("bytes=0-3", "bytes=-5", "bytes=7-", "bytes=9-1"))
            if rng.random() < 0.2:
                headers["If-None-Match"] = rng.choice(('"e"', "*", "W/\"e\""))
            if rng.random() < 0.1:
                headers["Accept-Encoding"] = "gzip"
            method = rng.choice(("GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "FOO"))
            body = b"x" * rng.choice((0, 10, 3000)) if method in ("POST", "PUT") else None
            conn.request(method, rng.choice(URLS), body=body, headers=headers)
            answer = conn.getresponse()
            if answer.getheader(SMUGGLED):
                faults.append(f"a field was smuggled into an answer: {answer.getheaders()}")
            answer.read()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        conn.close()


def round_of(daemon, n, text, rng, faults):
    path = os.path.join(daemon.dir, f"{n}.vcl")
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    status, answer = daemon.cli("vcl.load", f"c{n}", path)
    if status != 200:
        faults.append(f"the compiler refused it:\n{answer}\n{daemon.output(20000)}")
        return
    status, answer = daemon.cli("vcl.use", f"c{n}")
    if status != 200:
        faults.append(f"it was not put into use:\n{answer}\n{daemon.output(20000)}")
        return
    clients = [threading.Thread(target=ask, args=(daemon.address, random.Random(rng.random()), faults)) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if n > 0:
        daemon.cli("vcl.discard", f"c{n - 1}")
    if "Child (" in (out := daemon.output(20000)) and "died" in out or daemon.counter("MGT.child_died") > 0:
        faults.append(f"the worker died:\n{out}")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--source", required=True)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--rounds", type=int, default=40)
    ap.add_argument("--seconds", type=float)
    ap.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help="a parameter for the daemon")
    ap.add_argument("-v", action="store_true", help="print each VCL")
    args = ap.parse_args()
    table = Table(args.source)
    origin, gone = Backend(), Server()
    gone.close()
    end = time.monotonic() + args.seconds if args.seconds else None
    n, faults = 0, []
    options = ["-s", "s0=memory,40m", "-s", "small=memory,2m", *(w for p in ["max_restarts=2", *args.p] for w in ("-p", p))]
    with Daemon(os.path.abspath(args.daemon), f"{origin.host}:{origin.port}", options) as daemon:
        while (time.monotonic() < end) if end else n < args.rounds:
            rng = random.Random(f"{args.seed}.{n}")
            text = Writer(table, rng, rng.choice((40, 41))).text(origin.host, origin.port, gone.port)
            if args.v:
                print(text)
            round_of(daemon, n, text, rng, faults)
            n += 1
            if faults:
                print(f"{text}\nchaos: round {n - 1} of seed {args.seed}: " + "\n".join(faults))
                return 1
        status = daemon.close()
    print(f"chaos: {n} VCLs of seed {args.seed}, {origin.connections} connections to the backend: the worker is the first")
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
