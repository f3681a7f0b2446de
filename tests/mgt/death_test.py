#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""A worker that hangs: it is given up after cli_timeout, and killed for good some seconds later.

Nearly all of the time is spent waiting for those seconds, so the cases run side by side."""
import concurrent.futures
import os
import signal
import threading
import unittest

import stub

HASTY = ("-p", "cli_timeout=1", "-p", "ping_interval=1")


def no_answer_to_ping(t):
    with stub.Daemon(*HASTY) as d:
        pid = d.running()
        os.kill(pid, signal.SIGSTOP)
        d.line(r"Child \(%d\) not responding to CLI, killed it" % pid)
        d.line(r"Child \(%d\) died signal=(3|9)" % pid)
        d.running(2)
        t.assertEqual(d.end(), 0x40)


def no_answer_to_a_command(t):
    with stub.Daemon(*HASTY) as d:
        pid = d.running()
        t.assertIn("error code 400", d.admin("-t", "20", "stub.hang").stdout)
        d.line(r"Child \(%d\) not responding to CLI, killed it" % pid)
        # It ignores SIGQUIT.
        d.line(r"Child \(%d\) died signal=9" % pid)
        d.running(2)
        t.assertEqual(d.end(), 0x40)


def told_to_end_while_it_waits(t):
    with stub.Daemon("-p", "cli_timeout=3") as d:
        pid = d.running()
        os.kill(pid, signal.SIGSTOP)
        asking = threading.Thread(target=lambda: d.admin("-t", "20", "stub.echo"))
        asking.start()
        t.assertEqual(d.end(), 0x40)
        asking.join(stub.LONG)
        d.line(r"Child \(%d\) not dying, killing" % pid)


def restarted_ever_more_slowly(t):
    with stub.Daemon() as d:
        for count in range(1, 6):
            os.kill(d.running(count), signal.SIGKILL)
        d.line(r"died 4 times in a row: the next start is in 0\.25 seconds")
        d.line(r"died 5 times in a row: the next start is in 0\.50 seconds")
        d.running(6)
        t.assertEqual(d.end(), 0x40)


class Hanging(unittest.TestCase):
    CASES = (no_answer_to_ping, no_answer_to_a_command, told_to_end_while_it_waits, restarted_ever_more_slowly)

    def test_side_by_side(self):
        with concurrent.futures.ThreadPoolExecutor(len(self.CASES)) as pool:
            for case, done in [(case, pool.submit(case, self)) for case in self.CASES]:
                with self.subTest(case.__name__):
                    done.result()


if __name__ == "__main__":
    stub.main()
