#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Checks YIELDS marks and stack depths against the call graph that gcc writes (-fcallgraph-info=su).

A function that calls, directly, a function marked YIELDS may suspend its fiber too, so it is marked as well, up to
the fiber's entry (the function given to fiber_start and its kin, see ENTRY_CALLS).  A mark that no caller can see
hides a borrow or an iterator that is kept across the suspension.  Calls through pointers cannot be followed: the
function that makes such a call carries the mark by hand.

The depth of a fiber's stack is the sum of the frames on its deepest chain of calls; it must leave RESERVE of the stack
to libraries, to signal handlers and to what cannot be seen.  A call through a table (`ops->alloc(...)`) may reach what
any constant table of functions has at that name.  Where a function that YIELDS makes another call through a pointer,
or one for which no table is found, the file `reaches` has to say what is behind it.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STACK_BYTES = 256 * 1024
RESERVE = 192 * 1024
ENTRY_CALLS = re.compile(r"\b(fiber_start|fiber_spawn)\s*\(([^;]*?)\)\s*[;)]", re.DOTALL)
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"')
EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(?: label: "([^"]+):(\d+):\d+")?')
INDIRECT = "__indirect_call"
TABLE = re.compile(r"\bconst\s+struct\s+\w+\s+\w+\s*(?:\[[^\]]*\]\s*)?=\s*(\{.*?\})\s*;", re.DOTALL)
TABLE_ENTRY = re.compile(r"\.(\w+)\s*=\s*&?([A-Za-z_]\w*)\s*[,}]")
MEMBER_CALL = re.compile(r"(?:->|\.)\s*(\w+)\s*\(")
FRAME = re.compile(r"\\n(\d+) bytes \((\w+)")


def strip_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)


def marked_functions(text):
    """Names of functions whose prototype or definition carries YIELDS; typedefs of function types are left out."""
    for m in re.finditer(r"(^|[;}{)\n])([^;{}#]*?)\bYIELDS\b([^;{}]*)[;{]", strip_comments(text)):
        if "typedef" in m.group(2) + m.group(3):
            continue
        name = re.search(r"([A-Za-z_]\w*)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)|PRINTF_LIKE\([^)]*\)", "", m.group(3)))
        if name:
            yield name.group(1)


def fiber_entries(text):
    for m in ENTRY_CALLS.finditer(strip_comments(text)):
        yield from IDENTIFIER.findall(m.group(2).split(",")[0])


def table_entries(text):
    """Names in constant tables and what stands there; most are no functions, which the call graph tells later."""
    for table in TABLE.findall(strip_comments(text)):
        yield from TABLE_ENTRY.findall(table)


def read_list(path):
    rows = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                words = line.split("#")[0].split()
                if words:
                    rows[words[0]] = words[1:]
    return rows


def read_tree(src):
    files, marks, entries, tables, headers = [], set(), set(), {}, hashlib.sha256()
    for folder, _, names in sorted(os.walk(src)):
        for name in sorted(names):
            if not name.endswith((".c", ".h", ".def")):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as f:
                text = f.read()
            if name.endswith(".c"):
                files.append(path)
            else:
                headers.update(text.encode())
            if not path.endswith(os.path.join("base", "attr.h")):
                # A mark in a header is for everybody; one in a .c file says nothing of its namesakes elsewhere.
                place = os.path.realpath(path) if name.endswith(".c") else ""
                marks.update((place, fn) for fn in marked_functions(text))
            entries.update(fiber_entries(text))
            for name, function in table_entries(text):
                tables.setdefault(name, set()).add(function)
    return files, marks, entries, tables, headers.hexdigest()


def compile_flags(build):
    """Include paths and definitions of each file, as the build uses them."""
    flags = {}
    path = os.path.join(build, "compile_commands.json")
    if build and os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for entry in json.load(f):
                words = shlex.split(entry["command"])
                keep = []
                for i, word in enumerate(words):
                    if word.startswith(("-I", "-D")):
                        keep.append(word)
                    elif word == "-isystem":
                        keep += ["-isystem", words[i + 1]]
                flags[os.path.realpath(entry["file"])] = keep
    return flags


