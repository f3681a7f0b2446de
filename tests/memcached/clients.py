#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Clients that others wrote, with and without authentication, and the same keys read back over HTTP.

    clients.py --daemon build/bin/objmapperd [CLIENT...]

Debian's Python, because Debian's packages are for it.  A client that is not installed is skipped, and said so.  memjs is
looked for in build/npm: npm install --prefix build/npm memjs@1.3.2
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

from peer import LONG, Ours, Peer, Skipped, Theirs, users_file, main as run_cases
from objm.client import Client                          # noqa: E402  (peer.py has told where it is)

HERE = os.path.dirname(os.path.abspath(__file__))
USER, PASSWORD = "ann", "s3cret"
CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def equal(got, want):
    assert got == want, f"{got!r} in place of {want!r}"


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise Skipped(f"{name} (Debian's package libmemcached-tools) is not installed")
    return path


def module(name, package):
    try:
        return __import__(name)
    except ImportError:
        raise Skipped(f"the Python module {name} (Debian's package {package}) is not installed") from None


def run(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * LONG, check=False, **more)


def memccapable_of(port):
    done = run(tool("memccapable"), "-h", "127.0.0.1", "-p", str(port))
    return done.stdout.decode()


@case
def memccapable(open_one, _with_auth):
    """What it says of Debian's memcached it says of ours."""
    with Theirs() as theirs, open_one() as ours:
        want = memccapable_of(theirs.mc_port)
        assert want.count("[pass]") > 40, want
        equal(memccapable_of(ours.mc_port), want)


@case
def libmemcached_tools(open_one, with_auth):
    cat, copy, remove, stat = tool("memccat"), tool("memccp"), tool("memcrm"), tool("memcstat")
    ways = [["--binary", f"--username={USER}", f"--password={PASSWORD}"]] if with_auth else [[], ["--binary"]]
    with open_one() as d, tempfile.TemporaryDirectory() as top:
        for i, way in enumerate(ways):
            key = f"copied-{i}"
            name = os.path.join(top, key)
            with open(name, "wb") as f:
                f.write(b"of a file %d\n" % i * 1000)
            args = [f"--servers=127.0.0.1:{d.mc_port}", *way]
            done = run(copy, *args, name)
            equal((done.returncode, done.stdout), (0, b""))
            done = run(cat, *args, key)
            equal(done.stdout.rstrip(b"\n"), (b"of a file %d\n" % i * 1000).rstrip(b"\n"))
            equal(run(remove, *args, key).returncode, 0)
            assert b"of a file" not in run(cat, *args, key).stdout
            if not with_auth:
                assert b"curr_items" in run(stat, *args).stdout
        if with_auth:
            done = run(cat, f"--servers=127.0.0.1:{d.mc_port}", "--binary", f"--username={USER}", "--password=wrong", "x")
            assert done.returncode != 0, done.stdout


def exercise_pylibmc(mc):
    equal(mc.set("pl", {"a": [1, 2]}), True)
    equal(mc.get("pl"), {"a": [1, 2]})
    equal(mc.set_multi({f"pl-{i}": i for i in range(50)}), [])
    equal(mc.get_multi([f"pl-{i}" for i in range(60)]), {f"pl-{i}": i for i in range(50)})
    equal(mc.add("pl", 1), False)
    equal(mc.replace("pl", "text"), True)
    equal(mc.append("pl", " more"), True)
    equal(mc.prepend("pl", "some "), True)
    equal(mc.get("pl"), "some text more")
    mc.set("pn", 10)
    equal((mc.incr("pn", 5), mc.decr("pn", 20)), (15, 0))
    equal(mc.touch("pn", 100), True)
    equal(mc.delete("pl"), True)
    equal(mc.get("pl"), None)
    big = os.urandom(3 << 20)
    equal(mc.set("pbig", big), True)
    assert mc.get("pbig") == big
    mc.get_stats()


