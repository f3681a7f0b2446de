#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The benchmarks' arithmetic and their refusals: what a figure must not be taken from."""
import os
import sys
import types
import unittest
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import lanes  # noqa: E402
import load  # noqa: E402
import run  # noqa: E402
from origin import Origin, body_of  # noqa: E402
from servers import BenchError, Server  # noqa: E402


class FakeServer:
    """Spends one second of CPU on the round, and counts as many hits in it as it is told."""
    name, is_cache, port = "fake", True, 1

    def __init__(self, hits=1000):
        self.seconds, self.hit_count, self.hits_a_round = 0, 0, hits

    def cpu(self):
        self.seconds += 1
        return self.seconds

    def hits(self):
        return self.hit_count if self.seconds < 2 else self.hits_a_round


class Measure(unittest.TestCase):
    def measure(self, server=None, origin_requests=(5, 5), **wrk):
        workload = load.Workload("w", 1024, 64)
        figures = dict({"requests": 1000, "bytes": 1000 * 1200, "usec": 2_000_000, "errors": 0, "p50_us": 1, "p99_us": 2}, **wrk)
        origin = mock.Mock()
        type(origin).requests = mock.PropertyMock(side_effect=list(origin_requests) + [origin_requests[-1]] * 3)
        with mock.patch.object(load, "wrk", return_value=figures), mock.patch.object(workload, "check_body"):
            return load.measure(server or FakeServer(), workload, "", 2, "1", origin)

    def test_figures(self):
        r = self.measure()
        self.assertAlmostEqual(r["cpu_us"], 1000)
        self.assertAlmostEqual(r["rps"], 500)
        self.assertAlmostEqual(r["busy"], 0.5)
        self.assertAlmostEqual(r["cpu_s_gib"], (1 << 30) / 1_200_000)

    def refused(self, why, **kw):
        with self.assertRaisesRegex(BenchError, why):
            self.measure(**kw)

    def test_errors(self):
        self.refused("1 errors", errors=1)

    def test_too_few_bytes(self):
        self.refused("bytes for 1000 answers", bytes=1000 * 1023)

    def test_too_many_bytes(self):
        self.refused("bytes for 1000 answers", bytes=1000 * 4096)

    def test_misses(self):
        self.refused("reached the origin", origin_requests=(5, 6))

    def test_hits_that_were_not_counted(self):
        self.refused("counts 10 hits for 1000", server=FakeServer(hits=10))

    def test_nearly_nothing_answered(self):
        self.refused("only 3 requests", requests=3)


class Arithmetic(unittest.TestCase):
    def test_ratio_is_taken_within_a_round_to_the_cheapest_way(self):
        def row(v):
            return {"cpu_us": v, "rps": 1, "busy": 1, "p99_us": 1}
        rows = {"limit-copy": {0: row(30), 1: row(30), 2: row(8)}, "limit-splice": {0: row(10), 1: row(20), 2: row(20)},
                "x": {0: row(15), 1: row(30), 2: row(40)}}
        result = run.summarise("w", "cpu_us", 1.3, rows, [])
        self.assertEqual([s["ratio"] for s in result["servers"] if s["server"] == "x"], [1.5])

    def test_budget_is_named_in_the_table(self):
        line = {"server": "objmapperd", "figure": 10.0, "least": 9.0, "most": 11.0, "ratio": 1.31, "rps": 1, "busy": 1, "p99_us": 1}
        text = run.table({"workload": "w", "unit": "us", "budget": 1.3, "servers": [line], "notes": ["rejected: y"]})
        self.assertIn("budget 1.3: missed", text)
        self.assertIn("rejected: y", text)

    def test_zipf_asks_for_the_first_most_and_the_same_each_time(self):
        a, b = load.Workload("w", 1024, 1, 100), load.Workload("w", 1024, 1, 100)
        self.assertEqual(a.order, b.order)
        self.assertGreater(a.order.count(1), 5 * a.order.count(50))
        self.assertLessEqual(max(a.order), 100)

    def test_lane_threshold_is_where_fd_stays_cheaper(self):
        def row(direct, fd):
            return {"tcp": {"direct": direct, "fd": fd, "body": 9}}
        self.assertEqual(lanes.recommend({1: row(1, .5), 2: row(1, 2), 4: row(1, .9), 8: row(1, .5)}, "tcp"), 4)
        self.assertIsNone(lanes.recommend({1: row(1, 1), 2: row(1, .99)}, "tcp"))


class OriginServer(unittest.TestCase):
    def test_bodies_follow_from_the_path_and_are_counted(self):
        origin = Origin()
        self.addCleanup(origin.server_close)
        self.addCleanup(origin.shutdown)
        server = types.SimpleNamespace(name="origin", port=origin.port, unix_path=None, host=lambda: {"Host": "origin"})
        connection = Server.connect(server)
        for path in ("/1000/1", "/1000/2", "/70000/1"):
            self.assertEqual(Server.get(server, connection, path), body_of(path))
        self.assertEqual(origin.requests, 3)
        self.assertNotEqual(body_of("/1000/1"), body_of("/1000/2"))
        with self.assertRaises(BenchError):
            Server.get(server, connection, "/nonsense")
        connection.close()


if __name__ == "__main__":
    sys.exit(unittest.main())
