#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Starting: what is refused, what is left behind, who listens."""
import ctypes
import errno
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import stub


def listeners(port):
    """How many sockets listen on a local IPv4 port."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(1 for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port)


def port_of(daemon):
    return int(daemon.admin("debug.listen_address").stdout.split()[2])


class Directory(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, name):
        return os.path.join(self.dir, name)


class Daemonise(Directory):
    def test_leaves_the_terminal(self):
        pidfile = self.path("pid")
        done = stub.run("-n", self.path("new"), "-a", "127.0.0.1:0", "-b", "none", "-P", pidfile)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(pidfile, encoding="ascii") as f:
            pid = int(f.read())
        try:
            with open(self.path("new/_.pid"), encoding="ascii") as f:
                self.assertEqual(f.read(), str(pid))
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rpartition(")")[2].split()
            self.assertNotEqual(int(fields[3]), os.getsid(0))
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/2"), "/dev/null")
            self.assertEqual(stat.S_IMODE(os.stat(self.path("new/_.secret")).st_mode), 0o640)
        finally:
            os.kill(pid, 15)
            end = time.monotonic() + stub.LONG
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
                time.sleep(0.01)
        self.assertFalse(os.path.exists(pidfile))
        self.assertEqual(os.listdir(self.path("new")), [])

    def test_errors_are_told_at_the_terminal(self):
        with stub.Daemon() as d:
            d.running()
            port = port_of(d)
            done = stub.run("-n", self.dir, "-a", f"127.0.0.1:{port}", "-b", "none")
            self.assertEqual(done.returncode, 2)
            self.assertEqual(done.stderr, f"Error: Could not get socket 127.0.0.1:{port}: Address already in use\n")
            # It has put everything back.
            self.assertEqual(os.listdir(self.dir), [])

    def test_version_and_pages(self):
        self.assertRegex(stub.run("-V").stdout, r"\Aobjmapperd \(objmapper \d")
        self.assertTrue(stub.run("--help").stdout.startswith("Usage: objmapperd"))
        self.assertIn(".B default_ttl\n", stub.run("-x", "parameter").stdout)
        self.assertIn(".B param.set [\\-j] <param> <value>\n", stub.run("-x", "cli").stdout)
        self.assertEqual(stub.run("-x", "nosuch").returncode, 2)
        self.assertIn('.B "gets <key>*"\n', stub.run("-x", "memcached").stdout)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_pages_are_roff(self):
        hand = os.path.join(os.path.dirname(__file__), "../../docs/man/objmapperd.1")
        with open(hand, encoding="ascii") as f:
            pages = [f.read()]
        pages += [stub.run("-x", what).stdout for what in ("parameter", "cli", "memcached")]
        for page in pages:
            done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input=page, stderr=subprocess.PIPE, text=True,
                                  timeout=stub.LONG, check=True)
            self.assertEqual(done.stderr, "")


class Refusals(Directory):
    ROWS = [
        (["-b", "none", "-p", "foo=1"], 'Error: -p foo=1: Unknown parameter "foo".'),
        (["-b", "none", "-t", "x"], "Error: -p default_ttl=x: Invalid number (x)"),
        (["-b", "none", "-l", "1k"], "Error: -p vsl_space=1k: Must be at least 1M"),
        (["-b", "none", "-r", "foo"], 'Error: -r foo: Unknown parameter "foo".'),
        (["-b", "none", "-s", "foo"], "Error: Unknown storage method \"foo\""),
        (["-b", "none", "-s", "=memory"], "Error: invalid -s name \"\"=[...]"),
        (["-b", "none", "-s", "a="], "Error: Empty named -s argument \"a=\""),
        (["-b", "none", "-s", "memory,5"], "too small, did you forget to specify M or G?"),
        (["-b", "none", "-s", "memory,1m,x"], "(-smemory) too many arguments"),
        (["-b", "none", "-s", "memory,1m", "-s", "s0=memory,2m"], "(-s s0=memory,2m) 's0' is already defined"),
        (["-b", "none", "-s", "Transient=memory", "-s", "Transient=memory"], "'Transient' is already defined"),
        (["-b", "none", "-a", "1=:0"], "Error: invalid -a name \"1\"=[...]"),
        (["-f", "nosuch.vcl"], "Error: Cannot read -f file 'nosuch.vcl' (No such file or directory)"),
        (["-b", "none", "-s", "a=memory,1m", "-s", "a=memory,1m"], "(-s a=memory,1m) 'a' is already defined"),
        (["-b", "none", "-j", "foo"], "Error: -j: unknown jail foo (unix and none are known)"),
        (["-b", "none", "-S", "/nosuch"], "Error: Cannot open -S file /nosuch: No such file or directory"),
        (["-b", "none", "-I", "/nosuch"], "Error: Can't open /nosuch: No such file or directory"),
        (["-b", "none", "-M", "foo"], "Error: -M foo: must be address:port"),
        (["-b", "none", "-T", "127.0.0.1:99999"], "Error: 127.0.0.1:99999: not a port"),
        (["-b", "none", "-a", "127.0.0.1:99999"], "Error: 127.0.0.1:99999: not a port"),
        (["-b", "none", "-a", "0.0.0.0:0,MEMCACHED"],
         "Error: -a 0.0.0.0:0: MEMCACHED without auth= may listen on loopback addresses and Unix sockets only"),
        (["-b", "none", "-a", "[::]:0,memcached"], "may listen on loopback addresses and Unix sockets only"),
        (["-b", "none", "-a", ":0,MEMCACHED"], "may listen on loopback addresses and Unix sockets only"),
        (["-b", "none", "-a", "127.0.0.1:0,MEMCACHED,auth=/nosuch"], "Error: auth=/nosuch: No such file or directory"),
        (["-b", "none", "-a", "127.0.0.1:0,MEMCACHED,auth=/dev/null"], "Error: auth=/dev/null: no user in it"),
        (["-b", "none", "-a", "127.0.0.1:0,auth=/x"], "auth= is for MEMCACHED"),
        (["-b", "none", "-a", "/nosuch/dir/sock"], "Error: Could not get socket /nosuch/dir/sock: No such file"),
        (["-b", "no.such.host.invalid"], "Error: -b no.such.host.invalid: no.such.host.invalid:80: "),
        (["-b", "none", "-f", "x.vcl"], "Error: Only one of -b or -f can be specified"),
        ([], "Error: Neither -b nor -f given."),
        (["-b", "none", "-d", "-F"], "Error: Only one of -d or -F"),
    ]

    def test_each_is_one_line_and_status_2(self):
        for words, text in self.ROWS:
            with self.subTest(words):
                listen = [] if "-a" in words else ["-a", "127.0.0.1:0"]
                done = stub.run("-n", self.dir, *listen, *words)
                self.assertEqual(done.returncode, 2)
                self.assertIn(text, done.stderr)
                lines = [x for x in done.stderr.splitlines() if x != "(-? gives usage)"]
                self.assertEqual(len([x for x in lines if x.startswith("Error: ")]), 1, done.stderr)
                self.assertEqual(os.listdir(self.dir), [])

    def test_second_in_the_same_directory(self):
        with stub.Daemon() as d:
            d.running()
            done = stub.run("-n", d.workdir, "-a", "127.0.0.1:0", "-b", "none")
            self.assertEqual(done.returncode, 2)
            self.assertEqual(done.stderr, f"Error: objmapperd is already running (pid={d.process.pid}) "
                                          f"(pidfile={d.workdir}/_.pid)\n")
            self.assertEqual(d.admin("status").returncode, 0)

    def test_second_on_a_port_that_nobody_accepts_from_yet(self):
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with stub.Daemon(console=True, listen=f"127.0.0.1:{port}") as d:
            done = stub.run("-n", self.dir, "-a", f"127.0.0.1:{port}", "-b", "none")
            self.assertEqual(done.returncode, 2)
            self.assertIn("Address already in use", done.stderr)
            self.assertEqual(d.cli.ask("start")[0], 200)
        # Connections in TIME_WAIT do not keep a restart from it.
        with stub.Daemon(listen=f"127.0.0.1:{port}") as d:
            d.running()
            with socket.create_connection(("127.0.0.1", port), stub.LONG):
                self.assertEqual(d.end(), 0)
        with stub.Daemon(listen=f"127.0.0.1:{port}") as d:
            d.running()


class Sockets(Directory):
    def test_one_for_each_loop(self):
        with stub.Daemon("-p", "loops=3") as d:
            d.running()
            port = port_of(d)
            self.assertEqual(listeners(port), 3)
            d.admin("param.set", "loops", "5")
            self.assertEqual(d.admin("stop").returncode, 0)
            self.assertEqual(listeners(port), 0)
            self.assertEqual(d.admin("start").returncode, 0)
            self.assertEqual((port_of(d), listeners(port)), (port, 5))

    def test_names_and_several(self):
        with stub.Daemon("-a", "web=127.0.0.1:0,PROXY", "-a", self.path("s") + ",mode=666", "-a", "localhost:0") as d:
            d.running()
            rows = [x.split() for x in d.admin("debug.listen_address").stdout.splitlines() if x]
            self.assertEqual([r[0] for r in rows[:4]], ["a0", "web", "a2", "a3"])
            self.assertEqual(rows[2][1:], [self.path("s"), "-"])

    @unittest.skipIf(os.getuid() != 0, "mounts over /etc/hosts in a name space of its own, so needs root")
    def test_a_machine_that_does_not_know_localhost(self):
        hosts, switch = self.path("hosts"), self.path("switch")
        for path, text in ((hosts, ""), (switch, "hosts: files\n")):
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
        unknown = f'mount --bind {hosts} /etc/hosts && mount --bind {switch} /etc/nsswitch.conf && exec "$@"'
        with stub.Daemon(prefix=("unshare", "-m", "sh", "-c", unknown, "sh")) as d:
            d.running()
            self.assertEqual(d.admin("ping").returncode, 0)

    def test_unix_socket(self):
        path = self.path("sock")
        left = socket.socket(socket.AF_UNIX)
        left.bind(path)
        left.listen()
        with stub.Daemon("-j", "none", listen=f"{path},mode=640") as d:
            d.line("Address already in use")
            self.assertEqual(d.wait(), 2)
        left.close()
        # Nobody answers there any more: the file may go.
        with stub.Daemon(listen=f"{path},mode=640") as d:
            d.running()
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
            self.assertEqual(d.admin("stop").returncode, 0)
            self.assertFalse(os.path.exists(path))
            self.assertEqual(d.admin("start").returncode, 0)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
            self.assertEqual(d.end(), 0)
        self.assertFalse(os.path.exists(path))
        with open(path, "w", encoding="ascii") as f:
            f.write("not a socket")
        with stub.Daemon(listen=path) as d:
            self.assertEqual(d.wait(), 2)
        self.assertTrue(os.path.exists(path))


class Options(unittest.TestCase):
    """What is set of the sockets that listen, and so of what is accepted from them."""

    NAMES = {"tcp_keepalive_time": socket.TCP_KEEPIDLE, "tcp_keepalive_intvl": socket.TCP_KEEPINTVL,
             "tcp_keepalive_probes": socket.TCP_KEEPCNT}

    def options(self, d, name):
        """An option of TCP of each socket that listens on the port: of the manager's own, borrowed for a moment."""
        libc = ctypes.CDLL(None, use_errno=True)
        port, found = port_of(d), []
        process = os.pidfd_open(d.process.pid)
        for number in os.listdir(f"/proc/{d.process.pid}/fd"):
            fd = libc.syscall(438, process, int(number), 0)  # pidfd_getfd
            if fd < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                self.skipTest("may not look at another process's sockets")
            if fd >= 0 and stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=fd) as s:
                    if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and s.getsockname()[1:] == (port,):
                        found.append(s.getsockopt(socket.IPPROTO_TCP, name))
            elif fd >= 0:
                os.close(fd)
        os.close(process)
        return found

    @staticmethod
    def due(port):
        """In how many hundredths of a second a new connection from us is asked whether it lives."""
        with socket.create_connection(("127.0.0.1", port)) as c:
            ours = ":%04X" % c.getsockname()[1]
            end = time.monotonic() + stub.LONG
            while time.monotonic() < end:
                with open("/proc/net/tcp", encoding="ascii") as f:
                    rows = [line.split() for line in f.readlines()[1:]]
                # Its side of the handshake may not be over yet.
                due = [row[5].split(":")[1] for row in rows if row[2].endswith(ours) and row[5].startswith("02:")]
                if due:
                    return int(due[0], 16)
                time.sleep(0.01)
        raise AssertionError("no connection is to be asked")

    def test_keepalive(self):
        with stub.Daemon("-p", "loops=2") as d:
            d.running()
            with socket.socket() as plain:
                for name, option in self.NAMES.items():
                    system = plain.getsockopt(socket.IPPROTO_TCP, option)
                    self.assertRegex(d.admin("param.show", name).stdout, rf"Value is: {system}(\.000)? .*\(default\)")
                    self.assertEqual(self.options(d, option), [system] * 2)
            self.assertGreater(self.due(port_of(d)), 6000)
            for name, option in self.NAMES.items():
                self.assertEqual(d.admin("param.set", name, "60").returncode, 0)
                self.assertEqual(self.options(d, option), [60] * 2)
            self.assertLessEqual(self.due(port_of(d)), 6000)
            d.admin("param.reset", "tcp_keepalive_time")
            self.assertGreater(self.due(port_of(d)), 6000)

    def test_fast_open(self):
        with stub.Daemon("-p", "loops=1", "-p", "listen_depth=77") as d:
            d.running()
            self.assertEqual(self.options(d, socket.TCP_FASTOPEN), [0])
            d.admin("param.set", "tcp_fastopen", "on")
            d.admin("stop")
            d.admin("start")
            self.assertEqual(self.options(d, socket.TCP_FASTOPEN), [77])


