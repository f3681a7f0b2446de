#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Kills the worker under load, again and again, and checks every byte that is served, before and after.

    crash.py --daemon build/bin/objmapperd [--seconds 30] [--seed N] [--clients 6] [--urls 400] [-v]
    crash.py --daemon build/bin/objmapperd --warm 4g [--rounds 3]

The promises under test:

  * No wrong byte: a response that looks complete is, byte for byte, one version of its URL.
  * No way back: once a version has been seen in the cache, or a purge has been acknowledged, nothing older is served to a request
    that begins afterwards, whatever dies in between.  A purge (or a ban, which takes turns with it) kills answers, not versions: each answer of the origin has a number,
    and of those that the origin had given when the purge began none is served to a request that begins after its acknowledgement.
  * Nothing half: what a worker had not fetched to its end when it was killed is never served by a later one; and what any worker
    had before a stop is not served after it.
  * Warm: what was acknowledged as stored (a full hit on it was seen, and it was neither purged nor let expire since) is a hit
    again after the worker's death: the same answer of the origin, unless the new worker was asked before it had come to it.
  * Short: the first hit after a kill comes soon; how soon is printed.

The load: clients ask for random URLs of many sizes; another thread makes new versions and purges, or lets short-lived objects be
replaced. Workers end by SIGKILL at random moments, now and then by SIGSEGV (then there must be a panic report) and by stop and
start (which empties the cache).  After some ends the load rests until everything has been checked, after others it goes on, so that recovery and traffic
meet.  Everything random comes from --seed, except what the machine's scheduling adds.

--warm fills a store of that size, kills the worker and measures the time until the first hit.
"""
import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies                                 # noqa: E402
from objm.client import Client, Cut, get                # noqa: E402
from objm.daemon import Daemon, Failed                  # noqa: E402
from objm.origin import Origin                          # noqa: E402

HOST = "h.example"
# A response may be complete for its client a moment before its object is for the store.
SETTLED_S = 0.1
SHORT_TTL_S = 2
LONG_LIFE_S = 10.5


def recovered(daemon, since):
    """Waits until the new worker has brought back all it can; the seconds since then."""
    last, still_since = -1, time.monotonic()
    while time.monotonic() < since + 60:
        counters = daemon.counters()
        now = counters.get("OBJM.recovery.objects", 0) + counters.get("OBJM.recovery.dropped", 0)
        if now != last:
            last, still_since = now, time.monotonic()
        elif time.monotonic() > still_since + 1.2:      # idle workers bring their gauges up to date once a second
            return still_since - since
        time.sleep(0.02)
    return float("inf")


class Url:
    """What we know of one URL.  Guarded by `lock`."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.is_short = f"max-age={SHORT_TTL_S}" in path
        # No response to a request that begins now may have a version below this one, whoever serves it ...
        self.floor = 0
        # ... and none below this one while the same worker lives.
        self.seen, self.seen_life = 0, -1
        # The version whose full response came first at `full_at`, in that life of the worker.
        self.full, self.full_at, self.full_life = -1, 0.0, -1
        # The version that is acknowledged as stored, and which answer of the origin; -1 if there is none.
        self.stored, self.stored_serial = -1, -1
        # Answers of the origin below this one were purged.
        self.purged = 0


