#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Runs .vtc files with the distribution's varnishtest against our daemon.

    run.py --daemon build/asan/bin/objmapperd [--with-vcl] [-t SECONDS] [-v] FILE...

varnishtest starts `varnishd` from $PATH, so a directory in which that name links to our daemon goes first.  With --with-vcl
a file that has only -b, and so the built-in VCL, runs with a VCL of a user's (USERS_VCL) in front of it.  Exit
status: 0 when all passed, 77 (skipped, as ctest knows it) when varnishtest is not there, 1 otherwise.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
ONLY_BACKEND = re.compile(r'-arg "-b \$\{s1_addr\}:\$\{s1_port\}"(.*) -start')
# What many have: fields of their own in every direction, and nothing decided.
USERS_VCL = """-vcl+backend {
	sub vcl_recv {
		unset req.http.X-Forwarded-Proto;
		set req.http.X-Seen = "recv";
	}
	sub vcl_backend_fetch {
		unset bereq.http.X-Seen;
	}
	sub vcl_backend_response {
		set beresp.http.X-Url = bereq.url;
		if (beresp.status >= 500 && bereq.is_bgfetch) {
			return (abandon);
		}
	}
	sub vcl_deliver {
		unset resp.http.X-Url;
		set resp.http.X-Cache = obj.hits;
	}
}"""


def users(path, tmp):
    """A copy of the file with that VCL."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text, count = ONLY_BACKEND.subn(lambda m: f"{m[1]} {USERS_VCL} -start", text)
    if count == 0:
        sys.exit(f"vtc: {path}: nothing to put a VCL for")
    copy = os.path.join(tmp, os.path.basename(path))
    with open(copy, "w", encoding="utf-8") as f:
        f.write(text)
    return copy


def run_one(path, tmp, env, seconds, verbose):
    """The result's name, and what varnishtest printed."""
    try:
        p = subprocess.run(["varnishtest", "-t", str(seconds), *(["-v"] if verbose else []), os.path.abspath(path)],
                           env=env, cwd=tmp, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, errors="replace", timeout=seconds + 30, check=False)
    except subprocess.TimeoutExpired as e:
        return "failed", (e.stdout or b"").decode(errors="replace") + "\nvarnishtest itself did not end"
    return {0: "passed", SKIPPED: "skipped"}.get(p.returncode, "failed"), p.stdout


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    ap.add_argument("-t", type=int, default=60, help="seconds a file may take")
    ap.add_argument("--with-vcl", action="store_true")
    ap.add_argument("-v", action="store_true", help="print what passed, too")
    ap.add_argument("files", nargs="+")
    a = ap.parse_args()
    daemon = os.path.abspath(a.daemon)
    if not os.access(daemon, os.X_OK):
        print(f"vtc: no executable at {a.daemon}")
        return 1
    if shutil.which("varnishtest") is None:
        print("vtc: skipped, varnishtest is not installed (Debian's package varnish)")
        return SKIPPED

    # The worker has dropped its privileges when it uses the directory; its name is short because socket paths are.
    tmp = tempfile.mkdtemp(prefix="objm.", dir="/tmp")
    os.chmod(tmp, 0o1777)
    try:
        os.mkdir(os.path.join(tmp, "bin"))
        os.symlink(daemon, os.path.join(tmp, "bin", "varnishd"))
        env = dict(os.environ, TMPDIR=tmp, PATH=os.path.join(tmp, "bin") + ":" + os.environ["PATH"])
        results = []
        for path in a.files:
            result, output = run_one(users(path, tmp) if a.with_vcl else path, tmp, env, a.t, a.v)
            results.append(result)
            if result != "passed" or a.v:
                print(output)
            print(f"vtc: {path}: {result}")
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    if "failed" in results:
        return 1
    return SKIPPED if set(results) == {"skipped"} else 0


if __name__ == "__main__":
    sys.exit(main())
