# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Bodies that follow from their URL and version, so that every byte that comes out of a cache can be checked.

A path is /b/<seed>/<size>[/<flags>]: flags are words separated by commas, `chunked` or `max-age=5`.  Two versions of one
path differ in (nearly) every byte, and so do two offsets of one body: a byte from elsewhere cannot go unnoticed.
"""
import functools
import hashlib


def path_of(seed, size, *flags):
    return f"/b/{seed}/{size}" + (("/" + ",".join(flags)) if flags else "")


def parse(path):
    """(size, {flag: value or ""}) of a path; None if it is none of ours."""
    words = path.split("/")
    if len(words) not in (4, 5) or words[:2] != ["", "b"] or not words[3].isdigit():
        return None
    flags = {}
    if len(words) == 5:
        for word in words[4].split(","):
            name, _, value = word.partition("=")
            flags[name] = value
    return int(words[3]), flags


def make(path, version):
    """The bytes of a path's version."""
    size = parse(path)[0]
    return hashlib.shake_128(f"{path} {version}".encode()).digest(size)


@functools.lru_cache(maxsize=512)
def _small(path, version):
    return make(path, version)


def body(path, version):
    """As make(), remembering what is small."""
    return _small(path, version) if parse(path)[0] <= 65536 else make(path, version)


def first_difference(got, want):
    """Says where two bodies part, for a person."""
    if len(got) != len(want):
        return f"{len(got)} bytes in place of {len(want)}"
    for i in range(0, len(want), 4096):
        if got[i:i + 4096] != want[i:i + 4096]:
            j = next(j for j in range(i, i + 4096) if got[j] != want[j])
            return f"at byte {j} of {len(want)}: {got[j:j + 16].hex()} in place of {want[j:j + 16].hex()}"
    return "none"
