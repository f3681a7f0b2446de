#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The command line interface of the manager, byte by byte."""
import json
import os
import re
import shutil
import subprocess
import unittest

import stub


class Authentication(unittest.TestCase):
    def test_challenge_and_proof(self):
        with stub.listener() as port, stub.Daemon("-M", "127.0.0.1 %d" % port.getsockname()[1]) as d:
            c = stub.accept_master(port)
            status, text = c.greeting
            self.assertEqual(status, 107)
            self.assertRegex(text, r"\A[a-z]{32}\n\nAuthentication required\.\n\Z")
            # What is not open to strangers is answered by a new challenge.
            status, second = c.ask("param.show")
            self.assertEqual(status, 107)
            self.assertNotEqual(second, text)
            self.assertEqual(c.ask("ping")[0], 200)
            self.assertEqual(c.ask("stub.echo x")[0], 107)
            status, last = c.ask("vcl.list")
            with open(os.path.join(d.workdir, "_.secret"), "rb") as f:
                secret = f.read()
            self.assertEqual(len(secret), 256)
            # An empty line follows, as varnishtest sends it.
            c.send("auth " + stub.proof(last, secret).upper() + "\n\n")
            self.assertEqual(c.answer()[0], 200)
            self.assertEqual(c.ask("param.show default_ttl")[0], 200)

    def test_wrong_proof_closes(self):
        with stub.listener() as port, stub.Daemon("-M", "127.0.0.1:%d" % port.getsockname()[1]) as d:
            c = stub.accept_master(port)
            self.assertEqual(c.ask("auth " + "0" * 64)[0], 500)
            self.assertEqual(c.back.read(), b"")
            # -M goes on trying; the old challenge is worth nothing.
            again = stub.accept_master(port)
            with open(os.path.join(d.workdir, "_.secret"), "rb") as f:
                self.assertEqual(again.ask("auth " + stub.proof(c.greeting[1], f.read()))[0], 500)
            for bad in ("", "0", "0" * 63, "0" * 65):
                c = stub.accept_master(port)
                self.assertEqual(c.ask(f'auth "{bad}"')[0], 500)

    def test_strangers_may_not_send_much(self):
        with stub.listener() as port, stub.Daemon("-M", "127.0.0.1:%d" % port.getsockname()[1]):
            c = stub.accept_master(port)
            try:
                c.send("x" * 65536)
                self.assertEqual(c.back.read(), b"")
            except (ConnectionResetError, BrokenPipeError):
                pass

    def test_secret_file_of_others(self):
        with stub.Daemon() as d:
            mine = os.path.join(d.workdir, "mine")
            with open(mine, "wb") as f:
                f.write(b"sesame\n")
            with stub.listener() as port, stub.Daemon("-S", mine, "-M", "127.0.0.1:%d" % port.getsockname()[1]) as e:
                c = stub.accept_master(port, mine)
                self.assertEqual(c.ask("ping")[0], 200)
                self.assertFalse(os.path.exists(os.path.join(e.workdir, "_.secret")))
                e.running()

    def test_no_secret(self):
        with stub.listener() as port, stub.Daemon("-S", "none", "-M", "127.0.0.1:%d" % port.getsockname()[1]) as d:
            c = stub.accept_master(port)
            self.assertEqual(c.greeting[0], 200)
            self.assertEqual(c.ask("status")[0], 200)
            d.line("authentication disabled")

    def test_varnishadm(self):
        with stub.Daemon("-T", "127.0.0.1:0") as d:
            d.running()
            self.assertRegex(d.admin("pid").stdout, r"Master: +\d+\nWorker: +\d+\n")
            bad = d.admin("param.show", "nosuch")
            self.assertEqual(bad.returncode, 1)
            self.assertIn("error code 106", bad.stdout)
            self.assertEqual(d.admin("-t", "20", "status").stdout.strip(), "Child in state running")


