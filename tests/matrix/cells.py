# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The one table that all cells are made from: features, kinds of bodies, requests, and which of them are combined."""
import dataclasses
import functools
import itertools
import random
import re

from packing import PACK

# Cells of what is not there yet: (why, whether a cell is one of them).  Empty: all of the matrix is asked.
LEFT_OUT = []


ENCODINGS = ("identity", "gzip", "br", "zstd", "x-odd")

# ---- features ----

@dataclasses.dataclass(frozen=True)
class Feature:
    """What a VCL does with paths that begin with /NAME/."""
    name: str
    title: str                  # in the document
    recv: str = ""
    fetch: str = ""
    deliver: str = ""
    synth: str = ""
    # For the model:
    packs: str = ""             # the encoding that plain bodies get when they are fetched
    vdp_packs: str = ""         # ... when they are delivered to who takes it
    opens: bool = False         # gzip bodies become plain when they are fetched
    esi: bool = False
    vfp: bool = False           # bodies are rewritten when they are fetched
    vdp: bool = False           # ... when they are delivered
    fetch_bare: bool = False    # there are no filters when they are fetched, whatever would be usual
    deliver_bare: bool = False  # ... when they are delivered
    streams: bool = True
    is_passed: bool = False
    is_synthetic: bool = False
    in_varnish: bool = True     # it can be compared with
    encodings: tuple = ENCODINGS


RULE = 'add("dog", "horse");'
FEATURES = {f.name: f for f in (
    Feature("none", "nothing"),
    Feature("header", "header and cookie logic",
            recv="unset req.http.Cookie; set req.http.X-Seen = req.http.User-Agent;",
            fetch="set beresp.http.X-Fetched = \"yes\"; unset beresp.http.Server;",
            deliver="set resp.http.X-Delivered = req.http.X-Seen + \"!\"; unset resp.http.X-Path;"),
    Feature("do_gzip", "`beresp.do_gzip`", fetch="set beresp.do_gzip = true;", packs="gzip"),
    Feature("do_gunzip", "`beresp.do_gunzip`", fetch="set beresp.do_gunzip = true;", opens=True),
    Feature("do_esi", "`beresp.do_esi`", fetch="set beresp.do_esi = true;", esi=True),
    Feature("esi_gzip", "`do_esi`, `do_gzip`", fetch="set beresp.do_esi = true; set beresp.do_gzip = true;", esi=True, packs="gzip"),
    Feature("esi_gunzip", "`do_esi`, `do_gunzip`", fetch="set beresp.do_esi = true; set beresp.do_gunzip = true;", esi=True, opens=True),
    Feature("fetch_bare", "`beresp.filters = \"\"`", fetch="set beresp.filters = \"\";", fetch_bare=True),
    Feature("deliver_bare", "`resp.filters = \"\"`", deliver="set resp.filters = \"\";", deliver_bare=True),
    Feature("vfp_rewrite", "`add_vfp(rewrite.vfp())`", fetch=f"rewrite.{RULE} add_vfp(rewrite.vfp());", vfp=True, in_varnish=False),
    Feature("vfp_regex", "`add_vfp(regex.vfp())`", fetch=f"regex.{RULE} add_vfp(regex.vfp());", vfp=True, in_varnish=False),
    Feature("vfp_brotli", "`add_vfp(brotli)`", fetch="add_vfp(brotli);", packs="br", in_varnish=False, encodings=("identity",)),
    Feature("vfp_zstd", "`add_vfp(zstd)`", fetch="add_vfp(zstd);", packs="zstd", in_varnish=False, encodings=("identity",)),
    Feature("vdp_rewrite", "`add_vdp(rewrite.vdp())`", deliver=f"rewrite.{RULE} add_vdp(rewrite.vdp());", vdp=True, in_varnish=False),
    Feature("vdp_regex", "`add_vdp(regex.vdp())`", deliver=f"regex.{RULE} add_vdp(regex.vdp());", vdp=True, in_varnish=False),
    Feature("vdp_gzip", "`add_vdp(gzip)`", deliver="if (req.can_gzip) { add_vdp(gzip); }", vdp_packs="gzip", in_varnish=False, encodings=("identity",)),
    Feature("nostream", "`beresp.do_stream = false`", fetch="set beresp.do_stream = false;", streams=False),
    Feature("pass", "pass", recv="return (pass);", is_passed=True),
    Feature("pass_gzip", "pass, `do_gzip`", recv="return (pass);", fetch="set beresp.do_gzip = true;", packs="gzip", is_passed=True),
    Feature("synthetic", "synthetic", recv="return (synth(200));", is_synthetic=True, encodings=("identity",),
            synth="set resp.http.ETag = {\"\"e\"\"}; synthetic(\"dog \" + req.url); return (deliver);"),
)}


