#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The same random commands to Debian's memcached and to ours; the answers must be the same, byte for byte.

    differential.py --daemon build/bin/objmapperd [--seed N] [--commands N] [text|binary]

But for what the protocol leaves open: revisions are compared by when they change and not by their numbers, seconds by
their order of magnitude, and blanks that memcached leaves behind a number that became shorter do not count.  What is
answered otherwise on purpose (docs/memcached.md) is not asked: data blocks whose length is wrong or missing.  Exit status
77 when there is no memcached.
"""
import argparse
import random
import re
import struct
import sys

from peer import SKIPPED, Ours, Peer, Skipped, Theirs, packet

KEYS = [f"key{i}" for i in range(6)] + ["n0", "n1", "n2"]
LONG_KEY = "k" * 251


class Side:
    """One server, and what it has said of each key's revision."""

    def __init__(self, port):
        self.peer = Peer(port)
        self.cas = {}   # by key: the last that was told
        self.seen = {}  # number: in which place it was told first

    def place(self, number):
        return 0 if number == 0 else self.seen.setdefault(number, len(self.seen) + 1)

    def cas_of(self, key):
        return self.cas.get(key, 7 << 40)


# ---- text and meta ----

def make_value(rng, key):
    # Short of 2^63: beyond it memcached takes some numbers for none, by what lies behind them in memory.
    if key.startswith("n") and rng.random() < 0.9:
        return str(rng.choice((0, 1, 9, 10, 99, 100, 2**32, 2**50)))
    return rng.choice(("", "a", "abc", "x" * 50, "y" * 3000, "z" * 20000, "x12", "word word", "END", "-\r\nEND\r\n"))


TTL = (0, 0, 0, 1000, 100000, -1)
QUIET = ("", "", "", " noreply")


def storage(rng, key):
    name = rng.choice(("set", "set", "set", "add", "replace", "append", "prepend", "cas"))
    value = make_value(rng, key)
    if key.startswith("n") and name in ("append", "prepend"):
        name = "set"  # how many digits a number may have, zeros in front of it and all, is left open
    cas = " {cas}" if name == "cas" else ""
    return f"{name} {key} {rng.choice((0, 5, 65535, 4294967295))} {rng.choice(TTL)} {len(value)}{cas}{rng.choice(QUIET)}\r\n{value}\r\n"


def plain(rng, key):
    other = rng.choice(KEYS)
    quiet = rng.choice(QUIET)
    return rng.choice((
        f"get {key}\r\n", f"gets {key}\r\n", f"gets {key} {other} nothere\r\n", f"get {key} {other} {key}\r\n",
        f"gat {rng.choice((0, 1000))} {key} {other}\r\n", f"gats 1000 {key}\r\n", f"delete {key}{quiet}\r\n", f"delete {key} 0\r\n",
        f"incr {key} {rng.choice((0, 1, 5, 2**40))}{quiet}\r\n", f"decr {key} {rng.choice((1, 7, 2**40))}{quiet}\r\n",
        f"touch {key} {rng.choice((0, 1000, 100000))}{quiet}\r\n", f"verbosity 1{quiet}\r\n"))


def wrong(rng, key):
    return rng.choice((
        "\r\n", "get\r\n", "gets \r\n", f"get {LONG_KEY}\r\n", f"get {key} {LONG_KEY}\r\n", f"delete {LONG_KEY}\r\n", "delete\r\n",
        f"delete {key} 5\r\n", f"delete {key} 0 x\r\n", f"incr {key}\r\n", f"incr {key} x\r\n", f"incr {key} -1\r\n", f"touch {key}\r\n",
        f"touch {key} x\r\n", "nonsense\r\n", "get_\r\n", "GET key1\r\n", "flush_all x\r\n", "flush_all 1 2 3\r\n", "verbosity\r\n",
        "verbosity x\r\n", "stats nonsense\r\n", "stats detail\r\n", f"mg {LONG_KEY}\r\n", "mg\r\n", f"mg {key} v v\r\n", f"mg {key} !\r\n",
        f"mg {key} N\r\n", f"mg {key} Tx\r\n", f"mg {key} O{'o' * 40}\r\n", f"md {key} v v\r\n", f"md {key} !\r\n", f"ma {key} Dx\r\n",
        f"ma {key} MQ\r\n", "mx a\r\n", "m\r\n", "ma\r\n", "md\r\n", f"incr {LONG_KEY} 1\r\n", f"touch {LONG_KEY} 1\r\n", "gat x key1\r\n",
        "gat 5\r\n", f"ms {key} 3 !\r\nabc\r\n", f"ms {key} 3 MX\r\nabc\r\n", f"ms {key} 3 S3 S3\r\nabc\r\n", f"mg {key} M\r\n"))