class Crash:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.origin = Origin()
        self.urls = [Url(p) for p in self._paths()]
        self.life = 0
        self.ends = []          # of workers: (moment, by when it had ended for sure, whether its objects went with it)
        self.way = "start"
        self.stop = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.resting = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.faults = []
        self.count = dict.fromkeys(("responses", "hits", "misses", "cut", "bytes", "purges", "replacements", "kills", "segv",
                                    "restarts", "checked", "warm", "early", "unseen", "unavailable"), 0)
        self.first_hits = []
        self.recoveries = []
        self.delays = 0
        self.quick = 0
        self.daemon = None

    def _paths(self):
        """Small ones in slabs, large ones with files of their own, and the sizes at which that changes."""
        edges = [0, 1, 4095, 4096, 65535, 65536, 131071, 131072, 131073, 1048575, 1048576, 1048577]
        for i in range(self.args.urls):
            r = self.rng.random()
            if i < len(edges):
                size = edges[i]
            elif r < 0.65:
                size = self.rng.randrange(1, 20000)
            elif r < 0.9:
                size = self.rng.randrange(20000, 300000)
            else:
                size = self.rng.randrange(300000, 1500000)
            flags = []
            if self.rng.random() < 0.25:
                flags.append("chunked")
            if self.rng.random() < 0.1:
                flags.append("stall=30")
            flags.append(f"max-age={SHORT_TTL_S if i % 5 == 4 else 10000}")
            yield bodies.path_of(f"u{i}", size, *flags)

    # ---- checks ----

    def fault(self, text):
        with self.lock:
            self.faults.append(text)
            if len(self.faults) <= 20:
                print(f"crash: FAULT (life {self.life}, after {self.way}): {text}", flush=True)

    def note(self, **what):
        with self.lock:
            for name, n in what.items():
                self.count[name] += n

    def check_answer(self, url, resp, began, purged):
        """Whether this answer of the origin may be served to a request that began then."""
        path, version, asked, ended = self.origin.answer(resp.serial)
        if (path, version) != (url.path, resp.version):
            self.fault(f"{url.path}: answer {resp.serial} was for {path}, version {version}, not {resp.version}")
        if resp.serial < purged:
            self.fault(f"{url.path}: answer {resp.serial}, version {version}, is served though all before {purged} were purged")
        for at, over, is_emptied in list(self.ends):
            if not asked < at or not began > over:
                continue
            if is_emptied:
                self.fault(f"{url.path}: answer {resp.serial}, version {version}, is served after a stop")
            elif ended is None or ended > over:
                self.fault(f"{url.path}: answer {resp.serial}, version {version}, had not ended when its worker did")

    def check(self, url, resp, began, life, floor, purged):
        """Judges one complete response to a request that began with these values of life and floor."""
        if resp.status != 200:
            self.note(unavailable=1)
            return
        version = resp.version
        want = bodies.body(url.path, version) if version >= 0 else None
        if want is None or resp.body != want:
            self.fault(f"{url.path}: wrong bytes for version {version} ({'hit' if resp.is_hit else 'miss'}): "
                       + (bodies.first_difference(resp.body, want) if want is not None else "no version"))
            return
        self.note(responses=1, bytes=len(resp.body), **{"hits" if resp.is_hit else "misses": 1})
        self.check_answer(url, resp, began, purged)
        if version < floor:
            self.fault(f"{url.path}: version {version} after {floor} was acknowledged "
                       f"({'hit' if resp.is_hit else 'miss'}, Age {resp.header('age')})")
        if url.is_short:
            # Its time and its grace are over, whatever the store may think.
            oldest = self.origin.version_at(url.path, began - SHORT_TTL_S - self.args.grace - 2)
            if version < oldest:
                self.fault(f"{url.path}: version {version} is served, though {oldest} is older than its TTL and grace")
        with url.lock:
            if life != self.life:
                return
            if version > url.full or url.full_life != life:
                url.full, url.full_at, url.full_life = version, time.monotonic(), life
            if url.seen_life != life or version > url.seen:
                url.seen, url.seen_life = max(version, url.floor), life
            settled = version == url.full and began > url.full_at + SETTLED_S
            if resp.is_hit and settled and version >= url.floor:
                url.floor = version
                if not url.is_short:
                    url.stored, url.stored_serial = version, resp.serial

    def ask(self, client, url):
        """One request and its checks."""
        with url.lock:
            life = self.life
            floor = max(url.floor, url.seen if url.seen_life == life else 0)
            purged = url.purged
        began = time.monotonic()
        client.ask(url.path, host=HOST)
        resp = client.response()
        self.check(url, resp, began, life, floor, purged)
        return resp

    # ---- load ----

    def load(self, seed):
        rng = random.Random(seed)
        client = None
        while not self.stop.is_set():
            if not self.go.is_set():
                if client:
                    client.close()
                    client = None
                self.resting.release()
                self.go.wait()
            try:
                if client is None:
                    client = Client(self.daemon.address, timeout=20)
                # A few URLs are hot, so that requests meet.
                url = rng.choice(self.urls[:20] if rng.random() < 0.3 else self.urls)
                if rng.random() < 0.02:
                    # Leaves in mid-body.
                    client.ask(url.path, host=HOST)
                    client.more()
                    client.close()
                    client = None
                    continue
                self.ask(client, url)
            except TimeoutError:
                self.fault(f"{url.path}: no answer within 20 s")
                client.close()
                client = None
            except (Cut, OSError, ValueError, IndexError) as e:
                if isinstance(e, (ValueError, IndexError)):
                    self.fault(f"{url.path}: what came is not HTTP: {e}")
                self.note(cut=1)
                if client:
                    client.close()
                client = None
                time.sleep(0.005)

    def change(self, seed):
        """New versions: known to the cache by a purge, or found out by itself when the time of the old one is over."""
        rng = random.Random(seed)
        while not self.stop.is_set():
            time.sleep(rng.random() * 0.1)
            if not self.go.is_set():
                self.resting.release()
                self.go.wait()
            url = rng.choice(self.urls)
            if url.is_short:
                self.origin.bump(url.path)
                self.note(replacements=1)
                continue
            with url.lock:
                url.stored = -1
                version = self.origin.bump(url.path)
            serials = self.origin.serials()
            status, text = self.daemon.cli(*self.purge_words(url, rng))
            with url.lock:
                # Whatever was seen while the purge was under way says nothing about what is stored now.
                url.stored, url.full = -1, -1
                if status == 200:
                    url.floor = max(url.floor, version)
                    url.purged = serials
            if status == 200:
                self.note(purges=1)
            elif status not in (0, 300, 400, 101):
                self.fault(f"purge: {status} {text}")

    def purge_words(self, url, rng):
        by_request = "ban", "req.http.host", "==", HOST, "&&", "req.url", "==", url.path
        if self.args.ban:
            return by_request
        return rng.choice((("purge", HOST, url.path), by_request,
                           ("ban", "obj.http.x-path", "~", f"^{url.path}$", "&&", "obj.status", "==", "200")))

    # ---- kills ----

    def rest(self):
        self.go.clear()
        for _ in range(self.args.clients + 1):
            self.resting.acquire()

    def end_worker(self):
        """Ends the worker in one of the ways; returns the moment, or None if there was no worker."""
        way = self.rng.choices(("kill", "segv", "restart"), (8, 1, 1))[0]
        if self.args.ban:
            way = "kill"
        if way == "restart":
            at = time.monotonic()
            self.daemon.cli_ok("stop")
            over = time.monotonic()
            self.daemon.cli_ok("start")
            self.ends.append((at, over, True))
            self.note(restarts=1)
            return way, at
        at = self.daemon.kill_worker(signal.SIGSEGV if way == "segv" else signal.SIGKILL)
        if at is not None:
            # The worker writes its report while it dies, and its other threads go on meanwhile.
            self.ends.append((at, at + (5 if way == "segv" else 0), False))
            self.note(**{"segv" if way == "segv" else "kills": 1})
        return way, at

    def first_hit(self, since, stored):
        """Asks for what is stored until there is a hit; the seconds it took."""
        end = since + 20
        turn = 0
        while time.monotonic() < end:
            url = stored[turn % len(stored)]
            turn += 1
            try:
                resp = get(self.daemon.address, url.path, timeout=5, host=HOST)
                if resp.status == 200 and resp.is_hit:
                    return time.monotonic() - since
            except (Cut, OSError, ValueError, IndexError):
                pass
            time.sleep(0.002)
        self.fault("no hit within 20 s of the worker's end")
        return float("inf")

    def round(self):
        # Mostly short lives: a kill during recovery, or during the first fetches, is the interesting one.
        # After three of them in a row the manager would wait before it starts the next worker, so one life is long.
        life_s = self.rng.choice((0.2, 0.7, 1.5, 3.0)) * (0.5 + self.rng.random())
        self.quick = 0 if self.quick == 3 else self.quick + 1
        time.sleep(life_s if self.quick else LONG_LIFE_S)
        quiet = self.rng.random() < 0.6
        if quiet and self.rng.random() < 0.5:
            # Everything at rest, or in full flight: both must come back.
            self.rest()
            quiet_already = True
        else:
            quiet_already = False
        self.evictions()
        # Twice, as a request may meet the new worker before we know that the old one has ended.
        self.life += 1
        way, at = self.end_worker()
        self.way = f"{way}{' at rest' if quiet_already else ''}"
        if at is None:
            self.go.set()
            self.daemon.wait_running(20)
            return
        self.life += 1
        if quiet and not quiet_already:
            self.rest()
        # What was acknowledged before the worker died, from then on unchanged if the load rests.
        stored = [u for u in self.urls if u.stored >= 0]
        # Who stops the worker wants the cache emptied.
        if not quiet or way == "restart":
            for url in stored:
                with url.lock:
                    # The traffic of the new life decides what is stored from now on.
                    url.stored = -1
            self.daemon.wait_running(20)
            self.panic_report(way)
            self.go.set()
            return
        if stored and not self.args.ban:
            self.rng.shuffle(stored)
            took = self.first_hit(at, stored)
            # After several deaths in a row the manager takes its time before it starts the next worker.
            delays = self.daemon.said("the next start is in")
            back = recovered(self.daemon, at)
            if delays == self.delays:
                self.first_hits.append(took)
                self.recoveries.append(back)
            self.delays = delays
            self.all_back(stored, at, back)
        self.daemon.wait_running(20)
        self.panic_report(way)
        self.go.set()

    def panic_report(self, way):
        if way != "segv":
            return
        status, text = self.daemon.cli("panic.show")
        if status != 200 or "anic" not in text:
            self.fault(f"no panic report after SIGSEGV: {status} {text}")
        self.daemon.cli("panic.clear")

    def is_back(self, url, resp, at, back):
        """Whether this answers for what was stored."""
        if not resp.is_hit:
            return False
        if resp.serial == url.stored_serial:
            return True
        _, _, asked, ended = self.origin.answer(resp.serial)
        if at <= asked <= at + back:
            # The new worker was asked for it, by the load or by first_hit(), before it had come to it.
            self.note(early=1)
            url.stored_serial = resp.serial
            return True
        # A later one may have taken its place without our having seen it: by a purge whose acknowledgement was lost, and a fetch
        # for a client that left.
        self.note(unseen=1)
        return resp.serial > url.stored_serial and ended is not None and ended < at

    def all_back(self, stored, at, back):
        missing = 0
        try:
            with Client(self.daemon.address, timeout=20) as client:
                for url in stored:
                    version = url.stored
                    resp = self.ask(client, url)
                    self.note(checked=1)
                    if resp.status == 200 and self.is_back(url, resp, at, back):
                        self.note(warm=1)
                        continue
                    missing += 1
                    url.stored = -1
                    if missing <= 3:
                        self.fault(f"{url.path}: stored as version {version} (answer {url.stored_serial}), after the worker's end "
                                   f"{'a hit on' if resp.is_hit else 'a miss, fetched'} {resp.version} (answer {resp.serial}); "
                                   f"{self.recovery_counters()}")
        except (Cut, OSError) as e:
            self.fault(f"the connection broke while all was at rest: {e}")
        if missing > 3:
            self.fault(f"{missing} of {len(stored)} stored objects did not come back")

    def recovery_counters(self):
        counters = self.daemon.counters()
        return ", ".join(f"{name} {value}" for name, value in sorted(counters.items())
                         if "recover" in name or name in ("MAIN.n_lru_nuked", "MAIN.n_expired", "MAIN.uptime"))

    # ---- the run ----

    def run(self):
        args = ["-s", f"s0=malloc,{self.args.size}", "-p", f"default_grace={self.args.grace}", "-p", "auto_restart=on"]
        if not self.args.ban:
            args += ["-p", "ban_lurker_age=1"]
        with Daemon(self.args.daemon, f"{self.origin.host}:{self.origin.port}", args) as daemon:
            self.daemon = daemon
            threads = [threading.Thread(target=self.load, args=(self.rng.random(),), daemon=True)
                       for _ in range(self.args.clients)]
            threads.append(threading.Thread(target=self.change, args=(self.rng.random(),), daemon=True))
            for t in threads:
                t.start()
            end = time.monotonic() + self.args.seconds
            try:
                while time.monotonic() < end and len(self.faults) < 50:
                    self.round()
            except Failed as e:
                self.fault(str(e))
            self.stop.set()
            self.go.set()
            for t in threads:
                t.join(30)
            output = daemon.output()
        self.report(output)
        return 1 if self.faults else 0

    def evictions(self):
        """An object that had to make room is not lost, but then the store was too small for this test."""
        if self.daemon.counter("MAIN.n_lru_nuked") > 0:
            self.fault("objects were evicted: the store is too small for --urls")

    def report(self, output):
        c = self.count
        print(f"crash: seed {self.args.seed}, {self.args.seconds} s: {c['kills']} kills, {c['segv']} faults, {c['restarts']} restarts; "
              f"{c['responses']} responses ({c['hits']} hits, {c['misses']} misses, {c['bytes'] / 1e6:.0f} MB) checked, "
              f"{c['cut']} cut, {c['unavailable']} refused; {c['purges']} purges, {c['replacements']} replacements")
        if c["checked"]:
            print(f"crash: back after the worker's end: {c['warm']} of {c['checked']} stored objects, {c['early']} of them fetched by the "
                  f"new worker because it was asked before it had come to them, {c['unseen']} replaced unseen")
        if self.first_hits and self.recoveries:
            hits = sorted(self.first_hits)
            print(f"crash: first hit after the end: median {hits[len(hits) // 2] * 1000:.0f} ms, longest {hits[-1] * 1000:.0f} ms "
                  f"({len(hits)} times, those without a pause of the manager); all back: longest {max(self.recoveries) * 1000:.0f} ms")
        if self.faults:
            print(f"crash: {len(self.faults)} faults; the daemon's last words:\n{output}")
        else:
            print("crash: no fault")


