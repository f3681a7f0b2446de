# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What varnishd 7.1.1 answers otherwise, with reasons; and which cells it can be asked."""
import model
from packing import UNPACK, Broken

COMPARED = ("content-encoding", "etag", "accept-ranges", "content-range", "content-length", "transfer-encoding")


def can(cell):
    """Varnish knows of gzip only: what is encoded otherwise it hands on, or looks for ESI in it."""
    if cell.obj.feature.esi and cell.obj.encoding not in ("identity", "gzip"):
        return False
    return cell.obj.feature.in_varnish and (cell.obj.encoding in ("identity", "gzip", "x-odd") or cell.req.takes(cell.obj.encoding))


# (why, test(cell, ours, theirs), which parts of the answers may differ then); with LUCK in front when it does not show in every run.
LUCK = "by luck: "
DIFFERENCES = [
    ("several ranges in one are no error: the whole body", lambda c, o, t: c.req.range == "several" and (o.status, t.status) in ((200, 416), (200, 503)), "all"),
    ("the head of a passed HEAD is that of a GET, as far as it can be known: no range is taken out of no body, the encoding that the backend gives is kept",
     lambda c, o, t: passed_head(c), "all"),
    ("bodies in br and zstd are unpacked for those who do not take them, so the answers vary", lambda c, o, t: c.obj.encoding in ("br", "zstd"), "vary"),
    (LUCK + "varnishd may have all of a body that passes before it makes the head: then it knows the length",
     lambda c, o, t: c.is_passed and o.framing in ("chunked", "close") and t.status != 503, "content-length transfer-encoding status content-range body"),
    (LUCK + "of a body that is not streamed, others who wait for it may get the head before varnishd has noted its end",
     lambda c, o, t: c.state == "joined" and not c.obj.streams, "content-length transfer-encoding status content-range body"),
]


def passed_head(cell):
    return cell.is_passed and cell.req.method == "HEAD"


def view(cell, resp):
    """What is compared: {part: value}."""
    want = model.answer(cell, None)
    by_compressor = want.body.exact is None
    parts = {name: resp.all(name) for name in COMPARED}
    parts["status"] = resp.status
    parts["vary"] = sorted({w.strip().lower() for v in resp.all("vary") for w in v.split(",")})
    parts["body"] = resp.body
    if by_compressor:
        # Two compressors need not make the same bytes of it.
        parts["content-length"] = len(parts["content-length"])
        parts["content-range"] = len(parts["content-range"])
        parts["body"] = None
        if resp.status == 200 and resp.body:
            try:
                parts["body"] = UNPACK[(resp.all("content-encoding") + ["identity"])[0]](resp.body)
            except (Broken, KeyError) as e:
                parts["body"] = str(e)
    return parts


def compare(ours, theirs, is_all):
    """{name: what differs} without what is known; is_all: a known difference that does not show is a fault, too."""
    faults, seen = {}, set()
    for cell, resp in theirs.items():
        if cell not in ours:
            continue        # it has a fault already
        mine, other = view(cell, ours[cell]), view(cell, resp)
        differs = {part for part in mine if mine[part] != other[part]}
        for why, test, parts in DIFFERENCES:
            if differs and test(cell, ours[cell], resp):
                known = differs if "all" in parts else differs & set(parts.split())
                if known:
                    seen.add(why)
                differs -= known
        if differs:
            faults[f"varnishd: {cell.name}"] = [f"{p}: {shown(mine[p])}, there {shown(other[p])}" for p in sorted(differs)]
    if is_all:
        faults.update({f"varnishd: {why}": ["does not differ any more"] for why, _, _ in DIFFERENCES
                       if why not in seen and not why.startswith(LUCK)})
    return faults


def shown(value):
    return f"{len(value)} bytes" if isinstance(value, bytes) else value