def vcl(port, is_ours=True):
    """The VCL of all features, with the origin at a port; of those that varnishd has, if it is for that."""
    subs = []
    for sub, url in (("recv", "req.url"), ("backend_response", "bereq.url"), ("deliver", "req.url"), ("synth", "req.url")):
        field = "fetch" if sub == "backend_response" else sub
        rules = [f'    if ({url} ~ "^/{f.name}/") {{ {getattr(f, field)} }}' for f in FEATURES.values()
                 if getattr(f, field) and (is_ours or f.in_varnish)]
        subs.append(f"sub vcl_{sub} {{\n" + "\n".join(rules) + "\n}")
    imports = "import regex;\nimport rewrite;\n" if is_ours else ""
    return f'vcl 4.1;\n{imports}backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}\n' + "\n".join(subs) + "\n"


# ---- objects ----

FRAMINGS = ("length", "chunked")
SIZES = {"small": 1500, "large": 320 << 10}
ETAG, MODIFIED = '"e"', "Mon, 01 Jan 2024 00:00:00 GMT"
INCLUDED = b"<i>what was included</i>"


@functools.lru_cache(maxsize=None)
def plain(size):
    """The text that the origin has: it does not compress too well, has dogs to be rewritten, and ESI in its middle."""
    rng = random.Random(size)
    want = SIZES[size]
    words = ["dog ", '<esi:include src="/include/x"/>', "<esi:remove>gone</esi:remove>", "dog "]
    text = ["<p>\n"]        # what does not begin so is not looked at for ESI
    while want > 0:
        piece = "%064x\n" % rng.getrandbits(256)
        text.append(piece)
        want -= len(piece)
        if words and len(text) % 5 == 0:
            text.append(words.pop())
    return "".join(text).encode()


@dataclasses.dataclass(frozen=True)
class Obj:
    feature: Feature
    encoding: str       # of the origin's body
    size: str
    framing: str

    @property
    def name(self):
        return f"{self.feature.name}/{self.encoding}/{self.size}/{self.framing}"

    @property
    def has_esi(self):
        """Whether the parser sees the text: it is given what can be unpacked."""
        return self.feature.esi and self.encoding in ("identity", "gzip", "br", "zstd")

    @property
    def streams(self):
        """What is parsed for ESI is shown to nobody before it is whole."""
        return self.feature.streams and not self.has_esi

    @property
    def sent(self):
        """The body as the origin sends it."""
        return packed(self.encoding, self.size)


@functools.lru_cache(maxsize=None)
def packed(encoding, size):
    return PACK[encoding](plain(size))


# ---- requests ----

ACCEPTS = {"none": None, "gzip": "gzip", "br": "br", "zstd": "zstd", "all": "gzip, deflate, br, zstd", "q0": "identity;q=0", "nogzip": "gzip;q=0, br;q=0.5"}
# The largest offset stands in the middle of what the shortest body has.
RANGES = {"none": None, "one": "bytes=10-99", "open": "bytes=100-", "several": "bytes=0-1, 5-9", "suffix": "bytes=-30", "beyond": "bytes=99999999-",
          "ifrange": "bytes=10-99", "ifother": "bytes=10-99"}
