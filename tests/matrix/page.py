# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""docs/compatibility-matrix.md, made of the model: what the test has asserted, for people."""
import itertools

import model
import varnish
from cells import ACCEPTS, ENCODINGS, FEATURES, SIZES, Cell, Obj, Req, cells

HEAD = """# What a feature costs

Made by `tests/matrix/matrix.py --write` of the rules in `tests/matrix/model.py`; the test fails when this page is not current. It asks for
{cells:,} combinations of feature, encoding of the backend's body, `Accept-Encoding`, `Range`, conditions, method, version and moment (a hit, or
together with a fetch that still runs), and compares status, body, fields, lane, variant and reason of each, and the counters of all. {theirs:,} of them
are asked of varnishd 7.1.1, too.

Lanes: **direct** (one `writev` from where the body lies) and **fd** (`sendfile`, for bodies from 64 KiB on) do not look at the body; **body** does, for the
reason in parentheses, which the log names (`OBJM lane … variant … reason …`) and a counter counts (`OBJM.delivery.fallback_<reason>`). Where there are
two lanes, the first is that of {small} bytes, the second that of {large}.

"""

NEEDS = """## The options of the design

The rows and columns of the matrix with which this began. A: an untouched lane, from the stored body's descriptor. B: a variant made once, when the
body was fetched, and sent from there untouched. D: the body is mapped, read and changed for each client. C, filters as processes of their own, is
not built. Of those who ask for a whole stored body: ✅ all get it so, ⚠️ some.

"""


def answer(feature, encoding="identity", state="hit", sizes=("small", "large"), **req):
    """[answers for each size]"""
    found = []
    for size in sizes:
        cell = Cell(Obj(feature, encoding, size, "length"), Req(**req), state)
        # Lengths of what a compressor makes do not matter here, only whether they are those of a large body.
        found.append(model.answer(cell, bytes(SIZES[size] // 2)))
    return found


def lane(one):
    return one.lane if one.reason == "-" else f"{one.lane} ({one.reason})"


def lanes(found):
    return " / ".join(dict.fromkeys(map(lane, found)))


def whole(feature, encoding, **req):
    """Encoding that leaves, and lanes."""
    found = answer(feature, encoding, **req)
    coding = found[0].body.encoding
    return lanes(found) if coding == "identity" else f"{coding}: {lanes(found)}"


def both(one):
    """one(accept), for who takes every encoding and for who takes none."""
    taken, not_taken = one("all"), one("none")
    return taken if taken == not_taken else f"{taken}; not taken: {not_taken}"


def ranged(feature, accept, **kw):
    one = answer(feature, range="one", accept=accept, **kw)[0]
    return f"206, {lane(one)}" if one.status == 206 else "all of it"


def condition(feature):
    found = [answer(feature, condition=c)[0].status for c in ("weak", "since")]
    return "304" if found == [304, 304] else "-" if found == [200, 200] else str(found)


def head(feature, accept):
    one = answer(feature, method="HEAD", accept=accept)[0]
    return "with length" if one.framing == "length" else "no length"


def running(feature):
    if feature.is_passed or feature.is_synthetic:
        return "-"
    obj = Obj(feature, "identity", "small", "length")
    if not obj.streams:
        return "waits for all of it"
    found = answer(feature, state="joined")
    has_ranges = ranged(feature, "none", state="joined") != "all of it"
    return f"{lanes(found)}; {'ranges' if has_ranges else 'no ranges'}"


COLUMNS = (
    ("plain", lambda f: both(lambda accept: whole(f, "identity", accept=accept))),
    ("gzip", lambda f: both(lambda accept: whole(f, "gzip", accept=accept))),
    ("br", lambda f: both(lambda accept: whole(f, "br", accept=accept))),
    ("zstd", lambda f: both(lambda accept: whole(f, "zstd", accept=accept))),
    ("Range, of a plain body", lambda f: both(lambda accept: ranged(f, accept))),
    ("If-None-Match, If-Modified-Since", condition),
    ("HEAD", lambda f: both(lambda accept: head(f, accept))),
    ("while it is fetched", running),
)


def features():
    yield "| feature | " + " | ".join(name for name, _ in COLUMNS) + " |"
    yield "| --- |" + " --- |" * len(COLUMNS)
    for f in FEATURES.values():
        row = [cell(f) if f.encodings == ENCODINGS or name not in ENCODINGS else "" for name, cell in COLUMNS]
        yield f"| {f.title} | " + " | ".join(row) + " |"


def asked(names, encodings, **req):
    """Answers to whole GETs of what these features keep, for every client."""
    out = []
    for name, encoding, accept in itertools.product(names, encodings, ACCEPTS):
        if encoding in FEATURES[name].encodings:
            out += answer(FEATURES[name], encoding, accept=accept, **req)
    return out


def mark(count, of):
    return "✅" if count == of else "⚠️" if count else "–"


def need(title, found, made_at_ingest):
    untouched = sum(one.lane in ("direct", "fd", "none") for one in found)
    mapped = sum(one.lane == "body" and one.reason not in ("synthetic", "pass") for one in found)
    why = ", ".join(sorted({one.reason for one in found} - {"-"})) or "–"
    a, b = ("–", mark(untouched, len(found))) if made_at_ingest else (mark(untouched, len(found)), "–")
    return f"| {title} | {a} | {b} | {mark(mapped, len(found))} | {why} |"


def needs():
    yield "| feature, VCL's need | A | B | D | reasons counted |"
    yield "| --- | --- | --- | --- | --- |"
    yield need("header and cookie logic", asked(["header"], ["identity"]), False)
    yield need("gzip, br, zstd as the backend sent them", asked(["none"], ["gzip", "br", "zstd"]), False)
    yield need("gzip on: `do_gzip`, `add_vfp(brotli)`, `add_vfp(zstd)`", asked(["do_gzip", "vfp_brotli", "vfp_zstd"], ["identity"]), True)
    yield need("gzip off: `do_gunzip`", asked(["do_gunzip"], ["gzip"]), True)
    yield need("ESI", asked(["do_esi", "esi_gzip", "esi_gunzip"], ["identity", "gzip"]), False)
    yield need("filters while fetching", asked(["vfp_rewrite", "vfp_regex"], ["identity"]), True)
    yield need("filters while delivering", asked(["vdp_rewrite", "vdp_regex"], ["identity", "gzip"]), False)
    yield need("ranges", asked(["none", "header"], ["identity"], range="open"), False)
    yield need("synthetic responses", asked(["synthetic"], ["identity"]), False)
    yield need("pass", asked(["pass"], ["identity"]), False)
    yield need("`PUT`, to the backend: it is passed, and what is stored stays", asked(["none"], ["identity"], method="PUT"), False)
    yield need("updates, in the cache: a page that memcached's `set` or `cas` puts there", asked(["none"], ["identity"]), False)


def differences():
    for why, _, _ in varnish.DIFFERENCES:
        yield f"* {why.removeprefix(varnish.LUCK)}{' (not in every run)' if why.startswith(varnish.LUCK) else ''}."


def text():
    every = list(cells())
    page = HEAD.format(cells=len(every), theirs=sum(map(varnish.can, every)), **SIZES)
    page += "## What is sent of a stored body\n\nThe columns gzip, br and zstd: the backend's body is encoded so, and the client takes it, or does not.\n\n"
    page += "\n".join(features()) + "\n\n"
    page += NEEDS + "\n".join(needs()) + "\n\n"
    page += "## What varnishd answers otherwise\n\n" + "\n".join(differences()) + "\n"
    return page