class Framing(unittest.TestCase):
    def setUp(self):
        self.daemon = stub.Daemon(console=True)
        self.addCleanup(self.daemon.__exit__)
        self.cli = self.daemon.cli
        self.assertEqual(self.cli.ask("start")[0], 200)

    def ask(self, line, status=200):
        got, text = self.cli.ask(line)
        self.assertEqual(got, status, text)
        return text

    def test_console_is_trusted(self):
        status, text = self.daemon.banner
        self.assertEqual(status, 200)
        self.assertIn("Type 'start'", text)
        self.assertNotIn("Type 'start'", self.ask("banner"))

    def test_statuses(self):
        self.assertIn("Syntax Error", self.ask('ping "', 100))
        self.assertIn("Unknown request", self.ask("frobnicate", 101))
        self.assertIn("JSON unimplemented", self.ask("banner -j", 102))
        self.ask("param.set default_ttl", 104)
        self.ask("stop now", 105)
        self.ask("panic.clear -y", 106)
        self.ask("panic.show", 300)
        self.ask("-param.show default_ttl")
        self.assertEqual(self.ask("help param.set"), "param.set [-j] <param> <value>\nSet a parameter.")
        self.ask("help frobnicate", 101)
        # The worker's are there while it runs, and none twice.
        self.assertEqual(self.ask("help stub.exit"), "stub.exit <status>\nExit.")
        names = [x.split()[0] for x in self.ask("help").splitlines()]
        self.assertIn("stub.echo", names)
        self.assertNotIn("debug.xid", names)
        self.assertEqual(names, sorted(set(names)))
        self.ask("stop")
        self.assertNotIn("stub.echo", self.ask("help"))

    def test_forwarded_words_arrive_as_they_were(self):
        self.assertEqual(self.ask(r'stub.echo "a b" "\"\\\n\t" \x01\377 "" "<<" x -j'),
                         '[a b]\n["\\\n\t]\n[\x01\xff]\n[]\n[<<]\n[x]\n[-j]\n')
        self.assertEqual(self.ask("stub.echo << EOT\nline 1\n\n EOT\nEOT"), "[line 1\n\n EOT\n]\n")
        big = "x" * 300000
        self.daemon.cli.ask("param.set cli_limit 1m")
        self.assertEqual(self.ask("stub.echo << E\n" + big + "\nE"), "[" + big + "\n]\n")

    def test_long_answers_are_cut(self):
        whole = self.ask("param.show -l")
        self.ask("param.set cli_limit 256b")
        cut = self.ask("param.show -l", 201)
        self.assertEqual(len(cut), 256)
        self.assertTrue(whole.startswith(cut))

    def test_many_in_one_write(self):
        self.cli.send("ping\nstatus\n\n  \nstub.echo 1\n" * 500)
        for _ in range(500):
            self.assertEqual(self.cli.answer()[0], 200)
            self.assertEqual(self.cli.answer(), (200, "Child in state running"))
            self.assertEqual(self.cli.answer(), (200, "[1]\n"))

    def test_json(self):
        for line in ("ping", "status", "pid", "help", "param.show", "param.show vsl_mask", "param.show default_ttl",
                     "param.set default_ttl 1", "param.set thread_pools 3", "param.show changed", "backend.list",
                     "param.reset default_ttl"):
            command, _, rest = line.partition(" ")
            answer = json.loads(self.ask(f"{command} -j {rest}"))
            self.assertIn(answer[0], (2, 3))
            self.assertEqual(answer[1], [command, "-j", *rest.split()])
            self.assertGreater(answer[2], 1e9)
            self.assertGreaterEqual(len(answer), 4, line)
        one = json.loads(self.ask("param.show -j default_ttl"))[3]
        self.assertEqual((one["value"], one["units"], one["default"], one["minimum"]), (120, "seconds", "120.000", "0.000"))
        self.assertFalse(json.loads(self.ask("param.show -j thread_pools"))[3]["implemented"])
        self.assertEqual(json.loads(self.ask("status -j"))[3], "running")
        everything = json.loads(self.ask("param.show -j"))[3:]
        self.assertEqual(len(everything), len(self.ask("param.show").splitlines()))
        self.assertEqual(json.loads(self.ask("pid -j"))[3]["worker"], self.daemon.started())

    def test_quit_ends_the_console_and_us(self):
        self.ask("quit", 500)
        self.assertEqual(self.daemon.wait(), 0)