@case
def pylibmc(open_one, with_auth):
    lib = module("pylibmc", "python3-pylibmc")
    with open_one() as d:
        server = [f"127.0.0.1:{d.mc_port}"]
        if with_auth:
            exercise_pylibmc(lib.Client(server, binary=True, username=USER, password=PASSWORD))
            try:
                lib.Client(server, binary=True, username=USER, password="wrong").get("x")
            except lib.Error:
                return
            raise AssertionError("a wrong password was taken")
        exercise_pylibmc(lib.Client(server, binary=True))
        text = lib.Client(server, binary=False, behaviors={"cas": True})
        exercise_pylibmc(text)
        value, cas = text.gets("pn")
        equal((str(value).strip(), text.cas("pn", "7", cas)), ("0", True))
        try:
            equal(text.cas("pn", "8", cas), False)
        except lib.Error:
            pass


@case
def bmemcached(open_one, with_auth):
    lib = module("bmemcached", "python3-binary-memcached")
    with open_one() as d:
        who = (USER, PASSWORD) if with_auth else ()
        mc = lib.Client((f"127.0.0.1:{d.mc_port}",), *who)
        equal(mc.set("bm", {"k": "v"}), True)
        equal(mc.get("bm"), {"k": "v"})
        value, cas = mc.gets("bm")
        equal((value, mc.cas("bm", "new", cas), mc.cas("bm", "newer", cas)), ({"k": "v"}, True, False))
        equal(mc.get("bm"), "new")
        equal(mc.set_multi({f"bm-{i}": str(i) for i in range(20)}), [])
        equal(mc.get_multi([f"bm-{i}" for i in range(25)]), {f"bm-{i}": str(i) for i in range(20)})
        equal(mc.incr("bn", 1, default=5), 5)
        equal(mc.incr("bn", 3), 8)
        equal(mc.decr("bn", 10), 0)
        equal(mc.add("bm", "x"), False)
        equal(mc.delete("bm"), True)
        equal(mc.get("bm"), None)
        assert int(list(mc.stats().values())[0]["curr_items"]) > 0
        equal(mc.flush_all(), True)
        equal(mc.get("bm-1"), None)
        mc.disconnect_all()
        if with_auth:
            bad = lib.Client((f"127.0.0.1:{d.mc_port}",), USER, "wrong")
            try:
                assert not bad.set("bm", "x")
            except lib.exceptions.MemcachedException:
                pass


@case
def pymemcache(open_one, with_auth):
    module("pymemcache", "python3-pymemcache")
    from pymemcache.client.base import Client as Base, PooledClient
    from pymemcache.exceptions import MemcacheClientError
    with open_one() as d:
        address = ("127.0.0.1", d.mc_port)
        mc = Base(address, timeout=LONG, connect_timeout=LONG)
        if with_auth:
            try:
                mc.get("pm")
                raise AssertionError("served without a name")
            except MemcacheClientError:
                pass
            equal(mc.set("any", f"{USER} {PASSWORD}", noreply=False), True)
        equal(mc.set("pm", b"1", noreply=False), True)
        value, cas = mc.gets("pm")
        equal((value, mc.cas("pm", b"2", cas), mc.cas("pm", b"3", cas)), (b"1", True, False))
        equal(mc.get_many(["pm", "nothere"]), {"pm": b"2"})
        equal((mc.incr("pm", 40), mc.decr("pm", 2)), (42, 40))
        equal(mc.append("pm", b"0", noreply=False), True)
        equal(mc.touch("pm", 10, noreply=False), True)
        equal(mc.gat("pm", 10) if hasattr(mc, "gat") else b"400", b"400")
        mc.set("quiet", b"q", noreply=True)
        equal(mc.get("quiet"), b"q")
        assert mc.stats()[b"curr_items"] > 0
        assert b"." in mc.version()
        equal(mc.delete("pm", noreply=False), True)
        equal(mc.flush_all(noreply=False), True)
        mc.quit()
        if not with_auth:
            pool = PooledClient(address, max_pool_size=4, timeout=LONG)
            equal(pool.set_many({f"pool-{i}": b"x" for i in range(100)}, noreply=False), [])
            equal(len(pool.get_many([f"pool-{i}" for i in range(100)])), 100)


MEMJS = """
const memjs = require('memjs');
const c = memjs.Client.create(process.argv[2], process.argv[3] ? {username: process.argv[3], password: process.argv[4]} : {});
(async () => {
    const say = [];
    say.push(await c.set('mj', 'value', {expires: 100}));
    say.push((await c.get('mj')).value.toString());
    say.push(await c.add('mj', 'x', {}));
    say.push(await c.replace('mj', 'other', {}));
    say.push(await c.append('mj', '!'));
    say.push((await c.get('mj')).value.toString());
    say.push((await c.increment('mn', 5, {initial: 10})).value);
    say.push((await c.increment('mn', 5, {})).value);
    say.push(await c.touch('mj', 50));
    say.push(await c.delete('mj'));
    say.push((await c.get('mj')).value);
    console.log(JSON.stringify(say));
    c.quit();
})().catch(e => { console.log('failed: ' + e.message); process.exit(1); });
"""


