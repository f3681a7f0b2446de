#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Compiling VCL: what a module's code can do to the manager (nothing), and who it is while it runs."""
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import stub

INCLUDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include")

MODULE = """
#define _GNU_SOURCE
#include <objmapper/module.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
static void one(struct objm_ctx *ctx, struct objm_call *call) { (void)ctx; call->ret.integer = 1; }
static const struct objm_func funcs[] = {{.name = "one", .ret = OBJM_INT, .fn = one, .doc = "One."}};
static const struct objm_module table = {OBJM_ABI, .name = "%(name)s", .title = "t", .doc = "d", OBJM_FUNCS(funcs)};
OBJM_EXPORT(table);
__attribute__((constructor)) static void at_once(void) { %(code)s }
"""

CODE = {
    "good": "",
    "aborts": "abort();",
    "faults": "raise(SIGSEGV);",
    "leaves": "_exit(0);",
    "ends": "_exit(3);",
    "hangs": "for (;;) { usleep(1000); }",
    "spins": "for (volatile int i = 0;; i = i + 1) { }",
    "eats": "for (;;) { char *p = malloc(1 << 20); if (p == NULL) { abort(); } memset(p, 1, 1 << 20); }",
    "writes": 'FILE *f = tmpfile(); for (;;) { if (fputs("0123456789abcdef", f) < 0) { abort(); } }',
    "talks": 'for (int i = 0; i < 100000; i++) { fprintf(stderr, "line %d \\033[2J\\n", i); } abort();',
    # Leaves somebody behind who holds what the manager might wait for.
    "forks": 'if (fork() == 0) { for (;;) { pause(); } }',
    "forks_and_aborts": 'pid_t p = fork(); if (p == 0) { for (;;) { pause(); } } '
                        'fprintf(stderr, "grandchild %d\\n", (int)p); abort();',
    "tells": r'''
        fprintf(stderr, "ids %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
        struct rlimit core; getrlimit(RLIMIT_CORE, &core); fprintf(stderr, "core %lu\n", (unsigned long)core.rlim_cur);
        DIR *d = opendir("/proc/self/fd"); struct dirent *e;
        while ((e = readdir(d)) != NULL) {
            char to[256]; ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);
            if (n > 0 && atoi(e->d_name) != dirfd(d)) { to[n] = 0; fprintf(stderr, "fd %s %s\n", e->d_name, to); }
        }
        closedir(d);
        FILE *f = fopen("/proc/self/maps", "r"); char line[512];
        while (fgets(line, sizeof line, f) != NULL) { if (strstr(line, " rw-s ")) { fprintf(stderr, "shared %s", line); } }
        fclose(f); fprintf(stderr, "setuid %d\n", setuid(0));''',
}


