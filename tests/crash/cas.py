#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Values by key against the end of the worker.

Clients count keys up by `gets` and `cas`, plain ones and pages, each value whole and numbered, while the worker is killed at
random moments. What was acknowledged is there in the next worker, or what was under way; a value that lost its exchange never
is; a page's number is the same over HTTP; and revisions go on rising.
"""
import argparse
import http.client
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "memcached"))
from peer import Ours, Peer                              # noqa: E402

PLAIN, PAGES, PER_KEY = 6, 4, 2


def body(key, number, writer):
    """Bytes that say what they are from beginning to end."""
    word = f"{key}|{number}|{writer};".encode()
    return word * (1 + (number * 7919) % 4000)


def parse(key, data):
    word, _, _ = data.partition(b";")
    name, number, writer = word.decode().split("|")
    assert name == key and data == body(key, int(number), writer), f"{key}: torn: {data[:80]!r} ({len(data)} bytes)"
    return int(number), writer


class Key:
    """What is known of one key, by all who write it."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.done = 0       # the highest number that was acknowledged
        self.meant = {}     # number -> writers that were sent, and not refused
        self.cas = 0


class Run:
    def __init__(self, daemon, seed):
        self.daemon = daemon
        self.rng = random.Random(seed)
        self.keys = [Key(f"plain:{i}") for i in range(PLAIN)] + [Key(f"//page/{i}") for i in range(PAGES)]
        self.is_over = False
        self.wrong = []
        self.wins = self.losses = 0

    def write(self, key, me):
        """One writer: counts a key up until the run is over, over all connections that die."""
        while not self.is_over:
            try:
                with Peer(self.daemon.mc_port) as peer:
                    while not self.is_over:
                        self.step(peer, key, me)
            except (OSError, AttributeError, AssertionError) as e:
                # AttributeError: the stream ended where an answer would begin.
                if isinstance(e, AssertionError) and "the stream ends" not in str(e):
                    self.wrong.append(str(e))
                    return
                time.sleep(0.02)

    @staticmethod
    def found(peer, name, is_there):
        """A worker serves before it has taken back all that the one before has left."""
        got = peer.get(name, "gets")  # which may have waited for a worker, too
        end = time.monotonic() + 10
        while got is None and is_there and time.monotonic() < end:
            time.sleep(0.02)
            got = peer.get(name, "gets")
        return got

    def step(self, peer, key, me):
        with key.lock:
            done, cas_then = key.done, key.cas
        got = self.found(peer, key.name, done > 0)
        if got is None:
            assert done == 0, f"{key.name}: lost, {done} was acknowledged"
            number, command, cas = 0, "add", ""
        else:
            number, _ = parse(key.name, got[2])
            assert number >= done, f"{key.name}: {number} after {done} was acknowledged"
            assert got[1] >= cas_then, f"{key.name}: revision {got[1]} after {cas_then}"
            command, cas = "cas", f" {got[1]}"
        data = body(key.name, number + 1, me)
        with key.lock:
            key.meant.setdefault(number + 1, set()).add(me)
        peer.send(f"{command} {key.name} 0 0 {len(data)}{cas}\r\n".encode() + data + b"\r\n")
        answer = peer.line()
        if answer is None:
            raise OSError("closed")
        with key.lock:
            if answer == b"STORED":
                key.done = max(key.done, number + 1)
                key.cas = max(key.cas, got[1] if got else 0)
                self.wins += 1
            else:
                assert answer in (b"EXISTS", b"NOT_STORED", b"NOT_FOUND"), answer
                key.meant[number + 1].discard(me)
                self.losses += 1

    def check(self):
        """Each key, after the writers have gone; also over HTTP."""
        with Peer(self.daemon.mc_port) as peer:
            for key in self.keys:
                got = self.found(peer, key.name, key.done > 0)
                assert got is not None or key.done == 0, f"{key.name}: lost"
                if got is None:
                    continue
                number, writer = parse(key.name, got[2])
                assert number >= key.done, f"{key.name}: {number}, and {key.done} was acknowledged"
                assert writer in key.meant[number], f"{key.name}: {number} is {writer}'s, who was refused"
                if key.name.startswith("//"):
                    assert self.page(key.name) == got[2], f"{key.name}: another over HTTP"

    def page(self, name):
        conn = http.client.HTTPConnection(*self.daemon.http, timeout=20)
        conn.request("GET", name[len("//page"):], headers={"Host": "page"})
        answer = conn.getresponse()
        data = answer.read()
        assert answer.status == 200, answer.status
        conn.close()
        return data

    def start(self):
        self.is_over = False
        threads = [threading.Thread(target=self.write, args=(key, f"{n}.{i}")) for n, key in enumerate(self.keys) for i in range(PER_KEY)]
        for t in threads:
            t.start()
        return threads

    def go(self, seconds):
        end = time.monotonic() + seconds
        kills = 0
        while time.monotonic() < end and not self.wrong:
            threads = self.start()
            for _ in range(3):
                time.sleep(self.rng.uniform(0.05, 0.8))
                self.daemon.kill_worker()
                kills += 1
                self.daemon.wait_running(30)
            self.is_over = True
            for t in threads:
                t.join()
            self.daemon.wait_running(30)
            self.check()
        return kills


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--seconds", type=float, default=20)
    ap.add_argument("--seed", type=int, default=int(time.time()))
    args = ap.parse_args()
    with Ours(args.daemon) as daemon:
        daemon.http = daemon.address
        run = Run(daemon, args.seed)
        kills = run.go(args.seconds)
        if run.wrong:
            print(daemon.output())
        print(f"seed {args.seed}: {kills} kills, {run.wins} exchanges, {run.losses} lost them")
    for line in run.wrong:
        print(line)
    return 1 if run.wrong or run.wins == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