def meta(rng, key):
    quiet = rng.choice(("", "", " q"))
    opaque = rng.choice(("", "", " O123"))
    tell = " ".join(rng.sample(["v", "t", "c", "f", "s", "k", "h"], rng.randrange(0, 7)))
    tell = " " + tell if tell else ""
    roll = rng.random()
    if roll < 0.45:
        more = rng.choice(("", "", "", " T1000", " N1000", " R30", " u", " R2000", " N1000 T1000"))
        return f"mg {key}{more}{tell}{quiet}{opaque}\r\n"  # what is told is told before what stands behind it is done
    if roll < 0.7:
        value = make_value(rng, key)
        more = rng.choice(("", "", " ME", " MA", " MP", " MR", " MS", " C{cas}", " I C{cas}", " T1000 F9", " MA C{cas}"))
        if key.startswith("n") and ("MA" in more or "MP" in more or " I" in more):
            more = ""
        return f"ms {key} {len(value)}{more}{rng.choice(('', ' c', ' k'))}{quiet}{opaque}\r\n{value}\r\n"
    if roll < 0.85:
        more = rng.choice(("", " C{cas}", *(() if key.startswith("n") else (" I", " I T1000", " I C{cas}"))))
        return f"md {key}{more}{rng.choice(('', ' k'))}{quiet}{opaque}\r\n"
    # Of what was made by N memcached tells whether it was asked to be quiet or not.  Revisions of what is no number: below.
    more = rng.choice(("", " D5", " MD D3", *((" N0 J7", " N1000") if not quiet and key.startswith("n") else ())))
    return f"ma {key}{more}{rng.choice(('', ' v', ' v t c', ' k'))}{quiet}{opaque}\r\n"


def make_text(rng):
    """(what to send, with {cas} where the key's revision belongs; the key)."""
    key = rng.choice(KEYS)
    roll = rng.random()
    if roll < 0.3:
        return storage(rng, key), key
    if roll < 0.55:
        return plain(rng, key), key
    if roll < 0.6:
        return wrong(rng, key), key
    if roll < 0.605:
        return "flush_all\r\n", key
    return meta(rng, key), key


def tidy_numbers(answer):
    """Without the blanks behind numbers, and with lengths that fit."""
    def value(m):
        number = m[4].rstrip(b" ")
        return m[1] + m[2] + b"%d" % len(number) + m[3] + b"\r\n" + number + b"\r\n"
    answer = re.sub(rb"(VALUE )(n\d \d+ )\d+((?: \d+)?)\r\n(\d+ *)\r\n", value, answer)
    return re.sub(rb"(VA )()\d+((?: [^\r]*)?)\r\n(\d+ *)\r\n", value, answer)


def tidy(side, key, answer):
    def cas(m):
        number = int(m[2])
        if number:
            side.cas[key] = number
        return m[1] + b"cas-%d" % side.place(number)
    answer = tidy_numbers(answer)
    answer = re.sub(rb"((?:^|\n)(?:VA|HD)[^\r]* c)(\d+)", cas, answer)

    def gets(m):
        number = int(m[4])
        side.cas[m[2].decode()] = number
        return m[1] + m[2] + m[3] + b"cas-%d" % side.place(number)
    answer = re.sub(rb"(VALUE )(\S+)( \d+ \d+ )(\d+)", gets, answer)
    answer = re.sub(rb"((?:VA|HD)[^\r]* t)(\d+)", lambda m: m[1] + b"%d" % (round(int(m[2]) / 10) * 10), answer)
    # Touching, counting and making stale in its place leave memcached's marks on some entries and not on others.
    answer = re.sub(rb"((?:VA|HD)[^\r]* h)\d", lambda m: m[1] + b"any", answer)
    if key.startswith("n"):
        # How long a number is, blanks and all.
        answer = re.sub(rb"((?:VA|HD)[^\r]* s)(\d+)", lambda m: m[1] + b"len", answer)
        answer = re.sub(rb"((?:VA|HD)[^\r]*?)(?: [XZW])+\r", lambda m: m[1] + b"\r", answer)
    return answer


