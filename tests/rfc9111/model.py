# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""RFC 9111 for a shared cache, as a model: heads in, decisions out.  Written from the RFC, not from the daemon.

Where the RFC leaves a choice the model makes the daemon's (docs/compatibility.md):
  - 206 is not stored; a response that can neither be used nor validated is not stored;
  - a heuristic lifetime is a tenth of Date - Last-Modified, at most a day, and DEFAULT_TTL without Last-Modified;
  - what has a validator is kept for an hour after it went stale;
  - a response that is not stored takes the place of what it was fetched to replace all the same, and hides what is older from
    requests that it would have answered by its Vary.
Times are seconds.  All ages are those on arrival, and a little more: a sequence of requests takes next to no time, and figures
are chosen so that nothing hangs on a few seconds.
"""
import email.utils
import re

DEFAULT_TTL = 120
KEEP = 3600
MAX = 2**31
HEURISTIC = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
UNDERSTOOD = {*range(200, 206), *range(300, 304), 307, 308, *range(400, 416), 417, 421, 422, 426, *range(500, 506)}
ERRORS = {500, 502, 503, 504}
NEEDED = {"age", "cache-control", "content-encoding", "content-length", "content-range", "content-type", "date", "etag", "expires",
          "last-modified", "transfer-encoding", "vary"}


def values(fields, name):
    return [v for n, v in fields if n.lower() == name]


def directives(fields):
    """[(name, argument or None)] of all Cache-Control fields."""
    out = []
    for value in values(fields, "cache-control"):
        for m in re.finditer(r'\s*([^\s=,"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^,]*))?\s*(?:,|$)', value):
            arg = m[2]
            if arg is not None:
                arg = arg.strip()
                arg = arg[1:-1] if arg.startswith('"') else arg
            out.append((m[1].lower(), arg))
    return out


def now_text(now):
    return email.utils.formatdate(now, usegmt=True)


def number(text):
    return min(int(text), MAX) if text is not None and re.fullmatch(r"\d+", text) else None


class Control:
    def __init__(self, fields):
        self.said = {}
        for name, arg in directives(fields):
            self.said.setdefault(name, []).append(arg)

    def has(self, name):
        return name in self.said

    def lifetime(self, name):
        """The least of what it says; what is no number is 0 (section 4.2.1)."""
        return min((number(a) or 0 for a in self.said[name]), default=None) if self.has(name) else None

    def limit(self, name, pick, bare=None):
        """A wish; what is no number is none."""
        known = [bare if a is None and bare is not None else number(a) for a in self.said.get(name, [])]
        known = [n for n in known if n is not None]
        return pick(known) if known else None

    def fields(self, name):
        """None: the directive is not there, or has no list that can be kept to (then has() tells)."""
        args = set(self.said.get(name, []))
        if len(args) != 1 or not (text := args.pop()):
            return None
        names = [x.strip().lower() for x in text.split(",") if x.strip()]
        good = names and all(re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9a-z]+", n) for n in names) and not NEEDED & set(names)
        return set(names) if good else None

    def forbids(self, name):
        return self.has(name) and self.fields(name) is None


def date(text):
    if not text or text[:1].isdigit():
        return None
    parsed = email.utils.parsedate_to_datetime(text) if re.search(r"GMT$", text) else None
    return None if parsed is None else int(parsed.timestamp())


class Stored:
    """A response in the cache."""

    def __init__(self, request_fields, status, fields, now):
        self.status, self.fields = status, fields
        self.control = cc = Control(fields)
        self.vary = [n.strip().lower() for v in values(fields, "vary") for n in v.split(",") if n.strip()]
        self.key = {n: values(request_fields, n) for n in self.vary}
        made = date((values(fields, "date") or [None])[0])
        made = now if made is None else made
        said = number((values(fields, "age") or [""])[0].split(",")[0].strip()) or 0
        self.age = max(now - made, said, 0)
        self.never_stale = (any(cc.has(n) for n in ("must-revalidate", "proxy-revalidate", "s-maxage")) or cc.forbids("no-cache"))
        self.ttl = 0 if cc.forbids("no-cache") else self._lifetime(made)
        self.grace = 0 if self.never_stale else cc.lifetime("stale-while-revalidate") or 0
        self.if_error = 0 if self.never_stale else cc.lifetime("stale-if-error") or 0
        modified = date((values(fields, "last-modified") or [None])[0])
        self.has_validator = bool(values(fields, "etag")) or modified is not None
        self.kept_until = self.ttl + self.grace + max(KEEP if self.has_validator else 0, self.if_error - self.grace)
        self.withheld = (cc.fields("private") or set()) | (cc.fields("no-cache") or set())

    def _lifetime(self, made):
        cc = self.control
        if cc.has("s-maxage"):
            return cc.lifetime("s-maxage")
        if cc.has("max-age"):
            return cc.lifetime("max-age")
        expires = values(self.fields, "expires")
        if expires:
            ends = [date(e) for e in expires]
            return 0 if None in ends else min(max(min(ends) - made, 0), MAX)
        modified = date((values(self.fields, "last-modified") or [None])[0])
        return DEFAULT_TTL if modified is None else min(max(made - modified, 0) / 10, 86400)

    def matches(self, request_fields):
        return all(values(request_fields, n) == v for n, v in self.key.items())

    is_mark = False

    @property
    def is_doubtful(self):
        """Whether expiry may come before or after the next request."""
        return self.age >= self.kept_until - 10


class Mark(Stored):
    """A response was not stored."""

    is_mark, is_doubtful = True, False

    def __init__(self, request_fields, fields):
        self.vary = [n.strip().lower() for v in values(fields, "vary") for n in v.split(",") if n.strip()]
        self.withheld = set()
        self.key = {} if "*" in self.vary else {n: values(request_fields, n) for n in self.vary}


def why_not(request_fields, status, fields, now):
    """Section 3; None: it is stored."""
    cc, asked = Control(fields), Control(request_fields)
    if status < 200 or status in (206, 304):
        return "status"
    if cc.has("must-understand") and status not in UNDERSTOOD:
        return "must-understand"
    if asked.has("no-store") or (cc.has("no-store") and not cc.has("must-understand")):
        return "no-store"
    if cc.forbids("private"):
        return "private"
    if values(request_fields, "authorization") and not any(cc.has(n) for n in ("public", "s-maxage", "must-revalidate")):
        return "authorization"
    if any("*" in v for v in values(fields, "vary")):
        return "vary"
    explicit = cc.has("max-age") or cc.has("s-maxage") or values(fields, "expires")
    if not explicit and not cc.has("public") and status not in HEURISTIC:
        return "status"
    stored = Stored(request_fields, status, fields, now)
    if stored.age >= stored.ttl + stored.grace and not stored.has_validator and stored.if_error <= stored.grace:
        return "useless"
    return None


class Wish:
    def __init__(self, fields):
        cc = Control(fields)
        pragma = ",".join(values(fields, "pragma")).lower()
        self.no_cache = cc.has("no-cache") or (not values(fields, "cache-control") and "no-cache" in pragma)
        self.no_store = cc.has("no-store")
        self.only_if_cached = cc.has("only-if-cached")
        self.max_age = cc.lifetime("max-age")
        self.min_fresh = cc.limit("min-fresh", max) or 0
        self.max_stale = cc.limit("max-stale", min, MAX) or 0
        self.if_error = cc.lifetime("stale-if-error") or 0

    def reuse(self, stored):
        """"fresh", "stale" or None (section 4)."""
        if self.no_cache or (self.max_age is not None and stored.age >= self.max_age):
            return None
        if stored.age < stored.ttl:
            return "fresh" if stored.ttl - stored.age > self.min_fresh else None
        if self.min_fresh:
            return None
        behind = stored.age - stored.ttl
        if behind < stored.grace and self.max_age is None:
            return "stale"
        return "stale" if not stored.never_stale and behind < self.max_stale else None

    def takes_for_error(self, stored):
        if self.no_cache or self.min_fresh or stored.never_stale:
            return False
        allowed = max(self.if_error, stored.if_error)
        return max(stored.age - stored.ttl, 0) < allowed


class Cache:
    """What is stored for one URL, newest first."""

    def __init__(self):
        self.stored = []

    def matching(self, request_fields):
        return [s for s in self.stored if s.matches(request_fields)]

    def find(self, request_fields):
        """(stored, "fresh" or "stale"), or (None, None)"""
        wish, stale = Wish(request_fields), None
        for s in self.matching(request_fields):
            if s.is_mark:
                return None, None
            use = wish.reuse(s)
            if use == "fresh":
                return s, use
            if use == "stale" and stale is None:
                stale = s
        return (stale, "stale") if stale else (None, None)

    def stand_in(self, request_fields):
        """What is used instead of an error, and the status if there is nothing."""
        found = self.matching(request_fields)
        if not found or found[0].is_mark:
            return None, 503
        if Wish(request_fields).takes_for_error(found[0]):
            return found[0], None
        return None, 504 if found[0].never_stale else 503

    def fetched(self, request_fields, status, fields, now):
        self.stored = [s for s in self.stored if not s.matches(request_fields)]
        is_stored = why_not(request_fields, status, fields, now) is None
        new = Stored(request_fields, status, fields, now) if is_stored else Mark(request_fields, fields)
        self.stored.insert(0, new)

    def renewable(self, request_fields):
        """What a conditional request is about (section 4.3.1); None: there is nothing to be renewed."""
        found = self.matching(request_fields)
        if not found or found[0].is_mark or found[0].status != 200:
            return None
        return found[0] if values(found[0].fields, "etag") or values(found[0].fields, "last-modified") else None

    def renewed(self, request_fields, old, fields, now):
        """A 304 (sections 3.2 and 4.3.4); the fields of what it makes of the old response."""
        said = {n.lower() for n, _ in fields} - {"content-length", "content-encoding"}
        kept = [(n, v) for n, v in old.fields if n.lower() not in said | old.withheld | {"age"}]
        if "date" not in said:
            kept = [("Date", now_text(now)), *(f for f in kept if f[0].lower() != "date")]
        merged = [f for f in fields if f[0].lower() in said] + kept
        self.fetched(request_fields, old.status, merged, now)
        return merged

    def unsafe(self, status):
        if 200 <= status < 400:
            self.stored = []

    def head(self, request_fields, status, fields, length, now):
        """The answer to a HEAD that was passed (section 4.3.5); the fields of what it makes of what is stored, if it does."""
        found = [s for s in self.matching(request_fields) if not s.is_mark]
        if status != 200 or not found or found[0].status != 200:
            return None
        agrees = all(values(fields, n) in ([], values(found[0].fields, n)) for n in ("etag", "last-modified"))
        if not agrees or values(fields, "content-length") not in ([], [str(length)]):
            self.stored.remove(found[0])
            return None
        if Control(request_fields).has("no-store") or values(request_fields, "authorization"):
            return None
        merged = self.renewed(request_fields, found[0], fields, now)
        if self.stored[0].is_mark:
            # What may not be stored any more is gone, and nothing says so.
            del self.stored[0]
            return None
        return merged