def children(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                    if int(f.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


@unittest.skipUnless(shutil.which("cc"), "there is no C compiler to make modules with")
class Modules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
        os.chmod(cls.dir, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)
        running = []
        for name, code in CODE.items():
            path = os.path.join(cls.dir, name)
            with open(path + ".c", "w", encoding="ascii") as f:
                f.write(MODULE % {"name": name, "code": code})
            running.append(subprocess.Popen(["cc", "-std=c11", "-shared", "-fPIC", "-I", INCLUDE, "-o",
                                             os.path.join(cls.dir, f"libvmod_{name}.so"), path + ".c"]))
            with open(path + ".vcl", "w", encoding="ascii") as f:
                f.write(f"vcl 4.1;\nimport {name};\nbackend default none;\n"
                        f"sub vcl_deliver {{ set resp.http.x = {name}.one(); }}\n")
            os.chmod(path + ".vcl", 0o644)
        assert [p.wait() for p in running] == [0] * len(running)

    def daemon(self, *args):
        return stub.Daemon("-p", f"vmod_path={self.dir}", *args)

    def load(self, d, name):
        return d.admin("vcl.load", name, os.path.join(self.dir, name + ".vcl"))

    def fails(self, d, name, pattern):
        """The load fails with a text, and all is as it was before."""
        before = d.admin("vcl.list").stdout
        pids = d.admin("pid").stdout
        done = self.load(d, name)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("Command failed with error code 106", done.stdout)
        self.assertRegex(done.stdout, pattern)
        self.assertIn("VCL compilation failed", done.stdout)
        self.assertEqual(d.admin("vcl.list").stdout, before)
        self.assertEqual(d.admin("pid").stdout, pids)
        self.assertEqual(children(d.process.pid), [d.started()])
        return done.stdout

    def test_what_ends_it(self):
        with self.daemon() as d:
            d.running()
            self.fails(d, "aborts", r"Running VCC-compiler failed, (signal 6|exited with)")
            self.fails(d, "faults", r"Running VCC-compiler failed, (signal 11|exited with)")
            self.fails(d, "leaves", r"Running VCC-compiler failed, it ended without an answer")
            self.fails(d, "ends", r"Running VCC-compiler failed, exited with 3")
            self.assertEqual(self.load(d, "good").returncode, 0)
            self.assertEqual(d.end(), 0)

    def test_limits(self):
        with self.daemon("-p", "vcc_timeout=1", "-p", "vcc_memory_max=64m") as d:
            d.running()
            self.fails(d, "hangs", r"it took longer than vcc_timeout \(1 seconds\)")
            self.fails(d, "spins", r"it took longer than vcc_timeout \(1 seconds\)")
            self.assertEqual(d.admin("param.set", "vcc_timeout", "4").returncode, 0)
            # The address sanitizer does not always survive to tell.
            self.fails(d, "eats", r"Running VCC-compiler failed, (signal|exited with|it took longer)")
            self.fails(d, "writes", r"Running VCC-compiler failed, signal 25")
            text = self.fails(d, "talks", r"line 1 ")
            self.assertLess(len(text), 16000)
            self.assertNotIn("\033", text)
            self.assertEqual(self.load(d, "good").returncode, 0)

    def test_what_it_leaves_behind(self):
        with self.daemon() as d:
            d.running()
            text = self.fails(d, "forks_and_aborts", "Running VCC-compiler failed")
            pid = int(re.search(r"grandchild (\d+)", text)[1])
            end = time.monotonic() + stub.LONG
            while stub.is_alive(pid) and time.monotonic() < end:
                time.sleep(0.01)
            self.assertFalse(stub.is_alive(pid))
            self.assertEqual(self.load(d, "forks").returncode, 0)

    def told(self, text):
        user = pwd.getpwnam("varnish") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        ids = [int(x) for x in re.search(r"ids (.*)", text)[1].split()]
        self.assertEqual(ids, [user.pw_uid] * 2 + [user.pw_gid] * 2)
        if os.getuid() == 0:
            self.assertIn("setuid -1", text)
        self.assertIn("core 0", text)
        # Nothing of the manager's: input, output, and where the answer goes.
        fds = dict(re.findall(r"^fd (\d+) (.*)$", text, re.M))
        self.assertEqual(sorted(fds), ["0", "1", "2", "3"], fds)
        self.assertEqual(fds["0"], "/dev/null")
        self.assertTrue(all(fds[n].startswith("/memfd:vcc ") for n in "123"), fds)
        self.assertNotIn("shared ", text)

    @unittest.skipUnless(os.getuid() != 0 or any(p.pw_name == "varnish" for p in pwd.getpwall()), "no user varnish")
    def test_who_it_is(self):
        with self.daemon() as d:
            d.running()
            done = self.load(d, "tells")
            self.assertEqual(done.returncode, 0, done.stdout)
            self.told(done.stdout)
        done = stub.run("-p", f"vmod_path={self.dir}", "-C", "-f", os.path.join(self.dir, "tells.vcl"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.told(done.stderr)

    @unittest.skipUnless(os.getuid() == 0, "only root can become somebody else")
    def test_named_users(self):
        for words, name in (("unix,user=daemon", "daemon"), ("unix,user=daemon,workuser=nobody", "daemon"), ("none", "root")):
            with self.subTest(words):
                done = stub.run("-j", words, "-p", f"vmod_path={self.dir}", "-C", "-f", os.path.join(self.dir, "tells.vcl"))
                self.assertIn(f"ids {pwd.getpwnam(name).pw_uid} ", done.stderr)
                # What only root may read is not for VCL.
                secret = os.path.join(self.dir, "secret.vcl")
                with open(secret, "w", encoding="ascii") as f:
                    f.write("vcl 4.1;\nbackend default none;\n")
                os.chmod(secret, 0o600)
                done = stub.run("-j", words, "-C", "-f", secret)
                self.assertEqual((done.returncode, "Permission denied" in done.stderr),
                                 (0, False) if name == "root" else (2, True), done.stderr)

    def test_check_only(self):
        for name, pattern in (("aborts", "signal 6|exited with"), ("hangs", "vcc_timeout")):
            done = stub.run("-p", f"vmod_path={self.dir}", "-p", "vcc_timeout=1", "-C", "-f", os.path.join(self.dir, name + ".vcl"))
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, pattern)

    def test_the_manager_that_ends_takes_it_along(self):
        with self.daemon() as d:
            d.running()
            ask = subprocess.Popen(["varnishadm", "-n", d.workdir, "-t", "60", "vcl.load", "hangs",
                                    os.path.join(self.dir, "hangs.vcl")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            worker = d.started()
            end = time.monotonic() + stub.LONG
            while len(children(d.process.pid)) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            compiler = [pid for pid in children(d.process.pid) if pid != worker]
            self.assertEqual(len(compiler), 1)
            self.assertEqual(d.end(), 0)
            self.assertFalse(stub.is_alive(compiler[0]))
            ask.wait(stub.LONG)

    def test_the_worker_dies_meanwhile(self):
        with self.daemon("-p", "vcc_timeout=2") as d:
            worker = d.running()
            ask = subprocess.Popen(["varnishadm", "-n", d.workdir, "-t", "60", "vcl.load", "hangs",
                                    os.path.join(self.dir, "hangs.vcl")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            end = time.monotonic() + stub.LONG
            while len(children(d.process.pid)) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(worker, 9)
            self.assertIn("vcc_timeout", ask.communicate(timeout=stub.LONG)[0])
            d.running(2)
            self.assertEqual(self.load(d, "good").returncode, 0)


class Texts(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, True)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def test_many_included_files(self):
        """What a worker that starts later gets is what was compiled, though the files are gone."""
        names = [f"part{n}.vcl" for n in range(200)]
        for n, name in enumerate(names):
            self.write(name, f"# part {n} \u00e4\t\"\\\nacl a{n} {{ \"10.0.0.{n}\"; }}\n")
        main = self.write("main.vcl", "vcl 4.1;\nbackend default none;\n" + f'include +glob "{self.dir}/part*.vcl";\n')
        with stub.Daemon("-p", "vcc_err_unref=off") as d:
            d.running()
            done = d.admin("vcl.load", "many", main)
            self.assertEqual(done.returncode, 0, done.stdout)
            for name in names:
                os.unlink(os.path.join(self.dir, name))
            text = d.admin("vcl.show", "-v", "many").stdout
            self.assertEqual(len(re.findall(r"^// VCL.SHOW ", text, re.M)), 202)
            self.assertIn("# part 77 \u00e4\t\"\\\n", text)
            self.assertIn("// VCL.SHOW 201 ", text)
            self.assertIn("<builtin>", text)
            self.assertEqual(d.admin("vcl.use", "many").returncode, 0)
            d.admin("stub.exit", "3")
            d.running(2)
            self.assertEqual(d.admin("status").stdout.strip(), "Child in state running")

    def test_too_long(self):
        with open(os.path.join(self.dir, "long.vcl"), "w", encoding="ascii") as f:
            f.write("vcl 4.1;\nbackend default none;\n" + "# 0123456789abcdef\n" * (15 << 15))
            f.write(f'include "{self.dir}/more.vcl";\n')
        with open(os.path.join(self.dir, "more.vcl"), "w", encoding="ascii") as f:
            f.write("# 0123456789abcdef\n" * (15 << 15))
        with stub.Daemon() as d:
            pid = d.running()
            done = d.admin("-t", "30", "vcl.load", "long", os.path.join(self.dir, "long.vcl"))
            self.assertEqual(done.returncode, 1)
            self.assertIn("too long", done.stdout)
            self.assertIn(f"{pid}", d.admin("pid").stdout)

    def test_a_fifo(self):
        path = os.path.join(self.dir, "fifo.vcl")
        os.mkfifo(path)
        with stub.Daemon("-p", "vcc_timeout=0.5") as d:
            d.running()
            self.assertIn("vcc_timeout", d.admin("vcl.load", "fifo", path).stdout)


if __name__ == "__main__":
    stub.main()
