#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Installs the headers, builds the example module against them and nothing else, and runs the program that loads it.

    example.py --build DIR --source DIR --run PROGRAM --daemon OBJMAPPERD

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


# What the daemon makes of them: along the path, by name, and of those that it must refuse.
VTC = """varnishtest "modules in files"
server s1 -repeat 2 -keepalive {{
	rxreq
	txresp
}} -start
varnish v1 -arg "-p vmod_path=/nonexistent" -vcl {{ backend b none; }} -start
# The path holds for what is loaded from now on, also in a worker that runs.
varnish v1 -errvcl {{Could not find VMOD example}} {{
	import example;
	backend b none;
}}
varnish v1 -cliok "param.set vmod_path /nonexistent:{tmp}"
varnish v1 -vcl+backend {{
	import example;
	sub vcl_init {{
		new hits = example.counter(start=5);
	}}
	sub vcl_deliver {{
		set resp.http.greet = example.greet("you");
		set resp.http.world = example.greet();
		set resp.http.first = example.first("one") + example.first("two");
		set resp.http.half = example.half(12, by=FOUR);
		set resp.http.count = hits.next();
	}}
}}
client c1 {{
	txreq
	rxresp
	expect resp.http.greet == "Hello, you!"
	expect resp.http.world == "Hello, world!"
	expect resp.http.first == "oneone"
	expect resp.http.half == 3
	expect resp.http.count == 5
	txreq
	rxresp
	expect resp.http.count == 6
}} -run
# Its filters at work: one by its bare name, one that fills a gap, one with an argument.
server s2 {{
	rxreq
	txresp -hdr "Content-Encoding: rot13" -hdr {{ETag: "a"}} -body "uryyb"
	rxreq
	txresp -gzipbody "the secret is secret"
}} -start
varnish v1 -vcl+backend {{
	import example;
	sub vcl_recv {{
		set req.backend_hint = s2;
	}}
	sub vcl_backend_response {{
		if (bereq.url == "/rot13") {{
			add_vfp(upper);
		}}
		set beresp.http.filters = beresp.filters;
	}}
	sub vcl_deliver {{
		if (req.http.mask) {{
			add_vdp(example.mask(req.http.mask));
		}}
	}}
}}
client c2 {{
	txreq -url /rot13
	rxresp
	expect resp.http.filters == "unrot13 upper"
	expect resp.http.content-encoding == <undef>
	expect resp.http.etag == {{W/"a"}}
	expect resp.body == "HELLO"
	txreq -url /mask -hdr "mask: secret"
	rxresp
	expect resp.body == "the ****** is ******"
	txreq -url /mask -hdr "mask: "
	rxresp
	expect resp.status == 500
}} -run
# What may be planned with what modules bring, and where it shows.
varnish v1 -cliexpect "vfp  .rot13.unrot13.text,plain,none. +STEVEDORE +module, fills gaps" "filter.list"
varnish v1 -cliexpect "vdp  .text,plain,none.upper.text,plain,none. +DEFAULT +module" "filter.list"
varnish v1 -cliexpect "chain: beresp.rot13. > .rot13.unrot13.text. > .text.upper.text.$" "filter.plan vfp rot13 upper"
varnish v1 -clierr 106 "filter.plan vdp rot13 unrot13"
varnish v1 -errvcl {{Unknown VDP 'unrot13'.}} {{
	import example;
	backend b none;
	sub vcl_deliver {{ add_vdp(unrot13); }}
}}
varnish v1 -errvcl {{Unknown VFP 'upper'.}} {{
	backend b none;
	sub vcl_backend_response {{ add_vfp(upper); }}
}}
varnish v1 -errvcl {{VMOD wants ABI version 1.99}} {{
	import example from "{tmp}/newer.so";
	backend b none;
}}
varnish v1 -errvcl {{undefined symbol: no_such_function}} {{
	import example from "{tmp}/missing.so";
	backend b none;
}}
varnish v1 -errvcl {{Could not find VMOD nowhere}} {{
	import nowhere;
	backend b none;
}}
varnish v1 -errvcl {{Not available in subroutine 'vcl_backend_fetch'}} {{
	import example;
	backend b none;
	sub vcl_backend_fetch {{
		set bereq.http.x = example.half(1);
	}}
}}
"""


def run_daemon(tmp, daemon, run_vtc):
    path = os.path.join(tmp, "modules.vtc")
    with open(path, "w", encoding="utf-8") as f:
        f.write(VTC.format(tmp=tmp))
    os.chmod(tmp, 0o755)
    return subprocess.run([run_vtc, "--daemon", daemon, path], check=False).returncode


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--build", required=True)
    ap.add_argument("--source", required=True)
    ap.add_argument("--run", required=True)
    ap.add_argument("--daemon", required=True)
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
        code = subprocess.run([a.run], env=dict(os.environ, OBJM_TEST_MODULES=tmp), check=False).returncode
        return code or run_daemon(tmp, a.daemon, os.path.join(a.source, "tests", "vtc", "run.py"))


if __name__ == "__main__":
    sys.exit(main())