IF_RANGES = {"ifrange": ETAG, "ifother": '"other"'}
CONDITIONS = {"none": (), "strong": (f"If-None-Match: {ETAG}",), "weak": (f"If-None-Match: W/{ETAG}",), "other": ('If-None-Match: "other"',),
              "since": (f"If-Modified-Since: {MODIFIED}",), "before": ("If-Modified-Since: Sun, 31 Dec 2023 00:00:00 GMT",)}


@dataclasses.dataclass(frozen=True)
class Req:
    method: str = "GET"
    proto: str = "1.1"
    accept: str = "none"
    range: str = "none"
    condition: str = "none"

    @property
    def name(self):
        return f"{self.method}/{self.proto}/ae-{self.accept}/r-{self.range}/c-{self.condition}"

    def takes(self, encoding):
        """Whether the client said that it takes this one."""
        for word in (ACCEPTS[self.accept] or "").split(","):
            coding, _, q = word.strip().partition(";q=")
            if coding == encoding:
                return float(q or 1) > 0
        return False

    @property
    def fields(self):
        fields = []
        if ACCEPTS[self.accept]:
            fields.append(f"Accept-Encoding: {ACCEPTS[self.accept]}")
        if RANGES[self.range]:
            fields.append(f"Range: {RANGES[self.range]}")
        if self.range in IF_RANGES:
            fields.append(f"If-Range: {IF_RANGES[self.range]}")
        return fields + list(CONDITIONS[self.condition])


@dataclasses.dataclass(frozen=True)
class Cell:
    """state: "hit"; "first" and "joined": he who made the fetch begin, and one who came while the origin holds its second half."""
    obj: Obj
    req: Req
    state: str

    @property
    def name(self):
        return f"{self.state}/{self.obj.name}/{self.req.name}"

    @property
    def is_passed(self):
        """The built-in VCL passes a PUT; what is stored of its path stays as it is."""
        return self.obj.feature.is_passed or self.req.method == "PUT"


# ---- which are combined ----

def _requests(wide):
    """Of one object.  Ranges and conditions are combined where they meet."""
    accepts = ACCEPTS if wide else ("none", "gzip")
    asks = [(r, "none") for r in RANGES] + [("none", c) for c in CONDITIONS if c != "none"] + [("one", "strong"), ("one", "weak"), ("one", "before")]
    for method, accept, (rng, condition) in itertools.product(("GET", "HEAD"), accepts, asks):
        yield Req(method, "1.1", accept, rng, condition)
    for accept, rng in itertools.product(("none", "gzip"), ("none", "one")):
        yield Req("GET", "1.0", accept, rng)


def _joining():
    yield from (Req(accept=a, range=r) for a in ACCEPTS for r in ("none", "one", "open", "suffix"))
    yield from (Req(accept=a, condition="weak") for a in ("none", "gzip"))
    yield from (Req(proto="1.0", accept=a) for a in ("none", "gzip"))
    yield from (Req("HEAD", accept=a) for a in ("none", "gzip"))


def objects():
    for feature in FEATURES.values():
        for encoding in feature.encodings:
            for size, framing in (("small", "length"), ("small", "chunked"), ("large", "length")):
                if not feature.is_synthetic or (size, framing) == ("small", "length"):
                    yield Obj(feature, encoding, size, framing)


def cells():
    for obj in objects():
        wide = (obj.size, obj.framing) == ("small", "length")
        for req in _requests(wide):
            yield Cell(obj, req, "hit")
        if wide and obj.streams and not obj.feature.is_synthetic:
            for accept in ACCEPTS:
                yield Cell(obj, Req("PUT", accept=accept), "hit")
            yield Cell(obj, Req(proto="1.0", accept="all"), "hit")      # after them
        if not (obj.feature.is_passed or obj.feature.is_synthetic):
            yield Cell(obj, Req(accept="all"), "first")
            for req in _joining():
                yield Cell(obj, req, "joined")


def left_out(cell):
    return next((why for why, test in LEFT_OUT if test(cell)), None)


def escaped(pattern):
    """A pattern of names, as --cell takes it: * stands for anything."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))))
