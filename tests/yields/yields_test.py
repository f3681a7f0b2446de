#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""yields.py, seen to fail: each rule against a small source that breaks it."""
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "yields.py")
HEAD = """#define YIELDS
#define MUST_USE __attribute__((warn_unused_result))
typedef void entry_fn(void *arg);
void fiber_start(entry_fn *entry, void *arg);
/* a comment that says YIELDS: void not_marked(void); */
YIELDS void conn_wait(void);
YIELDS MUST_USE int conn_read(char *buf, int len);
"""


class Yields(unittest.TestCase):
    def check(self, text, **lists):
        with tempfile.TemporaryDirectory() as tmp:
            os.mkdir(os.path.join(tmp, "src"))
            for name, content in (("src/x.c", HEAD + text), ("exceptions", lists.get("exceptions", "")),
                                  ("reaches", lists.get("reaches", ""))):
                with open(os.path.join(tmp, name), "w", encoding="utf-8") as f:
                    f.write(content)
            p = subprocess.run([sys.executable, SCRIPT, "--src", os.path.join(tmp, "src"), "--lists", tmp,
                                "--out", os.path.join(tmp, "out")], stdout=subprocess.PIPE, text=True, check=False)
            return p.returncode, p.stdout

    def test_marked_all_the_way_up(self):
        rc, out = self.check("""
            static YIELDS int inner(char *b) { return conn_read(b, 1) + 1; }
            YIELDS int outer(void); int outer(void) { char b[64]; return inner(b); }
            static void entry(void *arg) { (void)arg; (void)outer(); }
            void go(void); void go(void) { fiber_start(entry, 0); }""")
        self.assertEqual(rc, 0, out)
        self.assertIn("deepest stack", out)

    def test_unmarked_caller(self):
        rc, out = self.check("void outer(void); void outer(void) { conn_wait(); }")
        self.assertEqual(rc, 1)
        self.assertIn("outer calls conn_wait, which YIELDS, and is not marked", out)

    def test_unmarked_static_helper_of_a_marked_function(self):
        rc, out = self.check("""static void helper(void) { conn_wait(); }
            YIELDS void outer(void); void outer(void) { helper(); }""")
        self.assertEqual(rc, 1)
        self.assertIn("helper calls conn_wait", out)

    def test_exception_with_a_reason(self):
        self.assertEqual(self.check("void outer(void); void outer(void) { conn_wait(); }",
                                    exceptions="outer # runs on a thread of its own\n")[0], 0)

    def test_too_deep(self):
        rc, out = self.check("""void use(char *); YIELDS void deep(void);
            void deep(void) { char b[70000]; use(b); conn_wait(); }""")
        self.assertEqual(rc, 1)
        self.assertIn("more than 65536", out)

    def test_what_a_pointer_reaches_counts(self):
        text = """void use(char *); void far(void); void far(void) { char b[70000]; use(b); }
            YIELDS void deep(void (*fn)(void)); void deep(void (*fn)(void)) { fn(); conn_wait(); }"""
        rc, out = self.check(text)
        self.assertEqual(rc, 1)
        self.assertIn("deep YIELDS and calls through a pointer", out)
        self.assertEqual(self.check(text, reaches="deep -  # nothing\n")[0], 0)
        rc, out = self.check(text, reaches="deep far\n")
        self.assertEqual(rc, 1)
        self.assertIn("more than 65536", out)

    TABLES = """void use(char *); struct ops { void (*go)(int n); int (*len)(void); };
        static void far(int n) { char b[%d]; use(b + n); }
        const struct ops table = {.go = far, .len = 0};
        YIELDS void deep(const struct ops *o); void deep(const struct ops *o) { o->%s(1); conn_wait(); }"""

    def test_what_a_table_holds_counts(self):
        self.assertEqual(self.check(self.TABLES % (100, "go"))[0], 0)
        rc, out = self.check(self.TABLES % (70000, "go"))
        self.assertEqual(rc, 1)
        self.assertIn("more than 65536", out)
        self.assertIn("> far(", out)

    def test_a_name_that_no_table_fills(self):
        text = self.TABLES.replace(".go = far, ", "") % (100, "go")
        rc, out = self.check(text)
        self.assertEqual(rc, 1)
        self.assertIn("deep YIELDS and calls through a pointer", out)

    def test_a_call_back_through_a_table_is_no_recursion(self):
        rc, out = self.check("""struct ops { void (*go)(void); }; extern const struct ops *o; void low(void); void high(void);
            void low(void) { o->go(); } void high(void) { low(); }
            const struct ops table = {.go = high};""")
        self.assertEqual(rc, 0, out)

    def test_recursion(self):
        rc, out = self.check("int f(int n); int f(int n) { return n < 2 ? n : 2 + f(n - 1) * f(n - 2); }")
        self.assertEqual(rc, 1)
        self.assertIn("recursion: f -> f", out)


if __name__ == "__main__":
    sys.exit(unittest.main())
