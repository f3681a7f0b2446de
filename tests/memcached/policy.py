#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""VCL decides about keys that are URLs: who may, what they name, what is made; and the log tells."""
import argparse
import http.client
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import Ours, Peer, main, users_file            # noqa: E402

VCL = """vcl 4.1;
backend none none;
sub vcl_recv {
    if (req.transport == "memcached") {
        if (req.url ~ "^/secret/" && req.user != "boss") {
            return (synth(403, "Not " + req.user));
        }
        if (req.mc_command == "delete" && req.url ~ "^/keep/") {
            return (synth(409, "It stays"));
        }
        if (req.url ~ "^/pass/") {
            return (pass);
        }
        if (req.url ~ "json$") {
            set req.http.Content-Type = "application/json";
            set req.http.Cache-Control = "max-age=7";
        }
    }
    set req.url = regsub(req.url, "[?]utm=.*", "");
    if (req.http.X-Forwarded-Proto == "https") {
        set req.http.host = "secure." + req.http.host;
    }
    set req.http.X-Who = req.transport + " " + req.user + " " + req.mc_command;
}
sub vcl_deliver {
    set resp.http.X-Transport = req.http.X-Who;
}
"""

CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def page(d, path, host="h"):
    conn = http.client.HTTPConnection(*d.address, timeout=20)
    conn.request("GET", path, headers={"Host": host})
    answer = conn.getresponse()
    answer.text = answer.read()
    conn.close()
    return answer


@case
def policy_refuses(d, p):
    answer = p.set("//h/secret/x", "x")
    assert b"Not bob" in answer and answer.split()[0] in (b"SERVER_ERROR", b"CLIENT_ERROR"), answer
    assert page(d, "/secret/x").status == 503
    assert p.set("//h/pass/x", "x").split()[0] in (b"SERVER_ERROR", b"CLIENT_ERROR")
    assert p.set("//h/keep/x", "kept") == b"STORED"
    assert b"It stays" in p.ask("delete //h/keep/x\r\n")
    assert page(d, "/keep/x").text == b"kept"
    assert p.set("plain", "no VCL runs") == b"STORED"


@case
def policy_names(d, p):
    assert p.set("http://H/news?utm=5", "page") == b"STORED"
    got = page(d, "/news?utm=77")
    assert (got.status, got.text) == (200, b"page")
    assert got.headers["X-Transport"] == "HTTP/1"  # and neither user nor command
    assert p.get("//h/news")[2] == b"page"
    assert p.get("https://h/news") is None
    assert p.set("https://h/news", "secure") == b"STORED"
    assert page(d, "/news", host="secure.h").text == b"secure"
    assert p.set("//h/a.json", "{}") == b"STORED"
    got = page(d, "/a.json")
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Cache-Control"] == "max-age=7"


@case
def the_log_tells(d, p):
    assert p.set("//h/logged", "x") == b"STORED"
    assert p.get("//h/logged")[2] == b"x"
    assert p.ask("delete //h/logged\r\n") == b"DELETED"
    d.wait_counter("OBJM.kv.delete_hits", lambda n: n >= 1)
    text = d.records("Begin", "Link", "ReqURL", "ReqHeader", "VCL_Log", "VCL_return", "RespStatus", "End")
    for word in ("/logged", "memcached:set", "memcached:get", "memcached:delete", "user:bob", "X-Who: memcached bob set"):
        assert word in text, f"{word} is not in the log:\n{text}"


def run(path):
    def one(fn):
        with tempfile.TemporaryDirectory() as top:
            os.chmod(top, 0o755)
            users = users_file(path, top, bob="secret")
            with Ours(path, f",auth={users}") as d:
                with open(os.path.join(top, "policy.vcl"), "w", encoding="ascii") as f:
                    f.write(VCL)
                d.cli_ok("vcl.load", "v", f.name)
                d.cli_ok("vcl.use", "v")
                with Peer(d.mc_port) as p:
                    assert p.set("auth", "bob secret") == b"STORED"
                    fn(d, p)
    return one


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    sys.exit(1 if main({n: c for n, c in CASES.items() if not args.cases or n in args.cases}, run(args.daemon)) else 0)
