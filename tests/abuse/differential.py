#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Odd requests go through a daemon to an origin that tolerates nothing, odd responses through it to a client that tolerates nothing.

    differential.py --daemon build/bin/objmapperd [--mode strict] [--seed N] [--count N] requests|responses

Each request of the corpus (odd.py) is followed by another one on the same connection.  What must hold: both ends only ever read
canonical messages; what arrives is what was meant; every request that arrives was answered, and every answer of the origin's stands
for one that arrived; behind a request that was refused nothing is served.  A difference is printed with the bytes that made it.
"""
import argparse
import os
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm.daemon import Daemon                          # noqa: E402
from objm.recorder import Recorder                      # noqa: E402
from objm.strict import Fault, Reader, Short            # noqa: E402

import odd                                              # noqa: E402
from odd import BAD, BROKEN                      # noqa: E402

HOP_BY_HOP = (b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Upgrade", b"Expect", b"HTTP2-Settings", b"Trailer")


def exchange(address, data):
    """Sends, says that no more comes, and returns all that is answered; and whether the end was in good order."""
    with socket.socket() as sock:
        sock.settimeout(20)
        sock.connect(address)
        parts, orderly = [], True
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass        # refused before it had read all
        try:
            while piece := sock.recv(262144):
                parts.append(piece)
        except ConnectionResetError:
            orderly = False
        return b"".join(parts), orderly


def read_answers(data, methods):
    """What a client that tolerates nothing makes of the bytes: whole responses, and whether the last one was cut."""
    reader, answers = Reader(data), []
    for method in methods:
        try:
            msg = reader.response(method)
        except Short:
            return answers, True
        if msg is None:
            return answers, False
        answers.append(msg)
    if reader.at != len(data):
        raise Fault(f"bytes behind the last answer: {data[reader.at:][:200]!r}")
    return answers, False


def need(what, is_so):
    if not is_so:
        raise Fault(what)


def check_arrival(req, msg):
    """A request that reached the origin is what was meant, and nothing else."""
    method, target = msg.start
    sent = req.method if req.pick["cookie"][0] or req.method not in (b"GET", b"HEAD") else b"GET"
    need(f"method {method}", method == sent)
    need(f"target {target} for {req.target}", target == req.target)
    need(f"host {msg.all(b'Host')} for {req.host}", msg.one(b"Host") == req.host)
    need(f"X-Odd {msg.all(b'X-Odd')}", msg.all(b"X-Odd") == (req.pick["field"][2] or []))
    hop = [n for n, _ in msg.fields if n.lower() in {h.lower() for h in HOP_BY_HOP}]
    need(f"hop-by-hop {hop}", not hop)
    may_miss = req.method in (b"GET", b"HEAD")
    need(f"body {msg.body!r}", msg.body == req.body or may_miss and not msg.body)


class Requests:
    def __init__(self, args):
        self.args = args
        self.recorder = Recorder()
        self.count = 0

    def corpus(self):
        return odd.requests(self.args.count, self.args.seed)

    def one(self, address, req):
        sentinel = b"s" + req.id
        data, _ = exchange(address, req.bytes + b"GET /s/%s HTTP/1.1\r\nHost: h.example\r\n\r\n" % sentinel)
        answers, _ = read_answers(data, [req.method, b"GET"])
        with self.recorder.lock:
            arrived, after = self.recorder.arrived.pop(req.id, []), self.recorder.arrived.pop(sentinel, [])
            faults, self.recorder.faults = self.recorder.faults, []
        need(f"the origin read {faults}", not faults)
        need("arrived twice", len(arrived) <= 1 and len(after) <= 1)
        for msg in arrived:
            check_arrival(req, msg)
        serials = [int(a.one(b"X-Serial")) for a in answers if a.one(b"X-Serial")]
        need(f"answers {serials} for arrivals {[m.serial for m in arrived + after]}", serials == [m.serial for m in arrived + after])
        self.judge(req, answers, arrived, after)

    def judge(self, req, answers, arrived, after):
        statuses = [int(a.start[0]) for a in answers]
        verdict = req.verdict(self.args.strict)
        ends = req.is_junk or self.closes(req)
        if verdict == BAD:
            need(f"refused with {statuses}", len(statuses) == 1 and 400 <= statuses[0] < 600)
            need("refused, and the connection goes on", answers[0].one(b"Connection") == b"close")
            need("refused, and it arrived", not arrived and not after)
        elif verdict == BROKEN:
            need(f"behind a broken body was served {statuses[1:]}", len(answers) <= 1 and not after)
            # What the origin does not get it cannot take for whole.
            need("a broken body looked whole", not arrived or not arrived[0].body and req.method == b"GET")
            need("a broken body, and the connection goes on", arrived or not answers or answers[0].one(b"Connection") == b"close")
        else:
            need(f"good, and answered {statuses}", statuses[:1] == [200] and len(arrived) == 1)
            need(f"behind a good one came {statuses[1:]}, {len(after)} arrived", ends or statuses[1:] == [200] and len(after) == 1)

    @staticmethod
    def closes(req):
        return req.pick["version"][0] == b"HTTP/1.0" or b"Connection: close" in req.pick["field"][0]


class Responses:
    def __init__(self, args):
        self.args = args
        self.by_id = {}
        self.recorder = Recorder(self.reply)

    def corpus(self):
        for resp in odd.responses(self.args.count, self.args.seed):
            self.by_id[resp.id] = resp
            yield resp

    def reply(self, msg):
        resp = self.by_id.get(msg.start[1].rsplit(b"/", 1)[-1])
        return None if resp is None else (resp.bytes, not resp.keeps)

    def one(self, address, resp):
        # The second goes where the first was, if the daemon believes that this connection can be used again.
        data, _ = exchange(address, b"GET /r/%s HTTP/1.1\r\nHost: h.example\r\n\r\nGET /s/s%s HTTP/1.1\r\nHost: h.example\r\n\r\n" % (resp.id, resp.id))
        answers, is_cut = read_answers(data, [b"GET", b"GET"])
        with self.recorder.lock:
            faults, self.recorder.faults = self.recorder.faults, []
        need(f"the origin read {faults}", not faults)
        statuses = [int(a.start[0]) for a in answers]
        need("another response's body", not any(b"evil" in a.body for a in answers))
        verdict = resp.verdict(self.args.strict)
        if verdict == BROKEN:
            need(f"a broken body looked whole: {statuses}", is_cut or not statuses or statuses[0] == 503)
        elif verdict == BAD:
            need(f"refused with {statuses}", statuses[:1] == [503])
        else:
            need(f"good, and answered {statuses} {answers and answers[0].body!r}", statuses and statuses[0] != 503 and answers[0].body == resp.body)
            need(f"X-Odd {answers[0].all(b'X-Odd')}", answers[0].all(b"X-Odd") == (resp.pick["field"][2] or []))
        if not is_cut and len(statuses) > 1:
            # The canned answer of the recorder, and of the right request.
            need(f"behind it came {statuses[1:]} {answers[1].body!r}", statuses[1] == 200 and answers[1].body == answers[1].one(b"X-Serial"))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--mode", choices=("varnish", "strict"), default="varnish", help="strict: with http_strict=on")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--count", type=int, default=2500, help="how many are drawn at random, beside each part once")
    ap.add_argument("--show", type=int, default=10, help="how many differences are printed")
    ap.add_argument("which", choices=("requests", "responses"))
    args = ap.parse_args()
    args.strict = args.mode == "strict"
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    run = {"requests": Requests, "responses": Responses}[args.which](args)
    lock, bad, count = threading.Lock(), [], 0
    options = ["-p", "timeout_idle=2", "-p", "first_byte_timeout=10"] + (["-p", "http_strict=on"] if args.strict else [])
    with Daemon(os.path.abspath(args.daemon), f"{run.recorder.host}:{run.recorder.port}", options) as daemon:
        pid = daemon.worker_pid()
        for case in run.corpus():
            count += 1
            try:
                run.one(daemon.address, case)
            except (Fault, Short, OSError) as e:
                with lock:
                    bad.append(f"{type(e).__name__}: {e}\n    {case}")
        assert daemon.worker_pid() == pid, "the worker is another one"
        died = daemon.counter("MGT.child_died")
    run.recorder.close()
    for text in bad[:args.show]:
        print(text)
    print(f"differential: {args.which}, {args.mode}: {count} cases, seed {args.seed}: {len(bad)} differences")
    return 1 if bad or died else 0


if __name__ == "__main__":
    sys.exit(main())