def call_graph(path, src, out, flags, headers_digest):
    """Compiles one file, unless that was done already, and returns the text of its call graph."""
    with open(path, "rb") as f:
        key = hashlib.sha256(f.read() + headers_digest.encode() + " ".join(flags).encode()).hexdigest()[:24]
    stem = os.path.join(out, os.path.relpath(path, src).replace(os.sep, "-")[:-2])
    graph, stamp = stem + ".ci", stem + ".key"
    if not (os.path.exists(graph) and os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == key):
        # Without inlining each function keeps its node; the sum of frames is then, if anything, too large.
        p = subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-O1", "-fno-inline", "-fno-optimize-sibling-calls",
                            "-fcallgraph-info=su", "-w", "-I", src, *flags, "-c", path, "-o", stem + ".o"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if p.returncode != 0:
            raise RuntimeError(f"{path} does not compile:\n{p.stdout}")
        os.unlink(stem + ".o")
        with open(stamp, "w", encoding="utf-8") as f:
            f.write(key)
    with open(graph, encoding="utf-8") as f:
        return f.read()


class Graph:
    """Nodes are named as gcc names them: `fn`, or `path/file.c:fn` for a static function."""

    def __init__(self):
        self.frame, self.calls, self.dynamic, self.where = {}, {}, set(), {}
        self.pointer_calls = {}  # caller: places of its calls through pointers

    def add(self, text):
        for line in text.splitlines():
            m = NODE.match(line)
            if m:
                size = FRAME.search(m.group(2))
                if size:
                    self.frame[m.group(1)] = int(size.group(1))
                    self.where[m.group(1)] = m.group(2).split("\\n")[1]
                    if size.group(2) == "dynamic" and "bounded" not in m.group(2):
                        self.dynamic.add(m.group(1))
                continue
            m = EDGE.match(line)
            if m and m.group(2) == INDIRECT:
                self.pointer_calls.setdefault(m.group(1), set()).add((m.group(3), int(m.group(4))))
            elif m:
                self.calls.setdefault(m.group(1), set()).add(m.group(2))

    @staticmethod
    def plain(node):
        return re.sub(r"\.(part|isra|constprop|cold|lto_priv)(\.\d+)?", "", node.rsplit(":", 1)[-1])


def is_marked(graph, node, marks):
    name = graph.plain(node)
    if ("", name) in marks:
        return True
    if ":" not in node:
        return any(fn == name for _, fn in marks)
    return (os.path.realpath(node.rsplit(":", 1)[0]), name) in marks


def unmarked_callers(graph, marks, excused):
    for caller in sorted(graph.calls):
        name = graph.plain(caller)
        if caller not in graph.frame or is_marked(graph, caller, marks) or name in excused:
            continue
        for callee in sorted(graph.calls[caller]):
            if is_marked(graph, callee, marks):
                yield f"{graph.where[caller]}: {name} calls {graph.plain(callee)}, which YIELDS, and is not marked"
                break


def reached(graph, nodes):
    """All that these functions call, directly or not."""
    seen, todo = set(), list(nodes)
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += graph.calls.get(node, ())
    return seen


def through_tables(graph, tables):
    """What calls through tables may reach: {caller: names}, and other calls through pointers, as (caller, place)."""
    names, lines, found, open_calls = {graph.plain(n) for n in graph.frame}, {}, {}, []
    for caller, places in graph.pointer_calls.items():
        for path, line in sorted(places):
            if path not in lines:
                with open(path, encoding="utf-8") as f:
                    lines[path] = f.read().split("\n")
            # A call's name and its arguments may be broken into two lines.
            called = MEMBER_CALL.findall(" ".join(lines[path][line - 1:line + 1]))
            targets = set().union(*(tables.get(name, set()) for name in called)) & names
            if targets:
                found.setdefault(graph.plain(caller), set()).update(targets)
            else:
                open_calls.append((caller, f"{path}:{line}"))
    return found, open_calls


