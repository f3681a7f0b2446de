#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Installs the headers, builds the example module against them and nothing else, and runs the program that loads it.

    example.py --build DIR --source DIR --run PROGRAM

Beside the good one it builds four that must be refused before any of their code runs: of a newer minor version, of
another major version, without a version note, and with a symbol that nobody has.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

RAN = """
#include <stdio.h>
__attribute__((constructor)) static void ran(void) { FILE *f = fopen("%s", "w"); if (f) fclose(f); }
"""


def build(out, source, include, *more):
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared",
                    "-fPIC", "-I", include, "-o", out, source, *more], check=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--build", required=True)
    ap.add_argument("--source", required=True)
    ap.add_argument("--run", required=True)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        stage = os.path.join(tmp, "stage")
        subprocess.run(["cmake", "--install", a.build, "--prefix", stage, "--component", "dev"], check=True,
                       stdout=subprocess.DEVNULL)
        include = os.path.join(stage, "include")
        example = os.path.join(a.source, "examples", "module", "example.c")
        build(os.path.join(tmp, "libvmod_example.so"), example, include)

        with open(example, encoding="utf-8") as f:
            text = f.read() + RAN % os.path.join(tmp, "it_ran")
        versions = {"newer": "#include <objmapper/module.h>\n#undef OBJM_ABI_MINOR\n#define OBJM_ABI_MINOR 99\n",
                    "other": "#include <objmapper/module.h>\n#undef OBJM_ABI_MAJOR\n#define OBJM_ABI_MAJOR 99\n"}
        odd = {name: head + text for name, head in versions.items()}
        odd["none"] = re.sub(r"OBJM_EXPORT\(example\);", "const struct objm_module *const objm_module_entry = &example;",
                             text)
        odd["missing"] = text + "void no_such_function(void);\nvoid use_it(void);\nvoid use_it(void)" \
                                " { no_such_function(); }\n"
        for name, source in odd.items():
            path = os.path.join(tmp, name + ".c")
            with open(path, "w", encoding="utf-8") as f:
                f.write(source)
            build(os.path.join(tmp, name + ".so"), path, include)
        return subprocess.run([a.run], env=dict(os.environ, OBJM_TEST_MODULES=tmp), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
