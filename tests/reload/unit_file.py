#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Debian's unit of Varnish with our binary's name in it, and Debian's varnishreload, as they are.

    unit_file.py --daemon OBJMAPPERD

There is no systemd here: the line of ExecStart is taken from the unit and run, with its limits, in a mount namespace of our own, where
/usr and /etc cannot be written (ProtectSystem=full) and /var/lib/varnish is empty.  Ports are replaced, since they may be taken; nothing
else is.
"""
import argparse
import contextlib
import os
import pwd
import re
import resource
import shlex
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from objm import bodies  # noqa: E402
from objm.client import get  # noqa: E402
from objm.origin import Origin  # noqa: E402

UNITS = ("/lib/systemd/system/varnish.service", "/usr/lib/systemd/system/varnish.service")
RELOAD = "/usr/share/varnish/varnishreload"
SKIP = 77
INSIDE = "OBJM_TEST_UNIT_FILE"


def skip(why):
    print("skipped:", why)
    sys.exit(SKIP)


def settings(path):
    """{name: value} of a unit, continued lines joined."""
    with open(path, encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.M))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def command(unit, daemon):
    """ExecStart's words with our binary and free ports; (words, port of -a)."""
    words = shlex.split(unit["ExecStart"])
    assert words[0] == "/usr/sbin/varnishd", words
    port = 0
    out = [daemon]
    for before, word in zip(words, words[1:]):
        if before in ("-a", "-T") and re.search(r":\d+$", word):
            fresh = free_port()
            port = fresh if before == "-a" and not port else port
            word = re.sub(r":\d+$", f":{fresh}", word)
        out.append(word)
    assert port, words
    return out, port


def limits(unit):
    for name, what in (("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitMEMLOCK", resource.RLIMIT_MEMLOCK)):
        if name in unit:
            _, hard = resource.getrlimit(what)
            value = int(unit[name]) if hard == resource.RLIM_INFINITY else min(int(unit[name]), hard)
            resource.setrlimit(what, (value, value))


def enter_namespace():
    """This program once more, where /var/lib/varnish is its own."""
    os.environ[INSIDE] = "1"
    script = ("mount --make-rprivate / && mount -t tmpfs none /var/lib/varnish && for d in /usr /etc; do "
              "mount --bind $d $d && mount -o remount,bind,ro $d || exit 1; done && exec \"$@\"")
    os.execvp("unshare", ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def run(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout


def adm(*words):
    status, text = run("varnishadm", "-n", "objmapper", *words)
    assert status == 0, text
    return text


def reload_vcl(*words):
    status, text = run(RELOAD, "-n", "objmapper", *words)
    assert status == 0, text
    return text


def ids_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return [int(x) for x in re.search(r"^Uid:(.*)$", f.read(), re.M)[1].split()]


def wait_running(daemon):
    end = time.monotonic() + 60
    while time.monotonic() < end and daemon.poll() is None:
        status, text = run("varnishadm", "-n", "objmapper", "status")
        if status == 0 and "running" in text:
            return
        time.sleep(0.1)
    raise AssertionError("it does not get to run")


def check_start(daemon, port):
    """It is what the line asked for."""
    pids = dict(re.findall(r"(Master|Worker): +(\d+)", adm("pid")))
    assert int(pids["Master"]) == daemon.pid, pids
    assert ids_of(daemon.pid) == [0] * 4
    assert ids_of(int(pids["Worker"])) == [pwd.getpwnam("vcache").pw_uid] * 4
    assert "malloc" not in adm("storage.list") and "storage.s0" in adm("storage.list")
    # The default VCL's backend is 127.0.0.1:8080, where nobody is, or somebody else.
    assert ".port = \"8080\"" in adm("vcl.show", "boot")
    assert get(("127.0.0.1", port), "/nobody.here").status >= 400
    status, text = run("varnishstat", "-n", "objmapper", "-1", "-f", "MAIN.client_req")
    assert status == 0 and int(text.split()[1]) > 0, text


def check_reload(port, folder):
    """varnishreload as it is: a file, the file of the VCL in use, a label, and no more than so many kept."""
    path = os.path.join(folder, "site.vcl")

    def write(word, backend):
        with open(path, "w", encoding="ascii") as f:
            f.write(f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{backend}"; }}\n'
                    f'sub vcl_deliver {{ set resp.http.word = "{word}"; }}\n')
        os.chmod(path, 0o644)

    def word():
        url = bodies.path_of("a", 100, "max-age=100")
        resp = get(("127.0.0.1", port), url)
        assert (resp.status, resp.body) == (200, bodies.body(url, 0)), (resp.status, resp.headers)
        return resp.header("word")

    def names(status):
        return [line.split()[4] for line in adm("vcl.list").splitlines() if line.split()[:1] == [status]]

    with contextlib.closing(Origin()) as origin:
        # As the unit's ExecReload does: the file of the VCL in use, which is ours to change from here on.
        text = reload_vcl()
        assert re.search(r"VCL 'reload_\d+_\d+_\d+' compiled", text), text
        assert names("active")[0].startswith("reload_")
        write("one", origin.address[1])
        reload_vcl(path)
        assert word() == "one"
        for n in range(4):
            write(f"file {n}", origin.address[1])
            reload_vcl("-m", "2")
            assert word() == f"file {n}"
        assert len([n for n in names("available") if n.startswith("reload_")]) == 2, adm("vcl.list")
        # What does not compile changes nothing.
        with open(path, "a", encoding="ascii") as f:
            f.write("sub vcl_recv { frob; }\n")
        before = names("active")
        run(RELOAD, "-n", "objmapper")
        assert names("active") == before
        assert word() == "file 3"
        # A label: the one in use, too.
        adm("vcl.label", "site", before[0])
        adm("vcl.use", "site")
        write("by label", origin.address[1])
        reload_vcl("-l", "site", path)
        assert word() == "by label"
        write("by label again", origin.address[1])
        reload_vcl()
        assert word() == "by label again"
        assert names("active") == ["site"]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--daemon", required=True)
    a = ap.parse_args()
    unit_path = next((p for p in UNITS if os.path.exists(p)), None)
    if unit_path is None or not os.path.exists(RELOAD) or not os.path.exists("/etc/varnish/secret"):
        skip("Debian's package varnish is not installed")
    if os.getuid() != 0:
        skip("only root starts it as the unit does")
    if INSIDE not in os.environ:
        if run("unshare", "-m", "true")[0] != 0:
            skip("there are no mount namespaces here")
        enter_namespace()
    unit = settings(unit_path)
    limits(unit)
    words, port = command(unit, os.path.abspath(a.daemon))
    with tempfile.TemporaryDirectory(dir="/var/lib/varnish") as folder, tempfile.TemporaryFile() as log:
        os.chmod(folder, 0o755)
        daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd="/")
        try:
            wait_running(daemon)
            check_start(daemon, port)
            check_reload(port, folder)
        finally:
            daemon.terminate()
            status = daemon.wait(60)
            log.seek(0)
            print(" ".join(words), "\n", log.read().decode(errors="replace")[-4000:])
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