def deepest_chains(graph, reaches):
    """The stack that each function needs at most, and the callee that makes it so; and all recursion."""
    by_name = {}
    for node in graph.frame:
        by_name.setdefault(graph.plain(node), []).append(node)
    need, cycles = {}, []
    for start in graph.frame:
        path, todo = [], [(start, None)]
        while todo:
            node, state = todo.pop()
            if state is None:
                if node in need:
                    continue
                if node in path:
                    continue
                path.append(node)
                todo.append((node, "leave"))
                for callee in successors(graph, node, reaches, by_name):
                    if callee in path:
                        cycles.append(" -> ".join(graph.plain(n) for n in path[path.index(callee):] + [callee]))
                    elif callee not in need:
                        todo.append((callee, None))
            else:
                below = [(need[c][0], c) for c in successors(graph, node, reaches, by_name) if c in need]
                depth, callee = max(below, default=(0, None))
                need[node] = (depth + graph.frame[node], callee)
                path.remove(node)
    return need, sorted(set(cycles))


def successors(graph, node, reaches, by_name):
    found = [c for c in graph.calls.get(node, ()) if c in graph.frame]
    for name in reaches.get(graph.plain(node), ()):
        found += by_name.get(name, [])
    return found


def chain(graph, need, node):
    names = []
    while node is not None:
        names.append(f"{graph.plain(node)}({graph.frame[node]})")
        node = need[node][1]
    return " > ".join(names)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--src", default=os.path.join(ROOT, "src"))
    ap.add_argument("--build", default="", help="a build directory, for include paths")
    ap.add_argument("--out", default=os.path.join(ROOT, "build", "yields"))
    ap.add_argument("--lists", default=HERE, help="where `exceptions` and `reaches` are")
    ap.add_argument("-j", type=int, default=2)
    a = ap.parse_args()

    os.makedirs(a.out, exist_ok=True)
    files, marks, entries, tables, digest = read_tree(a.src)
    flags = compile_flags(a.build)
    graph = Graph()
    with concurrent.futures.ThreadPoolExecutor(a.j) as pool:
        def compiled(path):
            return call_graph(path, a.src, a.out, flags.get(os.path.realpath(path), []), digest)
        for text in pool.map(compiled, files):
            graph.add(text)

    faults = list(unmarked_callers(graph, marks, set(read_list(os.path.join(a.lists, "exceptions"))) | entries))
    reaches = read_list(os.path.join(a.lists, "reaches"))
    guessed, open_calls = through_tables(graph, tables)
    # A call through a table may only seem to reach a function, so recursion that takes one is no fault.
    _, cycles = deepest_chains(graph, reaches)
    need, _ = deepest_chains(graph, {fn: [*reaches.get(fn, ()), *guessed.get(fn, ())] for fn in {*reaches, *guessed}})
    faults += [f"{place}: {graph.plain(caller)} YIELDS and calls through a pointer: `reaches` has to say what is behind it"
               for caller, place in open_calls if is_marked(graph, caller, marks) and graph.plain(caller) not in reaches]
    on_fibers = [n for n in graph.frame if is_marked(graph, n, marks) or graph.plain(n) in entries]
    faults += [f"{graph.where[n]}: {graph.plain(n)} has a frame without bound (alloca, a variable array)" for n in graph.dynamic]
    bounded = read_list(os.path.join(a.lists, "recursions"))
    faults += [f"recursion: {c}" for c in cycles if not any(name in bounded for name in c.split(" -> "))]
    faults += [f"recursion on a fiber: {graph.plain(n)}" for n in sorted(reached(graph, on_fibers)) if graph.plain(n) in bounded]
    limit = STACK_BYTES - RESERVE
    deepest = max(on_fibers, key=lambda n: need[n][0], default=None)
    if deepest is not None and need[deepest][0] > limit:
        faults.append(f"stack: {need[deepest][0]} bytes, more than {limit}: {chain(graph, need, deepest)}")
    for fault in faults:
        print(fault)
    print(f"yields: {len(files)} files, {len(graph.frame)} functions, {len(on_fibers)} of them on fibers, {len(faults)} faults")
    if deepest is not None:
        print(f"yields: deepest stack {need[deepest][0]} of {limit} bytes: {chain(graph, need, deepest)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
