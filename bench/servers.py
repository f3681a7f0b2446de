# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Starts, pins, watches and stops the servers that the benchmarks compare."""
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something that makes a figure worthless; its text says what."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def process_tree(pid):
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                    parents[int(name)] = int(f.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    tree, todo = [], [pid]
    while todo:
        one = todo.pop()
        tree.append(one)
        todo += [child for child, parent in parents.items() if parent == one]
    return tree


def cpu_seconds(pid):
    """User and system time of the process and its descendants, with all their threads, also those that ended."""
    ticks = 0
    for one in process_tree(pid):
        try:
            with open(f"/proc/{one}/stat", encoding="latin-1") as f:
                fields = f.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / TICK


def rss_bytes(pid):
    total = 0
    for one in process_tree(pid):
        try:
            with open(f"/proc/{one}/statm", encoding="ascii") as f:
                total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            pass
    return total


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.unix_path)


class Server:
    """One server under test.  Subclasses give `name` and command(), which may write files into self.dir."""
    name = ""
    is_cache = True

    def __init__(self, cores, origin_port):
        self.cores, self.origin_port = cores, origin_port
        self.port = free_port()
        self.unix_path = None
        # In memory where that is possible, so that no disk is measured.
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="objm-bench.", dir=shm)
        os.chmod(self.dir, 0o755)
        self.process = None

    @staticmethod
    def missing():
        """What has to be installed or built first; None when nothing."""
        return None

    def command(self):
        raise NotImplementedError

    def connect(self):
        if self.unix_path:
            return UnixConnection(self.unix_path)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def start(self):
        with open(os.path.join(self.dir, "log"), "wb") as log:
            self.process = subprocess.Popen(["taskset", "-c", self.cores, *self.command()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
                    words = f.read()[-2000:]
                self.stop()
                raise BenchError(f"{self.name} did not start: {words}")
            time.sleep(0.05)

    def answers(self):
        c = self.connect()
        try:
            c.connect()
            return True
        except OSError:
            return False
        finally:
            c.close()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def hits(self):
        """The server's own count of cache hits; None where it keeps none."""
        return None

    def host(self):
        """The same Host on every transport, as the load generator sends it: caches hash it."""
        return {"Host": f"127.0.0.1:{self.port}"}

    def get(self, connection, path):
        connection.request("GET", path, headers=self.host())
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise BenchError(f"{self.name} answered {answer.status} for {path}")
        return body


class Limit(Server):
    """The bare loop, one way of sending."""
    is_cache = False

    def __init__(self, cores, way, size, bodies, binary=None):
        super().__init__(cores, 0)
        self.name = f"limit-{way}"
        self.way, self.size, self.bodies = way, size, bodies
        self.binary = binary or os.path.join(ROOT, "build/release/bin/limit")

    def command(self):
        return [self.binary, "-p", str(self.port), "-b", str(self.size), "-n", str(self.bodies), "-w", self.way]


class Varnishd(Server):
    name = "varnishd"
    binary = "varnishd"
    params = ()

    @classmethod
    def missing(cls):
        return None if shutil.which(cls.binary) else f"no {cls.binary} in $PATH"

    def workdir(self):
        return os.path.join(self.dir, "n")

    def command(self):
        os.makedirs(self.workdir(), exist_ok=True)
        words = [self.binary, "-F", "-n", self.workdir(), "-a", f"127.0.0.1:{self.port}",
                 "-b", f"127.0.0.1:{self.origin_port}", "-s", "malloc,1g"]
        for param in self.params:
            words += ["-p", param]
        return words

    def hits(self):
        p = subprocess.run(["varnishstat", "-n", self.workdir(), "-1", "-f", "MAIN.cache_hit"], check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        words = p.stdout.split()
        return int(words[1]) if p.returncode == 0 and len(words) > 1 else None


class Objmapperd(Varnishd):
    """Varnish's command line, so only the program differs.  `unix` adds a listener on a Unix socket."""
    name = "objmapperd"
    binary = os.path.join(ROOT, "build/bin/objmapperd")

    def __init__(self, cores, origin_port, params=("loops=1",), unix=False):
        super().__init__(cores, origin_port)
        self.params = params
        if unix:
            self.unix_path = os.path.join(self.dir, "s")

    @classmethod
    def missing(cls):
        return None if os.access(cls.binary, os.X_OK) else "build/bin/objmapperd is not there (make build)"

    def command(self):
        words = super().command()
        return words + ["-a", self.unix_path] if self.unix_path else words


class Nginx(Server):
    """proxy_cache as its users tune it for speed: no access log, cache in memory, open files kept open."""
    name = "nginx"

    @staticmethod
    def missing():
        return None if shutil.which("nginx") or os.path.exists("/usr/sbin/nginx") else "no nginx"

    def command(self):
        conf = os.path.join(self.dir, "nginx.conf")
        user = "user root;" if os.getuid() == 0 else ""
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"""
{user} worker_processes 1; daemon off; pid {self.dir}/pid; error_log {self.dir}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush off;
    keepalive_requests 1000000000; keepalive_timeout 65;
    client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
    uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
    proxy_cache_path {self.dir}/cache levels=1:2 keys_zone=k:64m max_size=4g inactive=1d use_temp_path=off;
    open_file_cache max=20000 inactive=1d; open_file_cache_valid 1d;
    proxy_http_version 1.1; proxy_set_header Connection "";
    upstream origin {{ server 127.0.0.1:{self.origin_port}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{self.port} backlog=1024;
        location / {{ proxy_pass http://origin; proxy_cache k; }}
    }}
}}
""")
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-p", self.dir, "-c", conf]
