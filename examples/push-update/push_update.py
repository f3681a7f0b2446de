#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""A site whose pages take half a second to make, its database, a cache and visitors; then somebody edits an article,
several times.  Shows what the visitors notice when the watcher purges, and when it swaps.  See README.md."""
import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from app import App
from clients import Visitors
from database import Database
from watcher import Watcher, get

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "news.example"
PATH = "/article/1"


class Cache:
    """objmapperd with an HTTP and a memcached listener, both on ports that the kernel chooses."""

    def __init__(self, daemon, directory, app):
        self.workdir = os.path.join(directory, "cache")
        self.log = open(os.path.join(directory, "objmapperd.log"), "ab")
        self.proc = subprocess.Popen(
            [daemon, "-F", "-n", self.workdir, "-a", "web=127.0.0.1:0", "-a", "mc=127.0.0.1:0,MEMCACHED", "-b", "%s:%d" % app],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.addresses = self._addresses()

    def _addresses(self):
        end = time.monotonic() + 30
        while time.monotonic() < end and self.proc.poll() is None:
            p = subprocess.run(["varnishadm", "-n", self.workdir, "debug.listen_address"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, check=False)
            found = {w[0]: (w[1], int(w[2])) for w in map(str.split, p.stdout.decode().splitlines()) if len(w) == 3}
            if "web" in found and "mc" in found and self._answers(found["web"]):
                return found
            time.sleep(0.05)
        raise RuntimeError("objmapperd did not start: see " + self.log.name)

    @staticmethod
    def _answers(address):
        try:
            socket.create_connection(address, timeout=5).close()
            return True
        except OSError:
            return False

    def counter(self, name):
        p = subprocess.run(["varnishstat", "-n", self.workdir, "-1", "-f", name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return int(p.stdout.split()[1])

    def close(self):
        self.proc.terminate()
        self.proc.wait(60)
        self.log.close()


class Site:
    """All of it, for one way of bringing the cache up to date.  `generation_s`: how long a page takes."""

    def __init__(self, daemon, mode, generation_s=0.5, visitors=4):
        self.dir = tempfile.mkdtemp(prefix="push-update.")
        os.chmod(self.dir, 0o755)
        self.parts = []
        try:
            self.database = self._part(Database(self.dir))
            with self.database.connect() as conn, conn.cursor() as cursor:
                cursor.execute("INSERT INTO article (id, title, body) VALUES (1, 'The news', 'Nothing has happened yet.')")
                cursor.execute("DELETE FROM outbox")
            self.app = self._part(App(self.database.connect, generation_s))
            self.cache = self._part(Cache(daemon, self.dir, self.app.address))
            web, mc = self.cache.addresses["web"], self.cache.addresses["mc"]
            get(web, HOST, PATH)
            self.watcher = self._part(Watcher(self.database.connect, self.app.address, web, mc, HOST, mode))
            self.visitors = Visitors(web, HOST, PATH, visitors)
        except BaseException:
            self.close()
            raise

    def _part(self, part):
        self.parts.append(part)
        return part

    def edit(self):
        """One change; returns the version that it makes."""
        with self.database.connect() as conn, conn.cursor() as cursor:
            cursor.execute("UPDATE article SET version = version + 1, body = CONCAT('It is ', NOW(6)) WHERE id = 1")
            cursor.execute("SELECT version FROM article WHERE id = 1")
            return cursor.fetchone()[0]

    def wait_seen(self, version, seconds=60):
        """Until every visitor has seen that version, or a later one."""
        end = time.monotonic() + seconds
        while not all(seen is not None and seen >= version for seen in self.visitors.newest()):
            if time.monotonic() > end or self.visitors.errors or self.watcher.error:
                raise RuntimeError(f"version {version} did not arrive: {self.visitors.newest()} {self.visitors.errors} {self.watcher.error}")
            time.sleep(0.01)

    def close(self):
        for part in reversed(self.parts):
            part.close()
        self.parts = []
        shutil.rmtree(self.dir, ignore_errors=True)


def show(daemon, mode, edits, generation_s):
    site = Site(daemon, mode, generation_s)
    try:
        for _ in range(edits):
            site.wait_seen(site.edit())
        answers = [a for mine in site.visitors.stop() for a in mine]
        misses = site.cache.counter("MAIN.cache_miss")
    finally:
        site.close()
    took = sorted(end - begin for begin, end, _, _ in answers)
    waited = sum(t > generation_s / 2 for t in took)
    print(f"{mode:6} {edits} edits, {len(took)} answers: median {took[len(took) // 2] * 1e3:.1f} ms, slowest {took[-1] * 1e3:.0f} ms, "
          f"{waited} waited for the application; cache_miss {misses}", flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--daemon", default=os.path.join(HERE, "../../build/bin/objmapperd"), help="the objmapperd to run (build/bin/objmapperd)")
    args.add_argument("--edits", type=int, default=10, help="how often the article changes (10)")
    args.add_argument("--generation", type=float, default=0.5, metavar="SECONDS", help="how long the application takes for a page (0.5)")
    args.add_argument("--mode", choices=["purge", "swap"], help="only this one (both)")
    a = args.parse_args()
    try:
        for mode in [a.mode] if a.mode else ["purge", "swap"]:
            show(a.daemon, mode, a.edits, a.generation)
    except RuntimeError as e:
        sys.exit(f"push_update: {e}")


if __name__ == "__main__":
    main()