def bytes_of(text):
    scale = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    return int(float(text[:-1]) * scale[text[-1]]) if text[-1] in scale else int(text)


def warm(args):
    """Fills a store, kills, and measures."""
    rng = random.Random(args.seed)
    total = bytes_of(args.warm)
    origin = Origin()
    paths, sum_bytes = [], 0
    while sum_bytes < total:
        # As many small ones as large ones; nearly all bytes are in the large ones.
        size = 1 << 20 if len(paths) % 2 else rng.randrange(500, 20000)
        paths.append(bodies.path_of(f"w{len(paths)}", size, "max-age=100000"))
        sum_bytes += size
    bad = 0
    with Daemon(args.daemon, f"{origin.host}:{origin.port}", ["-s", f"s0=malloc,{total * 5 // 4 + (64 << 20)}"]) as daemon:
        began = time.monotonic()
        with Client(daemon.address, timeout=60) as client:
            for path in paths:
                client.get(path, host=HOST)
        time.sleep(SETTLED_S)
        print(f"crash: filled {sum_bytes / 2**30:.2f} GiB, {len(paths)} objects, in {time.monotonic() - began:.0f} s", flush=True)
        for n in range(args.rounds):
            at = daemon.kill_worker()
            tries, took = 0, None
            while took is None and time.monotonic() < at + 60:
                tries += 1
                try:
                    resp = get(daemon.address, rng.choice(paths), timeout=10, host=HOST)
                    if resp.is_hit:
                        took = time.monotonic() - at
                except (Cut, OSError):
                    time.sleep(0.001)
            # What was asked for before its turn to come back is fetched anew, so a few of them may be missing here.
            all_back = recovered(daemon, at)
            back = daemon.counter("OBJM.recovery.objects")
            wrong = miss = 0
            for path in rng.sample(paths, min(len(paths), 400)):
                resp = get(daemon.address, path, timeout=10, host=HOST)
                miss += not resp.is_hit
                wrong += resp.body != bodies.make(path, resp.version)
            bad += wrong + miss + (took is None) + (took or 0) * (took is not None and took > 1)
            print(f"crash: kill {n + 1}: first hit after {took * 1000 if took else float('nan'):.0f} ms ({tries} requests), "
                  f"{back} objects back within {all_back * 1000:.0f} ms, of 400 asked for {miss} were misses and {wrong} wrong",
                  flush=True)
    return 1 if bad else 0


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("--seconds", type=float, default=30)
    ap.add_argument("--seed", type=int, default=None, help="what is random follows from this number; default: the time")
    ap.add_argument("--clients", type=int, default=6)
    ap.add_argument("--urls", type=int, default=400)
    ap.add_argument("--size", default="512m", help="of the store; all URLs fit, or the test says so")
    ap.add_argument("--grace", type=int, default=2)
    ap.add_argument("--warm", metavar="BYTES", help="fill a store of that size (4g) and measure the first hit after a kill")
    ap.add_argument("--rounds", type=int, default=3, help="kills of --warm")
    ap.add_argument("--ban", action="store_true", help="purge by ban and expect no warmth: to try this test on varnishd")
    args = ap.parse_args()
    if args.seed is None:
        args.seed = time.time_ns() % 1000000
    args.daemon = os.path.abspath(args.daemon)
    return warm(args) if args.warm else Crash(args).run()


if __name__ == "__main__":
    sys.exit(main())