class Restarts(unittest.TestCase):
    def test_that_fail(self):
        """They are tried again less and less often, however long ago the last was that did not."""
        with stub.Daemon() as d:
            pid = d.running()
            resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (8, 8))
            os.kill(pid, 9)
            d.line("the next start is in 10.00 seconds")
            self.assertLess(len([line for line in d.lines if line and "Child start failed" in line]), 12)


class Files(Directory):
    def test_commands_at_start(self):
        commands = self.path("commands")
        with open(commands, "w", encoding="ascii") as f:
            f.write("# of the operator\nparam.set default_ttl 33\n\n-param.set nosuch 1\nparam.set default_grace 44")
        with stub.Daemon("-I", commands) as d:
            d.running()
            changed = d.admin("param.show", "changed").stdout
            self.assertTrue(re.search(r"default_grace +44\.000", changed), changed)
            self.assertTrue(re.search(r"default_ttl +33\.000", changed), changed)
        with open(commands, "w", encoding="ascii") as f:
            f.write("param.set nosuch 1\n")
        with stub.Daemon("-I", commands) as d:
            d.line(r'Error: -I file CLI command failed \(106\): param.set: Unknown parameter "nosuch"')
            self.assertEqual(d.wait(), 2)

    def test_pid_file_given_twice(self):
        with stub.Daemon("-P", self.path("one"), "-P", self.path("one"), "-P", self.path("two")) as d:
            d.running()
            with open(self.path("two"), encoding="ascii") as f:
                self.assertEqual(f.read(), str(d.process.pid))
            self.assertEqual(d.end(), 0)
        self.assertEqual(os.listdir(self.dir), [])

    def test_identity(self):
        with stub.Daemon("-i", "nightly", "-h", "critbit", "-W", "epoll") as d:
            d.running()
            d.line("-h: has no meaning here")
            with open(os.path.join(d.workdir, "_.vsm_mgt", "_.index"), encoding="ascii") as f:
                rows = [x.split() for x in f]
            names = [x[1] for x in rows if x[0] == "+" and x[4:] == ["Arg", "-i"]]
            with open(os.path.join(d.workdir, "_.vsm_mgt", names[0]), "rb") as f:
                self.assertEqual(f.read(8), b"nightly\0")


if __name__ == "__main__":
    stub.main()
