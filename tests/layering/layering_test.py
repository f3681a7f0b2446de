#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The checks of this folder, seen to fail: each rule against a small tree that breaks it."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = "/* SPDX-License-Identifier: BSD-2-Clause */\n"


def run(script, *args):
    p = subprocess.run([sys.executable, os.path.join(HERE, script), *args], stdout=subprocess.PIPE, text=True,
                       stderr=subprocess.STDOUT, check=False)
    return p.returncode, p.stdout


class Tree(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.write("src/low/CMakeLists.txt", "module(low SOURCES low.c\n  DOORS low.h # the door\n)\n")
        self.write("src/low/low.h", HEAD + "#ifndef LOW_LOW_H\n#define LOW_LOW_H\nvoid low_fn(void);\n#endif\n")
        self.write("src/low/low_priv.h", HEAD + "#ifndef LOW_LOW_PRIV_H\n#define LOW_LOW_PRIV_H\n#endif\n")
        self.write("src/low/low.c", HEAD + '#include "low/low.h"\n#include "low/low_priv.h"\n'
                   "void low_fn(void) {}\nvoid low__fn(void);\nvoid low__fn(void) {}\n")
        self.write("floors", "0 low\n1 mid\n1 side\n")

    def write(self, name, text):
        path = os.path.join(self.tmp.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def includes(self, room, line):
        self.write(f"src/{room}/x.c", line + "\n")
        return run("layering.py", "includes", "--src", os.path.join(self.tmp.name, "src"),
                   "--floors", os.path.join(self.tmp.name, "floors"))

    def house(self):
        return run("house.py", "--root", self.tmp.name)


class Includes(Tree):
    def test_a_door_below_is_fine(self):
        self.assertEqual(self.includes("mid", '#include "low/low.h"')[0], 0)

    def test_upward(self):
        rc, out = self.includes("low", '#include "mid/mid.h"')
        self.assertEqual(rc, 1)
        self.assertIn("runs upward", out)

    def test_sideways(self):
        rc, out = self.includes("mid", '#include "side/side.h"')
        self.assertEqual(rc, 1)
        self.assertIn("runs sideways", out)

    def test_private_header(self):
        self.assertIn("belongs to low alone", self.includes("mid", '#include "low/low_priv.h"')[1])

    def test_header_that_is_no_door(self):
        self.assertIn("is not one of low's doors", self.includes("mid", '#include "low/other.h"')[1])

    def test_without_a_room(self):
        self.assertIn("name it with its room", self.includes("mid", '#include "low.h"')[1])

    def test_room_without_floor(self):
        self.assertIn("has no floor", self.includes("attic", "")[1])


class Symbols(Tree):
    def symbols(self, room, text):
        self.write(f"src/{room}/x.c", text)
        for name, source in (("low", "src/low/low.c"), (room, f"src/{room}/x.c")):
            obj = os.path.join(self.tmp.name, f"{name}-{os.path.basename(source)}.o")
            subprocess.run(["cc", "-I", os.path.join(self.tmp.name, "src"), "-c", os.path.join(self.tmp.name, source),
                            "-o", obj], check=True)
            subprocess.run(["ar", "rc", os.path.join(self.tmp.name, f"libobjm_{name}.a"), obj],
                           check=True, stderr=subprocess.DEVNULL)
        return run("layering.py", "symbols", "--libs", self.tmp.name, "--floors", os.path.join(self.tmp.name, "floors"))

    def test_downward_is_fine(self):
        self.assertEqual(self.symbols("mid", "void low_fn(void);\nvoid mid_fn(void);\nvoid mid_fn(void) { low_fn(); }\n")[0], 0)

    def test_upward_behind_the_includes_back(self):
        self.write("floors", "1 low\n0 mid\n")
        rc, out = self.symbols("mid", "void low_fn(void);\nvoid mid_fn(void) { low_fn(); }\n")
        self.assertEqual(rc, 1)
        self.assertIn("uses low_fn of low, which is not below it", out)

    def test_inside_name_of_another_room(self):
        out = self.symbols("mid", "void low__fn(void);\nvoid mid_fn(void) { low__fn(); }\n")[1]
        self.assertIn("low__fn, which belongs to low alone", out)


class House(Tree):
    def test_clean(self):
        self.assertEqual(self.house(), (0, "house: 0 faults\n"))

    def test_each_rule(self):
        self.write("src/low/bad.h", "#ifndef WRONG_H\n#define WRONG_H\n#endif\n")
        self.write("src/low/long.c", HEAD + "\n" * 800)
        self.write("src/low/todo.c", HEAD + "/* TO" "DO: later */\n/* see /ho" "me/someone */\n")
        self.write("src/low/low.h", HEAD + "#ifndef LOW_LOW_H\n#define LOW_LOW_H\n" + "\n" * 200 + "#endif\n")
        rc, out = self.house()
        self.assertEqual(rc, 1)
        for want in ("bad.h: no SPDX", "bad.h: the include guard is not LOW_BAD_H", "long.c: 801 lines",
                     "something left undone", "a path of one machine", "low.h: a door of 204 lines"):
            self.assertIn(want, out)
        self.write("tests/layering/long_doors", "src/low/low.h it is the tree's largest table\n")
        self.assertNotIn("a door of", self.house()[1])


if __name__ == "__main__":
    sys.exit(unittest.main())
