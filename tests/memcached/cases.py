#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""memcached's protocol, byte by byte: what is answered, and how the connection goes on after what should not be.

    cases.py --daemon build/bin/objmapperd [CASE...]
"""
import argparse
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from peer import LONG, Ours, Peer, packet, users_file, main as run_cases

CASES = {}
AUTH_CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def auth_case(fn):
    AUTH_CASES[fn.__name__] = fn
    return fn


def equal(got, want):
    assert got == want, f"{got!r} in place of {want!r}"


def still_in_step(peer):
    equal(peer.ask("mn\r\n"), b"MN")


# ---- what is answered ----

@case
def every_split_of_a_stream(d):
    """However the bytes come, the answers are the same."""
    asked = (b"set s 5 0 3\r\nabc\r\ngets s\r\nms s 2 c F1 q\r\nxy\r\nmg s v f k\r\nincr s 1\r\ndelete s noreply\r\nget s t\r\n"
             b"set n 0 0 2\r\n10\r\nincr n 5\r\ntouch n 100\r\nmn\r\n")
    answers = set()
    for at in range(1, len(asked), 7):
        with Peer(d.mc_port) as p:
            p.send(asked[:at])
            time.sleep(0.002)
            p.send(asked[at:])
            got = p.until(b"MN")
            cas = got.split(b"VALUE s 5 3 ")[1].split(b"\r\n")[0]
            answers.add(got.replace(b" 3 " + cas, b" 3 CAS"))
    equal(answers, {b"STORED\r\nVALUE s 5 3 CAS\r\nabc\r\nEND\r\nVA 2 f1 ks\r\nxy\r\n"
                    b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\nEND\r\nSTORED\r\n15\r\nTOUCHED\r\nMN\r\n"})


@case
def a_byte_at_a_time(d):
    with Peer(d.mc_port) as p:
        for byte in b"set slow 0 0 4\r\nwxyz\r\nget slow\r\n":
            p.send(bytes([byte]))
            time.sleep(0.001)
        equal(p.until(b"END"), b"STORED\r\nVALUE slow 0 4\r\nwxyz\r\nEND\r\n")


@case
def many_answers_leave_in_one_write(d):
    """A hundred gets in one packet: the answers come in a few."""
    with Peer(d.mc_port) as p:
        p.set("many", b"v" * 50)
        p.send(b"get many\r\n" * 100 + b"mn\r\n")
        reads = 0
        got = b""
        while not got.endswith(b"MN\r\n"):
            got += p.sock.recv(1 << 20)
            reads += 1
        equal(got, (b"VALUE many 0 50\r\n" + b"v" * 50 + b"\r\nEND\r\n") * 100 + b"MN\r\n")
        assert reads <= 10, reads


@case
def a_long_multiget(d):
    """Thousands of keys in one line, more than any buffer holds."""
    with Peer(d.mc_port) as p:
        names = [f"multi-{'x' * 30}-{i}" for i in range(3000)]
        for i in range(0, 3000, 3):
            p.send(f"set {names[i]} {i} 0 4 noreply\r\n{i:04}\r\n")
        still_in_step(p)
        sender = threading.Thread(target=p.send, args=("get " + " ".join(names) + "\r\n",))
        sender.start()
        got = p.until(b"END")
        sender.join()
        equal(got, b"".join(f"VALUE {names[i]} {i} 4\r\n{i:04}\r\n".encode() for i in range(0, 3000, 3)) + b"END\r\n")
        still_in_step(p)


@case
def large_values_come_back_whole(d):
    """Beyond the 1 MiB of others, and around every boundary of buffers."""
    rng = random.Random(1)
    with Peer(d.mc_port) as p:
        for size in (0, 1, 2046, 2047, 2048, 2049, 4095, 4096, 4097, 16000, 16383, 16384, 16385, 65536, 131071, 131072, 300000, 1 << 20, 5 << 20):
            value = rng.randbytes(size)
            equal(p.set(f"large-{size}", value), b"STORED")
            got = p.get(f"large-{size}")
            assert got is not None and got[2] == value, f"{size} bytes come back otherwise"
            p.send(packet_text_get(size))
            equal(p.line(), f"VA {size} s{size}".encode())
            assert p.take(size + 2) == value + b"\r\n"
        # Several at once, one write after another.
        sizes = (131072, 10, 300000, 4097, 1 << 20)
        for size in sizes:
            p.set(f"large-{size}", b"%d" % (size % 10) * size)
        p.send("get " + " ".join(f"large-{s}" for s in sizes) + "\r\n")
        equal(len(p.until(b"END")), sum(len(f"VALUE large-{s} 0 {s}\r\n\r\n") + s for s in sizes) + 5)


def packet_text_get(size):
    return f"mg large-{size} v s\r\n"


@case
def a_value_no_store_takes(d):
    """Refused, read away, the old one gone, and nothing half-stored."""
    with Peer(d.mc_port) as p:
        equal(p.set("toolarge", "old"), b"STORED")
        before = int(p.stats()["curr_items"])
        size = 80 << 20
        p.send(f"set toolarge 0 0 {size}\r\n")
        chunk = b"x" * (1 << 20)
        for _ in range(80):
            p.send(chunk)
        p.send(b"\r\n")
        line = p.line()
        assert line in (b"SERVER_ERROR object too large for cache", b"SERVER_ERROR out of memory storing object"), line
        equal(p.get("toolarge"), None)
        still_in_step(p)
        assert int(p.stats()["curr_items"]) <= before


@case
def storing_more_than_fits_evicts(d):
    with Peer(d.mc_port) as p:
        value = b"e" * 100000
        for i in range(1500):
            p.send(f"set evict-{i} 0 0 {len(value)} noreply\r\n".encode() + value + b"\r\n")
        still_in_step(p)
        assert p.get("evict-1499") is not None
        assert p.get("evict-0") is None
        assert int(p.stats()["evictions"]) > 0


@case
def noreply_and_quiet(d):
    with Peer(d.mc_port) as p:
        p.send(b"set q 0 0 1 noreply\r\n1\r\nadd q 0 0 1 noreply\r\n2\r\nreplace nothere 0 0 1 noreply\r\n2\r\nappend q 0 0 1 noreply\r\n0\r\n"
               b"incr q 5 noreply\r\ndecr nothere 1 noreply\r\ncas q 0 0 1 99 noreply\r\nx\r\ntouch q 0 noreply\r\nset q x 0 1 noreply\r\nz\r\n"
               b"verbosity 1 noreply\r\ndelete nothere noreply\r\nmg nothere v q\r\nms q2 1 q\r\n1\r\nmd q2 q\r\nma q q\r\nmn\r\n")
        equal(p.line(), b"MN")
        equal(p.get("q")[2], b"16")
        # Errors of meta commands are told, quiet or not.
        p.send(b"mg q q !\r\nms q 1 q ME\r\nx\r\nmd nothere q\r\nma nothere q\r\nmg q q v\r\nmn\r\n")
        equal(p.until(b"MN"), b"CLIENT_ERROR invalid flag\r\nNS\r\nNF\r\nNF\r\nVA 2\r\n16\r\nMN\r\n")
        p.send(b"flush_all noreply\r\nmn\r\n")
        equal(p.line(), b"MN")
        equal(p.get("q"), None)


@case
def quiet_binary(d):
    with Peer(d.mc_port) as p:
        ext = struct.pack(">II", 7, 0)
        p.send(packet(0x11, b"bq", b"10", ext) + packet(0x09, b"bq") + packet(0x09, b"nothere") + packet(0x0d, b"bq") + packet(0x0d, b"nothere") +
               packet(0x12, b"bq", b"x", ext, opaque=b"add!") + packet(0x15, b"bq", extras=struct.pack(">QQI", 5, 0, 0)) +
               packet(0x14, b"nothere", opaque=b"del!") + packet(0x19, b"bq", b"0") + packet(0x1e, b"nothere", extras=b"\0\0\0\5") +
               packet(0x0a, opaque=b"noop"))
        got = [p.packet() for _ in range(5)]
        equal([(g[0], g[1], g[2], g[3], g[4], g[6]) for g in got],
              [(0x09, 0, b"\0\0\0\7", b"", b"10", b"opaq"), (0x0d, 0, b"\0\0\0\7", b"bq", b"10", b"opaq"),
               (0x12, 2, b"", b"", b"Data exists for key.", b"add!"), (0x14, 1, b"", b"", b"Not found", b"del!"), (0x0a, 0, b"", b"", b"", b"noop")])
        p.send(packet(0x00, b"bq") + packet(0x0c, b"nothere") + packet(0x1c, b"bq", extras=b"\0\0\0\x64") + packet(0x23, b"bq", extras=b"\0\0\0\x64"))
        got = [p.packet() for _ in range(4)]
        equal([(g[0], g[1], g[3], g[4]) for g in got], [(0, 0, b"", b"150"), (0x0c, 1, b"nothere", b""), (0x1c, 0, b"", b""), (0x23, 0, b"bq", b"150")])
        p.send(packet(0x17))
        equal(p.packet(), None)
    with Peer(d.mc_port) as p:
        p.send(packet(0x07, opaque=b"quit"))
        equal(p.packet()[1], 0)
        equal(p.packet(), None)


@case
def swaps(d):
    with Peer(d.mc_port) as p, Peer(d.mc_port) as q:
        p.set("cas", "one")
        _, cas, _ = p.get("cas", "gets")
        equal(q.ask(f"cas cas 0 0 3 {cas}\r\ntwo\r\n"), b"STORED")
        equal(p.ask(f"cas cas 0 0 5 {cas}\r\nthree\r\n"), b"EXISTS")
        equal(p.ask("cas nothere 0 0 1 1\r\nx\r\n"), b"NOT_FOUND")
        equal(p.ask("cas cas 0 0 1 0\r\nx\r\n"), b"EXISTS")
        equal(p.get("cas")[2], b"two")
        _, again, _ = p.get("cas", "gets")
        assert again > cas
        equal(p.ask(f"ms cas 4 C{again} c\r\nfour\r\n")[:4], b"HD c")
        equal(p.ask(f"ms cas 4 C{again} O7\r\nfive\r\n"), b"EX O7")
        equal(p.ask(f"md cas C{again}\r\n"), b"EX")
        equal(p.get("cas")[2], b"four")


@case
def stale_and_win(d):
    with Peer(d.mc_port) as p:
        equal(p.ask("ms stale 1\r\na\r\n"), b"HD")
        cas = int(p.ask("mg stale c\r\n")[4:])
        equal(p.ask("md stale I T30\r\n"), b"HD")
        line = p.ask("mg stale t c v\r\n")
        p.take(3)
        assert line.startswith(b"VA 1 t") and line.endswith(b" X W"), line
        equal(p.ask("mg stale\r\n"), b"HD Z X")
        equal(p.ask(f"ms stale 1 I C{cas}\r\nb\r\n"), b"HD")
        assert b" X" in p.ask("mg stale\r\n")
        equal(p.ask("ms stale 1\r\nc\r\n"), b"HD")
        equal(p.ask("mg stale\r\n"), b"HD")
        equal(p.ask("mg vivified N30 v t\r\n"), b"VA 0 t30 W")
        equal(p.line(), b"")
        equal(p.ask("mg vivified N30\r\n"), b"HD Z")
        equal(p.ask("ma counted N0 J13 v\r\n"), b"VA 2")
        equal(p.line(), b"13")
        equal(p.ask("ma counted D5 M- v\r\n"), b"VA 1")
        equal(p.line(), b"8")
        equal(p.ask("mg Zm9v b k O1\r\n"), b"EN kZm9v b O1")


@case
def stats_are_counted(d):
    with Peer(d.mc_port) as p:
        equal(p.ask("stats reset\r\n"), b"RESET")
        p.set("st", "1")
        p.get("st")
        p.get("nothere")
        p.ask("incr st 1\r\n")
        p.ask("touch st 0\r\n")
        p.ask("delete st\r\n")
        p.ask("delete st\r\n")
        got = p.stats()
        want = {"cmd_set": "1", "cmd_get": "2", "get_hits": "1", "get_misses": "1", "incr_hits": "1", "touch_hits": "1", "delete_hits": "1",
                "delete_misses": "1", "pointer_size": "64"}
        equal({k: got[k] for k in want}, want)
        for name in ("pid", "uptime", "time", "curr_items", "total_items", "bytes", "curr_connections", "limit_maxbytes", "threads", "evictions"):
            assert got[name].isdigit(), (name, got[name])
        equal(p.ask("version\r\n").decode(), "VERSION " + got["version"])
        p.set("st", "1")
        assert "items:1:number" in p.stats("items")
        assert "active_slabs" in p.stats("slabs")
        equal(p.stats("settings")["tcpport"], str(d.mc_port))
        equal(p.ask("stats nonsense\r\n"), b"ERROR")
        equal(p.ask("stats detail on\r\n"), b"OK")
        equal(p.ask("stats detail\r\n"), b"CLIENT_ERROR usage: stats detail on|off|dump")
    assert d.counter("OBJM.mc.cmd_meta") > 0


# ---- attacks (docs/attacks.md) ----

@case
def lengths_that_cannot_be(d):
    """Whatever follows a set without a good length is not carried out."""
    for length in ("-1", "-9223372036854775808", "18446744073709551616", "99999999999999999999999", "+5", "0x5", "5x", "", "noreply"):
        with Peer(d.mc_port) as p:
            p.send(f"set neg 0 0 {length}\r\nset smuggled 0 0 1\r\nx\r\n")
            got = p.rest()
            assert got in (b"CLIENT_ERROR bad command line format\r\n", b"ERROR\r\n", b""), (length, got)
    with Peer(d.mc_port) as p:
        equal(p.get("smuggled"), None)


@case
def data_that_is_longer_than_it_says(d):
    with Peer(d.mc_port) as p:
        p.send(b"set chunk 0 0 3\r\nabcdef\r\nset smuggled 0 0 1\r\nx\r\n")
        equal(p.rest(), b"CLIENT_ERROR bad data chunk\r\n")
    with Peer(d.mc_port) as p:
        p.send(b"set chunk 0 0 3 noreply\r\nabc\nset smuggled 0 0 1\r\nx\r\n")
        equal(p.rest(), b"")
    big = b"y" * 100000
    with Peer(d.mc_port) as p:
        p.send(b"set chunk 0 0 100000\r\n" + big + b"zz\r\nset smuggled 0 0 1\r\nx\r\n")
        equal(p.rest(), b"CLIENT_ERROR bad data chunk\r\n")
    with Peer(d.mc_port) as p:
        equal(p.get("chunk"), None)
        equal(p.get("smuggled"), None)


@case
def bare_line_feeds(d):
    with Peer(d.mc_port) as p:
        p.send(b"set lf 0 0 2\nab\r\nget lf\nmn\n")
        equal(p.until(b"MN"), b"STORED\r\nVALUE lf 0 2\r\nab\r\nEND\r\nMN\r\n")
        p.send(b"\n\r\n\r\r\n")
        equal([p.line() for _ in range(3)], [b"ERROR"] * 3)
        still_in_step(p)
        # The end of a data block is CR LF and nothing else.
        p.send(b"set lf 0 0 2\nab\n\nget lf\r\n")
        equal(p.rest(), b"CLIENT_ERROR bad data chunk\r\n")


@case
def overlong_keys(d):
    with Peer(d.mc_port) as p:
        long = "k" * 251
        for asked, data in ((f"get {long}", ""), (f"get a {long} b", ""), (f"set {long} 0 0 5", "mn\r\nx"), (f"delete {long}", ""),
                            (f"incr {long} 1", ""), (f"mg {long} v", ""), (f"ms {long} 5", "mn\r\nx"), (f"touch {long} 0", "")):
            p.send(asked + "\r\n" + (data + "\r\n" if data else ""))
            equal(p.line(), b"CLIENT_ERROR bad command line format")
            still_in_step(p)
        equal(p.set("k" * 250, "fits"), b"STORED")
        equal(p.get("k" * 250)[2], b"fits")
        for key in ("a\tb", "a\0b", "a\x7fb", "a\x01"):
            p.send(f"get {key}\r\n")
            equal(p.line(), b"CLIENT_ERROR bad command line format")
        still_in_step(p)


@case
def lines_without_end(d):
    for begin in (b"set ", b"", b"mg ", b"get " + b"k" * 300):
        with Peer(d.mc_port) as p:
            try:
                p.send(begin + b"x" * 100000)
                got = p.rest()
            except OSError:
                continue
            equal(got, b"CLIENT_ERROR line too long\r\n")
    with Peer(d.mc_port) as p:
        p.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nset smuggled 0 0 1\r\nx\r\n")
        equal(p.rest(), b"")
    with Peer(d.mc_port) as p:
        equal(p.get("smuggled"), None)


@case
def binary_lengths(d):
    """Key, extras and total length that do not fit, or are not what the command has: an answer and the end."""
    bad = {
        "key longer than all": packet(0x00, b"k", body_len=0),
        "extras longer than all": packet(0x01, b"", b"", b"", extras_len=8, body_len=4),
        "extras that wrap": packet(0x00, b"k", extras_len=255, body_len=1),
        "extras of a get": packet(0x00, b"k", extras=b"\0" * 8),
        "no key": packet(0x00),
        "key of noop": packet(0x0a, b"k"),
        "value of get": packet(0x00, b"k", b"v"),
        "set without extras": packet(0x01, b"k", b"v"),
        "too much extras": packet(0x01, b"k", b"v", b"\0" * 200),
        "key too long": packet(0x00, b"k" * 251),
        "key very long": packet(0x01, b"k" * 60000, b"v", b"\0" * 8),
        "sasl without key": packet(0x21, b"", b"xx"),
        "sasl lengths": packet(0x21, b"", b"", key_len=65535, body_len=10),
    }
    for name, data in bad.items():
        with Peer(d.mc_port) as p:
            p.send(data + packet(0x01, b"smuggled", b"x", b"\0" * 8))
            first = p.packet()
            assert first is not None and first[1] in (0x04, 0x81), (name, first)
            assert p.packet() is None, name
    with Peer(d.mc_port) as p:
        p.send(packet(0x77, b"key", b"value") + packet(0x0a))
        equal([p.packet()[1], p.packet()[1]], [0x81, 0])
        p.send(packet(0x21, b"PLAIN", b"\0u\0p") + packet(0x0a))
        equal([p.packet()[1], p.packet()[1]], [0x81, 0])
        p.send(packet(0x00, b"smuggled"))
        equal(p.packet()[1], 1)
        p.send(b"get smuggled\r\n" + b"x" * 24)
        equal(p.packet(), None)


@case
def a_set_that_never_ends(d):
    """A client that announces much, sends little and leaves: nothing is stored, nothing stays."""
    for _ in range(20):
        with Peer(d.mc_port) as p:
            p.send(b"set unfinished 0 0 10000000\r\n" + b"x" * 200000)
    with Peer(d.mc_port) as p:
        equal(p.get("unfinished"), None)
        # Their room comes back as soon as the daemon has seen that they left.
        end = time.monotonic() + LONG
        while p.set("room", b"r" * (25 << 20)) != b"STORED":
            assert time.monotonic() < end, "what nobody finished keeps its room"
        equal(p.ask("delete room\r\n"), b"DELETED")


@case
def a_client_that_asks_and_does_not_read(d):
    """Its own connection stops; others are served."""
    with Peer(d.mc_port) as slow, Peer(d.mc_port) as p:
        equal(p.set("big", b"b" * (1 << 20)), b"STORED")
        slow.sock.setblocking(False)
        asked = 0
        end = time.monotonic() + LONG
        while asked < 100000 and time.monotonic() < end:
            try:
                asked += slow.sock.send(b"get big\r\n" * 100)
            except BlockingIOError:
                break
        for _ in range(50):
            assert p.get("big") is not None
        still_in_step(p)


@case
def random_bytes(d):
    """Whatever comes, the daemon lives and serves others."""
    rng = random.Random(7)
    words = [b"get ", b"set ", b"k", b" 0", b" 5", b"\r\n", b"\n", b"mg ", b"ms ", b" q", b" b", b"-1", b"noreply", b"\0", b"\x80", b"cas ", b"xxxxx", b" v"]
    for i in range(300):
        data = rng.randbytes(rng.randrange(1, 300)) if i % 3 == 0 else b"".join(rng.choice(words) for _ in range(60))
        if i % 5 == 0:
            data = b"\x80" + data
        with Peer(d.mc_port) as p:
            try:
                p.send(data)
                p.sock.shutdown(socket.SHUT_WR)
                p.rest()
            except OSError:
                pass
    with Peer(d.mc_port) as p:
        still_in_step(p)


# ---- who asks ----

@auth_case
def nothing_before_a_name(d):
    with Peer(d.mc_port) as p:
        for asked in ("get a\r\n", "version\r\n", "stats\r\n", "mg a v\r\n", "mn\r\n", "delete a\r\n", "nonsense\r\n", "flush_all\r\n"):
            equal(p.ask(asked), b"CLIENT_ERROR unauthenticated")
        equal(p.ask("ms k 5\r\nhello\r\n"), b"CLIENT_ERROR unauthenticated")
        equal(p.ask("add k 0 0 5\r\nhello\r\n"), b"CLIENT_ERROR unauthenticated")
        equal(p.ask("set auth 0 0 10\r\nann s3cret\r\n"), b"STORED")
        equal(p.ask("set k 0 0 5\r\nhello\r\n"), b"STORED")
        equal(p.get("k")[2], b"hello")
        equal(p.get("auth"), None)
    with Peer(d.mc_port) as p:
        p.send(b"set k 0 0 -1\r\nget k\r\n")
        equal(p.rest(), b"CLIENT_ERROR unauthenticated\r\n")
    with Peer(d.mc_port) as p:
        p.send(b"set k 0 0 100000\r\n" + b"x" * 1000)
        equal(p.line(), b"CLIENT_ERROR authentication failure")
        p.rest()


@auth_case
def nothing_before_a_name_binary(d):
    for opcode in (0x00, 0x01, 0x0a, 0x10, 0x08):
        with Peer(d.mc_port) as p:
            p.send(packet(opcode, b"k" if opcode in (0, 1) else b"", extras=b"\0" * 8 if opcode == 1 else b"") + packet(0x0b))
            equal(p.packet()[1], 0x20)
            equal(p.packet(), None)
    with Peer(d.mc_port) as p:
        p.send(packet(0x0b) + packet(0x20))
        equal(p.packet()[1], 0)
        equal(p.packet()[4], b"PLAIN")
        p.send(packet(0x21, b"PLAIN", b"\0ann\0wrong"))
        got = p.packet()
        equal((got[1], got[4]), (0x20, b"Auth failure."))
        p.send(packet(0x21, b"PLAIN", b"\0ann\0s3cret") + packet(0x01, b"bk", b"v", b"\0" * 8) + packet(0x00, b"bk"))
        got = [p.packet() for _ in range(3)]
        equal([(g[1], g[4]) for g in got], [(0, b"Authenticated"), (0, b""), (0, b"v")])
    with Peer(d.mc_port) as p:
        p.send(packet(0x21, b"PLAIN") + packet(0x22, b"PLAIN", b"\0ann\0s3cret"))
        equal([p.packet()[1], p.packet()[1]], [0x21, 0])
    with Peer(d.mc_port) as p:
        p.send(packet(0x22, b"PLAIN", b"\0ann\0s3cret") + packet(0x21, b"CRAM-MD5", b"xx") + packet(0x0b))
        equal([p.packet()[1] for _ in range(3)], [0x20, 0x20, 0])


@auth_case
def wrong_passwords_end_the_connection(d):
    before = d.counter("OBJM.mc.auth_errors")
    d.cli_ok("param.set", "mc_auth_tries", "3")
    with Peer(d.mc_port) as p:
        for _ in range(3):
            equal(p.ask("set a 0 0 9\r\nann wrong\r\n"), b"CLIENT_ERROR authentication failure")
        equal(p.rest(), b"")
    # From now on passwords from here are looked at one by one; the right one is still right.
    with Peer(d.mc_port) as p:
        equal(p.ask("set a 0 0 12\r\nnobody wrong\r\n"), b"CLIENT_ERROR authentication failure")
        equal(p.ask("set a 0 0 3\r\nann\r\n"), b"CLIENT_ERROR bad authentication token format")
        equal(p.ask("set a 0 0 10\r\nann s3cret\r\n"), b"STORED")
    assert d.wait_counter("OBJM.mc.auth_held", lambda v: v > 0) > 0
    assert d.wait_counter("OBJM.mc.auth_errors", lambda v: v >= before + 5) >= before + 5
    assert d.counter("OBJM.mc.auth_cmds") > d.counter("OBJM.mc.auth_errors")
    d.cli_ok("param.set", "mc_auth_tries", "1000000")


@auth_case
def many_at_once(d):
    """More than are looked at together: all get in."""
    peers = [Peer(d.mc_port) for _ in range(30)]
    for p in peers:
        p.send("set a 0 0 10\r\nann s3cret\r\n")
    equal([p.line() for p in peers], [b"STORED"] * 30)
    for p in peers:
        p.close()


# ---- addresses ----

def unix_sockets_and_crashes(path):
    with tempfile.TemporaryDirectory() as top:
        name = os.path.join(top, "mc.sock")
        with Ours(path, args=("-a", f"u={name},MEMCACHED,mode=600")) as d:
            equal(os.stat(name).st_mode & 0o777, 0o600)
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(LONG)
                s.connect(name)
                s.sendall(b"set u 0 0 6\r\nsocket\r\nget u\r\n")
                got = b""
                while not got.endswith(b"END\r\n"):
                    got += s.recv(1000)
                equal(got, b"STORED\r\nVALUE u 0 6\r\nsocket\r\nEND\r\n")
            # Values outlive the worker, and no revision is given twice.
            with Peer(d.mc_port) as p:
                before = p.get("u", "gets")
            d.kill_worker()
            d.wait_running(LONG)
            with Peer(d.mc_port) as p:
                end = time.monotonic() + LONG
                while (after := p.get("u", "gets")) is None and time.monotonic() < end:
                    time.sleep(0.05)
                equal(after, before)
                equal(p.ask("set v 0 0 1\r\nx\r\n"), b"STORED")
                assert p.get("v", "gets")[1] > before[1]


def idle_connections_cost_nothing(path):
    """Idle ones have no fiber; those that are idle for long are closed."""
    with Ours(path) as d:
        peers = [Peer(d.mc_port) for _ in range(200)]
        for p in peers:
            still_in_step(p)
        with Peer(d.mc_port) as p:
            assert int(p.stats()["curr_connections"]) >= 201
        d.cli_ok("param.set", "mc_timeout_idle", "1")
        for p in peers[:5]:
            still_in_step(p)
            equal(p.rest(), b"")
        for p in peers:
            p.close()


def sasl(path):
    """Cyrus SASL, with passwords in sasldb."""
    from peer import Skipped
    import shutil
    tool = shutil.which("saslpasswd2") or shutil.which("/usr/sbin/saslpasswd2")
    if tool is None:
        raise Skipped("saslpasswd2 (sasl2-bin) is not installed")
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        db = os.path.join(top, "db")
        done = subprocess.run([tool, "-c", "-p", "-f", db, "-u", socket.gethostname(), "ann"], input=b"s3cret", check=False)
        if done.returncode != 0:
            raise Skipped("saslpasswd2 cannot make a data base here")
        os.chmod(db, 0o644)
        os.environ["SASL_CONF_PATH"] = top
        with open(os.path.join(top, "objmapper.conf"), "w", encoding="ascii") as f:
            f.write(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {db}\nmech_list: plain\n")
        try:
            with Ours(path, ",auth=sasl") as d, Peer(d.mc_port) as p:
                equal(p.ask("set a 0 0 9\r\nann wrong\r\n"), b"CLIENT_ERROR authentication failure")
                equal(p.ask("set a 0 0 10\r\nann s3cret\r\n"), b"STORED")
                with Peer(d.mc_port) as b:
                    b.send(packet(0x21, b"PLAIN", b"\0ann\0s3cret"))
                    equal(b.packet()[4], b"Authenticated")
        finally:
            del os.environ["SASL_CONF_PATH"]


ALONE = {f.__name__: f for f in (unix_sockets_and_crashes, idle_connections_cost_nothing, sasl)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()

    def chosen(cases):
        return {n: c for n, c in cases.items() if not args.cases or n in args.cases}

    failed = 0
    if chosen(CASES):
        with Ours(args.daemon) as d:
            pid = d.worker_pid()

            def one(fn):
                fn(d)
                assert d.worker_pid() == pid, "the worker died: " + d.output()
            failed += run_cases(chosen(CASES), one)
    if chosen(AUTH_CASES):
        with tempfile.TemporaryDirectory() as top:
            users = users_file(args.daemon, top, ann="s3cret", bob="p:a ss")
            with Ours(args.daemon, f",auth={users}", args=("-p", "mc_auth_tries=1000000", "-p", "mc_auth_hold=0.2")) as d:
                failed += run_cases(chosen(AUTH_CASES), lambda fn: fn(d))
    failed += run_cases(chosen(ALONE), lambda fn: fn(args.daemon))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
