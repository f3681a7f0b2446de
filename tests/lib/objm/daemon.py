# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Starts a daemon in a directory of its own, talks to it with Debian's tools, and ends it, by its pid and no other way."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time


class Failed(Exception):
    """The daemon did not do what a test needs before it can begin."""


class Daemon:
    def __init__(self, path, backend, args=(), listen="127.0.0.1:0", keep=False, prefix=()):
        self.dir = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.workdir = os.path.join(self.dir, "n")
        self.keep = keep
        self.killed = None
        self.log = open(os.path.join(self.dir, "output"), "wb")
        # Foreground, so that the process we started is the manager and nobody else's pid can be meant.
        # `prefix`: a program that sets something and then becomes the daemon, such as prlimit.
        self.argv = [*prefix, path, "-F", "-n", self.workdir, "-a", listen, "-b", backend, *args]
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self.wait_running(30)
            self.address = self._address()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the command line interface ----

    def cli(self, *words, timeout=20):
        """(status, text) of a command, by varnishadm.  Status 0: the tool could not ask."""
        p = subprocess.run(["varnishadm", "-n", self.workdir, "-t", str(timeout), *words], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout + 10, check=False)
        if p.returncode == 0:
            return 200, p.stdout.decode(errors="replace")
        m = re.search(rb"Command failed with error code (\d+)", p.stderr)
        return int(m[1]) if m else 0, (p.stdout + p.stderr).decode(errors="replace")

    def cli_ok(self, *words):
        status, text = self.cli(*words)
        if status != 200:
            raise Failed(f"{' '.join(words)}: {status} {text}")
        return text

    def wait_running(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise Failed(f"the daemon ended with {self.proc.returncode}: {self.output()}")
            status, text = self.cli("status")
            # The manager may not have noticed yet that the worker we killed is dead.
            if status == 200 and "running" in text and (self.killed is None or self.worker_pid() not in (None, self.killed)):
                return
            time.sleep(0.02)
        raise Failed(f"not running after {seconds} s: {text} {self.output()}")

    def _address(self):
        for line in self.cli_ok("debug.listen_address").splitlines():
            words = line.split()
            if len(words) == 3 and words[2] != "-":
                return words[1], int(words[2])
        raise Failed("no listen address")

    def worker_pid(self):
        """The worker, as the manager says; None if there is none just now."""
        m = re.search(r"Worker: +(\d+)", self.cli("pid")[1])
        if not m or not os.path.exists(f"/proc/{m[1]}"):
            return None
        return int(m[1])

    def counters(self):
        """All counters by name; empty while no worker has any."""
        p = subprocess.run(["varnishstat", "-n", self.workdir, "-1", "-j", "-t", "5"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=False)
        if p.returncode != 0:
            return {}
        return {name: c["value"] for name, c in json.loads(p.stdout)["counters"].items()}

    def counter(self, name):
        return self.counters().get(name, 0)

    def records(self, *tags, timeout=30):
        """All records of these tags so far, as lines of varnishlog."""
        p = subprocess.run(["varnishlog", "-n", self.workdir, "-d", "-g", "raw", "-i", ",".join(tags)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=timeout, check=False)
        return p.stdout.decode(errors="replace")

    def wait_counter(self, name, test, seconds=10):
        """Waits until test(value) is true; returns the last value."""
        end = time.monotonic() + seconds
        while True:
            value = self.counter(name)
            if test(value) or time.monotonic() > end:
                return value
            time.sleep(0.05)

    # ---- ending ----

    def kill_worker(self, sig=signal.SIGKILL):
        """Returns the moment of the kill (time.monotonic()), or None if there was no worker to kill."""
        pid = self.worker_pid()
        if pid is None or not self._is_child(pid):
            return None
        os.kill(pid, sig)
        self.killed = pid
        return time.monotonic()

    def _is_child(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
                return int(f.read().rsplit(")", 1)[1].split()[1]) == self.proc.pid
        except (OSError, IndexError):
            return False

    def output(self, most=6000):
        self.log.flush()
        with open(self.log.name, "rb") as f:
            return f.read().decode(errors="replace")[-most:]

    def said(self, text):
        """How often the daemon has printed a text."""
        with open(self.log.name, "rb") as f:
            return f.read().count(text.encode())

    def close(self):
        """Ends the daemon; returns its exit status."""
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.log.close()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        return self.proc.returncode