def run_text(rng, commands, sides):
    history = []
    for n in range(commands):
        text, key = make_text(rng)
        answers = []
        for side in sides:
            sent = text.replace("{cas}", str(side.cas_of(key)))
            side.peer.send(sent + "mn\r\n")
            answers.append(tidy(side, key, side.peer.until(b"MN")))
        history.append(text)
        if answers[0] != answers[1]:
            about = [h[:120] for h in history if key in h][-12:]
            raise AssertionError(f"command {n}: {text[:200]!r}\n  memcached: {answers[0][:300]!r}\n  ours:      {answers[1][:300]!r}\n  before: {about}")
    return commands


# ---- binary ----

def make_binary(rng):
    """(opcode, key, value, extras, whether it names a revision)."""
    key = rng.choice(KEYS).encode()
    quiet = rng.random() < 0.3
    ttl = rng.choice((0, 0, 1000))
    roll = rng.randrange(12)
    names_cas = rng.random() < 0.3
    value = make_value(rng, key.decode()).encode()
    if roll < 3:
        op = rng.choice((0x01, 0x02, 0x03))
        return op + 0x10 if quiet else op, key, value, struct.pack(">II", rng.choice((0, 9, 2**32 - 1)), ttl), names_cas
    if roll < 6:
        return rng.choice((0x00, 0x09, 0x0c, 0x0d)), key, b"", b"", False
    if roll == 6:
        return 0x14 if quiet else 0x04, key, b"", b"", names_cas
    if roll < 9:
        key = rng.choice((b"n0", b"n1", key))
        extras = struct.pack(">QQI", rng.choice((0, 1, 100)), 7, rng.choice((0, 1000, 2**32 - 1)))
        return rng.choice((0x05, 0x06)) + (0x10 if quiet else 0), key, b"", extras, names_cas
    if roll == 9 and not key.startswith(b"n"):
        return rng.choice((0x0e, 0x0f)) + (0x0b if quiet else 0), key, value, b"", names_cas
    if roll in (9, 10):
        return rng.choice((0x1c, 0x1d, 0x1e, 0x23, 0x24)), key, b"", struct.pack(">I", ttl), False
    return (0x18 if quiet else 0x08, b"", b"", b"", False) if rng.random() < 0.05 else (0x30, b"", b"", b"", False)


def answers_to(side, key, sent, names_cas):
    side.peer.send(sent + packet(0x0a, opaque=b"last"))
    out = []
    while True:
        op, status, extras, got_key, value, cas, opaque = side.peer.packet()
        if opaque == b"last":
            return out
        if cas:
            side.cas[key] = cas
        if names_cas and sent[1] in (0x05, 0x06, 0x15, 0x16) and status == 6:
            # Which of two errors is told depends on how the value is stored.
            status, value = 2, b"Data exists for key."
        if key.startswith(b"n") and re.fullmatch(rb"\d+ *", value):
            value = value.rstrip(b" ")
        out.append((op, status, extras, got_key, value, side.place(cas), opaque))


def run_binary(rng, commands, sides):
    history = []
    for n in range(commands):
        op, key, value, extras, names_cas = make_binary(rng)
        history.append((hex(op), key, value[:20], extras, names_cas))
        answers = [answers_to(side, key, packet(op, key, value, extras, side.cas_of(key) if names_cas else 0), names_cas) for side in sides]
        if answers[0] != answers[1]:
            about = [h for h in history if h[1] == key][-12:]
            raise AssertionError(f"command {n}: {history[-1]}\n  memcached: {answers[0]}\n  ours:      {answers[1]}\n  before: {about}")
    return commands


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", type=int, default=6000)
    parser.add_argument("what", nargs="*", default=["text", "binary"])
    args = parser.parse_args()
    try:
        theirs = Theirs("-m", "64")
    except Skipped as e:
        print(f"differential: skipped: {e}")
        return SKIPPED
    with theirs, Ours(args.daemon) as ours:
        for what in args.what:
            sides = [Side(theirs.mc_port), Side(ours.mc_port)]
            for side in sides:
                side.peer.send(b"flush_all\r\nmn\r\n" if what == "text" else packet(0x08))
                if what == "text":
                    side.peer.until(b"MN")
                else:
                    side.peer.packet()
            print(f"differential: {what}: {(run_text if what == 'text' else run_binary)(random.Random(args.seed), args.commands, sides)} commands")
    return 0


if __name__ == "__main__":
    sys.exit(main())