@case
def memjs(open_one, with_auth):
    node = shutil.which("node")
    modules = os.environ.get("OBJM_NODE_MODULES", os.path.join(HERE, "..", "..", "build", "npm", "node_modules"))
    if node is None or not os.path.isdir(os.path.join(modules, "memjs")):
        raise Skipped("node or memjs is not there: npm install --prefix build/npm memjs@1.3.2")
    with open_one() as d, tempfile.TemporaryDirectory() as top:
        name = os.path.join(top, "client.js")
        with open(name, "w", encoding="ascii") as f:
            f.write(MEMJS)
        who = (USER, PASSWORD) if with_auth else ()
        done = run(node, name, f"127.0.0.1:{d.mc_port}", *who, env={**os.environ, "NODE_PATH": os.path.abspath(modules)})
        equal(done.stdout.decode().strip(), '[true,"value",false,true,true,"other!",10,15,true,true,null]')
        if with_auth:
            done = run(node, name, f"127.0.0.1:{d.mc_port}", USER, "wrong", env={**os.environ, "NODE_PATH": os.path.abspath(modules)})
            assert b"failed: " in done.stdout, done.stdout


@case
def pages_by_their_keys(open_one, with_auth):
    """A page that memcached's protocol put in is what HTTP serves; a swap shows in the next request; a delete is a purge."""
    with open_one() as d, Peer(d.mc_port) as p:
        if with_auth:
            equal(p.ask(f"set a 0 0 {len(USER) + len(PASSWORD) + 1}\r\n{USER} {PASSWORD}\r\n"), b"STORED")
        with Client(d.address) as http:
            host = "pages.example"

            def get(path):
                return http.get(path, host=host)
            url = f"http://{host}/a?b=1"
            equal(p.set(url, b"first", exptime=100), b"STORED")
            got = get("/a?b=1")
            equal((got.status, got.body), (200, b"first"))
            flags, cas, value = p.get(url, "gets")
            equal((flags, value), (0, b"first"))
            equal(p.ask(f"cas //{host}/a?b=1 0 100 6 {cas}\r\nsecond\r\n"), b"STORED")
            equal(get("/a?b=1").body, b"second")
            equal(p.ask(f"cas {url} 0 100 5 {cas}\r\nthird\r\n"), b"EXISTS")
            whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/x-test\r\nX-Made-By: us\r\n\r\nwhole"
            equal(p.set(url, whole, flags=65536, exptime=100), b"STORED")
            got = get("/a?b=1")
            equal((got.body, got.header("content-type"), got.header("x-made-by")), (b"whole", "text/x-test", "us"))
            line = p.ask(f"mg {url} f v\r\n")
            text = p.take(int(line.split()[1]) + 2)
            assert text.startswith(b"HTTP/1.1 200") and text.endswith(b"\r\n\r\nwhole\r\n"), text
            assert b" f65536" in line
            big = os.urandom(2 << 20)
            equal(p.set(url, big, exptime=100), b"STORED")
            assert get("/a?b=1").body == big
            assert p.get(url)[2] == big
            equal(p.ask(f"delete {url}\r\n"), b"DELETED")
            assert get("/a?b=1").status != 200
            equal(p.get(url), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True)
    parser.add_argument("clients", nargs="*")
    args = parser.parse_args()
    names = {n: c for n, c in CASES.items() if not args.clients or n in args.clients}
    failed = 0
    with tempfile.TemporaryDirectory() as top:
        users = users_file(args.daemon, top, **{USER: PASSWORD})

        def one(fn, with_auth):
            fn(lambda: Ours(args.daemon, f",auth={users}" if with_auth else ""), with_auth)
        failed += run_cases(names, lambda fn: one(fn, False))
        names.pop("memccapable", None)
        failed += run_cases({n + ", authenticated": c for n, c in names.items()}, lambda fn: one(fn, True))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