class Parameters(unittest.TestCase):
    def setUp(self):
        self.daemon = stub.Daemon("-r", "default_ttl,vsl_mask", "-p", "default_grace=3", "-p", "default_grace=4",
                                  "-t", "77", "-l", "2m", console=True)
        self.addCleanup(self.daemon.__exit__)
        self.ask = self.daemon.cli.ask

    def test_show(self):
        self.assertEqual(self.ask("param.show changed")[1],
                         "default_grace                 4.000 [seconds]\n"
                         "default_ttl                   77.000 [seconds]\n"
                         "feature                       +no_coredump\n"
                         "vsl_space                     2M [bytes]\n")
        text = self.ask("param.show vsl_space")[1]
        self.assertRegex(text, r"\Avsl_space\n        Value is: 2M \[bytes\]\n        Default is: 80M\n"
                               r"        Minimum is: 1M\n        Maximum is: 4G\n\n        The size")
        self.assertIn("NB: A new value takes effect when the worker is started.", text)
        for line in self.ask("param.show -l")[1].splitlines():
            if "Value is: " not in line:
                self.assertLessEqual(len(line), 120, line)

    def test_every_value_can_be_set_to_what_is_shown(self):
        for line in self.ask("param.show")[1].splitlines():
            name, value = line.split()[:2]
            if name in ("default_ttl", "vsl_mask"):
                continue
            self.assertEqual(self.ask(f"param.set {name} {value}")[0], 200, line)
            self.assertEqual(self.ask(f"param.reset {name}")[0], 200, line)
        self.assertEqual(self.ask("param.show changed")[1], "default_ttl                   77.000 [seconds]\n")

    def test_filters_are_bounded_as_in_varnish(self):
        shown = self.ask("param.show")[1]
        for name, value in (("gzip_buffer", "32k [bytes]"), ("gzip_level", "6"), ("gzip_memlevel", "8"),
                            ("http_gzip_support", "on [bool]"), ("max_esi_depth", "5 [levels]")):
            self.assertRegex(shown, rf"(?m)^{name} +{re.escape(value)} \(default\)$")
        for name, value in (("gzip_buffer", "2047b"), ("gzip_level", "10"), ("gzip_memlevel", "0")):
            self.assertEqual(self.ask(f"param.set {name} {value}")[0], 106)

    def test_refusals(self):
        self.assertEqual(self.ask("param.set default_ttl 1"), (107, 'parameter "default_ttl" is protected.'
                                                               "\n\n(attempting to set param 'default_ttl' to '1')"))
        self.assertEqual(self.ask("param.reset vsl_mask")[0], 107)
        self.assertEqual(self.ask("param.set http_max_hdr 5"), (106, "Must be at least 32\n\n(attempting to set param "
                                                                "'http_max_hdr' to '5')"))
        self.assertEqual(self.ask("param.set nosuch 1"), (106, 'Unknown parameter "nosuch".'))
        for command in ("param.set accept_filter on", "param.show accept_filter", "param.reset accept_filter"):
            self.assertEqual(self.ask(command), (300, 'parameter "accept_filter" is not available on this platform.'))
        self.assertEqual(self.ask("param.set pool_req 9,8,7"), (106, "min_pool cannot be larger than max_pool"
                                                                "\n\n(attempting to set param 'pool_req' to '9,8,7')"))
        self.assertEqual(self.ask("param.reset nosuch")[0], 106)

    def test_notes(self):
        self.assertIn("when the worker is started", self.ask("param.set listen_depth 44")[1])
        self.assertIn("no meaning here", self.ask("param.set thread_pool_min 44")[1])
        self.assertEqual(self.ask("param.set timeout_idle 44"), (200, ""))
        for words in ("cc_command 'exec gcc -o %o %s'", "pool_sess 5,50,5", "experimental +drop_pools", "clock_step 3"):
            self.assertIn("no meaning here", self.ask(f"param.set {words}".replace("'", '"'))[1])
        self.assertEqual(self.ask("param.set vcl_path /a:/b"), (200, ""))

    def test_texts(self):
        self.assertEqual(self.ask('param.set cc_command "exec gcc -o %o %s"')[0], 200)
        self.assertRegex(self.ask("param.show cc_command")[1], r"\Acc_command\n        Value is: exec gcc -o %o %s\n"
                                                               r"        Default is: none\n\n        Has no meaning")
        self.assertIn("cc_command                    exec gcc -o %o %s\n", self.ask("param.show changed")[1])
        self.ask("param.set pool_req 5,50,0.50")
        self.assertEqual(json.loads(self.ask("param.show -j pool_req")[1])[3]["value"],
                         {"min_pool": 5, "max_pool": 50, "max_age": 0.5})
        self.assertEqual(json.loads(self.ask("param.show -j cc_command")[1])[3]["value"], "exec gcc -o %o %s")
        self.ask("param.reset cc_command")
        self.assertIn("none (default)", self.ask("param.show cc_command")[1])

    @unittest.skipUnless(shutil.which("varnishd"), "no varnishd to compare with")
    def test_every_parameter_of_varnish_is_there(self):
        said = subprocess.run(["varnishd", "-x", "parameter"], stdout=subprocess.PIPE, check=True, text=True).stdout
        theirs = set(re.findall(r"^(\w+)\n~~~+$", said, re.M))
        ours = {line.split()[0] for line in self.ask("param.show")[1].splitlines()}
        self.assertEqual(theirs - ours, {"accept_filter"})


if __name__ == "__main__":
    stub.main()
