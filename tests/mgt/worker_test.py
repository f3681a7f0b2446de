#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""A worker that dies, in each of the ways."""
import os
import signal
import socket
import unittest

import stub


def port_of(daemon):
    name, host, port = daemon.admin("debug.listen_address").stdout.split()[:3]
    assert name == "a0"
    return host, int(port)


class Deaths(unittest.TestCase):
    def test_killed_worker_is_replaced(self):
        with stub.Daemon() as d:
            first = d.running()
            os.kill(first, signal.SIGKILL)
            d.line(r"Child \(%d\) died signal=9" % first)
            second = d.running(2)
            self.assertNotEqual(first, second)
            self.assertIn("generation 2", d.admin("stub.who").stdout)
            self.assertEqual(d.counter("MGT.child_died"), 1)
            self.assertEqual(d.counter("MGT.child_start"), 2)
            self.assertEqual(d.end(), 0x40)

    def test_clients_wait_while_it_is_replaced(self):
        with stub.Daemon() as d:
            d.running()
            address = port_of(d)
            for count in range(1, 4):
                os.kill(d.started(count), signal.SIGKILL)
                for _ in range(20):
                    socket.create_connection(address, stub.LONG).close()
                d.running(count + 1)
            self.assertEqual(d.end(), 0x40)

    def test_error_status(self):
        with stub.Daemon() as d:
            pid = d.running()
            self.assertIn("error code 400", d.admin("stub.exit", "3").stdout)
            d.line(r"Child \(%d\) died status=3" % pid)
            d.running(2)
            self.assertEqual(d.counter("MGT.child_stop"), 1)
            self.assertEqual(d.end(), 0x20)

    def test_statuses_add_up(self):
        with stub.Daemon() as d:
            d.running()
            d.admin("stub.exit", "1")
            os.kill(d.running(2), signal.SIGKILL)
            d.running(3)
            self.assertEqual(d.end(), 0x60)

    def test_exit_0_without_being_asked(self):
        with stub.Daemon() as d:
            d.running()
            d.admin("stub.exit", "0")
            d.running(2)
            self.assertEqual(d.counter("MGT.child_exit"), 1)
            self.assertEqual(d.end(), 0)

    def test_without_auto_restart(self):
        with stub.Daemon("-p", "auto_restart=off") as d:
            pid = d.running()
            address = port_of(d)
            os.kill(pid, signal.SIGKILL)
            d.line("Child cleanup complete")
            self.assertEqual(d.admin("status").stdout.strip(), "Child in state stopped")
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(address, stub.LONG)
            self.assertEqual(d.admin("start").returncode, 0)
            self.assertEqual(d.running(2), d.started(2))
            self.assertEqual(port_of(d), address)

    def test_panic(self):
        with stub.Daemon() as d:
            pid = d.running()
            d.admin("debug.panic.worker")
            d.line(r"Child \(%d\) died signal=6" % pid)
            d.running(2)
            shown = d.admin("panic.show").stdout
            self.assertRegex(shown, r"\APanic at: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\nPanic: you asked for it\n")
            self.assertEqual(d.counter("MGT.child_panic"), 1)
            self.assertEqual(d.admin("panic.clear").returncode, 0)
            self.assertIn("error code 300", d.admin("panic.show").stdout)
            self.assertIn("error code 300", d.admin("panic.clear").stdout)
            self.assertEqual(d.admin("panic.clear", "-z").returncode, 0)
            self.assertEqual(d.counter("MGT.child_panic"), 0)
            self.assertEqual(d.end(), 0x40)

    def test_what_it_says_is_logged(self):
        with stub.Daemon() as d:
            pid = d.running()
            d.admin("stub.say", '"one\\ntwo"')
            d.line(r"Child \(%d\) said one$" % pid)
            d.line(r"Child \(%d\) said two$" % pid)

    def test_the_worker_goes_with_a_killed_manager(self):
        with stub.Daemon() as d:
            pid = d.running()
            d.process.kill()
            d.wait()
            for _ in range(100000):
                if not stub.is_alive(pid):
                    break
            self.assertFalse(stub.is_alive(pid))
            # Its working directory can be used again.
            with stub.Daemon(workdir=d.workdir) as again:
                again.running()
                self.assertEqual(again.end(), 0)


class Orders(unittest.TestCase):
    def test_stop_and_start(self):
        with stub.Daemon(console=True) as d:
            self.assertEqual(d.cli.ask("status"), (200, "Child in state stopped"))
            self.assertEqual(d.cli.ask("backend.list")[0], 101)
            self.assertEqual(d.cli.ask("stop")[0], 300)
            self.assertEqual(d.cli.ask("start"), (200, ""))
            self.assertEqual(d.cli.ask("start"), (300, "Child in state running"))
            first = d.started()
            address = port_of(d)
            self.assertEqual(d.cli.ask("stop"), (200, ""))
            self.assertFalse(stub.is_alive(first))
            self.assertFalse(os.path.exists(os.path.join(d.workdir, "_.vsm_child")))
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(address, stub.LONG)
            self.assertEqual(d.cli.ask("start"), (200, ""))
            self.assertEqual(port_of(d), address)
            self.assertEqual(d.counter("MGT.child_exit"), 1)
            # The end of stdin is the order to end.
            d.process.stdin.close()
            self.assertEqual(d.wait(), 0)

    def test_vtc_mode_keeps_what_can_be_read(self):
        with stub.Daemon("-p", "debug=+vtc_mode", console=True) as d:
            d.cli.ask("start")
            d.cli.ask("stop")
            self.assertTrue(os.path.exists(os.path.join(d.workdir, "_.vsm_child", "_.index")))
            d.process.stdin.close()
            self.assertEqual(d.wait(), 0)
            self.assertFalse(os.path.exists(os.path.join(d.workdir, "_.vsm_mgt", "_.index")))
            self.assertTrue(os.path.exists(os.path.join(d.workdir, "_.vsm_child", "_.index")))

    def test_start_needs_a_backend(self):
        with stub.Daemon(console=True, backend=None) as d:
            status, text = d.cli.ask("start")
            self.assertEqual(status, 300)
            self.assertIn("No VCL available", text)

    def test_signals_end_it_orderly(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with stub.Daemon() as d:
                pid = d.running()
                self.assertEqual(d.end(number), 0)
                self.assertFalse(stub.is_alive(pid))
                self.assertEqual(os.listdir(d.workdir), [])

    @unittest.skipUnless(os.geteuid() == 0, "only root can change to another user")
    def test_jail(self):
        with stub.Daemon("-j", "unix,user=nobody") as d:
            d.running()
            self.assertIn("uid 65534 ", d.admin("stub.who").stdout)
        with stub.Daemon("-j", "none") as d:
            d.running()
            self.assertIn("uid 0 ", d.admin("stub.who").stdout)
        with stub.Daemon() as d:
            d.running()
            self.assertNotIn("uid 0 ", d.admin("stub.who").stdout)


if __name__ == "__main__":
    stub.main()
