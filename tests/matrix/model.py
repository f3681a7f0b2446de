# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What every cell of the matrix has to answer: RFC 9110, Varnish's habits where it leaves a choice, and our lanes.

The rules are read from top to bottom: what is stored, what is made of it for this client, what the request's conditions and range make of
that, and by which lane it leaves.  Nothing here knows what the daemon said.
"""
import collections
import dataclasses
import re

from cells import ETAG, INCLUDED, RANGES, IF_RANGES, plain

FD_MIN = 64 << 10           # lane_fd_min_tcp
OWN_FILE_MIN = 128 << 10    # from here on a stored body has a descriptor of its own
OPENABLE = ("gzip", "br", "zstd")


@dataclasses.dataclass
class Body:
    """A body with what a head says of it, at some place between origin and client."""
    text: bytes             # what it means
    encoding: str           # "identity": none
    exact: bytes = None     # its bytes; None: made by a compressor, whatever unpacks to `text`
    length_known: bool = True
    etag: str = ETAG
    vary: frozenset = frozenset()
    can_be_opened: bool = False     # for clients that do not take the encoding

    def changed(self, **kw):
        """The same response in other bytes: its tag gets weak."""
        etag = self.etag if self.etag.startswith("W/") else "W/" + self.etag
        return dataclasses.replace(self, etag=etag, **kw)


@dataclasses.dataclass
class Answer:
    status: int
    body: Body              # of which the answer is the whole, a part or nothing
    part: tuple             # (first, last) of its bytes, None: all; () nothing
    content_range: str      # "first-last/*" with the length still to be filled in, or None
    sends_body: bool
    framing: str            # "length", "chunked", "close", "none"
    lane: str
    variant: str            # in which encoding the body lies where it is taken from
    reason: str
    accept_ranges: bool


def rewritten(text):
    return text.replace(b"dog", b"horse")


def expanded(text):
    text = re.sub(rb"<esi:remove>.*?</esi:remove>", b"", text)
    return text.replace(b'<esi:include src="/include/x"/>', INCLUDED)


# ---- 1. what is stored ----

BY_ENCODING = frozenset({"accept-encoding"})


def stored(obj, is_running):
    """The fetched response as it lies in the cache; is_running: not all of it is there."""
    f, encoding = obj.feature, obj.encoding
    text = plain(obj.size)
    body = Body(text, encoding, obj.sent, length_known=obj.framing == "length" or not is_running)
    if f.is_synthetic:
        text = f"dog /{obj.name}/hit".encode()
        return Body(text, "identity", text)
    if f.fetch_bare:
        return body
    known = not is_running
    if encoding in OPENABLE:
        # It was checked, or will be made anew; and whoever does not take it gets it unpacked.
        body = dataclasses.replace(body, vary=BY_ENCODING, can_be_opened=True)
    if encoding == "gzip" and f.opens:
        body = body.changed(encoding="identity", exact=text, length_known=known, vary=frozenset(), can_be_opened=False)
    if f.vfp and encoding in ("identity", *OPENABLE):
        # Content keeps its encoding.
        text = rewritten(text)
        body = body.changed(text=text, exact=text if body.encoding == "identity" else None, length_known=known)
    if obj.has_esi and encoding in OPENABLE and not (encoding == "gzip" and f.opens):
        # Of the compressors only gzip's can leave room for includes.
        body = packed_again(body, "gzip", known) if encoding == "gzip" else body.changed(encoding="identity", exact=text, length_known=known, vary=frozenset(),
                                                                                 can_be_opened=False)
    if f.packs and encoding == "identity":
        body = packed_again(body, f.packs, known)
    return body


def packed_again(body, encoding, known):
    return body.changed(encoding=encoding, exact=None, length_known=known, vary=BY_ENCODING, can_be_opened=True)


# ---- 2. what is made of it for this client ----

def delivered(obj, req, is_running):
    """(body, etag for conditions, reasons): what a GET of all of it would give."""
    f = obj.feature
    body = stored(obj, is_running)
    is_unwanted = body.can_be_opened and not req.takes(body.encoding)
    # VCL sees the head of what this client is to get, and conditions go by what VCL left; what its filters do to the tag comes later.
    etag = "W/" + body.etag.removeprefix("W/") if is_unwanted else body.etag
    if f.deliver_bare:
        return dataclasses.replace(body, etag=etag), etag, []
    reasons = []
    if obj.has_esi:
        reasons.append("esi")
        body = body.changed(text=expanded(body.text), exact=None, length_known=False)
        if body.encoding == "identity" or is_unwanted:
            body = dataclasses.replace(body, encoding="identity", exact=body.text)
    elif f.vdp and body.encoding in ("identity", *OPENABLE):
        reasons.append("gunzip" if body.encoding == "gzip" else "filter")
        body = body.changed(text=rewritten(body.text), exact=None, length_known=False)
        if body.encoding == "identity" or is_unwanted:
            body = dataclasses.replace(body, encoding="identity", exact=body.text)
    elif f.vdp_packs and req.takes(f.vdp_packs):
        reasons.append(f.vdp_packs)
        body = packed_again(body, f.vdp_packs, False)
    elif is_unwanted:
        reasons.append("gunzip" if body.encoding == "gzip" else "filter")
        # How long it will be is noted with gzip bodies, when they are whole.
        body = body.changed(encoding="identity", exact=body.text, length_known=body.encoding == "gzip" and not is_running)
    return body, etag, reasons


# A HEAD that is passed is the backend's to answer: we take no range out of a body that never comes, and leave the length that it gives.

# ---- 3. conditions ----

def is_not_modified(req, etag):
    if req.condition in ("strong", "weak"):
        weak = req.condition == "weak" or etag.startswith("W/")
        # With a range the tags have to be strong, as in Varnish.
        return req.range == "none" or not weak
    return req.condition == "since"


# ---- 4. ranges ----

def range_of(req, etag, length, known):
    """None: the whole; (): 416; or (first, last)."""
    if req.range in ("none", "several") or not known or length is None:
        return None
    if req.range in IF_RANGES and IF_RANGES[req.range] != etag:
        return None
    first, _, last = RANGES[req.range].removeprefix("bytes=").partition("-")
    if first == "":
        return max(0, length - int(last)), length - 1
    if int(first) >= length:
        return ()
    return int(first), min(int(last), length - 1) if last else length - 1


# ---- 5. lanes ----

def lane_of(length, whole, reasons, is_running):
    """By which lane a part of `length` bytes (None: not known) of a body of `whole` bytes leaves, and why not by a better one."""
    if reasons:
        return "body", reasons[0]
    if is_running or length is None:
        return ("fd" if length is None or length >= FD_MIN else "body"), "-"
    return ("fd" if length >= FD_MIN and whole >= OWN_FILE_MIN else "direct"), "-"


def counted(answers):
    """What OBJM.delivery.* must have grown by: of (cell, answer, bytes of its body)."""
    sums = collections.Counter()
    for cell, want, sent in answers:
        if cell.obj.feature.is_synthetic or cell.is_passed:
            sums["fallback_synthetic"] += cell.obj.feature.is_synthetic
            continue
        if want.sends_body and cell.obj.has_esi:
            # What is included is a hit of its own, small and as it is.
            sums["direct_hits"] += 1
            sums["direct_bytes"] += len(INCLUDED)
        if want.lane != "none":
            sums[f"{want.lane}_hits"] += 1
            sums[f"{want.lane}_bytes"] += sent
        if want.reason != "-":
            sums["fd_fallbacks"] += 1
            sums[f"fallback_{want.reason}"] += 1
    return sums


def coding(cell):
    """In which encoding the answer is; with its object, that says which bytes."""
    return delivered(cell.obj, cell.req, False)[0].encoding


def answer(cell, learned=None):
    """`learned`: the bytes of the whole body, where a compressor made them."""
    obj, req = cell.obj, cell.req
    f = obj.feature
    # What is passed goes on as it comes.
    is_running = cell.is_passed or (cell.state != "hit" and obj.streams)
    body, etag, reasons = delivered(obj, req, is_running)
    status, content_range, part = 200, None, None
    whole = body.exact if body.exact is not None else learned
    length = len(whole) if whole is not None else None
    if not f.is_synthetic and is_not_modified(req, etag):
        status = 304
        part = None if cell.is_passed and req.method == "HEAD" else ()
    elif not f.deliver_bare and not (cell.is_passed and req.method == "HEAD"):
        found = range_of(req, body.etag, length, body.length_known)
        if found == ():
            status, part, content_range = 416, (), f"bytes */{length}"
        elif found is not None:
            status, part, content_range = 206, found, f"bytes {found[0]}-{found[1]}/{length}"
    sends = req.method != "HEAD" and status in (200, 206)
    framing = "length" if body.length_known else "chunked" if req.proto == "1.1" else "close"
    if status == 304 and not (cell.is_passed and req.method == "HEAD"):
        framing = "none"
    elif req.method == "HEAD" and not body.length_known:
        # Who wants no body is told no way in which it would end.
        framing = "none"
    lane, reason = "none", "-"
    if f.is_synthetic or cell.is_passed:
        # Neither lies in a store: there is nothing to choose from.
        lane, reason = ("body", "pass" if cell.is_passed else "synthetic") if sends else ("none", "-")
    elif sends and (length is not None or not body.length_known or reasons):
        sent = length if part is None else part[1] - part[0] + 1
        lane, reason = lane_of(sent if body.length_known else None, length, reasons, is_running)
    variant = stored(obj, is_running).encoding
    return Answer(status, body, part, content_range, sends, framing, lane, variant, reason, not cell.is_passed and not f.is_synthetic)
