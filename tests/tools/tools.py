#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Debian's Varnish tools, unmodified, against the running daemon: what they print is true.

    tools.py --daemon build/bin/objmapperd

varnishadm, varnishlog (four groupings, queries, a file written and read), varnishncsa (default and own formats), varnishstat
(-1, -j, -f), varnishtop and varnishhist each see the same handful of requests.
"""
import argparse
import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies                                 # noqa: E402
from objm.client import Client                          # noqa: E402
from objm.daemon import Daemon                          # noqa: E402
from objm.origin import Origin                          # noqa: E402

SMALL = bodies.path_of("small", 1234)
LARGE = bodies.path_of("large", 1500000)
PRIVATE = bodies.path_of("private", 50, "private")


def tool(daemon, *argv, seconds=20, input_file=False):
    """What a tool printed; it must end well."""
    where = [] if input_file else ["-n", daemon.workdir]
    p = subprocess.run([argv[0], *where, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=seconds, check=False)
    assert p.returncode == 0, f"{argv}: {p.returncode} {p.stderr.decode(errors='replace')}"
    return p.stdout.decode(errors="replace")


def matches(pattern, text):
    assert re.search(pattern, text, re.M), f"no /{pattern}/ in:\n{text[-3000:]}"


def traffic(daemon):
    with Client(daemon.address) as client:
        for method, path, headers in (("GET", SMALL, ()), ("GET", SMALL, ("User-Agent: tester/1.0", "Referer: http://r.example/")),
                                      ("HEAD", SMALL, ()), ("GET", LARGE, ()), ("GET", LARGE, ()), ("GET", PRIVATE, ()),
                                      ("GET", SMALL, ("Authorization: Basic dXNlcjpwYXNz",)), ("GET", "/nothing", ())):
            client.get(path, method, headers=headers)
    # Counters and log are brought up to date at the end of things: of the session, the last of these.
    assert daemon.wait_counter("MAIN.s_sess", lambda v: v >= 1) >= 1
    assert daemon.wait_counter("MAIN.client_req", lambda v: v >= 8) == 8
    deadline = time.monotonic() + 20
    while "SessClose" not in tool(daemon, "varnishlog", "-d", "-g", "session") and time.monotonic() < deadline:
        pass


def check_adm(daemon):
    matches(r"Child in state running", tool(daemon, "varnishadm", "status"))
    matches(r"Value is: 120.000 \[seconds\]", tool(daemon, "varnishadm", "param.show", "default_ttl"))
    matches(r"storage\.s0", tool(daemon, "varnishadm", "storage.list"))
    matches(r"default", tool(daemon, "varnishadm", "backend.list"))
    json.loads(tool(daemon, "varnishadm", "param.show", "-j"))
    p = subprocess.run(["varnishadm", "-n", daemon.workdir, "param.set", "default_ttl", "x"], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=20, check=False)
    assert p.returncode != 0 and b"106" in p.stderr, p


def check_log(daemon):
    text = tool(daemon, "varnishlog", "-d", "-g", "request")
    for pattern in (rf"^-   ReqURL         {SMALL}$", r"^-   RespStatus     200$", r"^-   Hit            \d+ [\d.]+ [\d.]+ [\d.]+",
                    r"^\*   << Request  >> \d+", r"^\*\*\s+<< BeReq    >> \d+", r"^--  BereqURL       /b/small/1234$",
                    r"^-   Timestamp      Resp: [\d.]+ [\d.]+ [\d.]+$", r"^-   ReqAcct        \d+ 0 \d+ \d+ 1234 \d+$"):
        matches(pattern, text)
    text = tool(daemon, "varnishlog", "-d", "-g", "session")
    matches(r"^\*   << Session  >> \d+", text)
    matches(r"^-\s+SessOpen       127.0.0.1 \d+ a0 127.0.0.1 \d+ ", text)
    matches(r"^\*\*\*\s+<< BeReq    >> \d+", text)
    text = tool(daemon, "varnishlog", "-d", "-g", "raw", "-i", "ReqURL")
    assert text.count("ReqURL") == 8, text
    text = tool(daemon, "varnishlog", "-d", "-g", "vxid", "-q", f'ReqURL eq "{SMALL}" and ReqMethod eq "HEAD"', "-i", "ReqMethod")
    assert re.findall(r"ReqMethod +(\w+)", text) == ["HEAD"], text
    # Every transaction is whole: it begins, it ends, and it is linked to its parent.
    text = tool(daemon, "varnishlog", "-d", "-g", "raw")
    begun, ended, linked = ({int(x) for x in re.findall(rf"^ *(\d+) {tag}", text, re.M)} for tag in ("Begin", "End", "Link"))
    assert begun == ended, f"begun {sorted(begun)}, ended {sorted(ended)}"
    children = {int(x) for x in re.findall(r"Link +[cb] (?:req|bereq) (\d+)", text)}
    parents = {int(x): int(p) for x, p in re.findall(r"^ *(\d+) Begin +[cb] (?:req|bereq) (\d+)", text, re.M)}
    assert children == set(parents) and linked == set(parents.values()), (children, parents)
    # Written to a file and read from it.
    file = os.path.join(daemon.dir, "log.vsl")
    tool(daemon, "varnishlog", "-d", "-g", "raw", "-w", file)
    again = tool(daemon, "varnishlog", "-r", file, "-g", "raw", input_file=True)
    assert again.count("ReqURL") == 8


def check_times(daemon):
    """Within a transaction each stage ends after the one before it, and took what lies between them."""
    seen, last, vxid = 0, 0.0, None
    for line in tool(daemon, "varnishlog", "-d", "-g", "vxid", "-i", "Begin,Timestamp").splitlines():
        if " Begin " in line:
            last, vxid = 0.0, line
        elif m := re.search(r" Timestamp +(\w+): ([\d.]+) (-?[\d.]+) (-?[\d.]+)$", line):
            now, total, step = map(float, m.groups()[1:])
            assert now >= last and total >= step >= 0, f"{vxid}\n{line}: after {last}"
            last, seen = now, seen + 1
    assert seen > 40, seen


def check_ncsa(daemon):
    lines = tool(daemon, "varnishncsa", "-d").splitlines()
    assert len(lines) == 8, lines
    matches(r'^127\.0\.0\.1 - - \[\d+/\w+/\d+:[\d:]+ [+-]\d+\] "GET http://h\.example/b/small/1234 HTTP/1\.1" 200 1234 "-" "-"$', lines[0])
    matches(r'200 1234 "http://r\.example/" "tester/1\.0"$', lines[1])
    matches(r'"HEAD http://h\.example/b/small/1234 HTTP/1\.1" 200 (0|-) ', lines[2])
    matches(r'" 200 1500000 ', lines[3])
    matches(r"^127\.0\.0\.1 - user ", lines[6])
    matches(r'" 404 0 ', lines[7])
    lines = tool(daemon, "varnishncsa", "-d", "-F", "%U %s %b %{Varnish:hitmiss}x %{Varnish:handling}x %{VSL:Timestamp:Resp[2]}x").splitlines()
    assert [l.split()[3:5] for l in lines] == [["miss", "miss"], ["hit", "hit"], ["hit", "hit"], ["miss", "miss"], ["hit", "hit"],
                                              ["miss", "miss"], ["miss", "pass"], ["miss", "miss"]], lines
    assert all(0 <= float(l.split()[5]) < 60 for l in lines), lines
    lines = tool(daemon, "varnishncsa", "-d", "-b", "-F", "%m %U %s").splitlines()
    assert lines[0] == f"GET {SMALL} 200", lines


def check_stat(daemon):
    text = tool(daemon, "varnishstat", "-1")
    for name, value in (("MAIN.client_req", 8), ("MAIN.cache_hit", 3), ("MAIN.cache_miss", 4), ("MAIN.s_pass", 1),
                        ("MAIN.sess_conn", 1), ("MGT.child_start", 1)):
        matches(rf"^{name} +{value} +[\d.]+ \S", text)
    matches(r"^SMA\.s0\.g_bytes +\d{7,} ", text)
    matches(r"^MGT\.uptime +\d+ ", text)
    data = json.loads(tool(daemon, "varnishstat", "-1", "-j"))
    hit = data["counters"]["MAIN.cache_hit"]
    assert hit["value"] == 3 and hit["flag"] == "c" and hit["format"] == "i" and hit["description"], hit
    assert len([name for name in data["counters"] if name.startswith("MAIN.")]) >= 140
    text = tool(daemon, "varnishstat", "-1", "-f", "MAIN.cache_*")
    names = {line.split()[0] for line in text.splitlines()}
    assert names == {"MAIN.cache_hit", "MAIN.cache_hit_grace", "MAIN.cache_hitpass", "MAIN.cache_hitmiss", "MAIN.cache_miss"}, names
    matches(r"MAIN\.client_req", tool(daemon, "varnishstat", "-l"))


def check_top(daemon):
    text = tool(daemon, "varnishtop", "-1", "-d", "-i", "ReqURL")
    matches(rf"^ +4\.00 ReqURL {SMALL}$", text)
    matches(rf"^ +2\.00 ReqURL {LARGE}$", text)
    text = tool(daemon, "varnishtop", "-1", "-d", "-i", "BereqURL")
    matches(rf"^ +2\.00 BereqURL {SMALL}$", text)


def check_hist(daemon):
    """varnishhist draws on a terminal only; it must come up, and draw what it finds."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    p = subprocess.Popen(["varnishhist", "-n", daemon.workdir, "-d"], env=dict(os.environ, TERM="xterm"),
                         stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    text, deadline = b"", time.monotonic() + 20
    try:
        while b"|" not in text and b"#" not in text and time.monotonic() < deadline and p.poll() is None:
            if select.select([ours], [], [], 1)[0]:
                text += os.read(ours, 4096)
        assert b"|" in text or b"#" in text, (p.poll(), text[-500:])
    finally:
        p.kill()
        p.wait()
        os.close(ours)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    args = ap.parse_args()
    origin = Origin()
    failed = 0
    with Daemon(os.path.abspath(args.daemon), f"{origin.host}:{origin.port}", ["-i", "tools.example"]) as daemon:
        traffic(daemon)
        for check in (check_adm, check_log, check_times, check_ncsa, check_stat, check_top, check_hist):
            try:
                check(daemon)
                print(f"tools: {check.__name__[6:]}: passed")
            except Exception:       # each tool has its say, whatever became of the others
                traceback.print_exc()
                print(f"tools: {check.__name__[6:]}: FAILED")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
